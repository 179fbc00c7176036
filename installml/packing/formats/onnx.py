"""ONNX: graph inputs and outputs, opset, producer, parameter count, external weight files.

Field numbers are those of onnx/onnx.proto (IR version 10). Weights stay on disk: their payloads are passed over.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from math import prod
from pathlib import Path, PurePosixPath

from installml.packing.formats.model import Finding, Tensor, dominant
from installml.packing.formats.protobuf import Walk
from installml.packing.formats.reader import Reader, names_file, open_reader

__all__ = ["read"]

_MAX_SUBGRAPHS = 8
_MAX_RANK = 64
#: TensorProto.DataType -> (Open Inference Protocol datatype, name of the number format)
_TYPES = {
    1: ("FP32", "float32"), 2: ("UINT8", "uint8"), 3: ("INT8", "int8"), 4: ("UINT16", "uint16"),
    5: ("INT16", "int16"), 6: ("INT32", "int32"), 7: ("INT64", "int64"), 8: ("BYTES", "string"),
    9: ("BOOL", "bool"), 10: ("FP16", "float16"), 11: ("FP64", "float64"), 12: ("UINT32", "uint32"),
    13: ("UINT64", "uint64"), 16: ("BF16", "bfloat16"), 17: ("", "float8"), 18: ("", "float8"),
    19: ("", "float8"), 20: ("", "float8"), 21: ("", "uint4"), 22: ("", "int4"), 23: ("", "float4"),
}  # fmt: skip
_EXTERNAL = 1


@dataclass(slots=True)
class _Graph:
    """What is gathered while walking."""

    walk: Walk = field(default_factory=Walk)
    name: str = ""
    inputs: list[Tensor] = field(default_factory=list)
    outputs: list[Tensor] = field(default_factory=list)
    initializers: set[str] = field(default_factory=set)
    counts: Counter[str] = field(default_factory=Counter)
    external: set[str] = field(default_factory=set)
    nodes: int = 0


def read(path: Path, name: str) -> Finding:
    """Read an ONNX model's signature.

    Args:
        path: The file.
        name: Its path in the model folder.

    Raises:
        FormatError: Not an ONNX model, or external weights that are missing or outside the folder.
    """
    with open_reader(path, name) as reader:
        graph, facts = _Graph(), dict[str, str]()
        for part in graph.walk.fields(reader):
            if part.number == 7:
                _graph(graph, part.payload, 0)
                facts["graph"] = graph.name
            elif part.number in _FACTS:
                facts[_FACTS[part.number]] = part.text() or str(part.value)
            elif part.number == 8:
                domain, version = _opset(graph.walk, part.payload)
                facts["opset" if domain in ("", "ai.onnx") else f"opset.{domain}"] = version
        if "graph" not in facts or "ir_version" not in facts:
            raise reader.fail("is not an ONNX model: it holds no graph", offset=0)
        files = _external_files(reader, path, name, graph.external)
    return _finding(graph, facts, (name, *files))


_FACTS = {1: "ir_version", 2: "producer", 3: "producer_version", 4: "domain", 5: "model_version"}


def _finding(graph: _Graph, facts: dict[str, str], files: tuple[str, ...]) -> Finding:
    facts["nodes"] = str(graph.nodes)
    return Finding(
        format="onnx",
        engine="onnxruntime",
        files=files,
        precision=dominant(graph.counts),
        parameters=sum(graph.counts.values()) or None,
        inputs=tuple(one for one in graph.inputs if one.name not in graph.initializers),
        outputs=tuple(graph.outputs),
        details={key: value for key, value in facts.items() if value},
    )


def _opset(walk: Walk, payload: Reader | None) -> tuple[str, str]:
    domain, version = "", ""
    for part in walk.fields(payload):
        if part.number == 1:
            domain = part.text(cap=256)
        elif part.number == 2:
            version = str(part.value)
    return domain, version


def _graph(graph: _Graph, payload: Reader | None, depth: int) -> None:
    if payload is not None and depth > _MAX_SUBGRAPHS:
        raise payload.fail("nests graphs too deeply")
    for part in graph.walk.fields(payload):
        if part.number == 1:
            graph.nodes += 1
            _node(graph, part.payload, depth)
        elif part.number == 5:
            _initializer(graph, part.payload)
        elif depth == 0 and part.number == 2:
            graph.name = part.text()
        elif depth == 0 and part.number in (11, 12):
            into = graph.inputs if part.number == 11 else graph.outputs
            into.append(_value(graph.walk, part.payload))


def _node(graph: _Graph, payload: Reader | None, depth: int) -> None:
    """Look into a node's attributes for subgraphs and for tensors that may lie in other files."""
    for part in graph.walk.fields(payload):
        if part.number != 5:
            continue
        for attribute in graph.walk.fields(part.payload):
            if attribute.number in (6, 11):
                _graph(graph, attribute.payload, depth + 1)
            elif attribute.number in (5, 10):
                _tensor(graph.walk, attribute.payload, graph.external)


