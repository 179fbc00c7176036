"""The ASGI application: which path means what, who may, what went wrong, and a record of every request.

Here: routing, authorisation, translation of errors. Not here: what the endpoints do (blobs, manifests, discovery),
bytes on disk (storage, uploads), sockets (running).
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..digest import DigestInvalid
from ..errors import DiskFull, InstallMLError, ReferenceInvalid
from . import blobs, discovery, manifests
from .answers import Refusal
from .faults import Faults
from .storage import RegistryStorage, Repository
from .uploads import TooManyUploads
from .zerocopy import MESSAGE, ordinary

if TYPE_CHECKING:
    from .auth import Auth
    from .running import Around

__all__ = ["RequestRecord", "app", "recorded"]

_LOGGER = logging.getLogger(__name__)

Endpoint = Callable[[Request, Repository, str], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """One request and its answer, as tests and demonstrations look at them.

    Attributes:
        method: Such as ``GET``.
        path: Without the query.
        query: Without the question mark.
        status: Of the answer; 0 when there was none.
        bytes_in: Bytes of the request's body that were read.
        bytes_out: Bytes of the answer's body that were handed to the network.
        range: The Range header, or empty.
        has_authorization: Whether credentials came along (never which).
        seconds: From its head until the last byte of the answer was about to leave.
    """

    method: str
    path: str
    query: str = ""
    status: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    range: str = ""
    has_authorization: bool = False
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Route:
    """A form of path below ``/v2/<name>/`` and what each method does there."""

    pattern: re.Pattern[str]
    methods: Mapping[str, Endpoint]


_ROUTES = tuple(
    Route(re.compile(rf"/v2/(?P<name>.+)/{tail}"), methods)
    for tail, methods in (
        (r"blobs/uploads/?(?P<target>)", {"POST": blobs.begin}),
        (
            r"blobs/uploads/(?P<target>[^/]+)",
            {"GET": blobs.status, "PATCH": blobs.patch, "PUT": blobs.close, "DELETE": blobs.cancel},
        ),
        (r"blobs/(?P<target>[^/]+)", {"GET": blobs.pull, "HEAD": blobs.pull, "DELETE": blobs.delete}),
        (
            r"manifests/(?P<target>[^/]+)",
            {"GET": manifests.pull, "HEAD": manifests.pull, "PUT": manifests.push, "DELETE": manifests.delete},
        ),
        (r"tags/list(?P<target>)", {"GET": discovery.tags}),
        (r"referrers/(?P<target>[^/]+)", {"GET": discovery.referrers}),
    )
)  # distribution-spec, "Endpoints"


def app(
    storage: RegistryStorage,
    *,
    auth: Auth | None = None,
    faults: Around | None = None,
    on_request: Callable[[RequestRecord], None] | None = None,
) -> ASGIApp:
    """Return the registry over ``storage`` as an ASGI application.

    Args:
        storage: Where everything is kept; stays open.
        auth: Who may do what; everybody everything when None.
        faults: Ways to misbehave, for tests of clients.
        on_request: Told of every finished request.
    """
    inner: ASGIApp = _Registry(storage, auth)
    if faults is not None:
        inner = _unless_faulty(faults, inner)
    return inner if on_request is None else recorded(inner, on_request)


def recorded(
    inner: ASGIApp, on_request: Callable[[RequestRecord], None], clock: Callable[[], float] = time.monotonic
) -> ASGIApp:
    """Return ``inner``, with every finished request told to ``on_request``; ``clock`` gives monotonic seconds."""
    return _Recorder(inner, on_request, clock)


def _unless_faulty(faults: Around, inner: ASGIApp) -> ASGIApp:
    """Return ``inner`` behind ``faults``, with no other messages than they can be expected to know."""
    faulty = faults.around(inner)
    if isinstance(faults, Faults):
        return faulty  # takes care by itself: requests that no fault meets are served as always

    async def plainly(scope: Scope, receive: Receive, send: Send) -> None:
        await faulty(ordinary(scope), receive, send)

    return plainly


class _Registry:
    def __init__(self, storage: RegistryStorage, auth: Auth | None) -> None:
        self._storage = storage
        self._auth = auth

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return  # uvicorn runs without lifespan, and there are no web sockets
        request = Request(scope, receive, send)
        try:
            response = await self._answer(request)
        except ClientDisconnect:
            return
        except InstallMLError as error:
            response = _refusal(error).response()
        response.headers["Docker-Distribution-API-Version"] = "registry/2.0"
        response.headers["Server"] = "installml-registry"  # by which clients know what they may expect
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        path = request.scope["path"]
        if self._auth is not None and path == "/token":
            return await self._auth.token(request)
        if path in {"/v2", "/v2/"}:
            return await self._whole(request, lambda: JSONResponse({}))
        if path == "/v2/_catalog":
            await self._allow(request, ("registry", "catalog", "*"))
            _method(request, {"GET": discovery.catalog})
            return await discovery.catalog(request, self._storage)
        for route in _ROUTES:
            if match := route.pattern.fullmatch(path):
                return await self._routed(request, route, match)
        raise Refusal(404, "UNSUPPORTED", "there is nothing at this path")

    async def _whole(self, request: Request, answer: Callable[[], Response]) -> Response:
        await self._allow(request)
        _method(request, {"GET": answer, "HEAD": answer})
        return answer()

    async def _routed(self, request: Request, route: Route, match: re.Match[str]) -> Response:
        repository = self._storage.repository(match["name"])
        endpoint: Endpoint = _method(request, route.methods)
        needed = [("repository", repository.name, _ACTIONS[request.method])]
        if endpoint is blobs.begin and (source := request.query_params.get("from")):
            needed.append(("repository", self._storage.repository(source).name, "pull"))
        await self._allow(request, *needed)
        return await endpoint(request, repository, match["target"])

    async def _allow(self, request: Request, *needed: tuple[str, str, str]) -> None:
        if self._auth is not None:
            await self._auth.check(request, needed)


_ACTIONS = {"GET": "pull", "HEAD": "pull", "POST": "push", "PUT": "push", "PATCH": "push", "DELETE": "delete"}


def _method(request: Request, methods: Mapping[str, Any]) -> Any:
    if request.method not in methods:
        allowed = ", ".join(sorted(methods))
        raise Refusal(405, "UNSUPPORTED", f"{request.method} means nothing here", headers={"Allow": allowed})
    return methods[request.method]


def _refusal(error: InstallMLError) -> Refusal:
    if isinstance(error, Refusal):
        return error
    if not isinstance(error, (ReferenceInvalid, DigestInvalid, TooManyUploads)):
        _LOGGER.error("%s: %s", error.reference, error)  # the operator's to read; clients are not told about the disk
    for kind, status, code, headers in _CODES:
        if isinstance(error, kind):
            return Refusal(
                status, code, error.message if status < 500 else "the registry's disk refused", headers=headers
            )
    raise error


_CODES: tuple[tuple[type[InstallMLError], int, str, Mapping[str, str]], ...] = (
    (ReferenceInvalid, 400, "NAME_INVALID", {}),
    (DigestInvalid, 400, "DIGEST_INVALID", {}),
    (TooManyUploads, 429, "TOOMANYREQUESTS", {"Retry-After": "30"}),
    (DiskFull, 507, "UNAVAILABLE", {}),
    (InstallMLError, 500, "UNKNOWN", {}),
)


class _Recorder:
    """Counts what goes through and tells it when the request is over."""

    def __init__(self, inner: ASGIApp, tell: Callable[[RequestRecord], None], clock: Callable[[], float]) -> None:
        self._inner = inner
        self._tell = tell
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._inner(scope, receive, send)
            return
        begun = self._clock()
        headers = {key: value.decode("latin-1") for key, value in scope["headers"]}
        record = RequestRecord(
            scope["method"],
            scope["path"],
            scope["query_string"].decode("latin-1"),
            range=headers.get(b"range", ""),
            has_authorization=b"authorization" in headers,
        )

        told = False

        def tell_once() -> None:
            nonlocal told
            if not told:
                told = True
                self._tell(replace(record, seconds=self._clock() - begun))

        async def counted_receive() -> Message:
            nonlocal record
            message = await receive()
            record = replace(record, bytes_in=record.bytes_in + len(message.get("body", b"")))
            return message

        async def counted_send(message: Message) -> None:
            nonlocal record
            if message["type"] == "http.response.start":
                record = replace(record, status=message["status"])
                if record.method == "HEAD" or (b"content-length", b"0") in message.get("headers", ()):
                    tell_once()  # the head is the whole answer
            else:
                count = message["count"] if message["type"] == MESSAGE else len(message.get("body", b""))
                record = replace(record, bytes_out=record.bytes_out + count)
                if not message.get("more_body", False):
                    tell_once()  # before the last byte leaves: whoever has the whole answer finds it in the record
            await send(message)

        try:
            await self._inner(scope, counted_receive, counted_send)
        finally:
            tell_once()
