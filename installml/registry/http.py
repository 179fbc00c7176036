"""The one door to ``requests``: single HTTP exchanges with everything around them that must not go wrong.

Here: connections, TLS trust, proxies, redirects followed by hand, retries, size caps, and the translation of what
the lower libraries raise. Not here: who we are (``auth``), what a registry means by its answers (``answers``,
``repository``). Requests go straight to urllib3's pools (``exchange``), by a proxy through the adapters of
``requests``, without a ``Session``: so there are no cookies, no netrc and no environment to keep out, and what is left
may be shared by threads.

Rules: redirects at most 5, never from https to http, ``Authorization`` dropped at the first change of origin (RFC
9110, 15.4); retries only for requests that may be repeated, on lost connections, 408, 429 and 5xx, with exponential
waits of random length within a deadline. The environment is never read: Network is given.
"""

from __future__ import annotations

import http.client
import random as _random
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import SplitResult, urljoin, urlsplit

from ..digest import CHUNK
from ..errors import SettingInvalid
from .body import Body
from .errors import (
    ConnectionLost,
    ConnectionRefused,
    HostUnknown,
    Offline,
    PlainServer,
    ProxyFailed,
    RedirectRefused,
    SocksMissing,
    TimedOut,
    TLSFailed,
    TransportError,
    UnexpectedAnswer,
)
from .exchange import exchange
from .lines import is_cut
from .quirks import Overrides
from .sending import FilePiece, sends_files
from .sites import bypasses_proxy, hostname, is_loopback, origin

if TYPE_CHECKING:
    import ssl

    from requests.adapters import HTTPAdapter

__all__ = ["PASSING", "Blocks", "HostSettings", "HttpClient", "Network", "Request", "Response"]

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MAX_REDIRECTS = 5
PASSING = frozenset({408, 429, 500, 502, 503, 504})
"""Statuses of troubles that may pass: what may be repeated is."""
_ATTEMPTS = 6
_FIRST_WAIT = 0.25  # seconds; doubled at each attempt
_DEADLINE = 90.0  # seconds from the first attempt within which the last one begins
_POOL = 32  # connections kept per host
_DRAIN = 64 << 10
_PORTS = {"http": ":80", "https": ":443"}
"""What nobody says after a host's name (RFC 9110, 4.2.3)."""
_AS_IT_IS = re.compile(r"https?://[a-z0-9.:\[\]-]+/[A-Za-z0-9/._~!$&'()*+,;=:@?%-]*")
"""URLs in which there is nothing to encode or to put in order."""


@dataclass(frozen=True, slots=True)
class HostSettings:
    """How one host is spoken to.

    Attributes:
        insecure: Plain http is allowed.
        ca: File or folder of certificate authorities to trust for this host besides the system's.
        client_cert: Certificate file and key file that we show.
        token_hosts: Hosts that may be given this registry's credentials although they are of another site.
        overrides: What is known better about this registry than its answers tell.
    """

    insecure: bool = False
    ca: str | None = None
    client_cert: tuple[str, str] | None = None
    token_hosts: tuple[str, ...] = ()
    overrides: Overrides = field(default_factory=Overrides)


@dataclass(frozen=True, slots=True)
class Network:
    """What the whole process knows about its network.

    Attributes:
        proxies: Proxy URL by scheme of the request (``http``, ``https``, or ``all``).
        no_proxy: Hosts reached without, in the habit of NO_PROXY.
        timeout: Seconds to wait for a connection, and between two reads.
        user_agent: What we call ourselves.
        offline: Refuse every request that would leave this machine.
        ca_file: Certificate authorities to trust besides the system's, for all hosts.
    """

    proxies: Mapping[str, str] = field(default_factory=dict, hash=False)
    no_proxy: str = ""
    timeout: tuple[float, float] = (15.0, 60.0)
    user_agent: str = "installml"
    offline: bool = False
    ca_file: str | None = None


