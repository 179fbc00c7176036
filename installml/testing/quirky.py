"""Registries that behave like other people's: the embedded one with their habits put in front of it.

``quirky(Family.GHCR)`` runs one in a thread; ``Habit`` is a single habit, and ``habits`` puts any of them together, so
that a client can be tested against what it will meet. What each family does, and how that is known, is the table in
``installml.registry.quirks``. The habits are real: storage that blobs are redirected to listens on a port of its own,
takes only signed GETs and refuses credentials; tokens end by a clock that the test moves.
"""

from __future__ import annotations

import base64
import hmac
import json
import re
import secrets
import threading
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import parse_qs, parse_qsl, urlencode

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..registry.quirks import Family
from ..registry_server import RegistryStorage, app
from ..registry_server.auth import TokenInvalid, Tokens
from ..registry_server.bodies import blocks
from ..registry_server.running import Running, RunningRegistry, run, start
from ..registry_server.storage import Repository
from .clock import SettableClock

__all__ = ["HABITS", "Bucket", "Door", "Edit", "Habit", "Habits", "QuirkyRegistry", "quirky"]

MIB = 1 << 20
_UPLOAD = re.compile(r"/v2/(?P<name>.+)/blobs/uploads/(?P<session>[^/]+)")
_BLOB = re.compile(r"/v2/(?P<name>.+)/blobs/(?P<digest>[a-z0-9]+:[0-9a-f]+)")
_MANIFEST = re.compile(r"/v2/(?P<name>.+)/manifests/(?P<target>[^/]+)")
_NAME = re.compile(r"/v2/(?P<name>.+)/(?:blobs|manifests|tags|referrers)/")


class Habit(Protocol):
    """One thing that a registry does in its own way."""

    def around(self, inner: ASGIApp) -> ASGIApp:
        """Return ``inner`` with the habit in front of it."""
        ...


class Habits:
    """Several habits as one; the first stands outermost.

    Args:
        habits: What to put in front of the registry.
    """

    def __init__(self, *habits: Habit) -> None:
        self.habits = habits

    def around(self, inner: ASGIApp) -> ASGIApp:
        """Return ``inner`` with all of them in front of it."""
        for habit in reversed(self.habits):
            inner = habit.around(inner)
        return inner


