"""Pickles, at any extension: what would unpickling import, call and change? Nothing is unpickled.

Three ways to know a pickle. Its name says so: then it must be one to the end. It begins with a protocol opcode: then
it must be one as soon as a few opcodes made sense. Or neither, as in protocols 0 and 1, which begin like text: then
what counts is whether following it as a pickle comes to an import that is called, or to a whole pickle with imports.
"""

from __future__ import annotations

import re
from typing import Any

from installml.scanning.calls import Blob, Import, Made, refuse
from installml.scanning.content import Part
from installml.scanning.finding import Content, Exhausted, Rule, Severity, Unreadable, Visit
from installml.scanning.imports import Verdict, does_harm
from installml.scanning.machine import Broken, Machine
from installml.scanning.sniff import is_container

__all__ = ["PICKLES", "RULES", "PickleScanner"]

DANGEROUS = Rule(
    "pickle-dangerous-import",
    Severity.critical,
    "A pickle imports something that can run programs or code",
    "Loading the file imports this name and, as pickles do, can call it with any arguments: it runs on your machine "
    "before you have seen the model.",
    "Do not load the file. Ask its maker for safetensors, ONNX or skops, and where this came from.",
)
UNKNOWN = Rule(
    "pickle-unknown-import",
    Severity.high,
    "A pickle imports something that is not on the list of harmless names",
    "Loading the file imports this name and can call it. Nobody has looked at what that does; code beside the model "
    "is imported the same way.",
    "If you know the library, load the file in an isolated place and save it in a format without code; or let the "
    "finding pass with a reason.",
)
HIDDEN = Rule(
    "pickle-hidden-import",
    Severity.critical,
    "A pickle computes the name of what it imports",
    "The name is not written down but put together while loading, or is too long to be one. Python's pickler never "
    "does this; it hides what is imported.",
    "Do not load the file.",
)
OPAQUE_CALL = Rule(
    "pickle-opaque-call",
    Severity.high,
    "A pickle calls something that is no plain import",
    "What is called is the result of an earlier call, or comes from the loader, so that it cannot be told beforehand.",
    "Do not load the file unless you know its maker.",
)
ARGUMENTS = Rule(
    "pickle-call-arguments",
    Severity.high,
    "A pickle calls a harmless function with arguments that make it dangerous",
    "Some functions of every pickle look up codecs, attributes or other functions by name; used like this they lead "
    "to anything.",
    "Do not load the file unless you know its maker.",
)
CHANGE = Rule(
    "pickle-changes-import",
    Severity.critical,
    "A pickle changes a library instead of an object",
    "It gives new attributes or items to a class, function or module that it imports: other code then does something "
    "else than it says.",
    "Do not load the file.",
)
SPECIAL = Rule(
    "pickle-special-attribute",
    Severity.high,
    "A pickle sets an attribute that means something to Python",
    "Attributes such as __setstate__ or __class__ decide what later steps of the same pickle call.",
    "Do not load the file unless you know its maker.",
)
EXTENSION = Rule(
    "pickle-extension-code",
    Severity.high,
    "A pickle names something by its number in copyreg's registry",
    "What that number stands for depends on the program that loads the file, so it cannot be told.",
    "Ask for a file without extension codes; Python's libraries do not write them.",
)
BROKEN = Rule(
    "pickle-broken",
    Severity.high,
    "A pickle stops in the middle",
    "Loading it ends with an error, but everything before that place is done first; a broken end is a known way to "
    "make scanners give up.",
    "Get the file again from its maker, and compare its digest.",
)
PERSISTENT = Rule(
    "pickle-persistent-id",
    Severity.low,
    "A pickle asks its loader for objects",
    "Its persistent ids are not torch's storages; what they mean is up to the program that loads it.",
    "Look at what the loading program does with persistent ids.",
)
TRAILING = Rule(
    "pickle-trailing-data",
    Severity.low,
    "Something that is no pickle follows a pickle",
    "Loaders read up to the pickle's end and ignore the rest, or read it in their own way.",
    "Nothing to do if you know the format.",
)
RULES = (
    DANGEROUS, UNKNOWN, HIDDEN, OPAQUE_CALL, ARGUMENTS, CHANGE, SPECIAL, EXTENSION, BROKEN, PERSISTENT, TRAILING,
)  # fmt: skip

