"""What stands before every route: the bearer token, and the cap on a request's body."""

from __future__ import annotations

import asyncio
import hmac

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from ..errors import RequestInvalid, RequestTooLarge
from ..oip import dump
from ..plan import Limits

__all__ = ["BearerToken", "BodyTooSlow", "read_body"]

OPEN_PATHS = frozenset({"/v2/health/live", "/v2/health/ready"})
"""Probes carry no token, and these say nothing but yes or no."""


class BodyTooSlow(RequestInvalid):
    """The request's body did not arrive in time."""

    reference = "request-too-slow"
    status = 408


class BearerToken:
    """Answers 401 to a request that does not carry the token (RFC 6750, section 2.1)."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app, self._expected = app, f"Bearer {token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer it."""
        if scope["type"] != "http" or scope["path"] in OPEN_PATHS or self._carries(scope):
            await self._app(scope, receive, send)
            return
        body = dump({"error": "this server needs its token: send Authorization: Bearer TOKEN"})
        refusal = Response(body, 401, {"WWW-Authenticate": "Bearer"}, "application/json")
        await refusal(scope, receive, send)

    def _carries(self, scope: Scope) -> bool:
        given = dict(scope["headers"]).get(b"authorization", b"")
        return hmac.compare_digest(given, self._expected)


async def read_body(request: Request, limits: Limits) -> bytes:
    """Return the request's body, counted as it arrives: a chunked one announces no length.

    Raises:
        RequestTooLarge: More than ``limits.max_body`` bytes.
        BodyTooSlow: It did not arrive within ``limits.body_timeout_s``.
        RequestInvalid: The caller hung up.
    """
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > limits.max_body:
        raise _too_large(limits)
    parts, size = [], 0
    try:
        async with asyncio.timeout(limits.body_timeout_s):
            async for part in request.stream():
                size += len(part)
                if size > limits.max_body:
                    raise _too_large(limits)
                parts.append(part)
    except TimeoutError:
        raise BodyTooSlow(f"the request did not arrive within {limits.body_timeout_s:g} s") from None
    except ClientDisconnect:
        raise RequestInvalid("the caller hung up") from None
    return b"".join(parts)


def _too_large(limits: Limits) -> RequestTooLarge:
    return RequestTooLarge(f"the request is larger than {limits.max_body} bytes")
