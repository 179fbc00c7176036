"""Blobs that lie elsewhere: a redirect to a second listener under signed URLs that come to an end.

As registries in front of object stores do it. The second listener has a port, a scheme and a host name of its own.
"""

from __future__ import annotations

import secrets
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .running import Running, run

__all__ = ["Elsewhere", "Redirect"]


class Redirect:
    """Redirects to one URL, whatever was asked for.

    Args:
        location: Where to; ``{path}`` stands for the path that was asked for (and makes an endless circle).
        code: HTTP status.
    """

    def __init__(self, location: str, code: int = 307) -> None:
        self.location = location
        self.code = code

    async def misbehave(self, inner: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the client away."""
        location = self.location.replace("{path}", scope["path"])
        await PlainTextResponse("", self.code, {"Location": location})(scope, receive, send)


class Elsewhere:
    """A fault that redirects each request to a listener of its own, which answers what the registry would have said.

    Every redirect carries a fresh signature. A request with a signature that is unknown or used up, by another method
    than GET, or with credentials is refused with 403 and 400, as object stores do. Use it as a context manager.

    Args:
        uses: Times that one signed URL works; without end when None.
        host: Name or address of the place in the URLs; it must lead to this machine.
        tls: Certificate chain and key, both PEM; plain http when None.

    Attributes:
        place: The running listener; ``place.requests`` is what it was asked.
    """

    place: Running

    def __init__(self, uses: int | None = None, *, host: str = "127.0.0.1", tls: tuple[Path, Path] | None = None):
        self._uses = uses
        self._host = host
        self._tls = tls
        self._guard = threading.Lock()
        self._granted: dict[str, _Grant] = {}

    async def misbehave(self, inner: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the client to the other place, if the registry would have answered."""
        refused = await _refused(inner, scope, receive)
        if refused:
            for message in refused:
                await send(message)
            return
        signature = secrets.token_urlsafe(16)
        with self._guard:
            self._granted[signature] = _Grant(inner, scope, self._uses)
        scheme = "https" if self._tls else "http"
        location = f"{scheme}://{self._host}:{self.place.port}/stored?signature={signature}"
        await PlainTextResponse("", 307, {"Location": location})(scope, receive, send)

    def expire(self) -> None:
        """Let no URL work that was given out until now."""
        with self._guard:
            self._granted.clear()

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        headers = dict(scope["headers"])
        if b"authorization" in headers:
            await PlainTextResponse("two ways to prove who you are", 400)(scope, receive, send)
            return
        grant = self._used(scope["query_string"].decode("latin-1").removeprefix("signature="))
        if grant is None or scope["method"] != "GET":
            await PlainTextResponse("this URL is over", 403)(scope, receive, send)
            return
        ranged = [(b"range", headers[b"range"])] if b"range" in headers else []
        kept = [(key, value) for key, value in grant.scope["headers"] if key != b"range"]
        was = {"path": grant.scope["path"], "raw_path": grant.scope.get("raw_path"), "query_string": b""}
        await grant.inner({**scope, **was, "headers": [*kept, *ranged]}, receive, send)

    def _used(self, signature: str) -> _Grant | None:
        with self._guard:
            grant = self._granted.get(signature)
            if grant is None or grant.left == 0:
                return None
            grant.left = None if grant.left is None else grant.left - 1
            return grant

    def __enter__(self) -> Self:
        self.place = run(self._answer, tls=self._tls)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.place.stop()


async def _refused(inner: ASGIApp, scope: Scope, receive: Receive) -> list[Message]:
    """Return what ``inner`` says to the same question asked by HEAD, if that is a refusal."""
    said: list[Message] = []

    async def noting(message: Message) -> None:
        said.append(message)

    await inner({**scope, "method": "HEAD"}, receive, noting)
    return said if said and said[0]["status"] >= 400 else []


class _Grant:
    """What one signed URL stands for."""

    def __init__(self, inner: ASGIApp, scope: Scope, left: int | None) -> None:
        self.inner = inner
        self.scope = scope
        self.left = left