class Blocks(Protocol):
    """A request body of known length that is sent as it is produced: blocks, or pieces of files (``sending``)."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[bytes | FilePiece]: ...


@dataclass(frozen=True, slots=True)
class Request:
    """One thing to ask.

    Attributes:
        method: HTTP method.
        url: Absolute URL.
        headers: Sent as they are; ``Authorization`` only as far as the origin of ``url``.
        body: Bytes, or blocks of known length, or None.
        again: May be sent twice: it is idempotent and its body, if any, is in memory.
        follow: Follow redirects.
        settings: Settings for the host of ``url``, and for its other ports when they have none of their own.
    """

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict, hash=False)
    body: bytes | Blocks | None = None
    again: bool = False
    follow: bool = True
    settings: HostSettings = field(default_factory=HostSettings)


class Response:
    """An answer whose body is still to be read; close it, or use it as a context manager."""

    def __init__(
        self,
        raw: Any,
        asked: str,
        lower: Callable[[BaseException], TransportError],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._raw = raw
        self._lower = lower
        self._clock = clock
        self.status: int = raw.status
        self.headers: Mapping[str, str] = raw.headers
        self.url = asked
        self.redirected = False  # whether another URL was asked first
        self._streamed = self._let_go = False

    @property
    def place(self) -> str:
        """Host (and port) that answered."""
        return urlsplit(self.url).netloc

    @property
    def media_type(self) -> str:
        """The Content-Type without parameters, lowercase."""
        return self.headers.get("Content-Type", "").partition(";")[0].strip().lower()

    @property
    def length(self) -> int | None:
        """The Content-Length, or None."""
        text = self.headers.get("Content-Length", "")
        return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None

    @property
    def retry_after(self) -> float | None:
        """Seconds that the server asks to wait (RFC 9110, 10.2.3), or None."""
        from email.utils import parsedate_to_datetime

        text = self.headers.get("Retry-After", "").strip()
        if text.isascii() and text.isdigit():
            return float(text[:9])
        try:
            until, now = (parsedate_to_datetime(t) for t in (text, self.headers.get("Date", "")))
            return max(0.0, (until - now).total_seconds())
        except (ValueError, TypeError):
            return None

    def read(self, size: int = -1, /) -> bytes:
        """Return at most ``size`` bytes of the body as they came, never decoded; empty at the end.

        Raises:
            ConnectionLost: The body ended before its Content-Length.
        """
        import urllib3

        try:
            block: bytes = self._raw.read(size if size >= 0 else None, decode_content=False)
        except (urllib3.exceptions.HTTPError, http.client.HTTPException, OSError) as error:
            raise self._lower(error) from None
        return block

    def stream(self) -> Body:
        """Return the body for reading into buffers; not to be mixed with ``read``."""
        self._streamed = True
        return Body(self._raw, self._lower, self._clock)

    def body(self, cap: int) -> bytes:
        """Return the whole body, then close.

        Raises:
            UnexpectedAnswer: It has more than ``cap`` bytes.
        """
        with self:
            data = bytearray()
            while len(data) <= cap and (block := self.read(min(CHUNK, cap + 1 - len(data)))):
                data += block
        if len(data) > cap:
            raise UnexpectedAnswer(
                f"{self.place} sent more than {cap} bytes where a document was expected", subject=self.place
            )
        return bytes(data)

    def drain(self) -> None:
        """Give the connection back, reading what little is left of the body; close it when there is more."""
        try:
            if self._raw.tell() == 0 and self._raw.length_remaining != 0 and (self.length or 0) <= _DRAIN:
                self.read(_DRAIN)
        except TransportError:
            pass
        self.close()

    def close(self) -> None:
        """Let go of the connection: kept when nothing of the body is left, else closed."""
        if self._let_go:
            return
        self._let_go = True
        if self._raw.length_remaining == 0 and not self._streamed:
            self._raw.read()  # nothing; http.client takes an answer for unread until somebody has seen its end
        else:
            self._raw.close()
        self._raw.release_conn()

    def __enter__(self) -> Response:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Guarded:
    """A body that remembers its own failure, so that a source's error is not taken for the network's."""

    def __init__(self, blocks: Blocks) -> None:
        self._blocks = blocks
        self.failure: BaseException | None = None

    def __len__(self) -> int:
        return len(self._blocks)

    def __iter__(self) -> Iterator[bytes | FilePiece]:
        try:
            yield from self._blocks
        except GeneratorExit:
            raise
        except BaseException as error:
            self.failure = error
            raise


_Payload = bytes | _Guarded | None


class HttpClient:
    """Sends requests; safe to share between threads.

    Args:
        network: Proxies, timeouts, trust.
        hosts: Settings of a host, given as it stands in URLs (with its port, if any).
        clock: Monotonic seconds.
        sleep: Waits.
        random: A number from 0 to 1.
    """

    def __init__(
        self,
        network: Network,
        hosts: Callable[[str], HostSettings] = lambda _: HostSettings(),
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        random: Callable[[], float] = _random.random,
    ) -> None:
        self.network = network
        self.hosts = hosts
        self.clock = clock
        self.sleep = sleep
        self.random = random
        self._adapters: dict[tuple[str | None, tuple[str, str] | None, bool], _Connections] = {}
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close every kept connection."""
        with self._lock:
            adapters, self._adapters = list(self._adapters.values()), {}
        for adapter in adapters:
            adapter.close()

    def send(self, request: Request) -> Response:
        """Return the answer to ``request``, whatever its status.

        Raises:
            TransportError: There was no answer, or one that may not be followed.
        """
        self._check_reach(request.url)
        deadline = self.clock() + _DEADLINE
        for attempt in range(_ATTEMPTS - 1):
            answer = self._attempt(request)
            wait = self._wait(answer, attempt)
            if not request.again or wait is None or self.clock() + wait > deadline:
                break
            if isinstance(answer, Response):
                answer.drain()
            self.sleep(wait)
        else:
            answer = self._attempt(request)
        if isinstance(answer, TransportError):
            raise answer
        return answer

    def _check_reach(self, url: str) -> None:
        """Refuse to leave this machine when told to stay offline; loopback is this machine."""
        if self.network.offline and not is_loopback(host := urlsplit(url).netloc):
            raise Offline(f"{host} is needed and the network is not to be used", subject=host)

    def _attempt(self, request: Request) -> Response | TransportError:
        """Return the answer, or the failure that may pass; a host that is not there at all is no such failure."""
        try:
            return self._follow(request)
        except (ConnectionLost, TimedOut) as error:
            return error

    def _wait(self, answer: Response | TransportError, attempt: int) -> float | None:
        """Return seconds to wait before asking again, or None when the answer stands."""
        own: float = _FIRST_WAIT * (1 << attempt) * (0.5 + self.random())
        if isinstance(answer, TransportError):
            return own
        if answer.status not in PASSING:
            return None
        return max(own, answer.retry_after or 0.0)

    def _follow(self, request: Request) -> Response:
        for hop in range(_MAX_REDIRECTS + 1):
            response = self._once(request)
            response.redirected = hop > 0
            location = response.headers.get("Location", "")
            if response.status not in _REDIRECTS or not request.follow or not location:
                return response
            response.drain()
            if request.method not in {"GET", "HEAD"}:
                raise RedirectRefused(
                    f"{response.place} redirects a {request.method} elsewhere, which is not followed",
                    subject=response.place,
                )
            request = self._redirected(request, location)
        place = urlsplit(request.url).netloc
        raise RedirectRefused(f"more than {_MAX_REDIRECTS} redirects, the last to {place}", subject=place)

    def _redirected(self, request: Request, location: str) -> Request:
        before = urlsplit(request.url)
        after = joined(request.url, location)
        self._check_reach(after.geturl())
        if before.scheme == "https" and after.scheme != "https":
            raise RedirectRefused(
                f"{before.netloc} redirects from https to plain http at {after.netloc}", subject=before.netloc
            )
        headers = request.headers
        settings = request.settings
        if origin(before) != origin(after):
            headers = {name: value for name, value in headers.items() if name.lower() != "authorization"}
            settings = self.settings_for(after.netloc, before.netloc, settings)
        return replace(request, url=after.geturl(), headers=headers, settings=settings)

    def settings_for(self, host: str, registry: str, settings: HostSettings) -> HostSettings:
        """Return the settings for ``host``; another port of the registry's own machine inherits the registry's."""
        own = self.hosts(host)
        return settings if own == HostSettings() and hostname(host) == hostname(registry) else own

    def _once(self, request: Request) -> Response:
        import urllib3

        host = urlsplit(request.url).netloc
        if is_cut():
            raise TransportError(f"{host} is not asked any more", subject=host)
        proxy = self.proxy_for(request.url)
        body = request.body if isinstance(request.body, bytes | None) else _Guarded(request.body)

        def lower(error: BaseException) -> TransportError:
            return _translate(error, host, proxied=bool(proxy))

        _check_socks(proxy, host)
        try:
            raw = self._proxied(request, body, proxy) if proxy else self._direct(request, body)
        except (urllib3.exceptions.HTTPError, http.client.HTTPException, OSError, ValueError) as error:
            if isinstance(body, _Guarded) and body.failure is not None:
                raise body.failure from None
            # "from None": the lower errors spell whole URLs, signatures of pre-signed ones included.
            raise lower(error) from None
        if proxy and raw.status == _PROXY_WANTS_LOGIN:
            raw.close()
            raise _proxy_login(host)
        return Response(raw, request.url, lower, self.clock)

    def _direct(self, request: Request, body: _Payload) -> Any:
        """Send a request that no proxy passes on."""
        scheme, place, target = _apart(request.url)
        headers = {"Host": place.removesuffix(_PORTS[scheme]), **self._headers(request, body)}
        pool = self._adapter(request.settings, scheme == "https").pool(scheme, place)
        return exchange(pool, request.method, target, headers, body, self.network.timeout)

    def _proxied(self, request: Request, body: _Payload, proxy: Mapping[str, str]) -> Any:
        """Send a request by a proxy."""
        import requests

        encrypted = any(urlsplit(address).scheme == "https" for address in (request.url, *proxy.values()))
        prepared = requests.PreparedRequest()  # step by step: without cookies, .netrc and hooks
        prepared.method, prepared.url = request.method, request.url
        if not _AS_IT_IS.fullmatch(request.url):
            prepared.prepare_url(request.url, None)
        prepared.prepare_headers(self._headers(request, body))
        prepared.body = body  # type: ignore[assignment]  # urllib3 takes any iterable of blocks
        adapter = self._adapter(request.settings, encrypted).by_proxy
        return adapter.send(prepared, stream=True, timeout=self.network.timeout, proxies=dict(proxy)).raw

    def _headers(self, request: Request, body: _Payload) -> dict[str, str]:
        headers = {"User-Agent": self.network.user_agent, "Accept-Encoding": "identity", **request.headers}
        if body is not None or request.method not in {"GET", "HEAD"}:
            headers["Content-Length"] = str(len(body)) if body is not None else "0"
        return headers

    def proxy_for(self, url: str) -> dict[str, str]:
        """Return the proxies that apply to ``url``: one entry or none."""
        if not self.network.proxies:
            return {}
        parts = urlsplit(url)
        proxy = self.network.proxies.get(parts.scheme) or self.network.proxies.get("all")
        if not proxy or bypasses_proxy(parts.netloc, self.network.no_proxy, origin(parts)[2]):
            return {}
        return {parts.scheme: proxy if "://" in proxy else f"http://{proxy}"}

    def trust(self, settings: HostSettings) -> ssl.SSLContext:
        """Return whom we believe to be a host of these settings, and what we show it."""
        return _context(self.network.ca_file, settings)

    def _adapter(self, settings: HostSettings, encrypted: bool) -> _Connections:
        key = (settings.ca, settings.client_cert, encrypted)
        with self._lock:
            if key not in self._adapters:
                # Reading the system's authorities takes longer than what a command asks of a plain http registry.
                context = _context(self.network.ca_file, settings) if encrypted else None
                self._adapters[key] = _Connections(context)
            return self._adapters[key]


