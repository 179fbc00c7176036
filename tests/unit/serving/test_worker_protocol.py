"""Frames and tensors: what goes in comes out, and nothing that arrives breaks more than its own frame."""

from __future__ import annotations

import json
import mmap
import socket
import struct
import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from installml.serving.worker.protocol import (
    MAX_HEADER,
    MAX_PAYLOAD,
    Frame,
    FrameError,
    Tensor,
    assemble,
    encode,
    header_size,
    parse_header,
    receive,
)
from installml.serving.worker.tensors import DTYPES, TensorError, to_array, to_tensor

NUMBERS = st.sampled_from(sorted(DTYPES.values())).flatmap(
    lambda code: arrays.arrays(np.dtype(code), arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5))
)


def through_a_socket(data: bytes) -> Frame | None:
    """Return what `receive` makes of `data` followed by the other side's hanging up."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        writer = threading.Thread(target=lambda: (theirs.sendall(data), theirs.shutdown(socket.SHUT_WR)))
        writer.start()
        try:
            return receive(ours, 1 << 16)
        finally:
            ours.close()
            writer.join()


def header(**changes: Any) -> bytes:
    """Return a header with one tensor, changed; a change with the value KeyError takes the key away."""
    tensor = {"name": "x", "datatype": "FP32", "shape": [2], "size": 8}
    for key, value in changes.items():
        if value is KeyError:
            del tensor[key]
        else:
            tensor[key] = value
    return json.dumps({"kind": "infer", "fields": {}, "tensors": [tensor]}).encode()


@given(NUMBERS)
def test_an_array_comes_out_of_a_frame_as_it_went_in(array: np.ndarray) -> None:
    frame = through_a_socket(b"".join(map(bytes, encode(Frame("infer", {"id": 1}, (to_tensor("x", array),))))))
    assert frame is not None
    assert frame.fields == {"id": 1}
    assert to_array(frame.tensors[0]).tobytes() == np.ascontiguousarray(array).tobytes()
    assert to_array(frame.tensors[0]).shape == array.shape


@given(st.lists(st.one_of(st.text(), st.binary())))
def test_text_and_bytes_come_out_as_bytes(items: list[str | bytes]) -> None:
    array = np.empty(len(items), dtype=object)
    array[:] = items
    tensor = to_tensor("x", array)
    assert to_array(tensor).tolist() == [item.encode() if isinstance(item, str) else item for item in items]


def test_arrays_that_lie_across_memory_or_in_the_other_byte_order_arrive_row_by_row() -> None:
    plain = np.arange(6, dtype="<f4").reshape(2, 3)
    for strange in (plain.astype(">f4"), np.asfortranarray(plain), np.repeat(plain, 2, axis=1)[:, ::2]):
        assert bytes(to_tensor("x", strange).data) == plain.tobytes()


@settings(max_examples=200)
@given(st.binary(max_size=400))
def test_random_bytes_are_a_frame_or_an_error_and_nothing_else(data: bytes) -> None:
    try:
        through_a_socket(data)
    except FrameError:
        pass


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.just("FP32")),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=5), inner, max_size=4)),
    max_leaves=8,
)
KEYS = st.sampled_from(["name", "datatype", "shape", "size"])


@settings(max_examples=200)
@given(st.fixed_dictionaries({"kind": JSON, "fields": JSON, "tensors": st.lists(st.dictionaries(KEYS, JSON))}) | JSON)
def test_any_json_is_a_header_or_an_error_and_nothing_else(value: Any) -> None:
    try:
        parse_header(json.dumps(value).encode())
    except FrameError:
        pass


@pytest.mark.parametrize(
    "data",
    [
        header(name=KeyError), header(name=1), header(datatype="FP31"), header(datatype=None), header(shape=None),
        header(shape=[-1]), header(shape=[2.0]), header(shape=[True, 8]), header(shape=[1] * 33), header(size=-8),
        header(size=7), header(size=KeyError), header(size=1 << 40, shape=[1 << 38]),
        header(datatype="BYTES", shape=[10**9], size=8), b"[]", b"{}", b"{", b"\xff", b"[" * 100_000,
    ],
)  # fmt: skip
def test_a_header_that_does_not_hold_together_is_refused(data: bytes) -> None:
    with pytest.raises(FrameError):
        parse_header(data)


def test_more_payload_than_the_limit_is_refused_before_it_is_read() -> None:
    with pytest.raises(FrameError, match="at most 4 are read"):
        parse_header(header(), limit=4)


@pytest.mark.parametrize("size", [0, 1, MAX_HEADER + 1, 2**32 - 1])
def test_a_header_length_out_of_bounds_is_refused_before_memory_is_reserved(size: int) -> None:
    with pytest.raises(FrameError):
        header_size(struct.pack("<I", size))


@pytest.mark.parametrize("cut", [0, 2, 4, 20, -1])
def test_a_conversation_that_ends_inside_a_frame_has_ended(cut: int) -> None:
    whole = b"".join(map(bytes, encode(Frame("infer", {}, (to_tensor("x", np.ones(3)),)))))
    assert through_a_socket(whole[:cut]) is None


def test_a_frame_beyond_the_limits_is_not_sent() -> None:
    with pytest.raises(FrameError):
        encode(Frame("infer", {"text": "x" * MAX_HEADER}))
    pages = mmap.mmap(-1, MAX_PAYLOAD + 1)  # pages that nobody touches cost nothing
    with pages, memoryview(pages) as huge, pytest.raises(FrameError):
        encode(Frame("infer", {}, (Tensor("x", "UINT8", (len(huge),), huge),)))


@pytest.mark.parametrize(
    "data",
    [b"\1\0\0", b"\5\0\0\0ab", b"\xff\xff\xff\xff", b"\1\0\0\0a\1\0\0\0b"],
    ids=["length", "short", "huge", "count"],
)
def test_byte_elements_that_do_not_fit_are_refused_by_name(data: bytes) -> None:
    with pytest.raises(TensorError, match="'x'"):
        to_array(Tensor("x", "BYTES", (1,), data))


@pytest.mark.parametrize("value", [[[1], [1, 2]], [1j], np.array(["2026"], dtype="M8[Y]"), [object()], [None]])
def test_what_the_protocol_cannot_carry_is_refused(value: Any) -> None:
    with pytest.raises(TensorError):
        to_tensor("x", value)


def test_assembled_tensors_look_into_the_payload_without_a_copy() -> None:
    payload = bytearray(8)
    frame = assemble(parse_header(header()), payload)
    payload[3] = 64
    assert to_array(frame.tensors[0]).tolist() == [2.0, 0.0]
