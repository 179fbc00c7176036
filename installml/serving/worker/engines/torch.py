"""Engine ``torch``: a TorchScript file or an exported program (``.pt2``); weights alone have no program to run."""

from __future__ import annotations

import importlib
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from . import Engine, InputError, LoadError

__all__ = ["load"]


class Module(Engine):
    """Calls the module with the inputs in the order of its arguments."""

    def __init__(self, module: Any, arguments: list[str], wishes: dict[str, Any]) -> None:
        super().__init__()
        self.torch = importlib.import_module("torch")
        self.library = f"torch {self.torch.__version__}"
        self.module, self.arguments = module, arguments
        self.declared = [item["name"] for item in wishes["inputs"]]
        self.names = [item["name"] for item in wishes["outputs"]]

    def predict(self, inputs: dict[str, Any], wanted: list[str]) -> dict[str, Any]:
        """Return the module's answer: one tensor, several, or a mapping of them."""
        with self.torch.inference_mode():
            answer = self.module(*(self._tensor(name, inputs[name]) for name in self._order(inputs)))
        if isinstance(answer, dict):
            return {str(name): self._array(value) for name, value in answer.items()}
        values = list(answer) if isinstance(answer, (list, tuple)) else [answer]
        names = self.names or (["output"] if len(values) == 1 else [f"output_{n}" for n in range(len(values))])
        if len(names) != len(values):
            raise ValueError(f"the module gives {len(values)} tensors, its signature names {len(names)}")
        return {name: self._array(value) for name, value in zip(names, values)}  # noqa: B905  # strict= is 3.10

    def _order(self, inputs: dict[str, Any]) -> list[str]:
        """Return the inputs' names in call order: by the module's arguments, else by the signature, else as sent."""
        for names in (self.arguments, self.declared):
            if set(names) == set(inputs):
                return names
        if self.arguments and len(self.arguments) != len(inputs):
            raise InputError(f"the model takes {', '.join(map(repr, self.arguments))}, not {len(inputs)} inputs")
        return list(inputs)

    def _tensor(self, name: str, array: Any) -> Any:
        if array.dtype == object:
            raise InputError(f"input {name!r}: a torch model takes numbers, not text")
        return self.torch.from_numpy(array if array.flags.writeable else array.copy())

    def _array(self, value: Any) -> Any:
        if not isinstance(value, self.torch.Tensor):
            return np.asarray(value)
        # numpy has no bfloat16; float32 holds every value of it.
        plain = value.float() if value.dtype is self.torch.bfloat16 else value
        return plain.detach().cpu().numpy()


def _members(path: Path) -> set[str]:
    """Return the kinds of things in torch's ZIP, by the names below its top folder."""
    if not path.is_file() or not zipfile.is_zipfile(path):
        return set()
    with zipfile.ZipFile(path) as archive:
        return {name.split("/", 2)[1] for name in archive.namelist() if "/" in name}


def load(path: Path, wishes: dict[str, Any]) -> Engine:
    """Open the program that ``path`` holds; its ZIP directory says of which kind it is."""
    torch = importlib.import_module("torch")
    if path.suffix == ".pt2":
        program = torch.export.load(str(path))
        return Module(program.module(), list(program.graph_signature.user_inputs), wishes)
    members = _members(path)
    if "code" in members and "constants.pkl" in members:
        module = torch.jit.load(str(path), map_location="cpu").eval()
        arguments = [argument.name for argument in module.forward.schema.arguments[1:]]
        return Module(module, arguments, wishes)
    if not members:
        raise LoadError(f"{path.name} is neither TorchScript nor an exported program")
    raise LoadError(
        f"{path.name} holds weights and no program: export the model with torch.export or torch.jit, "
        "or package it with a Python entry point that builds the module and loads them (weights_only=True)"
    )