_EXTENSIONS = (".pkl", ".pickle", ".joblib", ".dill", ".cloudpickle", ".pt", ".pth")
#: Opcodes that must make sense, unless one imports, before a file that begins like a pickle is held to be one.
_ENOUGH = 8
_TORCH_MAGIC = 0x1950A86A20F9469CFC6C
_MODULE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
_FIRST_OPCODES = frozenset(b"(]}[)cIFLKMJNSUVTXGB\x80\x88\x89\x8a\x8b\x8c\x8d\x8e\x94\x95\x96CPldit0\x82\x83\x84")


class _Notes:
    """What following one pickle has told so far; nothing is reported before it is known to be a pickle."""

    def __init__(self, visit: Visit, *, script: bool) -> None:
        self._visit = visit
        self._script = script
        self._said: dict[tuple[Rule, str], int] = {}
        self.nested: dict[Blob, None] = {}
        self.imports = 0
        self.deeds = 0
        self.modules: set[str] = set()
        self.elsewhere: frozenset[str] = frozenset()

    def _say(self, rule: Rule, detail: str, offset: int) -> None:
        if len(self._said) <= self._visit.budget.limits.findings:
            self._said.setdefault((rule, detail), offset)

    def report(self) -> None:
        """Tell the visit everything, and forget it."""
        for (rule, detail), offset in self._said.items():
            self._visit.found(rule, detail, offset)
        self._said.clear()

    def imported(self, thing: Import, offset: int) -> None:
        if thing.verdict is Verdict.allowed:
            self.modules.add(thing.module)
        elif thing.module in self.elsewhere and not does_harm(thing.name):
            raise Broken("an import does not exist", offset)
        if not thing.module and not thing.name:
            self._say(HIDDEN, "the name of an import cannot be told", offset)
        elif thing.verdict is Verdict.dangerous:
            self._say(DANGEROUS, f"imports {thing}", offset)
        elif thing.verdict is not Verdict.allowed and not self._is_script(thing):
            self._say(UNKNOWN, f"imports {thing}", offset)
        if not thing.module or _MODULE.fullmatch(thing.module):
            self.imports += 1

    def _is_script(self, thing: Import) -> bool:
        """Say whether it is a class of TorchScript, which is no Python: `__torch__` is no module."""
        return self._script and thing.module.split(".")[0] == "__torch__"

    def _deed(self, thing: Any) -> None:
        if not isinstance(thing, Import) or _MODULE.fullmatch(thing.module) or not thing.module:
            self.deeds += 1

    def called(self, callee: Import, arguments: tuple[Any, ...] | None, offset: int) -> None:
        self._deed(callee)
        if callee.verdict is not Verdict.allowed:
            return  # its import is a finding already
        reason = refuse(callee, arguments)
        if reason:
            self._say(ARGUMENTS, f"calls {callee}: {reason}", offset)
        elif (callee.module, callee.name) == ("torch.storage", "_load_from_bytes") and arguments:
            self.nested[arguments[0]] = None

    def opaque_call(self, value: Any, offset: int) -> None:
        of = f"what {value.callee} returns" if isinstance(value, Made) and value.callee else "something it was given"
        self._say(OPAQUE_CALL, f"calls {of}", offset)

    def changed(self, target: Any, how: str, offset: int) -> None:
        self._deed(target)
        self._say(CHANGE, f"{target if isinstance(target, Import) else 'a class'} is {how}", offset)

    def stated(self, made: Any, key: str, offset: int) -> None:
        of = made.callee if isinstance(made, Made) and made.callee else "an object"
        self._say(SPECIAL, f"sets {key} of {of}", offset)

    def handed(self, thing: Import, offset: int) -> None:
        self._say(ARGUMENTS, f"hands {thing} to something that may call it", offset)

    def extended(self, code: int, offset: int) -> None:
        self.imports += 1
        self._say(EXTENSION, f"uses extension {code}", offset)

    def persistent(self, value: Any, offset: int) -> None:
        if not (isinstance(value, tuple) and value and value[0] == "storage"):
            self._say(PERSISTENT, "has a persistent id that is no storage", offset)

    def branched(self, machine: Machine) -> None:
        """Look at what plain pickle would do with what joblib passes over, or reads as a pickle of its own.

        A pickle of its own has other numbers in its memo, so that plain pickle puts modules and names together that
        do not belong together, and stops.
        """
        other = _Notes(self._visit, script=False)
        other.elsewhere = frozenset(self.modules)
        machine.watch(other)
        try:
            machine.run()
        except Broken:
            if not other.deeds:
                return
        if other.imports or other.deeds:
            other.report()


