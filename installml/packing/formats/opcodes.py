"""Follow a pickle's opcodes without doing what they say: nothing is imported, called or built.

Names, short texts, integers, tuples and states are kept as plain values in `Scan`, everything else is passed
over; the argument shapes come from the standard library's `pickletools` table. What the objects mean is for
the readers of scikit-learn and torch files.
"""

from __future__ import annotations

import pickletools
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod
from typing import Any

from installml.packing.formats.reader import Reader

__all__ = ["Call", "Name", "Scan", "scan"]

MAX_OPCODES = 500_000
_MAX_ARGUMENT = 2**62
_KEPT_TEXT = 256
_KEPT_NAME = 1024
_KEPT_ITEMS = 10_000
_STEP = 64 << 10
_MAX_NESTED = 8
_DTYPE = re.compile(r"[<>|=]?([a-zA-Z])(\d{0,9})")


@dataclass(frozen=True, slots=True)
class Name:
    """A class or function that the pickle refers to."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(slots=True)
class Call:
    """An object that unpickling would make: what would be called, with what, and the state it would get."""

    callee: Name
    arguments: tuple[Any, ...] = ()
    state: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Scan:
    """What one pickle mentions, in order.

    Args:
        names: Every class and function, once.
        calls: Every object that would be made.
        persistent: Every persistent id, which torch uses for storages.
        root: What unpickling would return.
        end: Offset of the byte after the pickle.
        truncated: Offset at which following stopped early because there was too much; -1 if it did not. Then
            `root` is the first object that was begun, which is the outermost one as Python's pickler writes.
    """

    names: dict[Name, None] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    persistent: list[tuple[Any, ...]] = field(default_factory=list)
    root: Any = None
    end: int = 0
    truncated: int = -1


class _Enough(Exception):
    """More follows than is looked at."""


class _Input:
    """The pickle's bytes through a small buffer, because most opcodes are one or two bytes long."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._buffer = b""
        self._at = 0

    @property
    def position(self) -> int:
        return self._reader.position - len(self._buffer) + self._at

    def fail(self, reason: str) -> Exception:
        return self._reader.fail(reason, offset=self.position)

    def _fill(self) -> bool:
        more = self._reader.some(_STEP)
        if not more and self._reader.capped and not self._reader.remaining:
            raise _Enough
        self._buffer, self._at = self._buffer[self._at :] + more, 0
        return bool(more)

    def take(self, count: int) -> bytes:
        while len(self._buffer) - self._at < count:
            if not self._fill():
                raise self.fail("ends in the middle of a pickle")
        data = self._buffer[self._at : self._at + count]
        self._at += count
        return data

    def skip(self, count: int) -> None:
        step = min(count, len(self._buffer) - self._at)
        self._at += step
        if count > step:
            if count - step > self._reader.remaining and self._reader.capped:
                raise _Enough
            self._reader.skip(count - step, "a pickled value")
            self._buffer, self._at = b"", 0

    def line(self) -> bytes:
        """Read up to a line feed; only the first 1024 bytes are kept."""
        kept = b""
        while (end := self._buffer.find(b"\n", self._at)) < 0:
            kept = (kept + self._buffer[self._at :])[:_KEPT_NAME]
            self._at = len(self._buffer)
            if not self._fill():
                raise self.fail("ends in the middle of a pickle")
        kept = (kept + self._buffer[self._at : end])[:_KEPT_NAME]
        self._at = end + 1
        return kept


_MARK = object()
_OPCODES = {opcode.code: opcode for opcode in pickletools.opcodes}


