"""ONNX: does a model reach for files outside its folder, and do its tensors lie where it says?

Field numbers are those of onnx/onnx.proto; the rules for external data those of onnx's docs/ExternalData.md and of its
own checks after CVE-2022-25882, CVE-2024-5187 and CVE-2024-27318. Weights inside the file are not read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import PurePosixPath, PureWindowsPath

from installml.scanning.cursor import Cursor
from installml.scanning.finding import Content, Finding, Report, Rule, Severity, Unreadable, Visit
from installml.scanning.protobuf import Field, fields, integers

__all__ = ["ONNX", "RULES", "External", "check_external", "references"]

_MAX_DEPTH = 16
_MAX_RANK = 64
_MAX_PATH = 4096
_MAX_REFERENCES = 100_000
#: TensorProto.DataType -> bits an element; texts have none.
_BITS = {
    1: 32, 2: 8, 3: 8, 4: 16, 5: 16, 6: 32, 7: 64, 9: 8, 10: 16, 11: 64, 12: 32, 13: 64, 14: 64, 15: 128, 16: 16,
    17: 8, 18: 8, 19: 8, 20: 8, 21: 4, 22: 4, 23: 4, 24: 8, 25: 2, 26: 2,
}  # fmt: skip
_EXTERNAL = 1
#: Operator domains of ONNX itself and of onnxruntime; others need a library that the model does not carry.
_DOMAINS = frozenset(
    (
        "", "ai.onnx", "ai.onnx.ml", "ai.onnx.training", "ai.onnx.preview", "ai.onnx.preview.training",
        "com.microsoft", "com.microsoft.nchwc", "com.microsoft.experimental", "com.microsoft.dml",
        "com.ms.internal.nhwc", "org.pytorch.aten",
    )
)  # fmt: skip
#: Operators whose whole purpose is to run a program of somebody else.
_RUNNERS = frozenset(("PyOp", "PythonOp", "PythonOpGrad", "PyCustomOp", "ExternalCall", "ATen"))
#: Operators that name a file, and the attribute that does (onnxruntime, EPContext design).
_FILES = {"EPContext": "ep_cache_context"}

OUTSIDE = Rule(
    "onnx-external-outside",
    Severity.critical,
    "An ONNX model reads a file outside its folder",
    "The name of its external data is absolute, climbs with .., or is otherwise no plain name below the model's "
    "folder. Loading the model reads that file of the machine, and running it can give its content away.",
    "Do not load this model. Get it again from its maker, or save it anew with its data beside it.",
)
BEYOND = Rule(
    "onnx-external-range",
    Severity.high,
    "External data of an ONNX model does not fit",
    "Offset and length reach behind the file's end, or are not what the tensor's shape asks for.",
    "Get model and data again from the same source.",
)
LACKING = Rule(
    "onnx-external-missing",
    Severity.medium,
    "External data of an ONNX model is not in the package",
    "The model cannot be loaded as it is, and whoever puts a file of that name there decides what it computes.",
    "Package the file that the model names beside it.",
)
SIZE = Rule(
    "onnx-tensor-size",
    Severity.high,
    "An ONNX tensor does not have the size that its shape promises",
    "A shape that asks for more than there is has made programs read outside their memory.",
    "Export the model again.",
)
DOMAIN = Rule(
    "onnx-custom-operator",
    Severity.low,
    "An ONNX model uses operators of somebody's own",
    "They run only with a native library that has to be loaded besides; the model does not carry it.",
    "Find out which library it means, and whether you trust it.",
)
PROGRAM = Rule(
    "onnx-program",
    Severity.high,
    "An ONNX model calls a program from inside",
    "The operator hands over to Python or to another program whose code this file does not show.",
    "Do not load the model with extensions that provide this operator, unless you know its maker.",
)
RULES = (OUTSIDE, BEYOND, LACKING, SIZE, DOMAIN, PROGRAM)


@dataclass(frozen=True, slots=True)
class External:
    """What a tensor says about its bytes in another file.

    Args:
        tensor: Its name.
        location: The file, relative to the model's folder.
        offset: First byte there.
        length: Bytes; None for all that follow.
        needed: Bytes that the shape asks for; None where that cannot be told.
        at: Where the tensor stands in the model file.
    """

    tensor: str
    location: str
    offset: int
    length: int | None
    needed: int | None
    at: int


@dataclass(slots=True)
class _Model:
    visit: Visit
    external: list[External] = field(default_factory=list)
    domains: dict[str, int] = field(default_factory=dict)
    own: set[str] = field(default_factory=set)
    graphs: int = 0


class _Onnx:
    name = "onnx"

    def claims(self, head: bytes, name: str) -> bool:
        # ir_version, then usually the producer's name: no magic number, so the name counts as well.
        return name.endswith((".onnx", ".ort.onnx")) or (
            head[:1] == b"\x08" and head[2:3] == b"\x12" and _producer(head)
        )

    def scan(self, content: Content, visit: Visit) -> None:
        model = _read(content, visit)
        for one in model.external:
            if not is_inside(one.location):
                visit.found(OUTSIDE, f"tensor {one.tensor[:80]!r} names {one.location[:120]!r}", one.at)


def _producer(head: bytes) -> bool:
    size = head[3] if len(head) > 3 else 0
    name = head[4 : 4 + size]
    return (
        0 < size < 64
        and len(name) == size
        and name.isascii()
        and name.decode().isprintable()
        and b"onnx" in head.lower()
    )


def is_inside(location: str) -> bool:
    """Return whether a location is a plain name in or below the model's folder, on every operating system."""
    if (
        not location
        or len(location) > _MAX_PATH
        or "\0" in location
        or "\\" in location
        or ":" in location
        or location.startswith(("/", "~"))
    ):
        return False
    return ".." not in PurePosixPath(location).parts and not PureWindowsPath(location).drive


