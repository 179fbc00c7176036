"""Being let in: challenges, tokens, and the rule about who may see a credential.

Sources: RFC 9110, 11.6.1 (challenges), RFC 6750 (Bearer), the Docker token authentication specification ("Token
Authentication", "OAuth2"), distribution-spec, "Authentication". Where credentials come from: ``credentials``.

The rule about realms (docs/adr/0001): a registry names the token server, so a registry, or whoever can write
into its answers, could name any server. Therefore the realm must be https unless the registry itself is plain http,
carries no user, and gets credentials only if it is of the registry's own site or configured in ``token_hosts``; and
private addresses are called only for registries that live at such addresses themselves.
"""

from __future__ import annotations

import base64
import re
import socket
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import urlencode, urlsplit

from .answers import document, failure
from .errors import HostUnknown, RealmRefused, RedirectRefused, Unauthorized, UnexpectedAnswer
from .http import HostSettings, HttpClient, Request, Response, joined
from .sites import hostname, same_site, zone

__all__ = ["Authenticator", "Challenge", "CredentialSource", "Credentials", "Fixed", "parse_challenges"]

_TOKEN_CAP = 256 << 10
_MAX_HEADER = 16 << 10
_EARLY = 30.0  # seconds before a token's end at which it is no longer used
_DEFAULT_LIFE = 60.0  # Docker token specification: expires_in is 60 when it is not given
_CLIENT = "installml"


@dataclass(frozen=True, slots=True)
class Credentials:
    """What proves who we are; no part of it is ever shown.

    Attributes:
        username: For Basic and for asking for tokens.
        password: Likewise.
        identity_token: OAuth2 refresh token, used instead of the two.
        registry_token: A Bearer token that somebody got already, used as it is.
    """

    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    registry_token: str = field(default="", repr=False)

    @property
    def basic(self) -> str:
        """The value of a Basic ``Authorization`` header (RFC 7617, UTF-8)."""
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()


class CredentialSource(Protocol):
    """Knows credentials."""

    def find(self, registry: str, repository: str = "") -> Credentials | None:
        """Return what is known for a registry, or for a repository of it; None means: go anonymously."""
        ...


@dataclass(frozen=True, slots=True)
class Fixed:
    """The same credentials whoever asks: for ``login``, which tries them before they are saved."""

    credentials: Credentials | None = None

    def find(self, registry: str, repository: str = "") -> Credentials | None:
        """Return the credentials."""
        return self.credentials


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way to be let in that a server offers.

    Attributes:
        scheme: Lowercase: ``basic``, ``bearer`` ...
        parameters: By lowercase name.
    """

    scheme: str
    parameters: dict[str, str]


_TCHAR = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PART = re.compile(
    rf"""[\s,]*(?:
        (?P<name>{_TCHAR})\s*=\s*(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<plain>{_TCHAR}))(?=\s*(?:,|$))
      | (?P<scheme>{_TCHAR})(?:[ ]+(?P<token68>[A-Za-z0-9._~+/-]+=*)(?=\s*(?:,|$)))?(?=[\s,]|$)
    )""",
    re.VERBOSE,
)


def parse_challenges(header: str) -> tuple[Challenge, ...]:
    """Return the challenges of a ``WWW-Authenticate`` value, several of which may share one header.

    What cannot be read ends the list; what was read before it stands (RFC 9110, 11.6.1).
    """
    found: list[Challenge] = []
    position, text = 0, header[:_MAX_HEADER]
    while match := _PART.match(text, position):
        position = match.end()
        if match["scheme"]:
            found.append(Challenge(match["scheme"].lower(), {}))
        elif found:
            value = match["plain"] if match["quoted"] is None else re.sub(r"\\(.)", r"\1", match["quoted"])
            found[-1].parameters.setdefault(match["name"].lower(), value)
    return tuple(found)


def scope(repository: str, *actions: str) -> str:
    """Return the scope that allows ``actions`` on ``repository`` (Docker token scope documentation)."""
    return f"repository:{repository}:{','.join(actions)}"


def _merged(ours: Iterable[str], theirs: str) -> tuple[str, ...]:
    """Return our scopes with the actions that the challenge adds for the same resources.

    Resources that we did not ask about are left out: a registry must not collect tokens for its neighbours.
    """
    actions: dict[str, set[str]] = {}
    for entry in ours:
        resource, _, verbs = entry.rpartition(":")
        actions.setdefault(resource, set()).update(verbs.split(","))
    for entry in theirs.split():
        resource, _, verbs = entry.rpartition(":")
        if resource in actions:
            actions[resource].update(verbs.split(","))
    return tuple(f"{resource}:{','.join(sorted(verbs - {''}))}" for resource, verbs in sorted(actions.items()))


@dataclass(frozen=True, slots=True)
class _Token:
    header: str
    until: float  # by the client's clock


@dataclass(slots=True)
class _Slot:
    """One scope set: its lock makes refreshing single-flight, its token is replaced whole."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    scopes: tuple[str, ...] = ()
    token: _Token | None = None


