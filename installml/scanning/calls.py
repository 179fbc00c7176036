"""The values that a followed pickle handles, and the few allowed functions that need certain arguments."""

from __future__ import annotations

import keyword
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from installml.scanning.imports import Verdict, judge

__all__ = ["DATA", "Blob", "Import", "Items", "Made", "only_called", "refuse"]


class _Data:
    """Numbers, long texts, None: whatever nothing depends on."""

    def __repr__(self) -> str:
        return "data"


#: Stands for every value that cannot matter.
DATA = _Data()
_LARGEST_MADE = 1 << 30


@dataclass(frozen=True, slots=True)
class Import:
    """A class, function or other thing that the pickle imports by name.

    Args:
        module: As spelt in the pickle; "" where it could not be told.
        name: As spelt in the pickle.
        verdict: What is thought of it.
    """

    module: str
    name: str
    verdict: Verdict

    def __str__(self) -> str:
        return f"{self.module or '?'}.{self.name or '?'}"


@dataclass(slots=True, eq=False)
class Items:
    """A list, set or dictionary; of dictionaries with words as keys the first entries are known.

    Args:
        known: Those entries, and all whose key means something to Python.
        computed: A key comes out of a call and may be any text.
    """

    known: dict[str, Any] = field(default_factory=dict)
    computed: bool = False


@dataclass(slots=True, eq=False)
class Made:
    """What comes out of a call, or of persistent_load.

    Args:
        callee: What was called; None if that is no plain import.
        arguments: Positional arguments; None if they cannot be told.
        state: What BUILD gave it, the last one.
    """

    callee: Import | None
    arguments: tuple[Any, ...] | None = None
    state: Any = DATA

    def is_of(self, module: str, name: str) -> bool:
        """Say whether it was made by calling exactly that."""
        return self.callee is not None and (self.callee.module, self.callee.name) == (module, name)


@dataclass(frozen=True, slots=True)
class Blob:
    """Bytes that stand in the pickle."""

    offset: int
    size: int


def refuse(callee: Import, arguments: tuple[Any, ...] | None) -> str:
    """Return why an allowed thing may not be called with these arguments; "" if it may."""
    rule = _RULES.get((callee.module, callee.name))
    if rule is None and callee.name.startswith("__pyx_unpickle_"):
        rule = _class_first
    if rule is None:
        return ""
    return rule(arguments) if arguments is not None else "its arguments cannot be told"


def only_called(thing: Import) -> bool:
    """Say whether something may be called where its arguments are seen, and handed to nothing that may call it."""
    return (thing.module, thing.name) in _ONLY_CALLED


_ONLY_CALLED = frozenset(
    (
        ("builtins", "getattr"),
        ("__builtin__", "getattr"),
        ("numpy.core", "_ufunc_reconstruct"),
        ("numpy._core", "_ufunc_reconstruct"),
        ("torch.storage", "_load_from_bytes"),
        ("torch._tensor", "_rebuild_from_type_v2"),
    )
)

_Rule = Callable[[tuple[Any, ...]], str]


def _allowed(value: Any) -> bool:
    return isinstance(value, Import) and value.verdict is Verdict.allowed


def _class_first(arguments: tuple[Any, ...]) -> str:
    return "" if arguments and _allowed(arguments[0]) else "its first argument is no allowed class"


def _encode(arguments: tuple[Any, ...]) -> str:
    # Protocols 0 to 2 spell bytes as _codecs.encode(text, "latin1"); another codec is looked up, and imported, by name.
    spelt = len(arguments) == 2 and isinstance(arguments[1], str)
    return "" if spelt and arguments[1] in ("latin1", "latin-1", "utf-8", "ascii") else "the codec is not latin1"


def _getattr(arguments: tuple[Any, ...]) -> str:
    if len(arguments) == 2 and _allowed(arguments[0]) and isinstance(arguments[1], str):
        owner, name = arguments
        if (owner.module, owner.name, name) == ("zoneinfo", "ZoneInfo", "_unpickle"):
            return ""
        if owner.name in _ENUMS and name.isidentifier() and name.isupper() and not keyword.iskeyword(name):
            return ""
    return "it looks up an attribute by name"


#: Some releases of Python pickle an enumeration's members by name; the values of these are plain.
_ENUMS = frozenset(
    (
        "DebugOption",
        "DistributedType",
        "EvaluationStrategy",
        "FSDPOption",
        "HubStrategy",
        "IntervalStrategy",
        "OptimizerNames",
        "PrecisionType",
        "SaveStrategy",
        "SchedulerType",
    )
)


def _one(arguments: tuple[Any, ...]) -> str:
    return "" if len(arguments) == 1 else "it makes a new class"


