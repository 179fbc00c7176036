"""Ways for the registry to misbehave on purpose, so that clients can be tested against each.

A plan is a list of rules; a rule says which requests (method, path, the how-manieth) and which fault. The first rule
that matches decides. Faults are real: bytes are missing, sockets are reset. All of them are public API, as
``installml.testing.faults``; docs/reference/faults.md lists them. A fault of your own needs the one method of
``Fault``. Redirects to another place are in ``elsewhere``.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .zerocopy import ordinary

__all__ = [
    "Busy",
    "Chunked",
    "Fault",
    "Faults",
    "Flip",
    "ForgetLogin",
    "Gzip",
    "IgnoreRange",
    "LongBody",
    "Multipart",
    "NoLength",
    "Old",
    "Reset",
    "Rule",
    "ShortRange",
    "Slow",
    "Stall",
    "Status",
    "Throttle",
    "Truncate",
    "Unsatisfied",
    "WrongRange",
]


class Fault(Protocol):
    """One way to misbehave."""

    async def misbehave(self, inner: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request, with or without the help of ``inner``."""
        ...


@dataclass(frozen=True, slots=True)
class Rule:
    """Which requests a fault meets.

    Attributes:
        fault: What happens to them.
        method: Exactly this method; any when empty.
        path: Regular expression that is searched for in the path.
        skip: Let so many matching requests pass first.
        times: Then meet so many; all when None.
    """

    fault: Fault
    method: str = ""
    path: str = ""
    skip: int = 0
    times: int | None = None

    def matches(self, method: str, path: str) -> bool:
        """Say whether a request is one of those meant, whatever their number."""
        return self.method in {"", method} and re.search(self.path, path) is not None


class Faults:
    """A plan: rules in order, each with its count of the requests it saw.

    Args:
        rules: The first that matches decides.
    """

    def __init__(self, *rules: Rule) -> None:
        self._guard = threading.Lock()
        self._rules = [_Counted(rule) for rule in rules]

    def around(self, inner: ASGIApp) -> ASGIApp:
        """Return ``inner`` with the faults in front of it."""

        async def misbehaving(scope: Scope, receive: Receive, send: Send) -> None:
            fault = self._fault(scope["method"], scope["path"]) if scope["type"] == "http" else None
            if fault is None:
                await inner(scope, receive, send)
            else:
                await fault.misbehave(inner, ordinary(scope), receive, send)

        return misbehaving

    def _fault(self, method: str, path: str) -> Fault | None:
        with self._guard:
            return next((one.rule.fault for one in self._rules if one.meets(method, path)), None)


@dataclass(slots=True)
class _Counted:
    rule: Rule
    seen: int = 0

    def meets(self, method: str, path: str) -> bool:
        if not self.rule.matches(method, path):
            return False
        self.seen += 1
        number = self.seen - self.rule.skip
        return number > 0 and (self.rule.times is None or number <= self.rule.times)