def _addresses(host: str, port: int) -> list[str]:
    return [str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


class Authenticator:
    """Gives requests to one registry their ``Authorization``; shared by threads and by all its repositories.

    Args:
        registry: The registry's name, for credentials.
        base: ``https://host`` of its API.
        client: Sends what is asked of token servers.
        settings: The registry's settings.
        credentials: Where credentials come from; asked once per repository.
        resolve: Addresses of a host and port.
    """

    def __init__(
        self,
        registry: str,
        base: str,
        client: HttpClient,
        settings: HostSettings,
        credentials: CredentialSource,
        *,
        resolve: Callable[[str, int], list[str]] = _addresses,
    ) -> None:
        self.base = base
        self.lifetime: float | None = None  # seconds that the last token was given; None when there was none
        self._registry = registry
        self._base = urlsplit(base)
        self._client = client
        self._settings = settings
        self._source = credentials
        self._resolve = resolve
        self._lock = threading.Lock()
        self._challenge: Challenge | None = None
        self._found: dict[str, Credentials | None] = {}
        self._slots: dict[tuple[str, tuple[str, ...]], _Slot] = {}

    @property
    def scheme(self) -> str:
        """How the registry wants to be told who we are: ``basic``, ``bearer``, or nothing until it has asked."""
        return self._challenge.scheme if self._challenge else ""

    def header(self, repository: str, scopes: tuple[str, ...]) -> str:
        """Return the ``Authorization`` to send, empty as long as the registry has not asked for one.

        Args:
            repository: Whose credentials to use; may be empty.
            scopes: What the request needs.
        """
        challenge = self._challenge
        return self._answer(challenge, repository, scopes, "") if challenge else ""

    def renewed(self, response: Response, repository: str, scopes: tuple[str, ...], used: str) -> str:
        """Return the ``Authorization`` that answers a 401, empty when there is nothing new to try.

        Args:
            response: The 401.
            repository: As in ``header``.
            scopes: As in ``header``.
            used: What was sent; a token that was refused is not offered again.
        """
        challenge = _choose(response.headers.get("WWW-Authenticate", ""))
        if challenge is None:
            return ""
        self._challenge = challenge
        offered = self._answer(challenge, repository, scopes, used)
        return "" if offered == used else offered

    def _answer(self, challenge: Challenge, repository: str, scopes: tuple[str, ...], used: str) -> str:
        known = self.credentials(repository)
        if challenge.scheme == "basic":
            return known.basic if known and known.username else ""
        if known and known.registry_token:
            return f"Bearer {known.registry_token}"
        return self._bearer(challenge, known, repository, scopes, used)

    def credentials(self, repository: str) -> Credentials | None:
        """Return the credentials for a repository, looked up once."""
        with self._lock:
            if repository not in self._found:
                self._found[repository] = self._source.find(self._registry, repository)
            return self._found[repository]

    def _bearer(
        self, challenge: Challenge, known: Credentials | None, repository: str, scopes: tuple[str, ...], used: str
    ) -> str:
        with self._lock:
            slot = self._slots.setdefault((repository if known else "", scopes), _Slot())
        with slot.lock:
            merged = _merged((*scopes, *slot.scopes), challenge.parameters.get("scope", ""))
            fresh = slot.token is not None and self._client.clock() < slot.token.until and slot.token.header != used
            if slot.token is None or not fresh:
                slot.token = self._ask(challenge, known, merged)
                slot.scopes = merged
            return slot.token.header

    def _ask(self, challenge: Challenge, known: Credentials | None, scopes: tuple[str, ...]) -> _Token:
        realm = self._checked_realm(challenge.parameters.get("realm", ""), known)
        service = challenge.parameters.get("service", "")
        asked = self._client.clock()
        with self._client.send(self._request(realm, service, known, scopes)) as response:
            if response.status in {400, 401, 403}:
                raise self._rejected(response, known)
            if response.status != 200:
                raise failure(response, f"a token for {self._registry}")
            answer = document(response, _TOKEN_CAP, "a token")
        return self._token(answer, asked, response.place)

    def _request(self, realm: str, service: str, known: Credentials | None, scopes: tuple[str, ...]) -> Request:
        place = urlsplit(realm).netloc
        settings = self._client.settings_for(place, self._base.netloc, self._settings)
        named = [("service", service)] if service else []
        if known and known.identity_token:
            # OAuth2: one scope field, space separated (RFC 6749, 3.3)
            fields = [*named, ("grant_type", "refresh_token"), ("client_id", _CLIENT), ("scope", " ".join(scopes))]
            body = urlencode([*fields, ("refresh_token", known.identity_token)]).encode()
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            return Request("POST", realm, headers, body, again=True, follow=False, settings=settings)
        query = urlencode([*named, *(("scope", entry) for entry in scopes)])
        url = f"{realm}{'&' if urlsplit(realm).query else '?'}{query}" if query else realm
        headers = {"Authorization": known.basic} if known and known.username else {}
        return Request("GET", url, headers, again=True, settings=settings)

    def _rejected(self, response: Response, known: Credentials | None) -> Unauthorized:
        error = failure(response, f"a token for {self._registry}")
        who = f"the credentials of {known.username or 'the identity token'}" if known else "anonymous access"
        return Unauthorized(
            f"{error.message}: it does not accept {who}",
            hint=f"Log in with: installml login {self._registry}",
            subject=self._registry,
            status=error.status,
            codes=error.codes,
            detail=error.detail,
        )

    def _token(self, answer: Any, asked: float, place: str) -> _Token:
        text = (answer.get("token") or answer.get("access_token")) if isinstance(answer, dict) else None
        if not isinstance(text, str) or not re.fullmatch(r"[!-~]{1,65536}", text):
            raise UnexpectedAnswer(f"{place} sent no token where one was expected", subject=place)
        life = answer.get("expires_in")
        numeric = isinstance(life, int | float) and not isinstance(life, bool) and 0 < life < 1e9
        seconds = float(life) if numeric else _DEFAULT_LIFE
        self.lifetime = seconds
        # A token that lives shorter than twice the margin would otherwise be asked for again at each request.
        return _Token(f"Bearer {text}", asked + max(seconds - _EARLY, seconds / 2))

    def _checked_realm(self, realm: str, known: Credentials | None) -> str:
        def refuse(reason: str) -> RealmRefused:
            return RealmRefused(f"{self._registry} sends us for a token to a place that {reason}", subject=shown)

        shown = self._registry
        try:
            parts = joined("", realm)
        except RedirectRefused as error:
            raise refuse("is no address to call") from error
        shown = parts.netloc
        if parts.scheme != "https" and self._base.scheme == "https":
            raise refuse(f"is not encrypted: {shown}")
        if shown in self._settings.token_hosts or parts.hostname in self._settings.token_hosts:
            return realm.partition("#")[0]
        if known and not same_site(self._base.netloc, shown):
            raise refuse(f"is not of its own site: {shown}")
        if hostname(shown) != hostname(self._base.netloc):
            self._check_zone(str(parts.hostname), parts.port or 443, refuse)
        return realm.partition("#")[0]

    def _check_zone(self, host: str, port: int, refuse: Callable[[str], RealmRefused]) -> None:
        if self._client.proxy_for(f"{self._base.scheme}://{host}"):
            return  # the proxy resolves the name, and reaches what it is allowed to reach
        home = self._zones(self._base.hostname or "", self._base.port or 443)
        there = self._zones(host, port)
        if not there:
            raise HostUnknown(f"no address is known for {host}, where {self._registry} sends us", subject=host)
        if strange := sorted(there - home - {"public"}):
            raise refuse(f"has a {strange[0]} address: {host}")

    def _zones(self, host: str, port: int) -> set[str]:
        try:
            return {zone(address) for address in self._resolve(host, port)}
        except (OSError, UnicodeError):
            return set()


def _choose(header: str) -> Challenge | None:
    """Return the strongest challenge that we can answer: Bearer with a realm before Basic."""
    offered = parse_challenges(header)
    bearer = next((c for c in offered if c.scheme == "bearer" and c.parameters.get("realm")), None)
    return bearer or next((c for c in offered if c.scheme == "basic"), None)