def references(content: Content, visit: Visit) -> list[External]:
    """Return what a model says about other files.

    Raises:
        Unreadable: It is no ONNX model.
        Exhausted: It makes too much work.
    """
    return _read(content, visit).external


def _read(content: Content, visit: Visit) -> _Model:
    model = _Model(visit)
    version = False
    for part in fields(Cursor.over(content, visit.budget)):
        if part.number == 1 and part.payload is None:
            version = True
        elif part.number == 7:
            _graph(model, part.payload, 0)
        elif part.number == 25:
            _function(model, part.payload)
        elif part.number == 20:
            for inner in fields(part.payload):
                if inner.number in (1, 2):
                    _graph(model, inner.payload, 1)
    if not version or not model.graphs:
        raise Unreadable("holds no ONNX graph", 0)
    for domain, at in model.domains.items():
        if domain not in _DOMAINS | model.own:
            visit.found(DOMAIN, f"domain {domain[:120]!r}", at)
    return model


def _graph(model: _Model, payload: Cursor | None, depth: int) -> None:
    if depth > _MAX_DEPTH:
        raise Unreadable("nests graphs too deeply", payload.position if payload else None)
    model.graphs += 1
    for part in fields(payload):
        if part.number == 1:
            _node(model, part, depth)
        elif part.number == 5:
            _tensor(model, part)
        elif part.number == 15:
            _sparse(model, part)


def _sparse(model: _Model, part: Field) -> None:
    for inner in fields(part.payload):
        if inner.number in (1, 2):
            _tensor(model, inner)


def _function(model: _Model, payload: Cursor | None) -> None:
    """Look into a function of the model's own; its domain needs no library."""
    for part in fields(payload):
        if part.number == 7:
            _node(model, part, 1)
        elif part.number == 10:
            model.own.add(part.text(cap=1024))


def _node(model: _Model, node: Field, depth: int) -> None:
    kind, texts = "", dict[str, tuple[str, int]]()
    for part in fields(node.payload):
        if part.number == 4:
            kind = part.text(cap=1024)
        elif part.number == 7:
            model.domains.setdefault(part.text(cap=1024), part.offset)
        elif part.number == 5:
            _attribute(model, part, depth, texts)
    if kind in _RUNNERS:
        model.visit.found(PROGRAM, f"operator {kind}", node.offset)
    if (name := _FILES.get(kind)) and name in texts and "embed_mode=0" in texts:
        location, at = texts[name]
        if not is_inside(location):
            model.visit.found(OUTSIDE, f"operator {kind} names {location[:120]!r}", at)


