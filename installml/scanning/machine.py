"""Follow a pickle's opcodes as an unpickler would, without importing, calling or building anything.

What CPython's `_pickle.c` does is followed where it differs from `pickletools`: marks keep the values below them out
of reach, POP may take a mark away, MEMOIZE counts the values held, text opcodes are decoded the way it decodes them.
Frames are passed over, as the C unpickler does; one that is longer than what is there is noted in `long_frame`.
`pickletools` gives the numbers of the opcodes; their widths are here.
"""

from __future__ import annotations

import codecs
import pickletools
import re
import warnings
from collections.abc import Callable, Iterable, Iterator
from math import prod
from typing import Any, Protocol, TypeGuard

from installml.scanning.calls import DATA, Blob, Import, Items, Made, only_called
from installml.scanning.finding import Budget, Content, Exhausted
from installml.scanning.imports import Verdict, judge

__all__ = ["Broken", "Machine", "Watcher"]

_STEP = 256 << 10
_BATCH = 4096
_KEPT_TEXT = 256
_KEPT_LINE = 4096
_KEPT_ITEMS = 64
#: Values on the stack or in the memo, and bytes of text among them, that a scan keeps for one pickle.
_MAX_HELD = 4_000_000
_MAX_HELD_TEXT = 256 << 20
_HIGHEST_PROTOCOL = 5
_MAX_NESTED = 8
_MAX_BLOBS = 10_000
#: How bytes begin that look like a pickle themselves, or like what holds one, and how many they must be.
_NESTED = (
    *(b"\x80" + bytes([protocol]) for protocol in range(2, _HIGHEST_PROTOCOL + 1)),
    b"PK\x03\x04",
    b"\x93NUMPY",
    b"\x1f\x8b\x08",
    b"\xfd7zXZ\0",
)
_SMALLEST = 8
#: Classes whose objects CPython takes for a state to update attributes with.
_DICTIONARIES = frozenset(
    ("Bunch", "Counter", "DeprecationDict", "OptimizeResult", "OrderedDict", "defaultdict", "dict", "AttributeDict")
)


class Watcher(Protocol):
    """Who is told what unpickling would do."""

    def imported(self, thing: Import, offset: int) -> None:
        """Something would be imported."""
        ...

    def called(self, callee: Import, arguments: tuple[Any, ...] | None, offset: int) -> None:
        """Something would be called; the arguments are None if they cannot be told."""
        ...

    def opaque_call(self, value: Any, offset: int) -> None:
        """Something would be called that is no plain import."""
        ...

    def changed(self, target: Any, how: str, offset: int) -> None:
        """An imported thing itself, not an object made from it, would get a new attribute or item."""
        ...

    def stated(self, made: Any, key: str, offset: int) -> None:
        """An object would get an attribute whose name means something to Python."""
        ...

    def handed(self, thing: Import, offset: int) -> None:
        """Something that is only to be called would be given to something else, which may call it."""
        ...

    def extended(self, code: int, offset: int) -> None:
        """A number of copyreg's extension registry would be looked up."""
        ...

    def persistent(self, value: Any, offset: int) -> None:
        """The loader's own persistent_load would be asked."""
        ...

    def branched(self, machine: Machine) -> None:
        """joblib would pass over raw numbers here and plain pickle would not: the copy goes on as plain pickle does."""
        ...


