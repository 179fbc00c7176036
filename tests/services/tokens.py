"""A token server as registries use them: who may do what, said in signed tokens.

Here: the `GET` form of the distribution project's "Token Authentication Specification" and the `POST` form of its
"Oauth2 Token Authentication", with a table of users. Not here: the registries that trust it (`servers.py`).

Every request is recorded with its credentials, so a test can say to whom a client showed them.
"""

from __future__ import annotations

import base64
import json
import secrets
import ssl
import tempfile
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from tests.services.certificates import TLS, make_ca

FORM_LIMIT = 64 * 1024
READ_SECONDS = 20


@dataclass(frozen=True, slots=True)
class User:
    """One line of the table: a password, and the actions that a token may hold for any repository."""

    password: str = field(repr=False)
    actions: frozenset[str] = frozenset({"pull", "push", "delete", "*"})


@dataclass(frozen=True, slots=True)
class Access:
    """One scope: a kind of resource, its name, and the actions asked for or granted."""

    kind: str
    name: str
    actions: tuple[str, ...]

    @classmethod
    def parse(cls, scope: str) -> Access:
        """Read `repository:team/model:pull,push`; the name may hold colons (a host with a port)."""
        kind, _, rest = scope.partition(":")
        name, _, actions = rest.rpartition(":")
        return cls(kind, name, tuple(action for action in actions.split(",") if action))

    def limited_to(self, allowed: frozenset[str]) -> Access:
        """Return what is left of the asked actions."""
        return Access(self.kind, self.name, tuple(action for action in self.actions if action in allowed))


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """One request as it arrived: its query or form, and the credentials it showed."""

    method: str
    path: str
    authorization: str | None
    fields: Mapping[str, tuple[str, ...]]

    def get(self, name: str) -> str | None:
        """Return the first value of a query or form field."""
        return next(iter(self.fields.get(name, ())), None)

    @property
    def scopes(self) -> tuple[str, ...]:
        """The asked scopes: the field may be repeated, and one field may hold several with spaces between."""
        return tuple(scope for value in self.fields.get("scope", ()) for scope in value.split())

    @property
    def basic(self) -> tuple[str, str] | None:
        """The user and password of the Basic credentials."""
        scheme, _, encoded = (self.authorization or "").partition(" ")
        if scheme.lower() != "basic":
            return None
        user, _, password = base64.b64decode(encoded).decode().partition(":")
        return user, password