def _attribute(model: _Model, attribute: Field, depth: int, texts: dict[str, tuple[str, int]]) -> None:
    name, value, number = "", None, None
    for part in fields(attribute.payload):
        if part.number == 1:
            name = part.text(cap=1024)
        elif part.number == 3:
            number = part.value
        elif part.number == 4:
            value = part
        elif part.number in (5, 10):
            _tensor(model, part)
        elif part.number in (6, 11):
            _graph(model, part.payload, depth + 1)
        elif part.number in (22, 23):
            _sparse(model, part)
    if value is not None and name in _FILES.values():
        texts[name] = value.text(cap=4096), value.offset
    if name == "embed_mode" and number is not None:
        texts[f"embed_mode={number}"] = "", attribute.offset


def _tensor(model: _Model, tensor: Field) -> None:
    name, kind, outside, raw = "", 0, False, -1
    sizes: list[int] = []
    pairs: list[tuple[str, str]] = []
    for part in fields(tensor.payload):
        if part.number == 1:
            sizes.extend(integers(part))
        elif part.number == 2:
            kind = part.value
        elif part.number == 8:
            name = part.text(cap=1024)
        elif part.number == 9 and part.payload is not None:
            raw = part.payload.remaining
        elif part.number == 13:
            pairs.extend(_entry(part).items())
        elif part.number == 14:
            outside = part.value == _EXTERNAL
    needed = _needed(sizes, kind)
    if needed is None and (len(sizes) > _MAX_RANK or any(not 0 <= size < 2**48 for size in sizes)):
        model.visit.found(SIZE, f"tensor {name[:80]!r} has the impossible shape {sizes[:8]}", tensor.offset)
    if raw >= 0 and needed is not None and raw != needed and not outside:
        model.visit.found(SIZE, f"tensor {name[:80]!r} of shape {sizes[:8]} has {raw} bytes", tensor.offset)
    entries = dict(pairs)
    for location in {value for key, value in pairs if key == "location"} - {entries.get("location", "")}:
        _external(model, tensor, name, {"location": location}, None)  # which of two counts is the reader's choice
    if outside or "location" in entries:
        _external(model, tensor, name, entries, needed)


def _needed(sizes: list[int], kind: int) -> int | None:
    if kind not in _BITS or len(sizes) > _MAX_RANK or any(not 0 <= size < 2**48 for size in sizes):
        return None
    return -(-prod(sizes) * _BITS[kind] // 8)


def _entry(part: Field) -> Mapping[str, str]:
    words = {one.number: one.text(cap=8192) for one in fields(part.payload)}
    return {words.get(1, ""): words.get(2, "")}


def _external(model: _Model, tensor: Field, name: str, entries: Mapping[str, str], needed: int | None) -> None:
    offset, length = (_natural(entries.get(key, "")) for key in ("offset", "length"))
    if any(entries.get(key) and value is None for key, value in (("offset", offset), ("length", length))):
        model.visit.found(BEYOND, f"tensor {name[:80]!r} has an offset or length that is no number", tensor.offset)
    if length is not None and needed is not None and length != needed:
        detail = f"tensor {name[:80]!r} needs {needed} bytes and names {length}"
        model.visit.found(BEYOND, detail, tensor.offset)
    if len(model.external) >= _MAX_REFERENCES:
        raise Unreadable("names external data for more tensors than are looked at", tensor.offset)
    location = entries.get("location", "")
    model.external.append(External(name, location, offset or 0, length, needed, tensor.offset))


def _natural(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else None


def check_external(path: str, found: list[External], sizes: Mapping[str, int], report: Report) -> None:
    """Report external data that is not in the package, or not as long as a model says.

    Args:
        path: The model in the package.
        found: What it says.
        sizes: Bytes of every file of the package, by path.
        report: Where findings go.
    """
    report.add(_misfits(path, found, sizes))


def _misfits(path: str, found: list[External], sizes: Mapping[str, int]) -> Iterator[Finding]:
    folder = PurePosixPath(path).parent
    lacking: set[str] = set()
    for one in found:
        target = (folder / one.location).as_posix()
        if not is_inside(one.location) or target in lacking:
            continue
        size = sizes.get(target)
        if size is None:
            lacking.add(target)
            yield Finding(LACKING, path, f"{one.location[:120]!r} is named by tensor {one.tensor[:80]!r}", one.at)
            continue
        end = one.offset + (one.length if one.length is not None else one.needed or 0)
        if end > size:
            detail = f"tensor {one.tensor[:80]!r} ends at byte {end} of {one.location[:80]!r}, which has {size}"
            yield Finding(BEYOND, path, detail, one.at)


ONNX = _Onnx()