class Broken(Exception):
    """Unpickling stops here with an error; what came before was done."""

    def __init__(self, reason: str, offset: int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.offset = offset


#: What numpy's dtype.__reduce__ writes: a kind and the bytes of an item, which of U is the number of characters.
_DTYPE = re.compile(r"([biufcmMOSUV])([0-9]{1,9})", re.ASCII)
_NAMES = {ord(opcode.code): opcode.name for opcode in pickletools.opcodes}


class Machine:
    """One pickle, from its first opcode to STOP.

    Args:
        content: Where it stands.
        start: Its first byte.
        budget: Pays for every opcode.
        watcher: Is told what would happen.
        plain: Raw numbers behind a joblib array are not passed over, as in plain pickle.

    After `run`, ``nested`` has the bytes in it that look like a pickle, or what holds one.
    """

    def __init__(self, content: Content, start: int, budget: Budget, watcher: Watcher, *, plain: bool = False) -> None:
        self._content = content
        self._budget = budget
        self._watcher = watcher
        self._plain = plain
        self._buffer = b""
        self._base = start
        self._at = 0
        self._opcode_at = start
        self._stack: list[Any] = []
        self._below: list[list[Any]] = []
        self._memo: dict[int, Any] = {}
        self._outer: list[tuple[dict[int, Any], list[Any], list[list[Any]]]] = []
        self._held_text = 0
        self._stopped = False
        self._branched = False
        self._watching = False  # something is imported that is only to be called
        self.steps = 0
        self.long_frame: int | None = None
        self.nested: list[Blob] = []
        self.root: Any = DATA
        self._table = [_DO.get(_NAMES.get(code, "")) for code in range(256)]

    @property
    def position(self) -> int:
        """Offset of the next byte."""
        return self._base + self._at

    def watch(self, watcher: Watcher) -> None:
        """Tell somebody else from now on."""
        self._watcher = watcher

    def run(self) -> None:
        """Follow the pickle to its STOP.

        Raises:
            Broken: Unpickling would end with an error.
            Exhausted: It has too many opcodes or holds too much.
            Unreadable: What it is compressed with is damaged.
        """
        while not self._stopped:
            before = self.steps
            try:
                self._some_steps()
            finally:
                self._budget.step(self.steps - before)
            if len(self._stack) > _MAX_HELD or len(self._memo) > _MAX_HELD or len(self._below) > _MAX_HELD:
                raise Exhausted(f"holds more than {_MAX_HELD} values at once")

    def _some_steps(self) -> None:
        table = self._table
        for _ in range(_BATCH):
            if self._at >= len(self._buffer):
                self._fill(1)
            self._opcode_at = self._base + self._at
            code = self._buffer[self._at]
            self._at += 1
            do = table[code]
            if do is None:
                raise self._broken(f"0x{code:02x} is no opcode")
            self.steps += 1
            do(self)
            if self._stopped:
                return

    def _broken(self, reason: str) -> Broken:
        return Broken(reason, self._opcode_at)

    # Input

    def _fill(self, count: int) -> None:
        """Have at least ``count`` bytes in the buffer."""
        position = self.position
        buffer = self._buffer[self._at :]
        while len(buffer) < count:
            more = self._content.read_at(position + len(buffer), _STEP)
            if not more:
                raise Broken("it ends in the middle", position + len(buffer))
            buffer += more
        self._buffer, self._base, self._at = buffer, position, 0

    def _take(self, count: int) -> bytes:
        if len(self._buffer) - self._at < count:
            self._fill(count)
        data = self._buffer[self._at : self._at + count]
        self._at += count
        return data

    def _number(self, width: int, *, signed: bool = False) -> int:
        return int.from_bytes(self._take(width), "little", signed=signed)

    def _skip(self, count: int) -> None:
        """Pass over ``count`` bytes, of which the last must be there."""
        if count <= len(self._buffer) - self._at:
            self._at += count
            return
        end = self.position + count
        if end >= 1 << 62 or not self._content.read_at(end - 1, 1):
            raise self._broken(f"it promises {count} bytes that are not there")
        self._buffer, self._base, self._at = b"", end, 0

    def _line(self) -> bytes:
        """Read up to a line feed; of a long line only the beginning is kept, with a mark that nothing can mean."""
        kept = b""
        while (end := self._buffer.find(b"\n", self._at)) < 0:
            if len(kept) <= _KEPT_LINE:
                kept += self._buffer[self._at : self._at + _KEPT_LINE + 1]
            self._at = len(self._buffer)
            try:
                self._fill(1)
            except Broken:
                return kept[:-1]  # Python takes the last byte for the line feed, and no byte for an empty line
        if len(kept) <= _KEPT_LINE:
            kept += self._buffer[self._at : min(end, self._at + _KEPT_LINE + 1)]
        self._at = end + 1
        return kept

    # Stack

    def _push(self, value: Any) -> None:
        self._stack.append(value)

    def _pop(self) -> Any:
        if not self._stack:
            raise self._broken("it takes a value that was never given")
        return self._stack.pop()

    def _top(self) -> Any:
        if not self._stack:
            raise self._broken("it takes a value that was never given")
        return self._stack[-1]

    def _mark(self) -> None:
        self._below.append(self._stack)
        self._stack = []

    def _marked(self) -> list[Any]:
        if not self._below:
            raise self._broken("a mark is missing")
        values, self._stack = self._stack, self._below.pop()
        if self._watching:
            self._check_handed(values)
        return values

    def _check_handed(self, values: Iterable[Any]) -> None:
        for value in values:
            if isinstance(value, Import) and only_called(value):
                self._watcher.handed(value, self._opcode_at)

    def _pop_any(self) -> None:
        # _pickle.c, load_pop: with nothing above the mark, the mark itself goes.
        if self._stack:
            self._stack.pop()
        else:
            self._marked()

    def _pop_mark(self) -> None:
        self._marked()

    def _keep(self) -> None:
        self._top()

    def _text(self, data: bytes, encoding: str) -> None:
        if len(data) > _KEPT_TEXT:
            self._push(DATA)
            return
        try:
            text = data.decode(encoding, "surrogatepass" if encoding == "utf-8" else "strict")
        except UnicodeDecodeError:
            raise self._broken("a text cannot be decoded") from None
        self._hold(len(text))
        self._push(text)

    def _hold(self, count: int) -> None:
        self._held_text += count
        if self._held_text > _MAX_HELD_TEXT:
            raise Exhausted(f"holds more than {_MAX_HELD_TEXT} bytes of text at once")

    # Values

    def _counted_text(self, width: int, encoding: str) -> None:
        size = self._number(width, signed=encoding == "latin-1" and width == 4)
        if size < 0:
            raise self._broken("a text has a negative size")
        if size > _KEPT_TEXT:
            self._skip(size)
            self._push(DATA)
        else:
            self._text(self._take(size), encoding)

    def _blob(self, width: int) -> None:
        size = self._number(width)
        blob = Blob(self.position, size)
        if size >= _SMALLEST:
            if len(self._buffer) - self._at < _SMALLEST:
                self._fill(_SMALLEST)
            if self._buffer.startswith(_NESTED, self._at) and len(self.nested) < _MAX_BLOBS:
                self.nested.append(blob)
        self._skip(size)
        self._push(blob)

    def _long(self, width: int) -> None:
        size = self._number(width, signed=width == 4)
        if size < 0:
            raise self._broken("a number has a negative size")
        if size > 16:
            self._skip(size)
            self._push(DATA)
        else:
            self._push(int.from_bytes(self._take(size), "little", signed=True))

    def _float(self) -> None:
        self._take(8)
        self._push(DATA)

    def _number_line(self) -> None:
        line = self._line().strip().removesuffix(b"L")
        try:
            self._push(int(line.decode("ascii"), 0) if len(line) <= 40 else DATA)
        except ValueError:
            self._push(DATA)  # "01" and "00" are True and False, some octal numbers are accepted

    def _float_line(self) -> None:
        self._line()
        self._push(DATA)

    def _quoted_line(self) -> None:
        """Read STRING: quotes and escapes as in Python 2, "S'\\x6fs'" is "os"."""
        line = self._line()
        if len(line) > _KEPT_LINE:
            self._push(DATA)
            return
        line = line.strip()
        if len(line) < 2 or line[:1] != line[-1:] or line[:1] not in (b"'", b'"'):
            raise self._broken("a text has no quotes")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                data = codecs.escape_decode(line[1:-1])[0]
        except ValueError:
            raise self._broken("a text cannot be decoded") from None
        self._text(bytes(data), "latin-1")

    def _unicode_line(self) -> None:
        line = self._line()
        if len(line) > _KEPT_TEXT * 10:
            self._push(DATA)
            return
        try:
            text = line.decode("raw-unicode-escape")
        except UnicodeDecodeError:
            raise self._broken("a text cannot be decoded") from None
        self._hold(len(text))
        self._push(text if len(text) <= _KEPT_TEXT else DATA)

    def _protocol(self) -> None:
        if self._number(1) > _HIGHEST_PROTOCOL:
            raise self._broken("it has a protocol that does not exist")

    def _frame(self) -> None:
        size = self._number(8)
        end = self.position + size
        if size and (end >= 1 << 62 or (end > self._base + len(self._buffer) and not self._there(end - 1))):
            self.long_frame = self._opcode_at  # CPython stops here; not everybody has to

    def _there(self, offset: int) -> bool:
        # A small frame is read ahead: in a compressed content going back is dear.
        if offset - self.position < 4 * _STEP:
            try:
                self._fill(offset - self.position + 1)
            except Broken:
                return False
            return True
        return bool(self._content.read_at(offset, 1))

    # Memo

    def _put(self, index: int | None) -> None:
        self._memo[len(self._memo) if index is None else index] = self._top()

    def _get(self, index: int) -> None:
        if index not in self._memo:
            raise self._broken(f"it asks for value {index}, which was never stored")
        self._push(self._memo[index])

    def _index_line(self) -> int:
        line = self._line()
        try:
            return int(line[:64].decode("ascii"))
        except ValueError:
            raise self._broken("a memo index is not a number") from None

    # Containers

    def _tuple(self, count: int) -> None:
        if len(self._stack) < count:
            raise self._broken("it takes a value that was never given")
        values = tuple(self._stack[-count:])
        del self._stack[-count:]
        if self._watching:
            self._check_handed(values)
        self._push(values)

    def _append(self, values: list[Any]) -> None:
        if self._watching:
            self._check_handed(values)
        self._into(self._top(), "appended to")

    def _set_items(self, values: list[Any]) -> None:
        target = self._top()
        self._into(target, "given an item")
        if self._watching:
            self._check_handed(values)
        if isinstance(target, Items):
            for key, value in zip(values[::2], values[1::2], strict=False):
                if isinstance(key, str) and (len(target.known) < _KEPT_ITEMS or _special(key)):
                    target.known[key] = value
                elif isinstance(key, Made) and not _no_text(key):
                    target.computed = True

    def _into(self, target: Any, how: str) -> None:
        if _shared(target):
            self._watcher.changed(target, how, self._opcode_at)

    def _listing(self) -> None:
        self._marked()
        self._push(Items())

    def _dict(self) -> None:
        values = self._marked()
        self._push(Items())
        self._set_items(values)

    # Imports and calls

    def _import(self, module: Any, name: Any) -> None:
        known = isinstance(module, str) and isinstance(name, str)
        verdict = judge(module, name) if known else Verdict.unknown
        thing = Import(module if known else "", name if known else "", verdict)
        self._watcher.imported(thing, self._opcode_at)
        self._watching = self._watching or only_called(thing)
        self._push(thing)

    def _global(self) -> None:
        pair = [self._line(), self._line()]
        texts: list[Any] = [_utf8(line) if len(line) <= _KEPT_LINE else DATA for line in pair]
        self._import(*texts)

    def _stack_global(self) -> None:
        name = self._pop()
        module = self._pop()
        if _no_text(module) or _no_text(name):
            raise self._broken("the name of an import is no text")
        self._import(module, name)

    def _instance(self) -> None:
        self._global()  # CPython imports before it looks for the mark
        callee = self._pop()
        self._call(callee, tuple(self._marked()))

    def _object(self) -> None:
        watching, self._watching = self._watching, False
        values = self._marked()
        self._watching = watching
        if not values:
            raise self._broken("it takes a value that was never given")
        self._check_handed(values[1:])
        self._call(values[0], tuple(values[1:]))

    def _reduce(self) -> None:
        arguments = self._pop()
        self._call(self._pop(), arguments)

    def _new_object_ex(self) -> None:
        keywords = self._pop()
        arguments = self._pop()
        given = isinstance(keywords, Items) and keywords.known
        self._call(self._pop(), None if given else arguments)

    def _call(self, callee: Any, arguments: Any) -> None:
        known = arguments if isinstance(arguments, tuple) else None
        if not isinstance(callee, Import):
            self._watcher.opaque_call(callee, self._opcode_at)
            self._push(Made(None, known))
            return
        made = Made(callee, known)
        self._watcher.called(callee, known, self._opcode_at)
        if callee.name == "getattr" and known and len(known) == 2 and isinstance(known[1], str):
            owner = known[0] if isinstance(known[0], Import) else callee
            name = f"{owner.name}.{known[1]}"
            self._push(Import(owner.module, name, judge(owner.module, name)))
            return
        self._push(made)

    def _build(self) -> None:
        state, target = self._pop(), self._top()
        self._into(target, "given a state")
        if self._watching:
            self._check_handed((state,))
        for part in state if isinstance(state, tuple) else (state,):  # (__dict__, slots) of protocol 2
            for key in _keys(part):
                self._watcher.stated(target, key, self._opcode_at)
        if isinstance(target, Made):
            target.state = state
            if target.callee is not None and target.callee.name == "NumpyArrayWrapper":
                self._joblib_array(target)

    def _persistent(self, value: Any) -> None:
        self._watcher.persistent(value, self._opcode_at)
        self._push(Made(None, None))

    def _extension(self, width: int) -> None:
        self._watcher.extended(self._number(width, signed=width == 4), self._opcode_at)
        self._push(Made(None, None))

    # joblib

    def _joblib_array(self, wrapper: Made) -> None:
        """Pass over the raw numbers that joblib puts into the stream behind an array's description.

        joblib.numpy_pickle.NumpyArrayWrapper.read_array is followed. An array of objects is a pickle of its own with
        a memo of its own, in the middle of the outer one.
        """
        if self._plain:
            return
        if not self._branched:
            self._branched = True
            self._watcher.branched(self._copy())
        known = wrapper.state.known if isinstance(wrapper.state, Items) else {}
        shape, alignment = known.get("shape"), known.get("numpy_array_alignment_bytes")
        kind, width = _item(known.get("dtype"))
        if not _is_shape(shape) or not kind:
            raise self._broken("it holds a joblib array whose shape or type cannot be told")
        if kind == "O":
            self._enter_object_array()
            return
        if isinstance(alignment, int):
            self._skip(self._number(1))
        self._skip(prod(shape) * width)

    def _enter_object_array(self) -> None:
        if len(self._outer) >= _MAX_NESTED:
            raise Exhausted(f"nests more than {_MAX_NESTED} pickles in one another")
        self._outer.append((self._memo, self._stack, self._below))
        self._memo, self._stack, self._below = {}, [], []

    def _stop(self) -> None:
        value = self._pop()
        if self._outer:
            self._memo, self._stack, self._below = self._outer.pop()
            return
        self.root = value
        self._stopped = True

    def _copy(self) -> Machine:
        """Return a machine that goes on from here as plain pickle would."""
        twin = Machine(self._content, self.position, self._budget, self._watcher, plain=True)
        twin._stack = list(self._stack)
        twin._below = [list(values) for values in self._below]
        twin._memo = dict(self._memo)
        twin._watching = self._watching
        return twin


def _special(key: str) -> bool:
    return key.startswith("__") and key.endswith("__") and key not in ("__orig_class__", "__version__")


def _no_text(value: Any) -> bool:
    """Say whether something is surely no text; CPython imports by exact texts only, not by those of a subclass."""
    if isinstance(value, Made):
        return value.callee is not None and value.callee.verdict is Verdict.allowed and value.callee.name[:1].isupper()
    if isinstance(value, Import):
        return value.verdict is Verdict.allowed
    return isinstance(value, int | tuple | Items | Blob)


def _keys(state: Any) -> Iterator[str]:
    """Yield keys of a state that mean something to Python, or that cannot be told."""
    if isinstance(state, Items):
        yield from filter(_special, state.known)
        if state.computed:
            yield "a computed name"
    if isinstance(state, Made) and state.callee is not None and state.callee.name in _DICTIONARIES:
        yield "names out of a call"


def _shared(target: Any) -> bool:
    """Say whether something is not the pickle's own: an import, or a class that type() handed out."""
    return isinstance(target, Import) or (
        isinstance(target, Made) and (target.is_of("builtins", "type") or target.is_of("__builtin__", "type"))
    )


def _is_shape(value: Any) -> TypeGuard[tuple[int, ...]]:
    return isinstance(value, tuple) and len(value) <= 64 and all(isinstance(size, int) and size >= 0 for size in value)


def _utf8(line: bytes) -> Any:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError:
        return DATA


def _item(dtype: Any) -> tuple[str, int]:
    """Return a pickled numpy.dtype's kind and bytes an item; ("O", 0) for objects, ("", 0) if it cannot be told."""
    if not isinstance(dtype, Made) or not dtype.is_of("numpy", "dtype") or not dtype.arguments:
        return "", 0
    code = dtype.arguments[0]
    match = _DTYPE.fullmatch(code) if isinstance(code, str) else None
    if match is None:
        return "", 0
    kind, width = match[1], int(match[2])
    if kind == "O":
        return "O", 0
    state: tuple[Any, ...] = dtype.state if isinstance(dtype.state, tuple) else ()
    if kind in "SUV" and state:  # numpy: arraydescr_setstate sets the size of these from the state
        return _flexible(kind, width * (4 if kind == "U" else 1), state)
    return kind, width * (4 if kind == "U" else 1)


def _flexible(kind: str, width: int, state: tuple[Any, ...]) -> tuple[str, int]:
    # (version, order, subarray, names, fields, size, alignment, flags); flags of 0 say that no field is an object.
    if len(state) < 8 or not isinstance(state[5], int):
        return "", 0
    fields = state[4]
    plain = not isinstance(fields, Items) or all(_plain_field(field) for field in fields.known.values())
    if not plain or (kind == "V" and state[7] not in (0, 16)):
        return "", 0
    return kind, state[5] if state[5] >= 0 else width


def _plain_field(field: Any) -> bool:
    return isinstance(field, tuple) and bool(field) and _item(field[0])[0] not in ("", "O")


_Do = Callable[[Machine], None]

# The machine's table reaches into the machine: it is a part of it.
_DO: dict[str, _Do] = {
    "PROTO": Machine._protocol,
    "FRAME": Machine._frame,
    "STOP": Machine._stop,
    "MARK": Machine._mark,
    "POP": Machine._pop_any,
    "POP_MARK": Machine._pop_mark,
    "DUP": lambda m: m._push(m._top()),
    "NONE": lambda m: m._push(DATA),
    "NEWTRUE": lambda m: m._push(True),
    "NEWFALSE": lambda m: m._push(False),
    "INT": Machine._number_line,
    "LONG": Machine._number_line,
    "BININT": lambda m: m._push(m._number(4, signed=True)),
    "BININT1": lambda m: m._push(m._number(1)),
    "BININT2": lambda m: m._push(m._number(2)),
    "LONG1": lambda m: m._long(1),
    "LONG4": lambda m: m._long(4),
    "FLOAT": Machine._float_line,
    "BINFLOAT": Machine._float,
    "STRING": Machine._quoted_line,
    "BINSTRING": lambda m: m._counted_text(4, "latin-1"),
    "SHORT_BINSTRING": lambda m: m._counted_text(1, "latin-1"),
    "BINBYTES": lambda m: m._blob(4),
    "SHORT_BINBYTES": lambda m: m._blob(1),
    "BINBYTES8": lambda m: m._blob(8),
    "BYTEARRAY8": lambda m: m._blob(8),
    "NEXT_BUFFER": lambda m: m._push(DATA),
    "READONLY_BUFFER": Machine._keep,
    "UNICODE": Machine._unicode_line,
    "SHORT_BINUNICODE": lambda m: m._counted_text(1, "utf-8"),
    "BINUNICODE": lambda m: m._counted_text(4, "utf-8"),
    "BINUNICODE8": lambda m: m._counted_text(8, "utf-8"),
    "EMPTY_LIST": lambda m: m._push(Items()),
    "EMPTY_SET": lambda m: m._push(Items()),
    "EMPTY_DICT": lambda m: m._push(Items()),
    "EMPTY_TUPLE": lambda m: m._push(()),
    "LIST": Machine._listing,
    "FROZENSET": Machine._listing,
    "TUPLE": lambda m: m._push(tuple(m._marked())),
    "TUPLE1": lambda m: m._tuple(1),
    "TUPLE2": lambda m: m._tuple(2),
    "TUPLE3": lambda m: m._tuple(3),
    "DICT": Machine._dict,
    "APPEND": lambda m: m._append([m._pop()]),
    "APPENDS": lambda m: m._append(m._marked()),
    "ADDITEMS": lambda m: m._append(m._marked()),
    "SETITEM": lambda m: m._set_items([m._pop(), m._pop()][::-1]),
    "SETITEMS": lambda m: m._set_items(m._marked()),
    "GET": lambda m: m._get(m._index_line()),
    "BINGET": lambda m: m._get(m._number(1)),
    "LONG_BINGET": lambda m: m._get(m._number(4)),
    "PUT": lambda m: m._put(m._index_line()),
    "BINPUT": lambda m: m._put(m._number(1)),
    "LONG_BINPUT": lambda m: m._put(m._number(4)),
    "MEMOIZE": lambda m: m._put(None),
    "GLOBAL": Machine._global,
    "STACK_GLOBAL": Machine._stack_global,
    "INST": Machine._instance,
    "OBJ": Machine._object,
    "REDUCE": Machine._reduce,
    "NEWOBJ": Machine._reduce,
    "NEWOBJ_EX": Machine._new_object_ex,
    "BUILD": Machine._build,
    "PERSID": lambda m: m._persistent(m._line()),
    "BINPERSID": lambda m: m._persistent(m._pop()),
    "EXT1": lambda m: m._extension(1),
    "EXT2": lambda m: m._extension(2),
    "EXT4": lambda m: m._extension(4),
}