def _initializer(graph: _Graph, payload: Reader | None) -> None:
    name, kind, elements = _tensor(graph.walk, payload, graph.external)
    graph.initializers.add(name)
    graph.counts[_TYPES.get(kind, ("", "unknown"))[1]] += elements


def _tensor(walk: Walk, payload: Reader | None, external: set[str]) -> tuple[str, int, int]:
    name, kind, outside, sizes, location = "", 0, False, list[int](), ""
    for part in walk.fields(payload):
        if part.number == 1:
            sizes.extend(walk.integers(part))
        elif part.number == 2:
            kind = part.value
        elif part.number == 8:
            name = part.text()
        elif part.number == 13:
            location = _entry(walk, part.payload) or location
        elif part.number == 14:
            outside = part.value == _EXTERNAL
    if payload is not None and (len(sizes) > _MAX_RANK or any(not 0 <= size < 2**48 for size in sizes)):
        raise payload.fail(f"tensor {name[:80]!r} has an impossible shape")
    if outside:
        external.add(location)
    return name, kind, prod(sizes)


def _entry(walk: Walk, payload: Reader | None) -> str:
    """Give a StringStringEntryProto's value if its key is ``location``."""
    words = {part.number: part.text() for part in walk.fields(payload)}
    return words.get(2, "") if words.get(1) == "location" else ""


def _value(walk: Walk, payload: Reader | None) -> Tensor:
    name, kind, shape = "", 0, list[int]()
    for part in walk.fields(payload):
        if part.number == 1:
            name = part.text()
        elif part.number == 2:
            kind, shape = _type(walk, part.payload)
    return Tensor(name, _TYPES.get(kind, ("", ""))[0], tuple(shape))


def _type(walk: Walk, payload: Reader | None) -> tuple[int, list[int]]:
    kind, shape = 0, list[int]()
    for choice in walk.fields(payload):
        if choice.number != 1:  # sequences and maps have no tensor type
            continue
        for part in walk.fields(choice.payload):
            if part.number == 1:
                kind = part.value
            elif part.number == 2:
                shape = [_dimension(walk, one.payload) for one in walk.fields(part.payload) if one.number == 1]
    return kind, shape[:_MAX_RANK]


def _dimension(walk: Walk, payload: Reader | None) -> int:
    size = -1
    for part in walk.fields(payload):
        if part.number == 1 and part.payload is None and 0 < part.value < 2**48:
            size = part.value
    return size


def _external_files(reader: Reader, path: Path, name: str, locations: set[str]) -> tuple[str, ...]:
    """Give the folder-relative names of external weights; ONNX places them relative to the model file."""
    folder = PurePosixPath(name).parent
    for location in sorted(locations):
        if not names_file(path.parent, location):
            raise reader.fail(f"names the weights {location[:80]!r}, which are not in its folder", offset=0)
    return tuple((folder / location).as_posix() for location in sorted(locations))