class _Refused(Exception):
    """The request gets an OAuth2 error (RFC 6749, 5.2)."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(code)
        self.status, self.code = status, code


class TokenAuth:
    """A running token server: `with TokenAuth({"ann": User("pencil")}) as auth, distribution3(auth=auth): ...`.

    Tokens are ES256 with the certificate in `x5c`: distribution 2.8 and 3 both accept that against
    `rootcertbundle`, while their key ids (`kid`) differ.
    """

    service = "installml-tests"
    issuer = "installml-tests-issuer"

    def __init__(
        self,
        users: Mapping[str, User],
        *,
        anonymous: Iterable[str] = (),
        lifetime: int = 300,
        tls: TLS | None = None,
        host: str = "localhost",
    ) -> None:
        """Listen on a free port of 127.0.0.1; answers are given from `__enter__` on.

        Args:
            users: the table; a name is looked up exactly.
            anonymous: the actions of one who shows no credentials.
            lifetime: seconds until a token expires; distribution allows 60 s more.
            tls: serve https with these files; the certificate must be for the host.
            host: the realm's host; crane (since go-containerregistry 0.22) refuses a loopback address there, but
                not a name.
        """
        self._users = dict(users)
        self._anonymous = frozenset(anonymous)
        self._lifetime = lifetime
        self._refresh: dict[str, str] = {}
        self._requests: list[TokenRequest] = []
        self._directory = tempfile.TemporaryDirectory(prefix="installml-token-")
        authority = make_ca(Path(self._directory.name))
        self.root_certificate = authority.cert
        self._signer = _Signer(authority.cert, authority.key)
        self._server = _Server(("127.0.0.1", 0), self)
        if tls is not None:
            self._server.socket = _wrapped(self._server, tls)
        scheme = "https" if tls else "http"
        self.host = host
        self.realm = f"{scheme}://{host}:{self._server.server_port}/token"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="token-server")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self._directory.cleanup()

    @property
    def requests(self) -> tuple[TokenRequest, ...]:
        """What arrived so far, oldest first."""
        return tuple(self._requests)

    def identity_token(self, user: str) -> str:
        """Return a refresh token for a user, as `docker login` keeps it under `identitytoken`."""
        token = secrets.token_urlsafe(24)
        self._refresh[token] = user
        return token

    def token(self, user: str, *scopes: str) -> str:
        """Return a signed token without any request, for a test that speaks to the registry itself."""
        return self._signed(user, [Access.parse(scope) for scope in scopes])

    def answer(self, request: TokenRequest) -> tuple[int, dict[str, Any]]:
        """Record a request and decide it."""
        self._requests.append(request)
        try:
            user, offline = self._who(request)
        except _Refused as refusal:
            return refusal.status, {"error": refusal.code, "errors": [{"code": "UNAUTHORIZED"}]}
        return 200, self._grant(user, request, offline=offline)

    def _who(self, request: TokenRequest) -> tuple[str, bool]:
        """Return who asks ("" for nobody), and whether a refresh token is wanted too."""
        if urlsplit(self.realm).path != request.path:
            raise _Refused(404, "not_found")
        if request.get("service") != self.service:
            raise _Refused(400, "invalid_request")
        return self._who_posts(request) if request.method == "POST" else self._who_gets(request)

    def _who_gets(self, request: TokenRequest) -> tuple[str, bool]:
        """Token Authentication Specification: Basic credentials, or none at all."""
        try:
            shown = request.basic
        except ValueError as error:
            raise _Refused(401, "invalid_client") from error
        if shown is None:
            return "", False
        return self._checked(*shown), request.get("offline_token") == "true"

    def _who_posts(self, request: TokenRequest) -> tuple[str, bool]:
        """Oauth2 Token Authentication: a password or a refresh token, in the form's body."""
        if not request.get("client_id"):
            raise _Refused(400, "invalid_request")
        kind = request.get("grant_type")
        if kind == "password":
            user = self._checked(request.get("username") or "", request.get("password") or "")
            return user, request.get("access_type") == "offline"
        if kind == "refresh_token":
            user = self._refresh.get(request.get("refresh_token") or "", "")
            if not user:
                raise _Refused(401, "invalid_grant")
            return user, False
        raise _Refused(400, "unsupported_grant_type")

    def _checked(self, name: str, password: str) -> str:
        user = self._users.get(name)
        if user is None or not secrets.compare_digest(user.password.encode(), password.encode()):
            raise _Refused(401, "invalid_grant")
        return name

    def _grant(self, user: str, request: TokenRequest, *, offline: bool) -> dict[str, Any]:
        asked = [Access.parse(scope) for scope in request.scopes]
        token = self._signed(user, asked)
        grant: dict[str, Any] = {
            "token": token,
            "access_token": token,
            "expires_in": self._lifetime,
            "issued_at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        if request.method == "POST":
            grant["scope"] = " ".join(request.scopes)
            grant["refresh_token"] = request.get("refresh_token") or ""
            del grant["token"]
        if offline:
            grant["refresh_token"] = self.identity_token(user)
        return grant

    def _signed(self, user: str, asked: Iterable[Access]) -> str:
        allowed = self._users[user].actions if user else self._anonymous
        granted = [access.limited_to(allowed) for access in asked]
        now = int(time.time())
        return self._signer.sign(
            {
                "iss": self.issuer,
                "sub": user,
                "aud": self.service,
                "iat": now,
                "nbf": now - 10,
                "exp": now + self._lifetime,
                "jti": secrets.token_hex(8),
                "access": [
                    {"type": each.kind, "name": each.name, "actions": each.actions} for each in granted if each.actions
                ],
            }
        )


class _Signer:
    """JSON Web Tokens signed with ES256 (RFC 7518, 3.4), the certificate in the `x5c` header."""

    def __init__(self, cert: Path, key: Path) -> None:
        from cryptography import x509
        from cryptography.hazmat.primitives import serialization

        certificate = x509.load_pem_x509_certificate(cert.read_bytes())
        der = certificate.public_bytes(serialization.Encoding.DER)
        self._header = {"typ": "JWT", "alg": "ES256", "x5c": [base64.b64encode(der).decode()]}
        self._key = serialization.load_pem_private_key(key.read_bytes(), password=None)

    def sign(self, claims: Mapping[str, Any]) -> str:
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

        if not isinstance(self._key, ec.EllipticCurvePrivateKey):
            raise TypeError("the key is not one that make_ca wrote")
        signed = f"{_encoded(json.dumps(self._header).encode())}.{_encoded(json.dumps(claims).encode())}"
        r, s = decode_dss_signature(self._key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{signed}.{_encoded(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _wrapped(server: ThreadingHTTPServer, tls: TLS) -> ssl.SSLSocket:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tls.cert, tls.key)
    # The handshake belongs to the connection's own thread: a silent client must not stop the others.
    return context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], auth: TokenAuth) -> None:
        self.auth = auth
        super().__init__(address, _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Stay silent: a client that goes away or distrusts the certificate is what some tests are about."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = READ_SECONDS

    def do_GET(self) -> None:
        self._answer(urlsplit(self.path).query)

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        if not 0 <= length <= FORM_LIMIT:
            self.send_error(413)
            return
        self._answer(self.rfile.read(length).decode())

    def _answer(self, encoded: str) -> None:
        fields = {name: tuple(values) for name, values in parse_qs(encoded).items()}
        path, shown = urlsplit(self.path).path, self.headers.get("Authorization")
        status, document = self.server.auth.answer(TokenRequest(self.command, path, shown, fields))
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the base class's name)
        """Write nothing: `TokenAuth.requests` is the record."""