def joined(base: str, location: str) -> SplitResult:
    """Return the parts of a URL that a server gave, absolute or relative to ``base``, when it may be called.

    Raises:
        RedirectRefused: Not http or https, no host, a port that is none, or with a user or password inside.
    """
    sender = urlsplit(base).netloc
    try:
        parts = urlsplit(location if location.startswith(("http://", "https://")) else urljoin(base, location))
        named = parts.scheme in {"http", "https"} and parts.hostname and origin(parts)[2]
    except ValueError:
        named = None
    if not named or parts.username is not None or parts.password is not None:
        raise RedirectRefused(f"{sender} names an address that is not called", subject=sender)
    return parts


def _apart(url: str) -> tuple[str, str, str]:
    """Return scheme, host with its port, and what is asked of it, all of it encoded.

    Raises:
        ValueError: It is no URL that can be called.
    """
    if not _AS_IT_IS.fullmatch(url):
        import requests

        prepared = requests.PreparedRequest()
        prepared.prepare_url(url, None)
        parts = urlsplit(str(prepared.url))
        return parts.scheme, parts.netloc.rpartition("@")[2], prepared.path_url
    scheme, _, rest = url.partition("://")
    place, _, path = rest.partition("/")
    return scheme, place, f"/{path}"


class _Connections:
    """The connections that trust what ``context`` trusts, by host; made when they are first needed.

    Args:
        context: Whom to believe to be a host, and what to show it; None where nothing is encrypted.
    """

    def __init__(self, context: ssl.SSLContext | None) -> None:
        from urllib3 import PoolManager

        self._context = context
        self._manager = sends_files(PoolManager(_POOL, maxsize=_POOL, ssl_context=context, cert_reqs="CERT_REQUIRED"))
        self._pools: dict[tuple[str, str], Any] = {}
        self._by_proxy: HTTPAdapter | None = None
        self._lock = threading.Lock()

    def pool(self, scheme: str, place: str) -> Any:
        """Return urllib3's pool for a host."""
        pool = self._pools.get((scheme, place))
        if pool is None or pool.pool is None:  # its manager closes the pools that were used least
            pool = self._pools[scheme, place] = self._manager.connection_from_url(f"{scheme}://{place}")
        return pool

    @property
    def by_proxy(self) -> HTTPAdapter:
        """What sends requests by a proxy."""
        with self._lock:
            if self._by_proxy is None:
                self._by_proxy = _new_adapter(self._context)
            return self._by_proxy

    def close(self) -> None:
        """Close every kept connection."""
        self._manager.clear()
        if self._by_proxy is not None:
            self._by_proxy.close()