@dataclass(frozen=True, slots=True)
class Status:
    """Answers with a status instead of what was asked for.

    Attributes:
        code: HTTP status.
        headers: Headers of the answer, such as Retry-After.
        body: Text of the answer.
    """

    code: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""

    async def misbehave(self, inner: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        await PlainTextResponse(self.body, self.code, dict(self.headers))(scope, receive, send)


@dataclass(frozen=True, slots=True)
class Truncate:
    """Closes the connection in an orderly way after so many bytes of the body; the headers promised all of it."""

    after: int

    async def misbehave(self, inner: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the first part."""
        await _cut(self.after, "close", inner, scope, receive, send)


@dataclass(frozen=True, slots=True)
class Reset:
    """Resets the connection after so many bytes of the answer's body, or of the request's (``of="request"``)."""

    after: int
    of: Literal["answer", "request"] = "answer"

    async def misbehave(self, inner: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or read, the first part."""
        if self.of == "answer":
            await _cut(self.after, "reset", inner, scope, receive, send)
            return
        left = self.after

        async def reading() -> Message:
            nonlocal left
            if left <= 0:
                return await _end("reset", scope, receive)
            message = await receive()
            body = message.get("body", b"")
            message = {**message, "body": body[:left], "more_body": message.get("more_body", False) or len(body) > left}
            left -= len(body)
            return message

        await inner(scope, reading, send)


@dataclass(frozen=True, slots=True)
class Flip:
    """Inverts one bit of the blob, at its byte ``offset``, in whichever answer that byte goes out.

    Attributes:
        offset: Counted from the front of the blob, also when only a range of it is sent.
    """

    offset: int

    async def misbehave(self, inner: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer wrongly."""
        position = 0

        async def flipping(message: Message) -> None:
            nonlocal position
            if message["type"] == "http.response.start":
                position = _first(message)
                await send(message)
                return
            body = bytearray(message.get("body", b""))
            here = self.offset - position
            position += len(body)
            if 0 <= here < len(body):
                body[here] ^= 1
                message = {**message, "body": bytes(body)}
            await send(message)

        await inner(scope, receive, flipping)


@dataclass(frozen=True, slots=True)
class Stall:
    """Falls silent after so many bytes of the answer's body until the client gives up or ``seconds`` have passed."""

    after: int
    seconds: float = 3600.0

    async def misbehave(self, inner: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the first part, then nothing for a while, then the rest."""
        left, stalled = self.after, False

        async def stalling(message: Message) -> None:
            nonlocal left, stalled
            body = message.get("body", b"")
            if not stalled and message["type"] == "http.response.body" and len(body) >= left:
                await send({**message, "body": body[:left], "more_body": True})
                stalled = True
                body = body[left:]
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(_gone(receive), self.seconds)
            left -= len(body)
            await send({**message, "body": body} if message["type"] == "http.response.body" else message)

        await inner(scope, receive, stalling)


@dataclass(frozen=True, slots=True)
class IgnoreRange:
    """Answers a ranged request with the whole, as caches and some object stores do."""

    async def misbehave(self, inner: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 200."""
        headers = [(key, value) for key, value in scope["headers"] if key != b"range"]
        await inner({**scope, "headers": headers}, receive, send)


@dataclass(frozen=True, slots=True)
class WrongRange:
    """Answers a ranged request with other bytes than those asked for, and says so, or lies about the whole's size.

    Attributes:
        shift: Bytes by which the range that is sent lies behind the one that was asked for.
        total: Size of the whole that Content-Range names; the true one when None.
        lie: Send the shifted bytes under the Content-Range that was asked for, which only a digest can tell.
    """

    shift: int = 0
    total: int | None = None
    lie: bool = False

    async def misbehave(self, inner: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with the wrong part."""
        asked = _asked(scope)
        if asked is None:
            await inner(scope, receive, send)
            return

        def change(headers: dict[bytes, bytes]) -> None:
            named, _, total = headers.get(b"content-range", b"").rpartition(b"/")
            if named:
                named = b"bytes %d-%d" % asked if self.lie else named
                headers[b"content-range"] = named + b"/" + (total if self.total is None else b"%d" % self.total)

        start, end = asked
        moved = _with_range(scope, f"bytes={start + self.shift}-{end + self.shift}")
        await inner(moved, receive, _edited(send, change))


@dataclass(frozen=True, slots=True)
class ShortRange:
    """Answers a ranged request with at most ``most`` bytes of it, which RFC 9110, 15.3.7, allows."""

    most: int

    async def misbehave(self, inner: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with the front of what was asked for."""
        asked = _asked(scope)
        if asked is not None:
            start, end = asked
            scope = _with_range(scope, f"bytes={start}-{min(end, start + self.most - 1)}")
        await inner(scope, receive, send)


@dataclass(frozen=True, slots=True)
class Unsatisfied:
    """Answers 416 with a Content-Length of so many bytes, and sends none of them (distribution 2.8 names the blob's).

    A client that reads the body to keep the connection waits for ever.
    """

    length: int

    async def misbehave(self, inner: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the head only."""
        headers = [(b"content-length", b"%d" % self.length)]
        await send({"type": "http.response.start", "status": 416, "headers": headers})
        await _gone(receive)


@dataclass(frozen=True, slots=True)
class Multipart:
    """Answers a ranged request as ``multipart/byteranges``, as if several ranges had been asked for."""

    async def misbehave(self, inner: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer under another type."""

        def change(headers: dict[bytes, bytes]) -> None:
            if headers.pop(b"content-range", None):
                headers[b"content-type"] = b"multipart/byteranges; boundary=part"

        await inner(scope, receive, _edited(send, change))


@dataclass(frozen=True, slots=True)
class LongBody:
    """Sends more bytes than there are.

    Attributes:
        extra: How many more, all zero.
        announced: Count them in the Content-Length; else the answer is chunked and does not say how long it is.
    """

    extra: int
    announced: bool = False

    async def misbehave(self, inner: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, and go on."""

        def change(headers: dict[bytes, bytes]) -> None:
            length = int(headers.pop(b"content-length", b"0"))
            if self.announced:
                headers[b"content-length"] = b"%d" % (length + self.extra)

        async def longer(message: Message) -> None:
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                await edited({**message, "more_body": True})
                message = {"type": "http.response.body", "body": bytes(self.extra)}
            await edited(message)

        edited = _edited(send, change)
        await inner(scope, receive, longer)


@dataclass(frozen=True, slots=True)
class Chunked:
    """Answers without Content-Length, in chunks (RFC 9112, 7.1), as servers and proxies do that stream."""

    async def misbehave(self, inner: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer in chunks."""
        await inner(scope, receive, _edited(send, lambda headers: headers.pop(b"content-length", None)))


@dataclass(frozen=True, slots=True)
class NoLength:
    """Answers without Content-Length; only the end of the connection says where the body ends."""

    async def misbehave(self, inner: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer until the connection closes."""
        scope["state"]["connection"].end_with_close()
        await inner(scope, receive, _edited(send, lambda headers: headers.pop(b"content-length", None)))


@dataclass(frozen=True, slots=True)
class Old:
    """Answers as HTTP/1.0: the connection is not kept, and nothing is chunked."""

    async def misbehave(self, inner: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer in the old way."""
        connection = scope["state"]["connection"]
        connection.end_with_close()
        connection.speak_http_1_0()
        await inner(scope, receive, send)


@dataclass(frozen=True, slots=True)
class Gzip:
    """Compresses the answer on the way whatever the client accepts, as some proxies do."""

    async def misbehave(self, inner: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer compressed."""

        def change(headers: dict[bytes, bytes]) -> None:
            headers.pop(b"content-length", None)
            headers[b"content-encoding"] = b"gzip"

        async def compressing(message: Message) -> None:
            if message.get("body"):
                message = {**message, "body": gzip.compress(message["body"], 1)}  # members may follow each other
            await edited(message)

        edited = _edited(send, change)
        await inner(scope, receive, compressing)


@dataclass(frozen=True, slots=True)
class ForgetLogin:
    """Treats the request as if no credentials had come with it: a token that ran out, in the middle of anything.

    The registry itself then answers, with its challenge when it has passwords, else as always.
    """

    async def misbehave(self, inner: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a stranger."""
        headers = [(key, value) for key, value in scope["headers"] if key != b"authorization"]
        await inner({**scope, "headers": headers}, receive, send)


@dataclass(frozen=True, slots=True)
class Slow:
    """Sends so many bytes of the body a second, on each connection."""

    rate: float

    async def misbehave(self, inner: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer slowly."""
        piece = max(1, int(self.rate / 20))

        async def trickling(message: Message) -> None:
            body = message.get("body", b"")
            for start in range(0, len(body) - piece, piece):
                await send({**message, "body": body[start : start + piece], "more_body": True})
                await asyncio.sleep(piece / self.rate)
            last = len(body) - (len(body) - 1) % piece - 1 if body else 0
            await send({**message, "body": body[last:]} if body else message)

        await inner(scope, receive, trickling)


@dataclass(slots=True)
class Busy:
    """Refuses what comes while it answers ``most`` requests already.

    Attributes:
        most: Requests at the same time.
        code: Status of the refusal.
        retry_after: Value of its Retry-After; none when empty.
    """

    most: int
    code: int = 429
    retry_after: str = ""
    _now: int = field(default=0, init=False)

    async def misbehave(self, inner: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or refuse."""
        if self._now >= self.most:
            await _refuse(self.code, self.retry_after, scope, receive, send)
            return
        self._now += 1
        try:
            await inner(scope, receive, send)
        finally:
            self._now -= 1


@dataclass(slots=True)
class Throttle:
    """Answers so many requests a second from all clients together, and 429 to the rest: a token bucket.

    Attributes:
        rate: Requests a second.
        burst: Requests at once after a pause.
        retry_after: Value of Retry-After; none when empty.
        clock: Monotonic seconds.
    """

    rate: float
    burst: int = 1
    retry_after: str = ""
    clock: Callable[[], float] = time.monotonic
    _tokens: float = field(default=-1, init=False)
    _then: float = field(default=0, init=False)

    async def misbehave(self, inner: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or refuse."""
        now = self.clock()
        held = self.burst if self._tokens < 0 else min(self.burst, self._tokens + (now - self._then) * self.rate)
        self._then = now
        self._tokens = held - 1 if held >= 1 else held
        if held >= 1:
            await inner(scope, receive, send)
        else:
            await _refuse(429, self.retry_after, scope, receive, send)


async def _refuse(code: int, retry_after: str, scope: Scope, receive: Receive, send: Send) -> None:
    headers = {"Retry-After": retry_after} if retry_after else {}
    await PlainTextResponse("too much at once", code, headers)(scope, receive, send)


def _edited(send: Send, change: Callable[[dict[bytes, bytes]], object]) -> Send:
    """Return ``send`` with the head of the answer changed on its way."""

    async def editing(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = dict(message["headers"])
            change(headers)
            message = {**message, "headers": list(headers.items())}
        await send(message)

    return editing


def _asked(scope: Scope) -> tuple[int, int] | None:
    """Return first and last offset of the one closed range that was asked for."""
    header = dict(scope["headers"]).get(b"range", b"").decode("latin-1")
    found = re.fullmatch(r"bytes=(\d+)-(\d+)", header)
    return (int(found[1]), int(found[2])) if found else None


def _with_range(scope: Scope, value: str) -> Scope:
    headers = [(key, old) for key, old in scope["headers"] if key != b"range"]
    return {**scope, "headers": [*headers, (b"range", value.encode())]}


def _first(start: Message) -> int:
    """Return the offset within the blob at which the body of an answer begins."""
    found = re.match(rb"bytes (\d+)-", dict(start["headers"]).get(b"content-range", b""))
    return int(found[1]) if found else 0


class _Cut(Exception):
    """Ends the inner application; no error."""


async def _cut(
    after: int, how: Literal["close", "reset"], inner: ASGIApp, scope: Scope, receive: Receive, send: Send
) -> None:
    left = after

    async def cutting(message: Message) -> None:
        nonlocal left
        body = message.get("body", b"")
        if message["type"] != "http.response.body" or len(body) < left:
            left -= len(body)
            await send(message)
            return
        await send({**message, "body": body[:left], "more_body": True})
        await _end(how, scope, receive)
        raise _Cut

    try:
        await inner(scope, receive, cutting)
    except _Cut:
        pass


async def _end(how: Literal["close", "reset"], scope: Scope, receive: Receive) -> Message:
    getattr(scope["state"]["connection"], how)()
    return await _gone(receive)


async def _gone(receive: Receive) -> Message:
    while (message := await receive())["type"] != "http.disconnect":
        pass
    return message
