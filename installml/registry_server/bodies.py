"""Request bodies: gathered into blocks worth a thread's while, with a limit on silence."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from starlette.requests import ClientDisconnect, Request

from ..digest import CHUNK
from .answers import Refusal

__all__ = ["IDLE_SECONDS", "blocks", "read_small"]

IDLE_SECONDS = 60.0
"""A client that sends nothing for so long is gone, or would hold its upload forever."""


async def blocks(request: Request) -> AsyncIterator[bytes | bytearray]:
    """Yield the body in blocks of about 1 MiB; what had arrived before a disconnect is yielded before it is raised.

    Raises:
        ClientDisconnect: The client went away, or fell silent.
    """
    gathered = bytearray()
    more = True
    while more:
        try:
            message = await asyncio.wait_for(request.receive(), IDLE_SECONDS)
        except TimeoutError:
            message = {"type": "http.disconnect"}
        if message["type"] == "http.disconnect":
            if gathered:
                yield gathered
            raise ClientDisconnect
        gathered += message.get("body", b"")
        more = message.get("more_body", False)
        if gathered and (len(gathered) >= CHUNK or not more):
            yield gathered
            gathered = bytearray()


async def read_small(request: Request, cap: int) -> bytes:
    """Return the whole body.

    Raises:
        Refusal: 413, it is larger than ``cap`` bytes.
    """
    data = bytearray()
    if int(request.headers.get("content-length", "0")) <= cap:
        async for block in blocks(request):
            data += block
            if len(data) > cap:
                break
        else:
            return bytes(data)
    raise Refusal(413, "SIZE_INVALID", f"manifests of more than {cap} bytes are not accepted")
