"""Keras 3 `.keras` files: a ZIP of metadata.json, config.json and weights (keras.io, "Whole-model saving").

Weights are HDF5 and are not looked into, so parameters are not counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from installml.packing.formats.archive import archive, member_bytes
from installml.packing.formats.documents import MAX_JSON, integer, items, mapping, parse_json, text
from installml.packing.formats.model import Finding, Tensor
from installml.packing.formats.reader import open_reader

__all__ = ["CONFIG", "METADATA", "read"]

CONFIG, METADATA = "config.json", "metadata.json"
_TYPES = {
    "float16": "FP16", "bfloat16": "BF16", "float32": "FP32", "float64": "FP64", "bool": "BOOL", "string": "BYTES",
    "int8": "INT8", "int16": "INT16", "int32": "INT32", "int64": "INT64",
    "uint8": "UINT8", "uint16": "UINT16", "uint32": "UINT32", "uint64": "UINT64",
}  # fmt: skip


def read(path: Path, name: str) -> Finding:
    """Read a Keras model's class, inputs and the version that wrote it.

    Args:
        path: The file.
        name: Its path in the model folder.

    Raises:
        FormatError: Not a ZIP file, or without Keras's two JSON files.
    """
    with open_reader(path, name) as reader:
        members = archive(reader)
        if CONFIG not in members or METADATA not in members:
            raise reader.fail("is not a Keras 3 model: it lacks config.json or metadata.json", offset=0)
        config, metadata = (
            mapping(parse_json(member_bytes(reader, members[part], cap=MAX_JSON), name, offset=members[part].offset))
            for part in (CONFIG, METADATA)
        )
    version = text(metadata.get("keras_version"))
    settings = mapping(config.get("config"))
    layers = [mapping(layer) for layer in items(settings.get("layers"))]
    return Finding(
        format="keras",
        engine="tensorflow",
        files=(name,),
        architecture=text(config.get("class_name")),
        precision=next(filter(None, (_policy(part) for part in (settings, *_settings(layers)))), ""),
        inputs=tuple(_inputs(layers)),
        requirements=(f"keras=={version}" if version else "keras",),
        details={"layers": str(len(layers)), "model": text(settings.get("name")), "keras": version},
    )


def _settings(layers: list[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """Give the settings of the layers that compute; an input's dtype is that of the data."""
    return (mapping(layer.get("config")) for layer in layers if layer.get("class_name") != "InputLayer")


def _policy(settings: Mapping[str, Any]) -> str:
    """Name the dtype policy: a text, or an object with its name inside."""
    policy = settings.get("dtype")
    return text(mapping(mapping(policy).get("config")).get("name")) or text(policy)


def _inputs(layers: list[Mapping[str, Any]]) -> Iterator[Tensor]:
    for layer in layers:
        settings = mapping(layer.get("config"))
        shape = settings.get("batch_shape") or settings.get("batch_input_shape")
        if text(layer.get("class_name")) == "InputLayer" and isinstance(shape, list):
            sizes = tuple(-1 if (size := integer(one)) is None else size for one in shape[:64])
            yield Tensor(text(settings.get("name")), _TYPES.get(text(settings.get("dtype")), ""), sizes)
