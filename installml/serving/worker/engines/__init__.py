"""One module an engine: how its files are opened and asked. The library is imported by the module that needs it."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["ENGINES", "Engine", "InputError", "LoadError", "as_text", "load"]

ENGINES = {
    "lightgbm": "boosters",
    "onnxruntime": "onnx",
    "python": "entrypoint",
    "sklearn": "sklearn",
    "torch": "torch",
    "xgboost": "boosters",
}
"""Engine to the module of this folder that opens it."""


class LoadError(Exception):
    """The model cannot be served as it is packaged; the message says what to change."""


class InputError(Exception):
    """The caller's tensors are not what the model takes; the message names the input."""


class Engine:
    """A loaded model.

    Attributes:
        inputs: Tensors that it takes, as the protocol's metadata; empty when nobody knows.
        outputs: Tensors that it gives; empty when nobody knows.
        library: The engine's library and its version, for the log.
    """

    def __init__(self) -> None:
        self.inputs: list[dict[str, Any]] = []
        self.outputs: list[dict[str, Any]] = []
        self.library = ""

    def predict(self, inputs: dict[str, Any], wanted: list[str]) -> dict[str, Any]:
        """Return the outputs by name.

        Args:
            inputs: Arrays by name.
            wanted: Names of the outputs asked for; empty for all.
        """
        raise NotImplementedError


def as_text(name: str, array: Any) -> Any:
    """Return a BYTES array as text, for libraries whose strings are ``str``.

    Raises:
        InputError: It is not UTF-8.
    """
    try:
        texts = [item.decode() for item in array.ravel().tolist()]
    except UnicodeDecodeError as error:
        raise InputError(f"input {name!r} is not UTF-8: {error}") from error
    result = np.empty(len(texts), dtype=object)
    result[:] = texts
    return result.reshape(array.shape)


def load(wishes: dict[str, Any]) -> Engine:
    """Return the model that ``wishes`` describes.

    Args:
        wishes: ``engine``, ``root`` (the package's folder), ``model`` and ``entrypoint`` (relative to it),
            ``inputs`` and ``outputs`` (the packaged signature, which wins over what the engine says).
    """
    path = Path(wishes["root"], wishes["model"])
    if not path.exists():
        raise LoadError(f"the package has no {wishes['model']}")
    module = importlib.import_module("." + ENGINES[wishes["engine"]], __name__)
    model: Engine = module.load(path, wishes)
    model.inputs = wishes["inputs"] or model.inputs
    model.outputs = wishes["outputs"] or model.outputs
    return model
