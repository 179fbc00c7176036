"""What the registry says: refusals with distribution-spec's error codes, and a blob's bytes, whole or a range."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from ..digest import CHUNK, Digest
from ..errors import InstallMLError
from .zerocopy import MESSAGE, disconnected, offered

__all__ = ["BlobResponse", "Refusal", "Span", "content_headers", "link_next", "parse_content_range", "parse_range"]


class Refusal(InstallMLError):
    """A request that is answered with an error (distribution-spec, "Error Codes").

    Args:
        status: HTTP status.
        code: One of the specification's codes.
        message: For people.
        headers: More headers of the answer.
        detail: For programs.
    """

    reference = "registry-refusal"

    def __init__(
        self, status: int, code: str, message: str, *, headers: Mapping[str, str] | None = None, detail: Any = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.headers = dict(headers or {})
        self.detail = detail

    def response(self) -> Response:
        """Return the answer."""
        error = {"code": self.code, "message": self.message}
        if self.detail is not None:
            error["detail"] = self.detail
        return JSONResponse({"errors": [error]}, self.status, self.headers)


def content_headers(digest: Digest, media_type: str, size: int) -> dict[str, str]:
    """Return the headers of content that its digest identifies."""
    return {
        "Content-Type": media_type,
        "Content-Length": str(size),
        "Docker-Content-Digest": str(digest),
        "ETag": f'"{digest}"',
    }


def link_next(path: str, query: str) -> dict[str, str]:
    """Return the header that leads to the next page (RFC 8288, relation ``next``)."""
    return {"Link": f'<{path}?{query}>; rel="next"'}


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes ``start`` to ``end``, both included."""

    start: int
    end: int

    @property
    def size(self) -> int:
        """How many bytes."""
        return self.end - self.start + 1


_RANGE = re.compile(r"bytes=\s*(?:(\d{1,18})-(\d{1,18})?|-(\d{1,18}))\s*")
_CONTENT_RANGE = re.compile(r"(?:bytes )?(\d{1,18})-(\d{1,18})(?:/(?:\d+|\*))?")


def parse_range(header: str, size: int) -> Span | None:
    """Return the bytes that a Range header asks for, or None when the whole is the right answer.

    One range only: RFC 9110, section 14.2, lets a server ignore what it does not support, and nobody agrees on
    several.

    Raises:
        Refusal: 416, the range lies outside the content.
    """
    match = _RANGE.fullmatch(header)
    if match is None:
        return None
    first, last, suffix = (None if text is None else int(text) for text in match.groups())
    if suffix is not None:
        span = Span(max(0, size - suffix), size - 1)
    else:
        span = Span(first or 0, size - 1 if last is None else min(last, size - 1))
        if last is not None and first is not None and last < first:
            return None  # RFC 9110, section 14.1.1: invalid, so as if there were none
    if span.size <= 0:
        raise Refusal(
            416, "SIZE_INVALID", f"the range is outside of {size} bytes", headers={"Content-Range": f"bytes */{size}"}
        )
    return span


def parse_content_range(header: str) -> Span:
    """Return the bytes that a chunk claims to be (distribution-spec, "Pushing a blob in chunks").

    Raises:
        Refusal: 400, it is of another form.
    """
    match = _CONTENT_RANGE.fullmatch(header)
    span = Span(int(match[1]), int(match[2])) if match else Span(0, -1)
    if span.size <= 0:
        raise Refusal(400, "BLOB_UPLOAD_INVALID", f"Content-Range is not START-END: {header[:60]!r}")
    return span


class BlobResponse(Response):
    """Streams a file, or a span of it, in constant memory; stops when nobody listens any more.

    The kernel sends where it may (``zerocopy``); else blocks are read in a thread and sent from here.

    Args:
        file: Open for reading, unbuffered; closed here.
        size: Bytes in all.
        span: The part to send, or None for the whole.
        headers: Headers of the whole.
    """

    def __init__(self, file: BinaryIO, size: int, span: Span | None, headers: Mapping[str, str]) -> None:
        self._file = file
        self._span = span or Span(0, size - 1)
        more = {} if span is None else {"Content-Range": f"bytes {span.start}-{span.end}/{size}"}
        super().__init__(
            status_code=200 if span is None else 206,
            headers={**headers, **more, "Content-Length": str(self._span.size)},
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        gone = asyncio.ensure_future(disconnected(receive))
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            await (self._send_pieces if offered(scope) else self._send_blocks)(send, gone)
        finally:
            gone.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await gone
            self._file.close()

    async def _send_pieces(self, send: Send, gone: asyncio.Future[None]) -> None:
        at, stop = self._span.start, self._span.end + 1
        if at == stop:
            await send({"type": "http.response.body"})
        while at < stop and not gone.done():
            count = min(CHUNK, stop - at)  # no larger, or the record of a client that goes is far too high
            piece = {"type": MESSAGE, "file": self._file, "offset": at, "count": count, "more_body": at + count < stop}
            await send(piece)
            at += count

    async def _send_blocks(self, send: Send, gone: asyncio.Future[None]) -> None:
        left = self._span.size
        if not left:
            await send({"type": "http.response.body"})
        self._file.seek(self._span.start)
        while left and not gone.done():
            block = await run_in_threadpool(self._file.read, min(CHUNK, left))
            if not block:
                return  # the file is shorter than it was: ending early tells the client that this is not all
            left -= len(block)
            await send({"type": "http.response.body", "body": block, "more_body": left > 0})