def _new_adapter(context: ssl.SSLContext | None) -> HTTPAdapter:
    from requests.adapters import HTTPAdapter

    class Adapter(HTTPAdapter):
        """Trusts what ``context`` trusts, instead of a bundle of its own."""

        def init_poolmanager(self, *args: Any, **more: Any) -> None:
            super().init_poolmanager(*args, **more, ssl_context=context)

        def proxy_manager_for(self, proxy: str, **more: Any) -> Any:
            known = proxy in self.proxy_manager
            if not proxy.lower().startswith("socks"):
                more["proxy_ssl_context"] = context  # a proxy that is spoken to by https is believed as a host is
            manager = super().proxy_manager_for(proxy, **more, ssl_context=context)
            return manager if known else sends_files(manager)

        def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
            conn.cert_reqs = "CERT_REQUIRED"

    return Adapter(pool_connections=_POOL, pool_maxsize=_POOL)


def _context(ca_file: str | None, settings: HostSettings) -> ssl.SSLContext:
    import ssl

    context = ssl.create_default_context()
    if not _has_trust_store():  # slim images: requests brings one
        from requests.utils import DEFAULT_CA_BUNDLE_PATH

        context.load_verify_locations(DEFAULT_CA_BUNDLE_PATH)
    for ca in filter(None, (ca_file, settings.ca)):
        try:
            context.load_verify_locations(**{"capath" if Path(ca).is_dir() else "cafile": ca})
        except OSError as error:
            raise SettingInvalid(f"the certificate authorities in {ca} cannot be read: {error}", subject=ca) from error
    if settings.client_cert:
        try:
            context.load_cert_chain(*settings.client_cert)
        except OSError as error:
            shown = settings.client_cert[0]
            raise SettingInvalid(f"the client certificate {shown} cannot be used: {error}", subject=shown) from error
    return context


