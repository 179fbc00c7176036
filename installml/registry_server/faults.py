"""Ways for the registry to misbehave on purpose, so that clients can be tested against each.

A plan is a list of rules; a rule says which requests (method, path, the how-manieth) and which fault. The first rule
that matches decides. Faults are real: bytes are missing, sockets are reset.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["Fault", "Faults", "Flip", "IgnoreRange", "Reset", "Rule", "Stall", "Status", "Truncate"]


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
                await fault.misbehave(inner, scope, receive, send)

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
    """Inverts one bit of the answer's body, at the byte ``offset``."""

    offset: int

    async def misbehave(self, inner: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer wrongly."""
        position = 0

        async def flipping(message: Message) -> None:
            nonlocal position
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


class _Cut(Exception):
    """Ends the inner application; no error."""


async def _cut(
    after: int, how: Literal["close", "reset"], inner: ASGIApp, scope: Scope, receive: Receive, send: Send
) -> None:
    left = after

    async def cutting(message: Message) -> None:
        nonlocal left
        if message["type"] != "http.response.body":
            await send(message)
            return
        body = message.get("body", b"")
        await send({**message, "body": body[:left], "more_body": True})
        left -= len(body)
        if left <= 0:
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
