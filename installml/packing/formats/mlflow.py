"""MLflow model folders: the MLmodel file and the requirements beside it (mlflow.org, "MLflow Model format")."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from installml.packing.formats.documents import MAX_YAML, integer, items, mapping, parse_json, parse_yaml, text
from installml.packing.formats.model import Finding, Tensor
from installml.packing.formats.reader import names_file, open_reader

__all__ = ["FILE", "read"]

FILE = "MLmodel"
_MAX_REQUIREMENTS = 64 << 10
#: Flavour -> the engine that serves it; whatever else has python_function is served by MLflow itself
_ENGINES = {
    "sklearn": "sklearn",
    "onnx": "onnxruntime",
    "xgboost": "xgboost",
    "lightgbm": "lightgbm",
    "pytorch": "torch",
}
_COLUMNS = {
    "boolean": "BOOL", "integer": "INT32", "long": "INT64", "float": "FP32", "double": "FP64", "string": "BYTES",
    "binary": "BYTES", "datetime": "BYTES",
}  # fmt: skip
_DTYPES = {
    "float16": "FP16", "float32": "FP32", "float64": "FP64", "bool": "BOOL", "str": "BYTES", "object": "BYTES",
    "int8": "INT8", "int16": "INT16", "int32": "INT32", "int64": "INT64",
    "uint8": "UINT8", "uint16": "UINT16", "uint32": "UINT32", "uint64": "UINT64",
}  # fmt: skip
_REQUIREMENT = re.compile(r"[A-Za-z0-9][^#]{0,200}?(?=\s*(#|$))")


def read(path: Path, name: str) -> Finding:
    """Read an MLflow model: flavours, signature, requirements, Python version.

    Args:
        path: The MLmodel file.
        name: Its path in the model folder.

    Raises:
        FormatError: MLmodel is not YAML or names no flavour, or its signature is not JSON.
    """
    with open_reader(path, name) as reader:
        document = mapping(parse_yaml(reader.bytes(reader.remaining, cap=MAX_YAML, what="MLmodel"), name))
        flavors = mapping(document.get("flavors"))
        if not flavors:
            raise reader.fail("is not an MLflow model: it names no flavours", offset=0)
    signature = mapping(document.get("signature"))
    function = mapping(flavors.get("python_function"))
    flavor = next((one for one in _ENGINES if one in flavors), "")
    details = {
        "flavors": ", ".join(sorted(text(one) for one in flavors)),
        "mlflow": text(document.get("mlflow_version")),
        "python": text(function.get("python_version")),
        "loader": text(function.get("loader_module")),
        "data": _data(flavors, function, flavor),
        "run": text(document.get("run_id")),
    }
    return Finding(
        format="mlflow",
        engine=_ENGINES.get(flavor, "mlflow"),
        files=_files(path, name, details["data"]),
        inputs=_tensors(signature.get("inputs"), name, "x"),
        outputs=_tensors(signature.get("outputs"), name, "y"),
        requirements=_requirements(path.parent / "requirements.txt", name),
        details={key: value for key, value in details.items() if value},
    )


def _data(flavors: Mapping[str, Any], function: Mapping[str, Any], flavor: str) -> str:
    """Name where the flavour's own data lies, folder-relative; each flavour has its own word for it."""
    own = mapping(flavors.get(flavor))
    words = [own.get(key) for key in ("pickled_model", "model_data", "data")]
    words += [function.get("model_path"), function.get("data")]
    return next((text(word) for word in words if text(word)), "")


def _files(path: Path, name: str, data: str) -> tuple[str, ...]:
    folder = PurePosixPath(name).parent
    beside = ("requirements.txt", "conda.yaml", "python_env.yaml", data)
    return (name, *((folder / one).as_posix() for one in beside if names_file(path.parent, one)))


def _tensors(value: object, name: str, unnamed: str) -> tuple[Tensor, ...]:
    """Read a signature side: JSON in a text, a list of columns or of tensors."""
    if not isinstance(value, str):
        return ()
    entries = items(parse_json(value.encode("utf-8", "surrogatepass"), name), cap=10_000)
    return tuple(
        _tensor(mapping(entry), unnamed if not index else f"{unnamed}{index}") for index, entry in enumerate(entries)
    )


def _tensor(entry: Mapping[str, Any], unnamed: str) -> Tensor:
    label = text(entry.get("name")) or unnamed
    spec = mapping(entry.get("tensor-spec"))
    if not spec:
        return Tensor(label, _COLUMNS.get(text(entry.get("type")), "BYTES"), (-1,))
    dtype = text(spec.get("dtype"))
    sizes = (integer(size) for size in items(spec.get("shape"), cap=64))
    datatype = "BYTES" if dtype.startswith(("<U", "|S", "str")) else _DTYPES.get(dtype, "")
    return Tensor(label, datatype, tuple(-1 if size is None else size for size in sizes))


def _requirements(path: Path, name: str) -> tuple[str, ...]:
    if not path.is_file():
        return ()
    beside = (PurePosixPath(name).parent / path.name).as_posix()
    with open_reader(path, beside) as reader:
        lines = reader.text(reader.remaining, cap=_MAX_REQUIREMENTS, what="requirements.txt").splitlines()
    return tuple(_plain(lines))


def _plain(lines: list[str]) -> Iterator[str]:
    """Give requirements only: options such as ``-r`` or ``--index-url`` belong to the machine that wrote them."""
    for line in lines:
        if match := _REQUIREMENT.match(line.strip()):
            yield match[0]