def _no_arguments(arguments: tuple[Any, ...]) -> str:
    return "" if not arguments else "its constructor is not to be called with arguments"


def _reconstructor(arguments: tuple[Any, ...]) -> str:
    # copyreg._reconstructor(class, base, state): base.__new__ and base.__init__ are called.
    known = len(arguments) == 3 and _allowed(arguments[0]) and _allowed(arguments[1])
    if known and arguments[1].module in ("builtins", "__builtin__"):
        return ""
    return "the class or its base is not an allowed one"


def _factory(arguments: tuple[Any, ...]) -> str:
    known = not arguments or arguments[0] is DATA or _allowed(arguments[0])
    return "" if known else "its factory is not an allowed one"


def _callable_second(arguments: tuple[Any, ...]) -> str:
    # numpy's constructors call their second argument with the first.
    second = arguments[1] if len(arguments) > 1 else None
    if second is None or (isinstance(second, Import) and second.name == "__bit_generator_ctor" and _allowed(second)):
        return "" if len(arguments) <= 2 else "it has too many arguments"
    return "it would call its second argument"


def _bit_generator(arguments: tuple[Any, ...]) -> str:
    known = all(isinstance(value, str) or _allowed(value) for value in arguments)
    return "" if known else "its argument is no bit generator"


def _from_type(arguments: tuple[Any, ...]) -> str:
    # torch._tensor._rebuild_from_type_v2(function, type, arguments, state) calls the function.
    if len(arguments) != 4 or not (_allowed(arguments[0]) and _allowed(arguments[1])):
        return "it would call something that is not allowed"
    inner = arguments[2] if isinstance(arguments[2], tuple) else None
    return refuse(arguments[0], inner)


def _ufunc(arguments: tuple[Any, ...]) -> str:
    # numpy.core._ufunc_reconstruct(module, name) imports the module.
    words = len(arguments) == 2 and all(isinstance(word, str) for word in arguments)
    return "" if words and judge(*arguments) is Verdict.allowed else "it imports a function by name"


def _sized(arguments: tuple[Any, ...]) -> str:
    large = arguments and isinstance(arguments[0], int) and arguments[0] > _LARGEST_MADE
    return "it would fill the memory" if large else ""


def _pattern(arguments: tuple[Any, ...]) -> str:
    return "" if arguments and isinstance(arguments[0], str) else "its pattern is not short plain text"


def _blob(arguments: tuple[Any, ...]) -> str:
    # torch.storage._load_from_bytes(bytes) is torch.load; the bytes are scanned as a file of their own.
    return (
        "" if len(arguments) == 1 and isinstance(arguments[0], Blob) else "it unpickles bytes that are made elsewhere"
    )


_RULES: Mapping[tuple[str, str], _Rule] = {
    ("_codecs", "encode"): _encode,
    ("builtins", "getattr"): _getattr,
    ("__builtin__", "getattr"): _getattr,
    ("builtins", "type"): _one,
    ("__builtin__", "type"): _one,
    ("builtins", "bytearray"): _sized,
    ("builtins", "bytes"): _sized,
    ("__builtin__", "bytearray"): _sized,
    ("__builtin__", "bytes"): _sized,
    ("collections", "defaultdict"): _factory,
    ("copyreg", "_reconstructor"): _reconstructor,
    ("copy_reg", "_reconstructor"): _reconstructor,
    ("copyreg", "__newobj__"): _class_first,
    ("copy_reg", "__newobj__"): _class_first,
    ("copyreg", "__newobj_ex__"): _class_first,
    ("re", "_compile"): _pattern,
    ("numpy.core", "_ufunc_reconstruct"): _ufunc,
    ("numpy._core", "_ufunc_reconstruct"): _ufunc,
    ("numpy.core._internal", "_reconstruct"): _class_first,
    ("numpy.core.multiarray", "_reconstruct"): _class_first,
    ("numpy._core.multiarray", "_reconstruct"): _class_first,
    ("numpy.random._pickle", "__bit_generator_ctor"): _bit_generator,
    ("numpy.random._pickle", "__generator_ctor"): _callable_second,
    ("numpy.random._pickle", "__randomstate_ctor"): _callable_second,
    ("pandas.core.indexes.base", "_new_Index"): _class_first,
    ("torch._tensor", "_rebuild_from_type_v2"): _from_type,
    ("torch.storage", "_load_from_bytes"): _blob,
    ("accelerate.state", "AcceleratorState"): _no_arguments,
    ("accelerate.state", "PartialState"): _no_arguments,
    ("accelerate.utils.dataclasses", "DeepSpeedPlugin"): _no_arguments,
    ("transformers.training_args", "TrainingArguments"): _no_arguments,
    ("transformers.training_args_seq2seq", "Seq2SeqTrainingArguments"): _no_arguments,
}
