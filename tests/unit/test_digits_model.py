"""The model that `installml demo` ships, read and computed here without ONNX Runtime and without our own readers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import installml
from installml.packing.recipe import load_recipe
from installml.packing.select import select
from installml.serving.oip import parse

MODEL = Path(installml.__file__).parent / "demo_model"
FLOAT, INT64 = 1, 7
"""TensorProto.DataType (onnx.proto3)."""


def fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """Yield number and value of each field of a protobuf message (protobuf.dev, "Encoding")."""
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(data):
        key = varint()
        if key & 7 == 0:
            yield key >> 3, varint()
            continue
        size = {1: 8, 5: 4}.get(key & 7) or varint()
        yield key >> 3, data[at : at + size]
        at += size


def messages(data: bytes, number: int) -> list[Any]:
    return [value for found, value in fields(data) if found == number]


def tensor(data: bytes) -> tuple[str, Any]:
    """Return name and array of a TensorProto: dims = 1, data_type = 2, name = 8, raw_data = 9."""
    (name,), (kind,), (raw,) = (messages(data, number) for number in (8, 2, 9))
    shape = [int(size) for found, size in fields(data) if found == 1]
    return name.decode(), np.frombuffer(raw, {FLOAT: "<f4", INT64: "<i8"}[kind]).reshape(shape)


@pytest.fixture(scope="module")
def weights() -> dict[str, Any]:
    (graph,) = messages((MODEL / "model.onnx").read_bytes(), 7)
    return dict(tensor(item) for item in messages(graph, 5))


def document(name: str) -> Any:
    return json.loads((MODEL / name).read_text(encoding="utf-8"))


def probabilities(weights: dict[str, Any], images: Any) -> Any:
    """Compute what the graph says: filters over the padded image, ReLU, 2x2 maximum, linear, softmax."""
    scaled = (np.asarray(images, dtype="f4") * weights["sixteenth"]).reshape(-1, 8, 8)
    padded = np.pad(scaled, ((0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
    edges = np.maximum(np.einsum("nijkl,ckl->ncij", windows, weights["filters"][:, 0]), 0)
    pooled = edges.reshape(len(scaled), -1, 4, 2, 4, 2).max(axis=(3, 5)).reshape(len(scaled), -1)
    logits = pooled @ weights["weights"].T + weights["biases"]
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def test_all_ten_held_out_images_are_told_right(weights: dict[str, Any]) -> None:
    images = document("held_out.json")["images"]
    answers = probabilities(weights, [image["pixels"] for image in images])
    assert [image["label"] for image in images] == list(range(10))
    assert answers.argmax(axis=1).tolist() == list(range(10))


def test_the_recorded_answer_is_what_the_weights_give(weights: dict[str, Any]) -> None:
    request = document("example.json")["inputs"][0]
    recorded = {output["name"]: output for output in document("expected.json")["outputs"]}
    given = probabilities(weights, np.reshape(request["data"], request["shape"]))
    assert np.abs(given.ravel() - recorded["probabilities"]["data"]).max() < 1e-6
    assert given.argmax(axis=1).tolist() == recorded["digit"]["data"]


def test_an_image_without_ink_gets_ten_probabilities_as_well(weights: dict[str, Any]) -> None:
    given = probabilities(weights, np.zeros((1, 64)))
    assert given.shape == (1, 10)
    assert given.sum() == pytest.approx(1)


def test_the_weights_lie_on_the_grid_that_makes_training_reproducible(weights: dict[str, Any]) -> None:
    for name in ("weights", "biases"):
        assert np.array_equal(weights[name] * 256, np.round(weights[name] * 256)), name
    assert np.abs(weights["weights"]).max() > 0


def test_the_file_asks_for_an_old_onnx_only() -> None:
    model = (MODEL / "model.onnx").read_bytes()
    (opset,) = messages(model, 8)
    assert messages(model, 1) == [8]
    assert messages(opset, 2) == [17]


def test_the_recipe_packages_the_model_and_not_the_held_out_images() -> None:
    recipe = load_recipe(MODEL)
    packaged = {file.path for file in select(MODEL, recipe.files, frozenset({recipe.runtime.model})).files}
    assert {"README.md", "example.json", "expected.json", "model.onnx", "requirements.txt"} <= packaged
    assert "held_out.json" not in packaged


def test_the_example_is_a_request_that_the_signature_allows() -> None:
    signature = load_recipe(MODEL).runtime.signature.to_json()
    request = parse(document("example.json"), signature)
    assert [tensor.shape for tensor in request.tensors] == [(2, 64)]


def test_the_wheel_carries_less_than_100_kB_of_model() -> None:
    assert sum(file.stat().st_size for file in MODEL.iterdir() if file.is_file()) < 100_000


def test_data_and_licence_are_named_where_the_images_are() -> None:
    card = (MODEL / "README.md").read_text(encoding="utf-8")
    for words in ("10.24432/C50P49", "CC BY 4.0"):
        assert words in card
        assert words in document("held_out.json")["source"]
