"""TensorFlow SavedModel: the serving signature in saved_model.pb.

Field numbers are those of tensorflow/core/protobuf/{saved_model,meta_graph}.proto and core/framework/types.proto.
Variables are not looked into.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from installml.packing.formats.model import Finding, Tensor
from installml.packing.formats.protobuf import Walk, signed
from installml.packing.formats.reader import Reader, open_reader

__all__ = ["FILE", "read"]

FILE = "saved_model.pb"
_SERVING = "serving_default"
_INIT_OP = "__saved_model_init_op"
_MAX_RANK = 64
_MAX_SIGNATURES = 1000
_MAX_TENSORS = 10_000
_TYPES = {
    1: "FP32", 2: "FP64", 3: "INT32", 4: "UINT8", 5: "INT16", 6: "INT8", 7: "BYTES", 9: "INT64", 10: "BOOL",
    14: "BF16", 17: "UINT16", 19: "FP16", 22: "UINT32", 23: "UINT64",
}  # fmt: skip


@dataclass(slots=True)
class _Saved:
    walk: Walk = field(default_factory=Walk)
    version: str = ""
    tags: list[str] = field(default_factory=list)
    signatures: dict[str, Reader | None] = field(default_factory=dict)


def read(path: Path, name: str) -> Finding:
    """Read a SavedModel's signature, tags and TensorFlow version.

    Args:
        path: saved_model.pb.
        name: Its path in the model folder; variables and assets beside it belong to the model.

    Raises:
        FormatError: It is not a SavedModel.
    """
    with open_reader(path, name) as reader:
        saved, graphs = _Saved(), 0
        for part in saved.walk.fields(reader):
            if part.number == 2:
                graphs += 1
                _meta_graph(saved, part.payload)
        if not graphs:
            raise reader.fail("is not a SavedModel: it holds no graph", offset=0)
        named = [key for key in saved.signatures if key != _INIT_OP]
        chosen = _SERVING if _SERVING in named else next(iter(sorted(named)), "")
        inputs, outputs = _signature(saved.walk, saved.signatures.get(chosen))
    details = {"signature": chosen, "signatures": ", ".join(sorted(named)[:20]), "tags": ", ".join(saved.tags[:20])}
    return Finding(
        format="tensorflow-savedmodel",
        engine="tensorflow",
        files=_files(path, name),
        inputs=inputs,
        outputs=outputs,
        requirements=(f"tensorflow=={saved.version}",) if saved.version else ("tensorflow",),
        details={key: value for key, value in details.items() if value},
    )


def _files(path: Path, name: str) -> tuple[str, ...]:
    folder = PurePosixPath(name).parent
    beside = [path.parent / "fingerprint.pb"]
    for part in ("variables", "assets", "assets.extra"):
        beside += sorted((path.parent / part).iterdir()) if (path.parent / part).is_dir() else []
    found = [one.relative_to(path.parent).as_posix() for one in beside if one.is_file()]
    return (name, *((folder / one).as_posix() for one in found))


def _meta_graph(saved: _Saved, payload: Reader | None) -> None:
    for part in saved.walk.fields(payload):
        if part.number == 1:
            for info in saved.walk.fields(part.payload):
                if info.number == 4 and len(saved.tags) < _MAX_SIGNATURES:
                    saved.tags.append(info.text(cap=256))
                elif info.number == 5:
                    saved.version = info.text(cap=64)
        elif part.number == 5 and len(saved.signatures) < _MAX_SIGNATURES:
            key, value = _entry(saved.walk, part.payload)
            saved.signatures[key] = value


def _entry(walk: Walk, payload: Reader | None) -> tuple[str, Reader | None]:
    """Read a map entry: key in field 1, value in field 2."""
    key, value = "", None
    for part in walk.fields(payload):
        if part.number == 1:
            key = part.text(cap=256)
        elif part.number == 2:
            value = part.payload
    return key, value


def _signature(walk: Walk, payload: Reader | None) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    found: dict[int, list[Tensor]] = {1: [], 2: []}
    for part in walk.fields(payload):
        if part.number in found and len(found[part.number]) < _MAX_TENSORS:
            key, value = _entry(walk, part.payload)
            found[part.number].append(_tensor(walk, key, value))
    return tuple(found[1]), tuple(found[2])


def _tensor(walk: Walk, key: str, payload: Reader | None) -> Tensor:
    datatype, shape = "", list[int]()
    for part in walk.fields(payload):
        if part.number == 2:
            datatype = _TYPES.get(part.value, "")
        elif part.number == 3:
            shape = [_size(walk, one.payload) for one in walk.fields(part.payload) if one.number == 2]
    return Tensor(key, datatype, tuple(shape[:_MAX_RANK]))


def _size(walk: Walk, payload: Reader | None) -> int:
    size = 0  # proto3 leaves out a zero
    for part in walk.fields(payload):
        if part.number == 1:
            size = signed(part.value)
    return size if 0 <= size < 2**48 else -1
