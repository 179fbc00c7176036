"""Who may do what: Basic against a password file, or Bearer tokens that this registry issues itself at /token.

Sources: RFC 7617 (Basic), RFC 6750 (Bearer), Docker Registry v2 "Token Authentication Specification" (scopes and
the token's answer). Everybody in the password file may do everything; others may read if ``anonymous_pull`` says so.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import re
import secrets
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ..errors import InstallMLError, ReferenceInvalid
from ..reference import check_repository
from .answers import Refusal
from .passwords import Users

__all__ = ["Access", "Auth", "Tokens"]

Access = tuple[str, str, str]
"""Kind of thing (``repository``, ``registry``), its name, and one action (``pull``, ``push``, ``delete``, ``*``)."""

_SERVICE = "installml-registry"
_HOST = re.compile(r"(?:[A-Za-z0-9.-]{1,253}|\[[0-9a-fA-F:.]{2,45}\])(?::\d{1,5})?")
_SCOPE = re.compile(r"(repository|registry):([^:]{1,255}):([a-z*]+(?:,[a-z*]+)*)")
_ACTIONS = frozenset({"pull", "push", "delete", "*"})
_MAX_SCOPES = 100


class TokenInvalid(InstallMLError):
    """A token that this registry did not issue, or not for now."""

    reference = "token-invalid"


class Tokens:
    """Issues and reads signed tokens (JSON Web Tokens, HMAC with SHA-256; the key lives as long as the process).

    Args:
        seconds: How long a token is good for.
        now: Seconds since the epoch.
    """

    def __init__(self, seconds: int = 300, now: Callable[[], float] = time.time) -> None:
        self.seconds = seconds
        self.now = now
        self._key = secrets.token_bytes(32)

    def issue(self, subject: str, access: Iterable[Access]) -> str:
        """Return a token that lets ``subject`` do ``access``."""
        issued = int(self.now())
        grants: dict[tuple[str, str], list[str]] = {}
        for kind, name, action in sorted(set(access)):
            grants.setdefault((kind, name), []).append(action)
        claims = {
            "iss": _SERVICE,
            "aud": _SERVICE,
            "sub": subject,
            "iat": issued,
            "exp": issued + self.seconds,
            "jti": secrets.token_hex(8),  # two tokens of one second must differ: a client does not offer one twice
            "access": [{"type": kind, "name": name, "actions": actions} for (kind, name), actions in grants.items()],
        }
        signed = f"{_pack({'alg': 'HS256', 'typ': 'JWT'})}.{_pack(claims)}"
        return f"{signed}.{self._seal(signed)}"

    def _seal(self, signed: str) -> str:
        return _base64(hmac.digest(self._key, signed.encode(), "sha256"))

    def read(self, token: str) -> set[Access]:
        """Return what ``token`` allows.

        Raises:
            TokenInvalid: It is not ours, or has expired.
        """
        signed, _, seal = token.rpartition(".")
        if not token.isascii() or not hmac.compare_digest(self._seal(signed), seal):
            raise TokenInvalid("the token was not issued here")
        claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(signed.partition(".")[2] + "=="))
        if claims["exp"] <= self.now():
            raise TokenInvalid("the token has expired")
        return {(grant["type"], grant["name"], action) for grant in claims["access"] for action in grant["actions"]}


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _pack(value: object) -> str:
    return _base64(json.dumps(value, separators=(",", ":")).encode())


class Auth:
    """Decides about requests.

    Args:
        users: Who has a password; None for nobody, which is of use with tokens only: then all get them.
        tokens: Issue and want Bearer tokens; None for Basic.
        anonymous_pull: Whether reading needs no password.
    """

    def __init__(self, users: Users | None, tokens: Tokens | None = None, *, anonymous_pull: bool = False) -> None:
        self._users = users
        self._tokens = tokens
        self._anonymous = _ACTIONS if users is None else {"pull"} if anonymous_pull else frozenset()

    @classmethod
    def configured(cls, htpasswd: Path | None, *, token: bool, anonymous_pull: bool) -> Auth | None:
        """Return the rules that the settings spell, or None for no rules."""
        if htpasswd is None and not token:
            return None
        users = Users.read(htpasswd) if htpasswd else None
        return cls(users, Tokens() if token else None, anonymous_pull=anonymous_pull)

    async def check(self, request: Request, needed: Sequence[Access]) -> None:
        """Let the request pass, or raise.

        Raises:
            Refusal: 401 with the challenge that a client can answer.
        """
        scheme, _, value = request.headers.get("authorization", "").partition(" ")
        if self._tokens is not None:
            _check_token(self._tokens, request, needed, value if scheme.lower() == "bearer" else "")
        elif not await self._basic_allows(scheme, value, needed):
            raise _unauthorized('Basic realm="installml registry", charset="UTF-8"')

    async def _basic_allows(self, scheme: str, value: str, needed: Sequence[Access]) -> bool:
        if not scheme:
            return bool(needed) and all(action in self._anonymous for _, _, action in needed)
        return scheme.lower() == "basic" and await self._login(value) is not None

    async def _login(self, value: str) -> str | None:
        try:
            name, colon, password = base64.b64decode(value.strip(), validate=True).decode("utf-8").partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return None
        if not colon or self._users is None or not await run_in_threadpool(self._users.check, name, password):
            return None
        return name

    async def token(self, request: Request) -> Response:
        """Answer a request for a token: GET with Basic credentials, or without for what everybody may do."""
        if self._tokens is None:
            raise Refusal(404, "UNSUPPORTED", "there is nothing at this path")
        if request.method != "GET":
            raise Refusal(405, "UNSUPPORTED", "tokens are asked for with GET", headers={"Allow": "GET"})
        scheme, _, value = request.headers.get("authorization", "").partition(" ")
        name = ""
        if scheme and self._users is not None:
            name = (await self._login(value) if scheme.lower() == "basic" else None) or ""
            if not name:
                raise _unauthorized('Basic realm="installml registry", charset="UTF-8"')
        allowed = _ACTIONS if name else self._anonymous
        access = [entry for entry in _scopes(request) if entry[2] in allowed]
        if not name and not self._anonymous:
            raise _unauthorized('Basic realm="installml registry", charset="UTF-8"')
        return self._token_answer(self._tokens, name, access)

    @staticmethod
    def _token_answer(tokens: Tokens, name: str, access: list[Access]) -> Response:
        token = tokens.issue(name, access)
        issued = datetime.fromtimestamp(int(tokens.now()), UTC).isoformat().replace("+00:00", "Z")
        return JSONResponse(
            {"token": token, "access_token": token, "expires_in": tokens.seconds, "issued_at": issued},
            headers={"Cache-Control": "no-store"},
        )


def _check_token(tokens: Tokens, request: Request, needed: Sequence[Access], token: str) -> None:
    error = ""
    if token:
        try:
            missing = set(needed) - tokens.read(token)
        except TokenInvalid:
            error = "invalid_token"
        else:
            if not missing:
                return
            error = "insufficient_scope"
    raise _unauthorized(_challenge(request, needed, error))


def _scopes(request: Request) -> list[Access]:
    asked = [scope for value in request.query_params.getlist("scope") for scope in value.split(" ")]
    access: list[Access] = []
    for scope in asked[:_MAX_SCOPES]:
        match = _SCOPE.fullmatch(scope)
        if match and _is_thing(match[1], match[2]):
            access += [(match[1], match[2], action) for action in match[3].split(",") if action in _ACTIONS]
    return access


def _is_thing(kind: str, name: str) -> bool:
    if kind == "registry":
        return name == "catalog"
    try:
        return bool(check_repository(name))
    except ReferenceInvalid:
        return False


def _challenge(request: Request, needed: Sequence[Access], error: str) -> str:
    host = request.headers.get("host", "")
    if not _HOST.fullmatch(host):
        address, port = request.scope.get("server") or ("localhost", None)
        host = f"{address}:{port}"
    parts = [f'Bearer realm="{request.scope["scheme"]}://{host}/token"', f'service="{_SERVICE}"']
    if needed:
        scopes = (f"{kind}:{name}:{'pull,push' if action == 'push' else action}" for kind, name, action in needed)
        parts.append(f'scope="{" ".join(scopes)}"')
    if error:
        parts.append(f'error="{error}"')
    return ",".join(parts)


def _unauthorized(challenge: str) -> Refusal:
    return Refusal(401, "UNAUTHORIZED", "authentication is required", headers={"WWW-Authenticate": challenge})