def _has_trust_store() -> bool:
    import ssl

    paths = ssl.get_default_verify_paths()
    return bool(paths.cafile) or bool(paths.capath and any(Path(paths.capath).iterdir()))


_PLAIN = {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG"}
"""What OpenSSL's versions call the first bytes of an HTTP answer where a TLS record should be."""


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield ``error`` and everything that it was made from, nearest first."""
    waiting, seen = [error], set[int]()
    while waiting and len(seen) < 32:
        current = waiting.pop(0)
        if id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        linked = (current.__cause__, current.__context__, getattr(current, "reason", None), *current.args)
        waiting.extend(e for e in linked if isinstance(e, BaseException))


def _check_socks(proxy: Mapping[str, str], host: str) -> None:
    """Refuse to use a SOCKS proxy without the optional package that requests needs for it."""
    if any(url.lower().startswith("socks") for url in proxy.values()):
        from importlib.util import find_spec

        if find_spec("socks") is None:
            raise SocksMissing(f"the SOCKS proxy for {host} needs a package that is not installed", subject=host)


_PROXY_WANTS_LOGIN = 407
_TUNNEL_407 = "Tunnel connection failed: 407"
"""How http.client says that a proxy refuses to open a tunnel for want of credentials."""


def _proxy_login(host: str) -> ProxyFailed:
    hint = "Put name and password into the proxy's address: HTTPS_PROXY=http://NAME:PASSWORD@PROXY:PORT"
    return ProxyFailed(f"the proxy for {host} does not let us in without the right name and password", hint=hint)


def _translate(error: BaseException, host: str, *, proxied: bool) -> TransportError:
    """Return our error for one of requests', urllib3's or the system's. Their texts carry URLs; ours do not."""
    import ssl

    from urllib3 import exceptions as lower

    causes = list(_causes(error))

    def find(*kinds: type[BaseException]) -> Any:
        return next((cause for cause in causes if isinstance(cause, kinds)), None)

    if proxied and any(isinstance(c, OSError) and _TUNNEL_407 in str(c) for c in causes):
        return _proxy_login(host)
    if proxied and (find(lower.ProxyError) or any(type(c).__module__ == "socks" for c in causes)):
        return ProxyFailed(f"the proxy for {host} cannot be used", subject=host)
    if find(ssl.SSLError, lower.SSLError):
        return _tls(find(ssl.SSLError), host)
    if find(lower.NameResolutionError):
        return HostUnknown(f"no address is known for {host}", subject=host)
    if find(ConnectionRefusedError):
        return ConnectionRefused(f"nobody listens at {host}", subject=host)
    if find(lower.ConnectTimeoutError):
        return TransportError(f"{host} cannot be reached: no answer to the first packet in time", subject=host)
    if find(lower.TimeoutError, TimeoutError):
        return TimedOut(f"{host} did not answer in time", subject=host)
    if find(lower.NewConnectionError):
        reason = next((c.strerror for c in causes if isinstance(c, OSError) and c.strerror), "no connection")
        return TransportError(f"{host} cannot be reached: {reason}", subject=host)
    if find(lower.LocationValueError, ValueError):
        return TransportError(f"{host} is not an address that can be called", subject=host)
    return ConnectionLost(f"{host} closed the connection before its answer was complete", subject=host)


def _tls(error: ssl.SSLError | None, host: str) -> TLSFailed:
    import ssl

    if isinstance(error, ssl.SSLCertVerificationError):
        return TLSFailed(f"the certificate of {host} is not trusted: {error.verify_message}", subject=host)
    reason = (error.reason if error else None) or "handshake failed"
    if reason in _PLAIN:
        return PlainServer(f"{host} does not speak https", subject=host)
    return TLSFailed(f"no encrypted connection to {host}: {reason.lower().replace('_', ' ')}", subject=host)