class PickleScanner:
    """Knows pickles of protocols 0 to 5, several in a row, joblib's arrays and torch's storages among them."""

    name = "pickle"

    def claims(self, head: bytes, name: str) -> bool:
        """Claim by name, unless the file is a container, and by a first byte that may begin a pickle."""
        if name.endswith(".safetensors") and head[4:9] == b"\0\0\0\0{":
            return False  # its length may look like a first opcode; reading on for a line's end would take seconds
        named = name.endswith(_EXTENSIONS) and not is_container(head)
        # PK is also PERSID with the text "K..."; a zip is no pickle to any loader.
        return named or (len(head) > 1 and head[0] in _FIRST_OPCODES and not head.startswith((b"PK\x03", b"PK\x05")))

    def scan(self, content: Content, visit: Visit) -> None:
        """Follow one pickle after another."""
        head = content.read_at(0, 4096)
        named = visit.name.lower().endswith(_EXTENSIONS) and not is_container(head)
        script = bool(visit.inner) and visit.name.rpartition("/")[2] in ("data.pkl", "constants.pkl")
        follower = _Follower(content, visit, script=script)
        follower.follow(must=named)
        for blob in follower.nested:
            visit.enter(f"bytes at {blob.offset}.pt", Part(content, blob.offset, blob.size))
        for blob in follower.looking_nested:
            if blob not in follower.nested:
                visit.budget.entry()
                visit.enter(f"bytes at {blob.offset}", Part(content, blob.offset, blob.size))


class _Follower:
    """Several pickles in one file."""

    def __init__(self, content: Content, visit: Visit, *, script: bool) -> None:
        self._content = content
        self._visit = visit
        self._script = script
        self.nested: dict[Blob, None] = {}
        self.looking_nested: list[Blob] = []

    def follow(self, *, must: bool) -> None:
        """Follow pickles until the end or until what follows is none.

        Args:
            must: The first must be one to its end.
        """
        position, torch, first = 0, False, True
        while first or self._content.read_at(position, 1):
            machine = self._one(position, must=must and first)
            if machine is None:
                if not first and not torch:
                    self._visit.found(TRAILING, "what follows the pickle is not one", position)
                return
            position, first = machine.position, False
            torch = torch or machine.root == _TORCH_MAGIC

    def _one(self, start: int, *, must: bool) -> Machine | None:
        """Follow one pickle; None if it is none, or broken."""
        notes = _Notes(self._visit, script=self._script)
        machine = Machine(self._content, start, self._visit.budget, notes)
        broken: Broken | Unreadable | Exhausted | None = None
        try:
            machine.run()
        except (Broken, Unreadable, Exhausted) as error:
            broken = error
        marked = self._content.read_at(start, 1) == b"\x80" and (machine.steps >= _ENOUGH or notes.imports)
        counts = must or marked or notes.deeds or (broken is None and notes.imports)
        if counts:
            notes.report()
            self.nested |= notes.nested
            self.looking_nested += machine.nested
            if machine.long_frame is not None:
                self._visit.found(BROKEN, "a frame is longer than what is there", machine.long_frame)
        if isinstance(broken, Broken) and counts:
            self._visit.found(BROKEN, broken.reason, broken.offset)
        elif isinstance(broken, Unreadable | Exhausted):
            raise broken
        return machine if broken is None else None


PICKLES = PickleScanner()
