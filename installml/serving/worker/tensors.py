"""Tensors as numpy arrays and back; shared by the front and the worker. BYTES are object arrays of ``bytes``."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

from .protocol import Tensor

__all__ = ["DTYPES", "TensorError", "datatype_of", "to_array", "to_tensor"]

DTYPES = {
    "BOOL": "?", "UINT8": "u1", "UINT16": "<u2", "UINT32": "<u4", "UINT64": "<u8", "INT8": "i1", "INT16": "<i2",
    "INT32": "<i4", "INT64": "<i8", "FP16": "<f2", "FP32": "<f4", "FP64": "<f8",
}  # fmt: skip
"""numpy's names of the datatypes; BF16 has none, BYTES are objects."""
_NAMES = {np.dtype(code): name for name, code in DTYPES.items()}
_LENGTH = struct.Struct("<I")


class TensorError(Exception):
    """A value that the protocol cannot carry."""


def datatype_of(dtype: np.dtype[Any]) -> str:
    """Return the protocol's name of a numpy dtype.

    Raises:
        TensorError: The protocol has no such datatype (complex, dates, extended precision ...).
    """
    if dtype.kind in "OSU":
        return "BYTES"
    try:
        return _NAMES[dtype.newbyteorder("<")]
    except KeyError:
        raise TensorError(f"numpy's {dtype} has no datatype in the protocol") from None


def to_array(tensor: Tensor) -> np.ndarray[Any, Any]:
    """Return the tensor as an array that looks into the tensor's bytes (BYTES are copied).

    Raises:
        TensorError: The bytes do not spell the elements.
    """
    if tensor.datatype == "BYTES":
        return _strings(tensor)
    if tensor.datatype not in DTYPES:
        raise TensorError(f"tensor {tensor.name!r}: datatype {tensor.datatype} is not read")
    return np.frombuffer(tensor.data, dtype=DTYPES[tensor.datatype]).reshape(tensor.shape)


def to_tensor(name: str, value: Any) -> Tensor:
    """Return ``value`` (an array, or what numpy makes one of) as a tensor.

    Raises:
        TensorError: The protocol has no datatype for it, or its rows differ in length.
    """
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise TensorError(f"{name!r} is not an array: its rows differ in length") from error
    datatype = datatype_of(array.dtype)
    if datatype == "BYTES":
        return Tensor(name, datatype, array.shape, b"".join(_packed(name, item) for item in array.ravel().tolist()))
    plain = np.ascontiguousarray(array, dtype=DTYPES[datatype])
    return Tensor(name, datatype, array.shape, plain.reshape(-1).view(np.uint8).data)


def _packed(name: str, item: Any) -> bytes:
    if not isinstance(item, (str, bytes)):
        raise TensorError(f"{name!r} holds a {type(item).__name__} where text or bytes are expected")
    data = item.encode() if isinstance(item, str) else item
    return _LENGTH.pack(len(data)) + data


def _strings(tensor: Tensor) -> np.ndarray[Any, Any]:
    data, at = bytes(tensor.data), 0
    items: list[bytes] = []
    while at < len(data):
        if at + _LENGTH.size > len(data):
            raise TensorError(f"tensor {tensor.name!r} ends inside a length")
        end = at + _LENGTH.size + _LENGTH.unpack_from(data, at)[0]
        if end > len(data):
            raise TensorError(f"tensor {tensor.name!r} ends inside an element")
        items.append(data[at + _LENGTH.size : end])
        at = end
    array = np.empty(len(items), dtype=object)
    array[:] = items
    try:
        return array.reshape(tensor.shape)
    except ValueError:
        raise TensorError(f"tensor {tensor.name!r}: {len(items)} elements do not fit its shape") from None