class _Machine:
    def __init__(self, reader: Reader) -> None:
        self.input = _Input(reader)
        self.found = Scan()
        self.stack: list[Any] = []
        self.memos: list[dict[int, Any]] = [{}]

    def run(self) -> Scan:
        try:
            for _ in range(MAX_OPCODES):
                if self._step():
                    return self.found
        except _Enough:
            pass
        self.found.truncated = self.input.position
        self.found.root = self.found.calls[0] if self.found.calls else None
        return self.found

    def _step(self) -> bool:
        """Follow one opcode; true after the last one."""
        start = self.input.position
        code = self.input.take(1).decode("latin-1")
        opcode = _OPCODES.get(code)
        if opcode is None:
            raise self.input.fail(f"opcode 0x{ord(code):02x} at byte {start} does not exist in a pickle")
        if opcode.name == "STOP":
            return self._stop()
        _DO.get(opcode.name, _push_argument)(self, self._argument(opcode))
        return False

    def _stop(self) -> bool:
        """End the pickle; a pickle that joblib nested inside another one ends without ending the outer one."""
        value = self.pop()
        if len(self.memos) > 1:
            self.memos.pop()
            return False
        self.found.root, self.found.end = value, self.input.position
        return True

    def _argument(self, opcode: pickletools.OpcodeInfo) -> Any:
        if opcode.arg is None:
            return None
        size = opcode.arg.n
        if size == pickletools.UP_TO_NEWLINE:
            pair = opcode.name in ("GLOBAL", "INST")
            return (self.input.line(), self.input.line()) if pair else self.input.line()
        if size >= 0:
            return int.from_bytes(self.input.take(size), "little", signed=opcode.name == "BININT")
        return self._counted(size, opcode.name)

    def _counted(self, kind: int, name: str) -> Any:
        width = _COUNTS[kind]
        size = int.from_bytes(self.input.take(width), "little", signed=kind == pickletools.TAKEN_FROM_ARGUMENT4)
        if not 0 <= size <= _MAX_ARGUMENT:
            raise self.input.fail("a pickled value has a negative or an impossible size")
        if size > _KEPT_TEXT or "BYTES" in name or "BYTEARRAY" in name:
            self.input.skip(size)
            return None
        data = self.input.take(size)
        if name.startswith("LONG"):
            return int.from_bytes(data, "little", signed=True)
        return data.decode("utf-8", "replace")

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop(self) -> Any:
        if not self.stack or self.stack[-1] is _MARK:
            raise self.input.fail("is not a pickle: it takes a value that was never given")
        return self.stack.pop()

    def top(self) -> Any:
        value = self.pop()
        self.stack.append(value)
        return value

    def marked(self) -> list[Any]:
        values: list[Any] = []
        while self.stack:
            value = self.stack.pop()
            if value is _MARK:
                return values[::-1]
            values.append(value)
        raise self.input.fail("is not a pickle: a mark is missing")

    def name(self, module: Any, name: Any) -> None:
        found = Name(module if isinstance(module, str) else "?", name if isinstance(name, str) else "?")
        self.found.names[found] = None
        self.push(found)

    def call(self, callee: Any, arguments: Any) -> None:
        made = Call(
            callee if isinstance(callee, Name) else Name("?", "?"), arguments if isinstance(arguments, tuple) else ()
        )
        self.found.calls.append(made)
        self.push(made)

    def build(self) -> None:
        state, target = self.pop(), self.top()
        if not isinstance(target, Call):
            return
        for part in state if isinstance(state, tuple) else (state,):  # (__dict__, slots) of protocol 2
            if isinstance(part, dict):
                target.state.update(part)
        if target.callee.name == "NumpyArrayWrapper" and target.callee.module.startswith("joblib."):
            self._array(target)

    def _array(self, wrapper: Call) -> None:
        """Pass over the raw numbers that joblib puts into the stream behind an array's description."""
        code, width = _item(wrapper.state.get("dtype"))
        shape = wrapper.state.get("shape")
        if not isinstance(shape, tuple) or not all(isinstance(size, int) and size >= 0 for size in shape) or not code:
            raise self.input.fail("holds a joblib array whose shape or type cannot be told")
        if code == "O":
            if len(self.memos) > _MAX_NESTED:
                raise self.input.fail("nests pickles too deeply")
            self.memos.append({})
            return
        if wrapper.state.get("numpy_array_alignment_bytes") is not None:
            self.input.skip(self.input.take(1)[0])
        self.input.skip(prod(shape[:64]) * width)


