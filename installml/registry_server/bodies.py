"""Request bodies: gathered into blocks worth a thread's while, with a limit on silence."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from starlette.requests import ClientDisconnect, Request
from starlette.types import Message

from ..digest import CHUNK
from .answers import Refusal

__all__ = ["IDLE_SECONDS", "blocks", "read_small"]

IDLE_SECONDS = 60.0
"""A client that sends nothing for so long is gone, or would hold its upload forever."""

_MOST_PIECES = 256  # so that many small pieces do not wait for each other in memory


async def blocks(request: Request) -> AsyncIterator[list[bytes]]:
    """Yield the body in blocks of about 1 MiB, each in the pieces in which it came, so that none is copied.

    What had arrived before a disconnect is yielded before it is raised.

    Raises:
        ClientDisconnect: The client went away, or fell silent.
    """
    pieces: list[bytes] = []
    size, more = 0, True
    while more:
        message = await _next(request)
        if message["type"] == "http.disconnect":
            if pieces:
                yield pieces
            raise ClientDisconnect
        if piece := message.get("body", b""):
            pieces.append(piece)
            size += len(piece)
        more = message.get("more_body", False)
        if pieces and (size >= CHUNK or len(pieces) >= _MOST_PIECES or not more):
            yield pieces
            pieces, size = [], 0


async def _next(request: Request) -> Message:
    try:
        async with asyncio.timeout(IDLE_SECONDS):
            return await request.receive()
    except TimeoutError:
        return {"type": "http.disconnect"}


async def read_small(request: Request, cap: int) -> bytes:
    """Return the whole body.

    Raises:
        Refusal: 413, it is larger than ``cap`` bytes.
    """
    data = bytearray()
    if int(request.headers.get("content-length", "0")) <= cap:
        async for pieces in blocks(request):
            data += b"".join(pieces)
            if len(data) > cap:
                break
        else:
            return bytes(data)
    raise Refusal(413, "SIZE_INVALID", f"manifests of more than {cap} bytes are not accepted")
