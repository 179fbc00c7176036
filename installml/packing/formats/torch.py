"""PyTorch files: state dicts and modules (`torch.save`), TorchScript, ExportedProgram (.pt2).

torch.save writes a ZIP with one folder in it: ``data.pkl``, ``data/<key>`` for each storage; TorchScript adds
``code/`` and ``constants.pkl``; `torch.export` has ``models/<name>.json`` (before torch 2.8
``serialized_exported_program.json``). Before torch 1.6 a file was a sequence of pickles. None is unpickled.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

from installml.packing.formats.archive import Member, archive, member_bytes, member_reader, strip_root
from installml.packing.formats.documents import MAX_JSON, integer, items, mapping, parse_json, text
from installml.packing.formats.model import Finding, Tensor, dominant
from installml.packing.formats.opcodes import Call, Name, Scan, scan
from installml.packing.formats.reader import Reader, open_reader

__all__ = ["LEGACY", "read", "read_legacy"]

#: The first pickle of the old format is this number (torch.serialization.MAGIC_NUMBER), as protocol 2 writes it
LEGACY = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."
_EXPORTED = "serialized_exported_program.json"
_MAX_DETAIL = 20
_STORAGES = {
    "DoubleStorage": "float64", "FloatStorage": "float32", "HalfStorage": "float16", "BFloat16Storage": "bfloat16",
    "LongStorage": "int64", "IntStorage": "int32", "ShortStorage": "int16", "CharStorage": "int8",
    "ByteStorage": "uint8", "BoolStorage": "bool", "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128", "QInt8Storage": "qint8", "QUInt8Storage": "quint8",
}  # fmt: skip
#: torch._export.serde.schema.ScalarType
_SCALARS = {
    1: "UINT8", 2: "INT8", 3: "INT16", 4: "INT32", 5: "INT64", 6: "FP16", 7: "FP32", 8: "FP64", 12: "BOOL", 13: "BF16",
    28: "UINT16",
}  # fmt: skip
_NAMES = {"FP16": "float16", "FP32": "float32", "FP64": "float64", "BF16": "bfloat16"}


def read(path: Path, name: str) -> Finding | None:
    """Read a ZIP that torch wrote.

    Args:
        path: The file.
        name: Its path in the model folder.

    Returns:
        The finding; None for a ZIP that is none of torch's.

    Raises:
        FormatError: The archive or a pickle in it is damaged.
    """
    with open_reader(path, name) as reader:
        members = strip_root(archive(reader))
        if member := _exported(members):
            document = mapping(_document(reader, member))
            return _export(document, _places(reader, members), name)
        if "data.pkl" not in members:
            return None
        found = scan(member_reader(reader, members["data.pkl"]))
        scripted = "constants.pkl" in members and any(member.startswith("code/") for member in members)
        return _script(found, name) if scripted else _saved(found, name)


def read_legacy(path: Path, name: str) -> Finding:
    """Read the format before torch 1.6: three pickles about the file, then the object.

    Raises:
        FormatError: A pickle is damaged or cut short.
    """
    with open_reader(path, name) as reader:
        for _ in range(3):
            reader.seek(scan(reader).end)
        return _saved(scan(reader), name)


def _weights(found: Scan) -> Counter[str]:
    """Count parameters by number format, each storage once: tied weights share one."""
    counts: Counter[str] = Counter()
    seen = set()
    for parts in found.persistent:
        match parts:
            case ("storage", Name(name=kind), str(key), _, int(count), *_) if key not in seen and count >= 0:
                seen.add(key)
                if kind in _STORAGES:  # an UntypedStorage counts bytes; its tensors say more
                    counts[_STORAGES[kind]] += count
    for call in found.calls:
        match call:
            case Call(
                callee=Name(name="_rebuild_tensor_v3"), arguments=(_, _, tuple(size), _, _, _, Name(name=kind), *_)
            ):
                counts[kind] += prod(one for one in size[:64] if isinstance(one, int) and one >= 0)
    return counts


def _saved(found: Scan, name: str) -> Finding:
    root = found.root.callee if isinstance(found.root, Call) else None
    is_state = isinstance(found.root, dict | list | tuple) or str(root) in _CONTAINERS
    counts = _weights(found)
    members = found.root if isinstance(found.root, dict) else found.root.state if isinstance(found.root, Call) else {}
    keys = [key for key, value in members.items() if key != "_metadata" and not _is_tensor(value)]
    foreign = sorted({one.module.partition(".")[0] for one in found.names} - _OWN)
    details = {
        "class": "" if is_state else str(root or type(found.root).__name__),
        "keys": ", ".join(keys[:_MAX_DETAIL]) if is_state else "",
        "modules": ", ".join(foreign[:_MAX_DETAIL]),
        "truncated-at": str(found.truncated) if found.truncated >= 0 else "",
    }
    return Finding(
        format="torch-state-dict" if is_state else "torch-module",
        engine="none",  # neither runs without the Python class that it belongs to
        files=(name,),
        architecture=root.name if root and not is_state else "",
        precision=dominant(counts),
        parameters=sum(counts.values()) or None,
        details={key: value for key, value in details.items() if value},
    )


def _is_tensor(value: object) -> bool:
    return isinstance(value, Call) and value.callee.name.startswith("_rebuild")


_OWN = {"torch", "collections", "builtins", "__builtin__", "numpy"}
_CONTAINERS = ("collections.OrderedDict", "builtins.dict", "collections.defaultdict")


def _script(found: Scan, name: str) -> Finding:
    root = found.root.callee if isinstance(found.root, Call) else None
    counts = _weights(found)
    return Finding(
        format="torchscript",
        engine="torch",
        files=(name,),
        architecture=root.name if root else "",
        precision=dominant(counts),
        parameters=sum(counts.values()) or None,
        requirements=("torch",),
        details={"class": str(root).removeprefix("__torch__.")} if root else {},
    )


def _exported(members: Mapping[str, Member]) -> Member | None:
    models = sorted(name for name in members if name.startswith("models/") and name.endswith(".json"))
    return members.get(_EXPORTED) or (members[models[0]] if models and "archive_format" in members else None)


def _document(reader: Reader, member: Member) -> Any:
    return parse_json(member_bytes(reader, member, cap=MAX_JSON), reader.name, offset=member.offset)


def _places(reader: Reader, members: Mapping[str, Member]) -> dict[str, str]:
    """Say which file holds each weight: tied ones share it. Empty before torch 2.8."""
    tables = [one for name, one in sorted(members.items()) if name.endswith("_weights_config.json")]
    entries = mapping(mapping(_document(reader, tables[0])).get("config")) if tables else {}
    return {key: text(mapping(value).get("path_name")) for key, value in entries.items()}


def _export(document: Mapping[str, Any], places: Mapping[str, str], name: str) -> Finding:
    module = mapping(document.get("graph_module"))
    values = mapping(mapping(module.get("graph")).get("tensor_values"))
    signature = mapping(module.get("signature"))
    counts = _parameters(signature, values, places)
    version = text(document.get("torch_version")).partition("+")[0]
    return Finding(
        format="torch-export",
        engine="torch",
        files=(name,),
        precision=dominant(counts),
        parameters=sum(counts.values()) or None,
        inputs=_user(signature.get("input_specs"), "user_input", values),
        outputs=_user(signature.get("output_specs"), "user_output", values),
        requirements=(f"torch>={version}" if version else "torch",),
        details={"torch": version} if version else {},
    )


def _parameters(signature: Any, values: Mapping[str, Any], places: Mapping[str, str]) -> Counter[str]:
    counts: Counter[str] = Counter()
    seen = set()
    for spec in items(signature.get("input_specs")):
        for kind in ("parameter", "buffer"):
            entry = mapping(mapping(spec).get(kind))
            label = text(entry.get(f"{kind}_name"))
            place = places.get(label, label)
            tensor = _tensor(values, mapping(entry.get("arg")).get("name"))
            if tensor and place not in seen:
                seen.add(place)
                precision = _NAMES.get(tensor.datatype, tensor.datatype.lower())
                counts[precision] += prod(max(size, 0) for size in tensor.shape)
    return counts


def _user(specs: object, key: str, values: Mapping[str, Any]) -> tuple[Tensor, ...]:
    args = (mapping(mapping(mapping(mapping(spec).get(key)).get("arg")).get("as_tensor")) for spec in items(specs))
    return tuple(tensor for arg in args if (tensor := _tensor(values, arg.get("name"))))


def _tensor(values: Mapping[str, Any], name: object) -> Tensor | None:
    meta = mapping(values.get(name)) if isinstance(name, str) else {}
    datatype = _SCALARS.get(integer(meta.get("dtype")) or 0, "")
    if not meta or not datatype:
        return None
    sizes = (integer(mapping(size).get("as_int")) for size in items(meta.get("sizes"), cap=64))
    return Tensor(text(name), datatype, tuple(-1 if size is None else size for size in sizes))