def _item(dtype: Any) -> tuple[str, int]:
    """Give a pickled dtype's kind and bytes an item."""
    word = dtype.arguments[0] if isinstance(dtype, Call) and dtype.arguments else None
    match = _DTYPE.fullmatch(word) if isinstance(word, str) else None
    if match is None:
        return "", 0
    code, width = match[1], int(match[2] or 0)
    return code, width * 4 if code == "U" else width


_COUNTS = {
    pickletools.TAKEN_FROM_ARGUMENT1: 1,
    pickletools.TAKEN_FROM_ARGUMENT4: 4,
    pickletools.TAKEN_FROM_ARGUMENT4U: 4,
    pickletools.TAKEN_FROM_ARGUMENT8U: 8,
}


def _push_argument(machine: _Machine, argument: Any) -> None:
    machine.push(argument)


def _push_line(machine: _Machine, line: bytes) -> None:
    machine.push(line.decode("utf-8", "replace").strip("'\"")[:_KEPT_TEXT])


def _push_number(machine: _Machine, line: bytes) -> None:
    word = line.strip().rstrip(b"L")
    machine.push(int(word) if re.fullmatch(rb"-?[0-9]{1,30}", word) else None)


def _nothing(_machine: _Machine, _argument: Any) -> None:
    """Leave the stack as it is."""


def _pop(machine: _Machine, _argument: Any) -> None:
    if not machine.stack:
        raise machine.input.fail("is not a pickle: it takes a value that was never given")
    machine.stack.pop()


def _pop_mark(machine: _Machine, _argument: Any) -> None:
    machine.marked()


def _get(machine: _Machine, index: Any) -> None:
    memo = machine.memos[-1]
    key = _index(machine, index)
    if key not in memo:
        raise machine.input.fail(f"is not a pickle: it asks for value {key}, which was never stored")
    machine.push(memo[key])


def _put(machine: _Machine, index: Any) -> None:
    memo = machine.memos[-1]
    memo[len(memo) if index is None else _index(machine, index)] = machine.top()


def _index(machine: _Machine, index: Any) -> int:
    if isinstance(index, bytes):
        if not re.fullmatch(rb"[0-9]{1,18}", index.strip()):
            raise machine.input.fail("is not a pickle: a memo index is not a number")
        return int(index)
    return int(index)


def _tuple(count: int) -> Callable[[_Machine, Any], None]:
    def make(machine: _Machine, _argument: Any) -> None:
        machine.push(tuple([machine.pop() for _ in range(count)][::-1]))

    return make


def _append(machine: _Machine, values: list[Any]) -> None:
    target = machine.top()
    if isinstance(target, list):
        target.extend(values[: _KEPT_ITEMS - len(target)] if len(target) < _KEPT_ITEMS else [])


def _set_items(machine: _Machine, values: list[Any]) -> None:
    target = machine.top()
    into = target.state if isinstance(target, Call) else target
    if isinstance(into, dict):
        for key, value in zip(values[::2], values[1::2], strict=False):
            if isinstance(key, str) and len(into) < _KEPT_ITEMS:
                into[key] = value


def _dict(machine: _Machine, _argument: Any) -> None:
    values = machine.marked()
    machine.push({})
    _set_items(machine, values)


def _set_item(machine: _Machine, _argument: Any) -> None:
    value = machine.pop()
    _set_items(machine, [machine.pop(), value])


def _global(machine: _Machine, pair: tuple[bytes, bytes]) -> None:
    machine.name(*(line.decode("utf-8", "replace").strip()[:_KEPT_TEXT] for line in pair))


def _stack_global(machine: _Machine, _argument: Any) -> None:
    name = machine.pop()
    machine.name(machine.pop(), name)


def _instance(machine: _Machine, pair: tuple[bytes, bytes]) -> None:
    arguments = tuple(machine.marked())
    _global(machine, pair)
    machine.call(machine.pop(), arguments)


