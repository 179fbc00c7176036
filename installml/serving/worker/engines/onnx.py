"""Engine ``onnxruntime``: the graph says what it takes and gives."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Any

import numpy as np

from . import Engine, InputError, as_text

__all__ = ["load"]

_DATATYPES = {
    "tensor(bool)": "BOOL", "tensor(uint8)": "UINT8", "tensor(uint16)": "UINT16", "tensor(uint32)": "UINT32",
    "tensor(uint64)": "UINT64", "tensor(int8)": "INT8", "tensor(int16)": "INT16", "tensor(int32)": "INT32",
    "tensor(int64)": "INT64", "tensor(float16)": "FP16", "tensor(bfloat16)": "BF16", "tensor(float)": "FP32",
    "tensor(double)": "FP64", "tensor(string)": "BYTES", "seq(map(int64,tensor(float)))": "FP32",
    "seq(map(string,tensor(float)))": "FP32",
}  # fmt: skip
"""ONNX's types to the protocol's; the two maps are scikit-learn's probabilities a class, served as columns."""


class Graph(Engine):
    """An inference session."""

    def __init__(self, session: Any, library: str) -> None:
        super().__init__()
        self.session, self.library = session, library
        self.refusal = importlib.import_module("onnxruntime.capi.onnxruntime_pybind11_state").InvalidArgument
        self.inputs = [_described(item) for item in session.get_inputs()]
        self.outputs = [_described(item) for item in session.get_outputs() if item.type in _DATATYPES]
        self.given = [item["name"] for item in self.outputs]

    def predict(self, inputs: dict[str, Any], wanted: list[str]) -> dict[str, Any]:
        """Return the outputs asked for; the others are not computed."""
        names = [name for name in wanted if name in self.given] or self.given
        feed = {name: as_text(name, array) if array.dtype == object else array for name, array in inputs.items()}
        try:
            answers = self.session.run(names, feed)
        except self.refusal as error:
            raise InputError(str(error)) from error
        return {name: _columns(answer) for name, answer in zip(names, answers)}  # noqa: B905  # strict= is 3.10


def _described(item: Any) -> dict[str, Any]:
    shape = [n if isinstance(n, int) and n >= 0 else -1 for n in item.shape or ()]
    if item.type.startswith("seq("):
        shape = [-1, -1]
    return {"name": item.name, "datatype": _DATATYPES.get(item.type, item.type), "shape": shape}


def _columns(answer: Any) -> Any:
    if isinstance(answer, list) and answer and isinstance(answer[0], dict):
        return np.array([[row[key] for key in answer[0]] for row in answer], dtype=np.float32)
    return answer


def _threads() -> int:
    """Return the threads of one operator: as wished for OpenMP, else the cores that this process may use."""
    wished = os.environ.get("OMP_NUM_THREADS", "")
    if wished.isdecimal() and int(wished):
        return int(wished)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0


def load(path: Path, wishes: dict[str, Any]) -> Engine:
    """Open an ONNX file on the GPU where the library has one, else on the CPU."""
    library = importlib.import_module("onnxruntime")
    options = library.SessionOptions()
    options.intra_op_num_threads = _threads()
    wanted = ("CUDAExecutionProvider", "ROCMExecutionProvider", "CPUExecutionProvider")
    providers = [name for name in wanted if name in library.get_available_providers()]
    session = library.InferenceSession(str(path), options, providers=providers)
    return Graph(session, f"onnxruntime {library.__version__}")