def refusal(status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> Response:
    """Return an answer in the form of distribution-spec, "Error Codes"."""
    return JSONResponse({"errors": [{"code": code, "message": message}]}, status, dict(headers or {}))


Decision = Callable[[Request], Response | None]
"""Answers a request by itself, or leaves it to the registry."""


@dataclass(frozen=True, slots=True)
class Refuse:
    """Answers some requests itself.

    Attributes:
        decide: Returns the answer, or None to let the request pass.
    """

    decide: Decision

    def around(self, inner: ASGIApp) -> ASGIApp:
        """Return ``inner`` behind the decision."""

        async def deciding(scope: Scope, receive: Receive, send: Send) -> None:
            answer = self.decide(Request(scope, receive)) if scope["type"] == "http" else None
            await (answer or inner)(scope, receive, send)

        return deciding


Head = tuple[int, dict[str, str]]
"""Status and headers of an answer, names in lower case."""


@dataclass(frozen=True, slots=True)
class Edit:
    """Changes the head of answers.

    Attributes:
        change: Given the request and the answer's head, returns the head to send.
    """

    change: Callable[[Request, Head], Head]

    def around(self, inner: ASGIApp) -> ASGIApp:
        """Return ``inner`` with its heads changed."""

        async def editing(scope: Scope, receive: Receive, send: Send) -> None:
            request = Request(scope)

            async def edited(message: Message) -> None:
                if message["type"] == "http.response.start":
                    before = {name.decode().lower(): value.decode("latin-1") for name, value in message["headers"]}
                    status, headers = self.change(request, (message["status"], before))
                    encoded = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
                    message = {**message, "status": status, "headers": encoded}
                await send(message)

            await inner(scope, receive, edited)

        return editing


def adds(**headers: str) -> Edit:
    """Return the habit of sending ``headers`` (underscores stand for hyphens) with every answer."""
    named = {name.replace("_", "-").lower(): value for name, value in headers.items()}
    return Edit(lambda _, head: (head[0], {**head[1], **named}))


def leaves_out(*headers: str) -> Edit:
    """Return the habit of not sending ``headers``."""
    hidden = {name.lower() for name in headers}
    return Edit(lambda _, head: (head[0], {name: value for name, value in head[1].items() if name not in hidden}))


ANONYMOUS = leaves_out("server", "docker-distribution-api-version")
"""Says nothing of who it is."""


# -- habits, one by one ----------------------------------------------------------------------------------------------


def no_referrers(*, text: str = "404 page not found\n") -> Habits:
    """Return the habit of having no referrers API: 404 with plain text, and no OCI-Subject."""

    def decide(request: Request) -> Response | None:
        return PlainTextResponse(text, 404) if "/referrers/" in request.url.path else None

    return Habits(Refuse(decide), leaves_out("oci-subject"))


def claims_referrers() -> Refuse:
    """Return the habit of sending OCI-Subject without keeping a list of referrers (Docker Hub)."""
    return Refuse(
        lambda request: PlainTextResponse("404 page not found\n", 404) if "/referrers/" in request.url.path else None
    )


def no_catalog(status: int = 404, **headers: str) -> Refuse:
    """Return the habit of keeping the list of repositories to itself."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Refuse(
        lambda request: (
            refusal(status, "UNSUPPORTED" if status == 404 else "UNAUTHORIZED", "not for you", named)
            if request.url.path == "/v2/_catalog"
            else None
        )
    )


def no_untag() -> Refuse:
    """Return the habit of removing no tag without its manifest (distribution 2.8)."""

    def decide(request: Request) -> Response | None:
        match = _MANIFEST.fullmatch(request.url.path)
        tag = match and ":" not in match["target"] and request.method == "DELETE"
        return refusal(400, "UNSUPPORTED", "The operation is unsupported.") if tag else None

    return Refuse(decide)


def monolithic() -> Refuse:
    """Return the habit of taking no chunks."""
    return Refuse(
        lambda request: (
            refusal(400, "UNSUPPORTED", "chunked uploads are not supported") if request.method == "PATCH" else None
        )
    )


def chunk_cap(most: int, status: int = 413) -> Refuse:
    """Return the habit of refusing larger chunks than ``most`` bytes, with 413, or 416 as GHCR does."""
    message = f"the request body is too large and exceeds the maximum permissible limit of {most / MIB:.2f}MiB"
    code = "REQUESTED_RANGE_NOT_SATISFIABLE" if status == 416 else "SIZE_INVALID"

    def decide(request: Request) -> Response | None:
        large = request.method == "PATCH" and int(request.headers.get("content-length", most + 1)) > most
        return refusal(status, code, message) if large else None

    return Refuse(decide)


def body_cap(most: int) -> Refuse:
    """Return the habit of a proxy in front: 413 in plain HTML for any larger body than ``most`` bytes."""
    page = "<html><head><title>413 Request Entity Too Large</title></head></html>"

    def decide(request: Request) -> Response | None:
        large = int(request.headers.get("content-length", "0")) > most
        return Response(page, 413, media_type="text/html") if large else None

    return Refuse(decide)


def chunk_floor(least: int) -> Habit:
    """Return the habit of refusing a chunk after one of fewer than ``least`` bytes: S3 joins no smaller parts."""
    small: set[str] = set()

    def decide(request: Request) -> Response | None:
        match = _UPLOAD.fullmatch(request.url.path)
        size = int(request.headers.get("content-length", "0"))
        if match is None or request.method not in {"PATCH", "PUT"} or not size:
            return None
        if match["session"] in small:
            return refusal(400, "BLOB_UPLOAD_INVALID", "EntityTooSmall: a part is smaller than the minimum")
        if request.method == "PATCH" and size < least:
            small.add(match["session"])
        return None

    return Refuse(decide)


def patch_created() -> Edit:
    """Return the habit of answering chunks with 201 and a Range that stands still after the first (ECR)."""
    first: dict[str, str] = {}

    def change(request: Request, head: Head) -> Head:
        status, headers = head
        match = _UPLOAD.fullmatch(request.url.path)
        if request.method != "PATCH" or match is None or status != 202:
            return head
        return 201, {**headers, "range": first.setdefault(match["session"], headers.get("range", "0-0"))}

    return Edit(change)


def wants_repository(existing: Collection[str]) -> Refuse:
    """Return the habit of making no repository by a push (ECR)."""

    def decide(request: Request) -> Response | None:
        match = _NAME.match(request.url.path)
        if match is None or request.method != "POST" or match["name"] in existing:
            return None
        message = f"The repository with name '{match['name']}' does not exist in the registry with id '123456789012'"
        return refusal(404, "NAME_UNKNOWN", message)

    return Refuse(decide)


def rate_headers(limit: int = 100, window: int = 21600) -> Edit:
    """Return the habit of telling with manifests how many pulls are left."""
    left = iter(range(limit, -1, -1))

    def change(request: Request, head: Head) -> Head:
        if _MANIFEST.fullmatch(request.url.path) is None or request.method not in {"GET", "HEAD"}:
            return head
        told = {"ratelimit-limit": f"{limit};w={window}", "ratelimit-remaining": f"{next(left, 0)};w={window}"}
        return head[0], {**head[1], **told}

    return Edit(change)


def too_many(times: int, seconds: int) -> Refuse:
    """Return the habit of answering the first ``times`` requests for blobs with 429 and Retry-After."""
    guard, left = threading.Lock(), [times]

    def decide(request: Request) -> Response | None:
        with guard:
            if request.method != "GET" or _BLOB.fullmatch(request.url.path) is None or not left[0]:
                return None
            left[0] -= 1
        return refusal(429, "TOOMANYREQUESTS", "too many requests", {"Retry-After": str(seconds)})

    return Refuse(decide)


def ignores_page_size() -> Habit:
    """Return the habit of sending lists whole, whatever ``n`` says (distribution 2.8)."""
    return _Query(lambda query: [(name, value) for name, value in query if name not in {"n", "last"}])


@dataclass(frozen=True, slots=True)
class _Query:
    change: Callable[[list[tuple[str, str]]], list[tuple[str, str]]]

    def around(self, inner: ASGIApp) -> ASGIApp:
        async def changed(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http" and scope["path"].endswith(("/tags/list", "/_catalog")):
                query = self.change(parse_qsl(scope["query_string"].decode("latin-1")))
                scope = {**scope, "query_string": urlencode(query).encode()}
            await inner(scope, receive, send)

        return changed


def closed_ranges_only() -> Refuse:
    """Return the habit of answering ranges without an end with 416 (go-containerregistry)."""

    def decide(request: Request) -> Response | None:
        asked = request.headers.get("range", "")
        open_ended = asked and not re.fullmatch(r"bytes=\d+-\d+", asked)
        return refusal(416, "BLOB_UNKNOWN", "We don't understand your Range") if open_ended else None

    return Refuse(decide)


def lying_416() -> Habit:
    """Return the habit of a 416 that promises the blob's Content-Length and sends less (distribution 2.8)."""
    return _Lying416()


class _Lying416:
    def around(self, inner: ASGIApp) -> ASGIApp:
        async def lying(scope: Scope, receive: Receive, send: Send) -> None:
            size = ""

            async def watching(message: Message) -> None:
                nonlocal size
                headers = dict(message.get("headers", ()))
                whole = headers.get(b"content-range", b"").decode().rpartition("/")[2]
                if message.get("status") == 416 and whole.isdigit():
                    size = whole
                    message = {**message, "headers": [(b"content-length", whole.encode())]}
                if size and message["type"] == "http.response.body":
                    await send({**message, "more_body": True})
                    scope["state"]["connection"].close()
                    return
                await send(message)

            await inner(scope, receive, watching)

        return lying


def no_mounts() -> Habit:
    """Return the habit of opening an upload where a mount was asked for (go-containerregistry)."""
    return _NoMounts()


class _NoMounts:
    def around(self, inner: ASGIApp) -> ASGIApp:
        async def opening(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http" and scope["method"] == "POST" and b"mount=" in scope["query_string"]:
                scope = {**scope, "query_string": b""}
            await inner(scope, receive, send)

        return opening


def types_refused(allowed: Collection[str], *, status: int, code: str, message: str) -> Habit:
    """Return the habit of taking only manifests whose config has one of the ``allowed`` media types.

    Args:
        allowed: Media types.
        status: Of the refusal.
        code: Of the refusal.
        message: Of the refusal; ``{}`` stands for the type.
    """
    return _OfManifests(lambda manifest: _unknown_type(manifest, allowed, status, code, message))


def _unknown_type(
    manifest: Mapping[str, object], allowed: Collection[str], status: int, code: str, message: str
) -> Response | None:
    config = manifest.get("config")
    kind = str(config.get("mediaType", "")) if isinstance(config, dict) else ""
    return None if kind in allowed else refusal(status, code, message.format(kind))


def quota(most: int) -> Habit:
    """Return the habit of refusing, at the manifest, packages of more than ``most`` bytes (Harbor)."""

    def decide(manifest: Mapping[str, object]) -> Response | None:
        layers = manifest.get("layers")
        size = sum(int(layer["size"]) for layer in layers) if isinstance(layers, list) else 0
        message = (
            f"adding {size / MIB:.1f} MiB of storage resource, which when updated to current usage of 0 MiB will "
            f"exceed the configured upper limit of {most / MIB:.1f} MiB."
        )
        return refusal(412, "PRECONDITION", message) if size > most else None

    return _OfManifests(decide)


@dataclass(frozen=True, slots=True)
class _OfManifests:
    """Decides about manifests that are put, by what is in them."""

    decide: Callable[[Mapping[str, object]], Response | None]

    def around(self, inner: ASGIApp) -> ASGIApp:
        async def deciding(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http" or scope["method"] != "PUT" or "/manifests/" not in scope["path"]:
                await inner(scope, receive, send)
                return
            data = b"".join([piece async for pieces in blocks(Request(scope, receive)) for piece in pieces])
            answer = self.decide(json.loads(data))

            async def again() -> Message:
                return {"type": "http.request", "body": data, "more_body": False}

            await (answer or inner)(scope, again, send)

        return deciding


class StatefulUploads:
    """Uploads whose address holds their state, as distribution's: each answer gives a new one, an old one is gone.

    Args:
        version: Of the UUIDs that number uploads: 4 for distribution 2.8, 7 for 3.
    """

    def __init__(self, version: int) -> None:
        self._version = version
        self._guard = threading.Lock()
        self._real: dict[str, str] = {}
        self._state: dict[str, str] = {}

    def around(self, inner: ASGIApp) -> ASGIApp:
        """Return ``inner`` with such addresses."""
        edited = Edit(self._change).around(inner)

        async def translating(scope: Scope, receive: Receive, send: Send) -> None:
            match = _UPLOAD.fullmatch(scope["path"]) if scope["type"] == "http" else None
            if match is None:
                await edited(scope, receive, send)
                return
            given = parse_qs(scope["query_string"].decode("latin-1")).get("_state", [""])[0]
            with self._guard:
                real, current = self._real.get(match["session"]), self._state.get(match["session"])
            if real is None or given != current:
                await refusal(404, "BLOB_UPLOAD_INVALID", "blob upload invalid")(scope, receive, send)
                return
            await edited({**scope, "path": scope["path"].replace(match["session"], real)}, receive, send)

        return translating

    def _change(self, request: Request, head: Head) -> Head:
        status, headers = head
        match = _UPLOAD.fullmatch(headers.get("location", ""))
        if match is None:
            return head
        state = secrets.token_urlsafe(24)
        with self._guard:
            shown = next((name for name, real in self._real.items() if real == match["session"]), "")
            if not shown:
                plain = uuid.uuid4().hex
                shown = str(uuid.UUID(f"{plain[:12]}{self._version}{plain[13:]}"))
                self._real[shown] = match["session"]
            self._state[shown] = state
        location = f"{request.url.scheme}://{request.url.netloc}/v2/{match['name']}/blobs/uploads/{shown}"
        return status, {**headers, "location": f"{location}?_state={state}", "docker-upload-uuid": shown}


class NumberedUploads:
    """Uploads that have numbers and no UUID, as go-containerregistry's."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._real: dict[str, str] = {}

    def around(self, inner: ASGIApp) -> ASGIApp:
        """Return ``inner`` with such addresses."""
        edited = Edit(self._change).around(inner)

        async def translating(scope: Scope, receive: Receive, send: Send) -> None:
            match = _UPLOAD.fullmatch(scope["path"]) if scope["type"] == "http" else None
            real = self._real.get(match["session"]) if match else None
            if match and real:
                scope = {**scope, "path": scope["path"].replace(match["session"], real)}
            await edited(scope, receive, send)

        return translating

    def _change(self, _: Request, head: Head) -> Head:
        headers = {name: value for name, value in head[1].items() if name != "docker-upload-uuid"}
        match = _UPLOAD.fullmatch(headers.get("location", ""))
        if match is None:
            return head[0], headers
        number = str(int(uuid.UUID(match["session"])) % 10**18 + 10**18)
        self._real[number] = match["session"]
        return head[0], {**headers, "location": f"/v2/{match['name']}/blobs/uploads/{number}"}


def zot_uploads() -> Edit:
    """Return the habit of naming the upload in a header of zot's own."""

    def change(_: Request, head: Head) -> Head:
        headers = dict(head[1])
        if (name := headers.pop("docker-upload-uuid", "")) and head[0] == 202:
            headers["blob-upload-uuid"] = name
        return head[0], headers

    return Edit(change)


class Bucket:
    """Storage of its own host that blobs are redirected to with a signed address, as S3 and its like.

    It takes nothing but the signed GET: HEAD is 403, as is an address that is too old or changed; credentials that
    come along are 400. ``listen`` begins it.

    Args:
        clock: Seconds since the epoch.
        seconds: How long an address is good for.
    """

    def __init__(self, clock: Callable[[], float], seconds: int = 300) -> None:
        self._clock = clock
        self._seconds = seconds
        self._key = secrets.token_bytes(16)
        self.running: Running | None = None

    def listen(self, storage: RegistryStorage) -> Running:
        """Begin to hand out the blobs of ``storage``."""
        inner = app(storage)

        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            request = Request(scope, receive)
            refused = self._refused(request)
            translated = {**scope, "path": scope["path"].replace("/bucket/", "/v2/", 1)}
            await (refused(scope, receive, send) if refused else inner(translated, receive, send))

        self.running = run(answer)
        return self.running

    def around(self, inner: ASGIApp) -> ASGIApp:
        """Return ``inner`` with its blobs redirected."""

        async def redirecting(scope: Scope, receive: Receive, send: Send) -> None:
            match = _BLOB.fullmatch(scope["path"]) if scope["type"] == "http" else None
            if match is None or scope["method"] not in {"GET", "HEAD"} or self.running is None:
                await inner(scope, receive, send)
                return
            headed = {**scope, "method": "HEAD", "headers": [h for h in scope["headers"] if h[0] != b"range"]}
            found: list[int] = []

            async def looking(message: Message) -> None:
                found.append(message.get("status", 0))
                if found[0] != 200:
                    await send(message)

            await inner(headed, receive, looking)
            if found[0] == 200:
                await Response(status_code=307, headers={"Location": self._signed(match)})(scope, receive, send)

        return redirecting

    def _signed(self, match: re.Match[str]) -> str:
        assert self.running is not None  # noqa: S101  # around() asks
        until = int(self._clock()) + self._seconds
        path = f"/bucket/{match['name']}/blobs/{match['digest']}"
        query = urlencode({"X-Amz-Expires": until, "X-Amz-Signature": self._signature(path, until)})
        return f"http://localhost:{self.running.port}{path}?{query}"

    def _signature(self, path: str, until: int) -> str:
        return hmac.digest(self._key, f"GET {path} {until}".encode(), "sha256").hex()

    def _refused(self, request: Request) -> Response | None:
        if "authorization" in request.headers:
            return _s3_error(400, "InvalidArgument", "Only one auth mechanism allowed")
        until = request.query_params.get("X-Amz-Expires", "0")
        expected = self._signature(request.url.path, int(until) if until.isdigit() else 0)
        signed = hmac.compare_digest(expected, request.query_params.get("X-Amz-Signature", ""))
        if request.method != "GET" or not signed:
            return _s3_error(403, "SignatureDoesNotMatch", "The request signature we calculated does not match")
        return _s3_error(403, "AccessDenied", "Request has expired") if int(until) < self._clock() else None


def _s3_error(status: int, code: str, message: str) -> Response:
    text = f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>{message}</Message></Error>'
    return Response(text, status, media_type="application/xml")


@dataclass(frozen=True)
class Door:
    """Lets nobody in without credentials, in the way of one family.

    Attributes:
        service: What the challenge calls the registry.
        realm: Path of the token server on the registry itself; empty for Basic.
        users: Passwords by name.
        refresh_tokens: Identity tokens that are exchanged for access tokens with POST (OAuth2); None for no exchange.
        clock: Seconds since the epoch.
        seconds: How long a token lives.
    """

    service: str
    realm: str = "/token"
    users: Mapping[str, str] = field(default_factory=lambda: {"ann": "pencil"}, repr=False)
    refresh_tokens: Collection[str] | None = field(default=None, repr=False)
    clock: Callable[[], float] = field(default_factory=SettableClock)
    seconds: int = 300

    def around(self, inner: ASGIApp) -> ASGIApp:
        """Return ``inner`` behind the door."""
        tokens = Tokens(self.seconds, self.clock)

        async def guarding(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                return
            request = Request(scope, receive)
            if self.realm and request.url.path == self.realm:
                answer = self._issue(tokens, parse_qs((await request.body()).decode()), request)
                await answer(scope, receive, send)
            elif self._known(request) if not self.realm else _allowed(tokens, request):
                await inner(scope, receive, send)
            else:
                await self._challenge(request)(scope, receive, send)

        return guarding

    def _known(self, request: Request) -> bool:
        scheme, _, value = request.headers.get("authorization", "").partition(" ")
        try:
            name, _, password = base64.b64decode(value).decode().partition(":")
        except ValueError:
            return False
        return scheme.lower() == "basic" and hmac.compare_digest(self.users.get(name, "\0"), password)

    def _challenge(self, request: Request) -> Response:
        place = f"{request.url.scheme}://{request.url.netloc}"
        if not self.realm:
            challenge = f'Basic realm="{place}/",service="{self.service}"'
        else:
            challenge = f'Bearer realm="{place}{self.realm}",service="{self.service}"'
            if name := _NAME.match(request.url.path):
                challenge += f',scope="repository:{name["name"]}:{_action(request)}"'
        return refusal(401, "UNAUTHORIZED", "authentication required", {"WWW-Authenticate": challenge})

    def _issue(self, tokens: Tokens, form: Mapping[str, list[str]], request: Request) -> Response:
        exchanged = form.get("refresh_token", [""])[0]
        known = exchanged in (self.refresh_tokens or ()) if request.method == "POST" else self._known(request)
        if not known:
            return refusal(401, "UNAUTHORIZED", "authentication required")
        scopes = form.get("scope", [""])[0].split() or request.query_params.getlist("scope")
        access = [
            (kind, name, action)
            for kind, name, actions in (entry.split(":") for entry in scopes)
            for action in actions.split(",")
        ]
        name = "access_token" if request.method == "POST" else "token"
        return JSONResponse({name: tokens.issue("ann", access), "expires_in": self.seconds})


def _action(request: Request) -> str:
    return {"GET": "pull", "HEAD": "pull", "DELETE": "delete"}.get(request.method, "push")


def _allowed(tokens: Tokens, request: Request) -> bool:
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    try:
        access = tokens.read(value) if scheme.lower() == "bearer" else None
    except TokenInvalid:
        access = None
    name = _NAME.match(request.url.path)
    return access is not None and (name is None or ("repository", name["name"], _action(request)) in access)


# -- families --------------------------------------------------------------------------------------------------------

_IMAGE_CONFIGS = frozenset({"application/vnd.oci.image.config.v1+json", "application/vnd.cncf.helm.config.v1+json"})


@dataclass(frozen=True, slots=True)
class Setting:
    """What a family's habits are made from.

    Attributes:
        clock: By which tokens and signed addresses end.
        bucket: Where blobs are redirected to.
        repositories: Those that exist where a push makes none.
        quota: Most bytes of a package where there is a quota; 0 for none.
        types: Config types that are taken where they are listed; None for the family's usual ones.
        busy: How many requests are answered with 429 first, where the family limits rates.
        users: Passwords by name.
        refresh_tokens: Identity tokens that are taken.
    """

    clock: Callable[[], float]
    bucket: Bucket
    repositories: Collection[str] = ()
    quota: int = 0
    types: Collection[str] | None = None
    busy: int = 0
    users: Mapping[str, str] = field(default_factory=lambda: {"ann": "pencil"}, repr=False)
    refresh_tokens: Collection[str] = field(default=("identity",), repr=False)

    def door(self, service: str, realm: str, seconds: int, refresh: bool = False) -> Door:
        """Return the door of a family."""
        exchanged = self.refresh_tokens if refresh else None
        return Door(service, realm, self.users, exchanged, self.clock, seconds)


def _harbor(setting: Setting) -> Iterator[Habit]:
    yield no_catalog(401, WWW_Authenticate='Basic realm="harbor"')
    yield setting.door("harbor-registry", "/service/token", 1800)
    if setting.quota:
        yield quota(setting.quota)


def _ecr(setting: Setting) -> Iterator[Habit]:
    yield setting.door("ecr.amazonaws.com", "", 0)
    yield no_catalog()
    yield wants_repository(setting.repositories)
    yield chunk_floor(5 * MIB)
    yield patch_created()
    yield setting.bucket


def _gar(setting: Setting) -> Iterator[Habit]:
    yield setting.door("us-docker.pkg.dev", "/v2/token", 3600)
    yield monolithic()


def _ghcr(setting: Setting) -> Iterator[Habit]:
    yield adds(X_GitHub_Request_Id="0000:0000:000000:000000:00000000")
    yield setting.door("ghcr.io", "/token", 300)
    yield chunk_cap(4 * MIB)
    yield no_referrers()
    yield no_catalog()
    yield setting.bucket


def _hub(setting: Setting) -> Iterator[Habit]:
    yield too_many(setting.busy, 30)
    yield setting.door("registry.docker.io", "/token", 300)
    yield claims_referrers()
    yield no_catalog()
    yield rate_headers()


def _acr(setting: Setting) -> Iterator[Habit]:
    yield adds(Server="AzureContainerRegistry")
    yield too_many(setting.busy, 5)
    yield setting.door("acme.azurecr.io", "/oauth2/token", 4500, refresh=True)


def _gitlab(setting: Setting) -> Iterator[Habit]:
    yield adds(GitLab_Container_Registry_Version="4.20.0-gitlab")
    yield setting.door("container_registry", "/jwt/auth", 300)
    allowed = _IMAGE_CONFIGS if setting.types is None else setting.types
    yield types_refused(
        allowed, status=400, code="MANIFEST_INVALID", message="manifest invalid: unknown media type: {}"
    )
    yield StatefulUploads(4)


def _quay(setting: Setting) -> Iterator[Habit]:
    yield setting.door("quay.io", "/v2/auth", 3600)
    allowed = _IMAGE_CONFIGS if setting.types is None else setting.types
    message = "manifest schema version not supported: the config media type {} is not allowed"
    yield types_refused(allowed, status=415, code="MANIFEST_INVALID", message=message)


HABITS: Mapping[Family, Callable[[Setting], Iterator[Habit]]] = {
    Family.UNKNOWN: lambda _: iter((monolithic(), no_mounts(), no_referrers(), no_catalog(), no_untag())),
    Family.OURS: lambda _: iter((adds(Server="installml-registry"),)),
    Family.DISTRIBUTION2: lambda _: iter(
        (no_referrers(), no_untag(), ignores_page_size(), lying_416(), StatefulUploads(4))
    ),
    Family.DISTRIBUTION3: lambda _: iter((no_referrers(), StatefulUploads(7))),
    Family.ZOT: lambda _: iter((zot_uploads(),)),
    Family.HARBOR: _harbor,
    Family.ECR: _ecr,
    Family.GAR: _gar,
    Family.GHCR: _ghcr,
    Family.DOCKER_HUB: _hub,
    Family.ACR: _acr,
    Family.GITLAB: _gitlab,
    Family.QUAY: _quay,
    Family.GGCR: lambda _: iter((no_referrers(), no_mounts(), closed_ranges_only(), NumberedUploads())),
}
"""What each family does, outermost first."""


@dataclass(frozen=True, slots=True)
class QuirkyRegistry:
    """A running registry with the habits of a family.

    Attributes:
        family: Whose.
        registry: What runs; ``registry.requests`` is what it was asked.
        storage: Where blobs are redirected to, None where they are not.
        clock: Move it, and tokens and signed addresses end.
    """

    family: Family
    registry: RunningRegistry
    storage: Running | None
    clock: SettableClock

    @property
    def address(self) -> str:
        """Such as ``127.0.0.1:5000``."""
        return self.registry.address

    @property
    def repository(self) -> Callable[[str], Repository]:
        """What the registry keeps under a name, to look at behind its back."""
        return self.registry.storage.repository


@contextmanager
def quirky(
    family: Family,
    *more: Habit,
    clock: SettableClock | None = None,
    repositories: Collection[str] = (),
    quota: int = 0,
    types: Collection[str] | None = None,
    busy: int = 0,
) -> Iterator[QuirkyRegistry]:
    """Run a registry that behaves like ``family`` for the time of a ``with`` block.

    Where the family asks for credentials, ``ann`` with the password ``pencil`` is let in, and the identity token
    ``identity`` is exchanged.

    Args:
        family: Whose habits.
        more: More habits, in front of those.
        clock: By which tokens and signed addresses end; at the time of its making when left out.
        repositories: Those that exist where a push makes none.
        quota: Most bytes of a package where there is a quota; 0 for none.
        types: Config types that are taken where they are listed; None for the family's usual ones.
        busy: How many requests are answered with 429 first, where the family limits rates.

    Yields:
        The registry.
    """
    clock = clock or SettableClock()
    bucket = Bucket(clock)
    setting = Setting(clock, bucket, repositories, quota, types, busy)
    own = tuple(HABITS[family](setting))
    with ExitStack() as stack:
        registry = stack.enter_context(start(faults=Habits(*more, *own, ANONYMOUS)))
        storage = stack.enter_context(bucket.listen(registry.storage)) if bucket in own else None
        yield QuirkyRegistry(family, registry, storage, clock)
