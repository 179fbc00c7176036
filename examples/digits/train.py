"""Train the digits classifier that `installml demo` uses, and write it as an ONNX file: `python train.py OUT`.

The model is small on purpose: thirteen fixed 3x3 filters (edges, lines, the pixel itself), ReLU, 2x2 max-pooling,
and a multinomial logistic regression over the 208 values that remain. The regression is a convex problem solved to
the end by Newton's method, so there is one answer, and its weights are rounded to multiples of 1/256: the last bits
in which linear algebra libraries differ do not reach the file. The same versions give the same bytes.

Data: scikit-learn's bundled digits, 1797 images of 8x8 pixels from 0 to 16. They are the test part of "Optical
Recognition of Handwritten Digits" (E. Alpaydin, C. Kaynak, 1998, UCI Machine Learning Repository,
doi:10.24432/C50P49, CC BY 4.0). The first half trains, the second half is held out; nothing was tuned on it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

Array = NDArray[np.float64]

GRID = 256
"""Weights are multiples of 1/GRID; with pixels in sixteenths every sum is exact in float32."""
OPSET, IR_VERSION = 17, 8
"""The oldest pair that says all this; onnxruntime reads it since 1.12."""


def filters() -> Array:
    """Return the fixed filters, 13 x 3 x 3: eight edges, four lines and the pixel."""
    edge = np.array([[-1, -2, -1], [0, 0, 0], [1, 2, 1]])
    corner = np.array([[-2, -1, 0], [-1, 0, 1], [0, 1, 2]])
    line = np.array([[-1, -1, -1], [2, 2, 2], [-1, -1, -1]])
    slope = np.array([[2, -1, -1], [-1, 2, -1], [-1, -1, 2]])
    pixel = np.array([[0, 0, 0], [0, 4, 0], [0, 0, 0]])
    edges = [sign * kernel for kernel in (edge, edge.T, corner, corner[:, ::-1]) for sign in (1, -1)]
    return np.stack([*edges, line, line.T, slope, slope[:, ::-1], pixel]) / 4


def features(pixels: Array) -> Array:
    """Return the 208 values per image that the regression sees; `graph` says the same in ONNX."""
    padded = np.pad(pixels.reshape(-1, 8, 8) / 16, ((0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
    edges = np.maximum(np.einsum("nijkl,ckl->ncij", windows, filters()), 0)
    pooled = edges.reshape(len(pixels), -1, 4, 2, 4, 2).max(axis=(3, 5))
    return np.asarray(pooled.reshape(len(pixels), -1))


def train(pixels: Array, labels: NDArray[np.int64]) -> tuple[Array, Array]:
    """Return weights (10 x 208) and biases (10), rounded to the grid."""
    model = LogisticRegression(solver="newton-cholesky", tol=1e-12, max_iter=100).fit(features(pixels), labels)
    return np.round(model.coef_ * GRID) / GRID, np.round(model.intercept_ * GRID) / GRID


def predict(pixels: Array, weights: Array, biases: Array) -> tuple[Array, NDArray[np.int64]]:
    """Return probabilities and digits in double precision."""
    logits = features(pixels) @ weights.T + biases
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True), logits.argmax(axis=1)


def graph(weights: Array, biases: Array) -> onnx.ModelProto:
    """Return the ONNX model: image to probabilities and digit."""
    constants = {
        "sixteenth": np.float32(1 / 16),
        "square": np.array([-1, 1, 8, 8], dtype=np.int64),
        "filters": filters().reshape(-1, 1, 3, 3).astype(np.float32),
        "weights": weights.astype(np.float32),
        "biases": biases.astype(np.float32),
    }
    nodes = [
        helper.make_node("Mul", ["image", "sixteenth"], ["scaled"]),
        helper.make_node("Reshape", ["scaled", "square"], ["picture"]),
        helper.make_node("Conv", ["picture", "filters"], ["filtered"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["filtered"], ["edges"]),
        helper.make_node("MaxPool", ["edges"], ["pooled"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Flatten", ["pooled"], ["features"]),
        helper.make_node("Gemm", ["features", "weights", "biases"], ["logits"], transB=1),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
        helper.make_node("ArgMax", ["logits"], ["digit"], axis=1, keepdims=0),
    ]
    whole = helper.make_graph(
        nodes,
        "digits",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 64])],
        [
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", 10]),
            helper.make_tensor_value_info("digit", TensorProto.INT64, ["batch"]),
        ],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(
        whole,
        ir_version=IR_VERSION,
        opset_imports=[helper.make_opsetid("", OPSET)],
        producer_name="installml-examples-digits",
        producer_version="1.0.0",
        doc_string="Handwritten digits, 8x8 pixels from 0 to 16, to probabilities and the digit.",
    )
    onnx.checker.check_model(model, full_check=True)
    return model


def request(pixels: Array) -> dict[str, Any]:
    """Return an Open Inference Protocol v2 request for images."""
    data = pixels.astype(int).ravel().tolist()
    return {"inputs": [{"name": "image", "datatype": "FP32", "shape": [len(pixels), 64], "data": data}]}


def answer(pixels: Array, weights: Array, biases: Array) -> dict[str, Any]:
    """Return the answer that `request` should get."""
    probabilities, digits = predict(pixels, weights, biases)
    rounded = [round(float(value), 7) for value in probabilities.ravel()]
    return {
        "outputs": [
            {"name": "probabilities", "datatype": "FP32", "shape": [len(pixels), 10], "data": rounded},
            {"name": "digit", "datatype": "INT64", "shape": [len(pixels)], "data": digits.tolist()},
        ]
    }


def first_of_each(pixels: Array, labels: NDArray[np.int64]) -> dict[str, Any]:
    """Return the first image of each digit: taken in the order of the file, not chosen by how they are answered."""
    chosen = [int(np.flatnonzero(labels == digit)[0]) for digit in range(10)]
    images = [{"label": int(labels[at]), "pixels": pixels[at].astype(int).tolist()} for at in chosen]
    return {"source": "UCI optdigits (doi:10.24432/C50P49), CC BY 4.0, by way of scikit-learn", "images": images}


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write one JSON file, a line per tensor or image at most."""
    (key,) = (name for name, item in value.items() if isinstance(item, list))
    head = "".join(f'  "{name}": {json.dumps(item)},\n' for name, item in value.items() if name != key)
    rows = ",\n".join(f"    {json.dumps(item)}" for item in value[key])
    path.write_text(f'{{\n{head}  "{key}": [\n{rows}\n  ]\n}}\n', encoding="utf-8")


def main(out: Path) -> None:
    """Train, write model.onnx, held_out.json, example.json and expected.json, and print the accuracy."""
    digits = load_digits()
    half = len(digits.data) // 2
    seen, unseen = (digits.data[:half], digits.target[:half]), (digits.data[half:], digits.target[half:])
    weights, biases = train(*seen)
    out.mkdir(parents=True, exist_ok=True)
    (out / "model.onnx").write_bytes(graph(weights, biases).SerializeToString(deterministic=True))
    write_json(out / "held_out.json", first_of_each(*unseen))
    example = seen[0][:2]
    write_json(out / "example.json", request(example))
    write_json(out / "expected.json", answer(example, weights, biases))
    right = int((predict(unseen[0], weights, biases)[1] == unseen[1]).sum())
    print(f"held out: {right} of {len(unseen[1])} right ({right / len(unseen[1]):.1%})")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
