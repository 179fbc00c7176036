"""The protocol's JSON without a server: properties that the contract tests' examples cannot show."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from installml.serving import oip
from installml.serving.client import arrays
from installml.serving.errors import ModelFailed, RequestInvalid
from installml.serving.worker.protocol import Tensor
from installml.serving.worker.tensors import to_array, to_tensor

ANY = {"inputs": [], "outputs": []}
JSON = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(-(2**64), 2**64), st.floats(allow_nan=False, allow_infinity=False),
        st.text(max_size=4), st.sampled_from(["x", "FP32", "INT8", "BYTES", "FP16"]),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=4), inner, max_size=3)),
    max_leaves=10,
)  # fmt: skip
TENSORS = st.fixed_dictionaries(
    {},
    optional={
        "name": st.just("x") | JSON,
        "datatype": st.sampled_from(["FP32", "INT8", "BOOL", "BYTES", "UINT64"]) | JSON,
        "shape": st.lists(st.integers(-1, 4), max_size=3) | JSON,
        "data": st.lists(JSON) | JSON,
        "parameters": JSON,
    },
)
REQUESTS = JSON | st.fixed_dictionaries(
    {"inputs": st.lists(TENSORS, max_size=3) | JSON}, optional={"id": JSON, "outputs": JSON, "parameters": JSON}
)


@settings(max_examples=300)
@given(REQUESTS)
def test_any_json_is_a_request_or_the_caller_s_mistake(value: Any) -> None:
    try:
        request = oip.parse(value, ANY)
    except RequestInvalid:
        return
    for tensor in request.tensors:
        assert to_array(tensor).shape == tensor.shape


@given(st.lists(st.integers(1, 3), min_size=1, max_size=4), st.data())
def test_flat_and_nested_data_are_the_same_tensor(shape: list[int], data: st.DataObject) -> None:
    array = np.arange(np.prod(shape)).reshape(shape)
    form = data.draw(st.sampled_from([array.tolist(), array.ravel().tolist()]))
    request = oip.parse({"inputs": [{"name": "x", "datatype": "INT16", "shape": shape, "data": form}]}, ANY)
    assert (to_array(request.tensors[0]) == array).all()


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False)))
def test_single_precision_survives_json(values: list[float]) -> None:
    array = np.array(values, dtype=np.float32)
    answer = oip.answer([to_tensor("y", array)], oip.InferRequest(()), name="m", version="1")
    assert (arrays(json.loads(oip.dump(answer)))["y"] == array).all()


def test_inputs_are_cast_to_what_the_model_declares_and_no_further() -> None:
    metadata = {"inputs": [{"name": n, "datatype": d} for n, d in (("f", "FP32"), ("i", "INT8"), ("b", "INT8"))]}
    request = oip.request_json({"f": [[1, 2]], "i": [300], "b": [1.5], "t": ["a", b"b"]}, metadata)
    assert [(item["datatype"], item["data"]) for item in request["inputs"]] == [
        ("FP32", [1.0, 2.0]),
        ("INT64", [300]),  # would wrap, so the server may say what it wants
        ("FP64", [1.5]),
        ("BYTES", ["a", "b"]),
    ]


@pytest.mark.parametrize("value", [[[1], [1, 2]], [1j], [float("nan")]])
def test_an_input_that_json_cannot_carry_is_named(value: Any) -> None:
    with pytest.raises(RequestInvalid, match="input 'x'"):
        oip.request_json({"x": value}, ANY)


def test_bytes_that_are_no_text_cannot_be_answered() -> None:
    with pytest.raises(ModelFailed, match="output 'y' cannot be written as JSON"):
        oip.answer([to_tensor("y", [b"\xff"])], oip.InferRequest(()), name="m", version="1")


def test_half_precision_cannot_be_answered() -> None:
    with pytest.raises(ModelFailed, match="output 'y' is FP16"):
        oip.answer([Tensor("y", "FP16", (1,), b"\0\0")], oip.InferRequest(()), name="m", version="1")


def test_an_output_that_the_model_did_not_give_is_the_caller_s_mistake() -> None:
    request = oip.InferRequest((), ("z",))
    with pytest.raises(RequestInvalid, match="output 'z' is unknown; the model gives 'y'"):
        oip.answer([to_tensor("y", [1])], request, name="m", version="1")
