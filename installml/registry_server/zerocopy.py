"""Bytes of a file from the kernel's page cache to the socket, without passing through this process.

Here: the ASGI extension ``http.response.zerocopysend`` (ASGI specification, "Extensions", "Zero Copy Send"), which
uvicorn lacks, on top of its h11 protocol; who may not use it. Not here: which bytes (``answers``).

Over TLS the bytes must be encrypted here, so the extension is offered on plain http only. What is not in the page
cache is read from the disk by the thread that serves everybody, a block of the socket's size at a time, as nginx does
without ``aio``.
"""

from __future__ import annotations

import asyncio
import os
from typing import Any, BinaryIO

import h11
from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["MESSAGE", "ZeroCopy", "disconnected", "offered", "ordinary"]

MESSAGE = "http.response.zerocopysend"
_BLOCK = 1 << 20  # bytes at once where the kernel cannot do it


def offered(scope: Scope) -> bool:
    """Say whether messages of the type ``MESSAGE`` may be sent."""
    return MESSAGE in scope.get("extensions", {})


def ordinary(scope: Scope) -> Scope:
    """Return ``scope`` without the extension: for those who look at the bytes, or change them."""
    if not offered(scope):
        return scope
    return {**scope, "extensions": {name: value for name, value in scope["extensions"].items() if name != MESSAGE}}


async def disconnected(receive: Receive) -> None:
    """Wait until the client is gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


class _Piece:
    """Stands for bytes of a file in the hands of h11, which asks for nothing but their number."""

    def __init__(self, size: int) -> None:
        self._size = size

    def __len__(self) -> int:
        return self._size


class ZeroCopy:
    """Offers the extension to ``inner``; must be outermost, next to uvicorn."""

    def __init__(self, inner: ASGIApp) -> None:
        self._inner = inner

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, with the extension where it can be had."""
        if scope["type"] != "http" or scope["scheme"] != "http":
            await self._inner(scope, receive, send)
            return
        protocol = scope["state"]["connection"].protocol

        async def sending(message: Message) -> None:
            if message["type"] != MESSAGE:
                await send(message)
                return
            if scope["method"] != "HEAD":
                await _send_file(protocol, message["file"], message["offset"], message["count"])
            if protocol.transport.is_closing():
                await disconnected(receive)  # or uvicorn wonders why the answer is not complete
            elif not message.get("more_body", False):
                await send({"type": "http.response.body"})

        extensions = {**(scope.get("extensions") or {}), MESSAGE: {}}
        await self._inner({**scope, "extensions": extensions}, receive, sending)


async def _send_file(protocol: Any, file: BinaryIO, offset: int, count: int) -> None:
    """Send bytes of a file as part of the body of the answer under way.

    Args:
        protocol: uvicorn's, with h11's connection and the transport.
        file: Open for reading; its position may move.
        offset: First byte.
        count: How many; not 0.
    """
    if protocol.cycle.disconnected or protocol.transport.is_closing():
        return
    piece: Any = _Piece(count)
    for data in protocol.conn.send_with_data_passthrough(h11.Data(data=piece)):
        if data is not piece:
            protocol.transport.write(data)  # the frame of a chunk
        else:
            await _hand_over(protocol, file, offset, count)


async def _hand_over(protocol: Any, file: BinaryIO, offset: int, count: int) -> None:
    """Let the kernel send; whatever stops it in the middle ends the connection, whose length was promised."""
    try:
        sent = await protocol.loop.sendfile(protocol.transport, file, offset, count, fallback=False)
    except (asyncio.SendfileNotAvailableError, NotImplementedError):  # nothing was sent; uvloop cannot
        sent = await _read_and_write(protocol, file, offset, count)
    except (OSError, RuntimeError):  # the client went away; RuntimeError: it had gone before
        sent = 0
    if sent < count:  # or the file is shorter than it was
        protocol.transport.close()


async def _read_and_write(protocol: Any, file: BinaryIO, offset: int, count: int) -> int:
    sent = 0
    while sent < count:
        block = await run_in_threadpool(os.pread, file.fileno(), min(_BLOCK, count - sent), offset + sent)
        if not block or protocol.transport.is_closing():
            break
        protocol.transport.write(block)
        await protocol.flow.drain()
        sent += len(block)
    return sent