def _object(machine: _Machine, _argument: Any) -> None:
    callee, *arguments = machine.marked() or [None]
    machine.call(callee, tuple(arguments))


def _reduce(machine: _Machine, _argument: Any) -> None:
    arguments = machine.pop()
    callee = machine.pop()
    if isinstance(callee, Name) and callee.name == "_reconstructor" and isinstance(arguments, tuple) and arguments:
        callee, arguments = arguments[0], ()  # copyreg._reconstructor(cls, base, state) of protocols 0 and 1
    machine.call(callee, arguments)


def _new_object_ex(machine: _Machine, _argument: Any) -> None:
    machine.pop()
    _reduce(machine, None)


def _persistent(machine: _Machine, argument: Any) -> None:
    value = argument if argument is not None else machine.pop()
    value = value if isinstance(value, tuple) else (value,)
    machine.found.persistent.append(value)
    machine.push(value)


_DO: dict[str, Callable[[_Machine, Any], None]] = {
    "PROTO": _nothing,
    "FRAME": _nothing,
    "READONLY_BUFFER": _nothing,
    "NEXT_BUFFER": lambda machine, _: machine.push(None),
    "MARK": lambda machine, _: machine.push(_MARK),
    "POP": _pop,
    "POP_MARK": _pop_mark,
    "DUP": lambda machine, _: machine.push(machine.top()),
    "NEWTRUE": lambda machine, _: machine.push(True),
    "NEWFALSE": lambda machine, _: machine.push(False),
    "INT": _push_number,
    "LONG": _push_number,
    "FLOAT": lambda machine, _: machine.push(None),
    "BINFLOAT": lambda machine, _: machine.push(None),
    "STRING": _push_line,
    "UNICODE": _push_line,
    "EMPTY_LIST": lambda machine, _: machine.push([]),
    "EMPTY_SET": lambda machine, _: machine.push([]),
    "EMPTY_DICT": lambda machine, _: machine.push({}),
    "EMPTY_TUPLE": lambda machine, _: machine.push(()),
    "LIST": lambda machine, _: machine.push(machine.marked()[:_KEPT_ITEMS]),
    "FROZENSET": lambda machine, _: machine.push(machine.marked()[:_KEPT_ITEMS]),
    "TUPLE": lambda machine, _: machine.push(tuple(machine.marked())),
    "TUPLE1": _tuple(1),
    "TUPLE2": _tuple(2),
    "TUPLE3": _tuple(3),
    "DICT": _dict,
    "APPEND": lambda machine, _: _append(machine, [machine.pop()]),
    "APPENDS": lambda machine, _: _append(machine, machine.marked()),
    "ADDITEMS": lambda machine, _: _append(machine, machine.marked()),
    "SETITEM": _set_item,
    "SETITEMS": lambda machine, _: _set_items(machine, machine.marked()),
    "GET": _get,
    "BINGET": _get,
    "LONG_BINGET": _get,
    "PUT": _put,
    "BINPUT": _put,
    "LONG_BINPUT": _put,
    "MEMOIZE": _put,
    "GLOBAL": _global,
    "STACK_GLOBAL": _stack_global,
    "INST": _instance,
    "OBJ": _object,
    "REDUCE": _reduce,
    "NEWOBJ": _reduce,
    "NEWOBJ_EX": _new_object_ex,
    "BUILD": lambda machine, _: machine.build(),
    "PERSID": _persistent,
    "BINPERSID": _persistent,
    "EXT1": lambda machine, _: machine.name("copyreg", "extension"),
    "EXT2": lambda machine, _: machine.name("copyreg", "extension"),
    "EXT4": lambda machine, _: machine.name("copyreg", "extension"),
}


def scan(reader: Reader) -> Scan:
    """Follow one pickle from where the reader stands to its STOP.

    Args:
        reader: At the pickle's first byte; may be a compressed stream.

    Returns:
        What it mentions; after 500,000 opcodes what it mentioned until then, with `truncated` set.

    Raises:
        FormatError: It ends early, or is not a pickle.
    """
    return _Machine(reader).run()
