"""Frames between the front and a worker: a length, a JSON header, the tensors' raw bytes.

::

    4 bytes   length of the header, little-endian
    header    {"kind": ..., "fields": {...}, "tensors": [{"name", "datatype", "shape", "size"}, ...]}
    payload   the tensors one after the other: C order, little-endian; BYTES elements each after their 4-byte length

Nothing here reads a socket except ``receive``; the front feeds the same functions from asyncio. Everything that
the other side names is capped before memory is reserved for it. Never pickle.
"""

from __future__ import annotations

import json
import math
import socket
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

__all__ = [
    "ITEM_SIZES",
    "MAX_HEADER",
    "MAX_PAYLOAD",
    "PREFIX",
    "Frame",
    "FrameError",
    "Header",
    "Tensor",
    "assemble",
    "encode",
    "header_size",
    "parse_header",
    "receive",
]

PREFIX = 4
MAX_HEADER = 1 << 20
MAX_PAYLOAD = 1 << 31
MAX_TENSORS = 256
MAX_RANK = 32

ITEM_SIZES = {
    "BOOL": 1, "UINT8": 1, "UINT16": 2, "UINT32": 4, "UINT64": 8, "INT8": 1, "INT16": 2, "INT32": 4, "INT64": 8,
    "FP16": 2, "BF16": 2, "FP32": 4, "FP64": 8, "BYTES": 0,
}  # fmt: skip
"""Bytes an element; 0 where elements differ in size."""

if TYPE_CHECKING:
    Buffer = bytes | bytearray | memoryview


class FrameError(Exception):
    """The other side does not speak this protocol."""


@dataclass(frozen=True)
class Tensor:
    """A named tensor whose elements are still bytes."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: Buffer = b""


@dataclass(frozen=True)
class Frame:
    """One message: what it is, its values, its tensors."""

    kind: str
    fields: dict[str, Any] = field(default_factory=dict)
    tensors: tuple[Tensor, ...] = ()


@dataclass(frozen=True)
class Header:
    """A frame whose payload is still on its way."""

    frame: Frame
    sizes: tuple[int, ...]

    @property
    def payload(self) -> int:
        """Return the number of bytes that follow the header."""
        return sum(self.sizes)


def encode(frame: Frame) -> list[Buffer]:
    """Return the frame's bytes as buffers to be written in order.

    Raises:
        FrameError: The frame is larger than the other side accepts.
    """
    tensors = [
        {"name": t.name, "datatype": t.datatype, "shape": list(t.shape), "size": len(t.data)} for t in frame.tensors
    ]
    header = json.dumps({"kind": frame.kind, "fields": frame.fields, "tensors": tensors}, allow_nan=False).encode()
    if len(header) > MAX_HEADER:
        raise FrameError(f"a header of {len(header)} bytes, at most {MAX_HEADER} go")
    if sum(len(t.data) for t in frame.tensors) > MAX_PAYLOAD:
        raise FrameError(f"tensors of more than {MAX_PAYLOAD} bytes")
    return [struct.pack("<I", len(header)) + header, *(t.data for t in frame.tensors)]


def header_size(prefix: Buffer) -> int:
    """Return how long the header is that ``prefix`` announces.

    Raises:
        FrameError: Longer than any header of this protocol.
    """
    size = int(struct.unpack("<I", prefix)[0])
    if not 2 <= size <= MAX_HEADER:
        raise FrameError(f"a header of {size} bytes is announced, 2 to {MAX_HEADER} are read")
    return size


def parse_header(data: bytes | bytearray, limit: int = MAX_PAYLOAD) -> Header:
    """Return the header that ``data`` spells.

    Args:
        data: The header's JSON.
        limit: Most bytes of payload accepted.

    Raises:
        FrameError: Not JSON, not a header, or it announces more than ``limit``.
    """
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise FrameError("the header is not JSON") from error
    kind, fields, tensors = _members(value)
    if len(tensors) > MAX_TENSORS:
        raise FrameError(f"{len(tensors)} tensors, at most {MAX_TENSORS} go in a frame")
    heads, sizes = [], []
    for item in tensors:
        tensor, size = _tensor(item)
        heads.append(tensor)
        sizes.append(size)
    header = Header(Frame(kind, fields, tuple(heads)), tuple(sizes))
    if header.payload > limit:
        raise FrameError(f"{header.payload} bytes of tensors are announced, at most {limit} are read")
    return header


def _members(value: Any) -> tuple[str, dict[str, Any], list[Any]]:
    if not isinstance(value, dict):
        raise FrameError("the header is not an object")
    kind, fields, tensors = value.get("kind"), value.get("fields"), value.get("tensors")
    if not isinstance(kind, str) or not isinstance(fields, dict) or not isinstance(tensors, list):
        raise FrameError("the header lacks kind, fields or tensors")
    return kind, fields, tensors


def _count(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= MAX_PAYLOAD:
        raise FrameError("a dimension or size is not a count")
    return value


def _tensor(item: Any) -> tuple[Tensor, int]:
    if not isinstance(item, dict):
        raise FrameError("a tensor is not an object")
    name, datatype, shape = item.get("name"), item.get("datatype"), item.get("shape")
    if not isinstance(name, str) or datatype not in ITEM_SIZES or not isinstance(shape, list) or len(shape) > MAX_RANK:
        raise FrameError("a tensor lacks its name, datatype or shape")
    dims, size = tuple(_count(n) for n in shape), _count(item.get("size"))
    item_size = ITEM_SIZES[datatype]
    # A BYTES element is at least its own 4-byte length, so a huge count cannot hide behind a small payload.
    if (size != math.prod(dims) * item_size) if item_size else (size < math.prod(dims) * PREFIX):
        raise FrameError(f"tensor {name[:80]!r}: {size} bytes do not fit its shape")
    return Tensor(name, datatype, dims), size


def assemble(header: Header, payload: Buffer) -> Frame:
    """Return the frame whose payload has arrived; its tensors look into ``payload`` without a copy."""
    view, start, tensors = memoryview(payload), 0, []
    for tensor, size in zip(header.frame.tensors, header.sizes):  # noqa: B905  # equal lengths; strict= is 3.10
        tensors.append(Tensor(tensor.name, tensor.datatype, tensor.shape, view[start : start + size]))
        start += size
    return Frame(header.frame.kind, header.frame.fields, tuple(tensors))


def _exactly(connection: socket.socket, size: int) -> bytearray | None:
    data = bytearray(size)
    view, got = memoryview(data), 0
    while got < size:
        count = connection.recv_into(view[got:])
        if not count:
            return None
        got += count
    return data


def receive(connection: socket.socket, limit: int = MAX_PAYLOAD) -> Frame | None:
    """Return the next frame from a blocking socket, or None when the other side has gone.

    Raises:
        FrameError: What arrives is no frame.
    """
    prefix = _exactly(connection, PREFIX)
    raw = _exactly(connection, header_size(prefix)) if prefix else None
    if raw is None:
        return None
    header = parse_header(raw, limit)
    payload = _exactly(connection, header.payload)
    return None if payload is None else assemble(header, payload)
