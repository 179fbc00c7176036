"""Looking at a live registry: what it can do, as far as it shows, and what we do about that.

Nothing is written without being told to, and what is written is removed. Each look is a few requests and yields what
it found; a look that fails is a finding too. Not here: words for the whole machine (``api.doctor``).
"""

from __future__ import annotations

import functools
import io
import json
import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Literal
from urllib.parse import quote, urlsplit

from ..digest import Digest
from ..errors import InstallMLError, NotFound
from ..spec.descriptor import Descriptor
from ..spec.manifest import Manifest, parse_manifest
from ..spec.media import IMAGE_MANIFEST, MODEL_CONFIG, MODEL_MANIFEST
from ..spec.units import format_size
from .errors import TransportError
from .http import Response
from .quirks import UNKNOWN, Referrers
from .repository import Registry, Repository
from .sites import api_host, bypasses_proxy, hostname, is_loopback, zone

__all__ = ["Finding", "examine"]

State = Literal["ok", "warning", "problem"]
_SKEW = 30.0  # seconds of difference above which tokens and signed addresses begin to fail
_CHUNK = 64 << 10
_LEAST_PORT = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        check: What.
        state: ``ok``, ``warning`` (something is slower or missing) or ``problem`` (the registry cannot be used).
        message: What was found, and what we do about it.
        hint: What to type; may be empty.
    """

    check: str
    state: State
    message: str
    hint: str = ""


def examine(registry: Registry, repository: str = "", *, write: bool = False, now: float) -> Iterator[Finding]:
    """Look at a registry, and at a repository of it when one is named.

    Args:
        registry: Opened with the user's credentials.
        repository: A repository to read from, and with ``write`` to write into.
        write: Push two small blobs and manifests into the repository, and remove them.
        now: Seconds since the epoch, to compare the registry's clock with.

    Yields:
        What was found, each as soon as it is known; the first ``problem`` ends it.
    """
    look = _Look(registry, now)
    for step in (look.name, look.connection, look.api, look.login, look.clock, look.rates):
        yield from _told(step)
        if look.unusable:
            return
    yield from _told(look.catalog)
    if repository:
        place = registry.repository(repository)
        yield from _told(functools.partial(_read, place), "repository")
        if write:
            yield from _told(_Writing(place, now).run, "push")
    yield from _told(look.family)


def _told(step: Callable[[], Iterator[Finding]], check: str = "") -> Iterator[Finding]:
    try:
        yield from step()
    except InstallMLError as error:
        yield Finding(check or getattr(step, "__name__", "look"), "warning", error.message, error.hint)


class _Look:
    """The steps that need no repository."""

    def __init__(self, registry: Registry, now: float) -> None:
        self._registry = registry
        self._endpoint = registry._endpoint
        self._host = api_host(registry.host)
        self._now = now
        self._first: Response | None = None
        self.unusable = False

    def _problem(self, check: str, error: InstallMLError) -> Finding:
        self.unusable = True
        return Finding(check, "problem", error.message, error.hint)

    def _proxy(self) -> str:
        """Return the proxy in use as host and port: a password in its address is nobody's business."""
        network = self._endpoint.client.network
        scheme = "https" if not self._endpoint.settings.insecure else "http"
        found = next(iter(self._endpoint.client.proxy_for(f"{scheme}://{self._host}/").values()), "")
        return urlsplit(found).netloc.rpartition("@")[2] if found and network else ""

    def name(self) -> Iterator[Finding]:
        """See which addresses the name has."""
        if proxy := self._proxy():
            yield Finding("proxy", "ok", f"{proxy} stands between us and {self._host}, and knows its address")
            return
        network = self._endpoint.client.network
        if network.proxies and bypasses_proxy(self._host, network.no_proxy):
            yield Finding("proxy", "ok", f"{self._host} is reached without the proxy: NO_PROXY names it, or it is here")
        try:
            answers = socket.getaddrinfo(hostname(self._host), None, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            self.unusable = True
            hint = "Check the spelling of the registry's name, and this machine's DNS."
            yield Finding("name", "problem", f"no address is known for {hostname(self._host)}", hint)
            return
        found = sorted({str(entry[4][0]) for entry in answers})
        shown = ", ".join(f"{address} ({zone(address)})" for address in found[:4])
        yield Finding("name", "ok", f"{hostname(self._host)} is {shown}")

    def connection(self) -> Iterator[Finding]:
        """Say hello, with TLS where the registry speaks it."""
        try:
            base = urlsplit(self._endpoint.base)
        except TransportError as error:
            yield self._problem("connection", error)
            return
        if base.scheme == "http" and is_loopback(self._host):
            yield Finding("connection", "ok", "plain http, which stays on this machine")
            return
        if base.scheme == "http":
            yield Finding("connection", "warning", "plain http: anybody on the way reads and changes what passes")
            return
        if self._proxy():
            yield Finding("connection", "ok", "https, through the proxy")
            return
        yield self._tls(base.hostname or "", base.port or _LEAST_PORT["https"])

    def _tls(self, host: str, port: int) -> Finding:
        client = self._endpoint.client
        try:
            context = client.trust(self._endpoint.settings)
            with (
                socket.create_connection((host, port), client.network.timeout[0]) as plain,
                context.wrap_socket(plain, server_hostname=host) as secured,
            ):
                ends = dict(secured.getpeercert() or {}).get("notAfter", "")
                days = (ssl.cert_time_to_seconds(str(ends)) - self._now) / 86400 if ends else 0
                version = secured.version() or "TLS"
        except OSError as error:
            self.unusable = True
            reason = getattr(error, "verify_message", "") or error.strerror or "no connection"
            hint = f'[registries."{self._registry.host}"] ca = "FILE" trusts a private authority.'
            return Finding("connection", "problem", f"no trusted connection to {host}: {reason}", hint)
        state: State = "ok" if days > 14 else "warning"
        return Finding("connection", state, f"{version}; the certificate is good for {days:.0f} days")

    def api(self) -> Iterator[Finding]:
        """Ask for /v2/, with our credentials if it wants some."""
        try:
            self._first = self._endpoint.send("GET", "/v2/", "", ())
            self._first.drain()
            self._registry.ping()
        except InstallMLError as error:
            yield self._problem("api", error)
            return
        version = self._first.headers.get("Docker-Distribution-Api-Version", "")
        yield Finding(
            "api", "ok", f"{self._registry.host} answers as a registry" + (f" ({version})" if version else "")
        )

    def login(self) -> Iterator[Finding]:
        """Say who we are there, and for how long a token lets us in."""
        auth = self._endpoint.authenticator()
        known = auth.credentials("")
        who = (known.username or "an identity token") if known else ""
        if not auth.scheme:
            extra = f"; the credentials of {who} are not asked for" if who else ""
            yield Finding("login", "ok", f"anybody may ask{extra}")
            return
        means = "with each request (Basic)" if auth.scheme == "basic" else "for a token (Bearer)"
        if auth.lifetime is not None:
            means += f" that lives {auth.lifetime:.0f} seconds; a new one is asked for 30 seconds before its end"
        state: State = "ok" if who else "warning"
        hint = "" if who else f"installml login {self._registry.host}"
        yield Finding("login", state, f"we are {who or 'nobody: anonymous'}; credentials go {means}", hint)

    def clock(self) -> Iterator[Finding]:
        """Compare the two clocks (RFC 9110, 6.6.1)."""
        try:
            there = parsedate_to_datetime(self._first.headers.get("Date", "") if self._first else "").timestamp()
        except (TypeError, ValueError):
            yield Finding("clock", "ok", "the registry does not say what time it is")
            return
        skew = self._now - there
        if abs(skew) <= _SKEW:
            yield Finding("clock", "ok", "our clock and the registry's agree")
            return
        side = "ahead of" if skew > 0 else "behind"
        message = f"our clock is {abs(skew):.0f} seconds {side} the registry's: signatures and tokens may be refused"
        yield Finding("clock", "warning", message, "Set the system's time.")

    def rates(self) -> Iterator[Finding]:
        """Read how many requests are left, where that is told."""
        headers = {n.lower(): v for n, v in self._first.headers.items()} if self._first else {}
        told = _rates(headers)
        yield Finding("rate limit", "ok", told or "nothing is said about a limit; a 429 is waited for as it asks")

    def family(self) -> Iterator[Finding]:
        """Say which row of the table holds, and what it says; last, because each answer may have told more."""
        quirks = self._endpoint.quirks
        if quirks.family is UNKNOWN.family:
            yield Finding("family", "ok", "no family that we know by its answers: the careful way with everything")
        else:
            yield Finding("family", "ok", f"{quirks.title}, by its answers, its name or your configuration")
        for fact in quirks.facts:
            yield Finding("habit", "ok", f"{quirks.title} {fact.habit}: {fact.answer}")

    def catalog(self) -> Iterator[Finding]:
        """See whether repositories are listed."""
        with self._endpoint.send("GET", "/v2/_catalog?n=1", "", ("registry:catalog:*",)) as response:
            listed = response.status == 200
        yield Finding("catalog", "ok", "repositories are listed" if listed else "repositories are not listed to us")


def _rates(headers: dict[str, str]) -> str:
    told = [f"{name} {value[:60]}" for name, value in sorted(headers.items()) if "ratelimit" in name.replace("-", "")]
    return ", ".join(told)


def _read(place: Repository) -> Iterator[Finding]:
    """Look at a repository without changing it: tags, referrers, HEAD, ranges."""
    try:
        tags = place.tags()
    except NotFound:
        yield Finding("repository", "warning", f"{place} is not there, or not for us", f"installml push NAME {place}")
        return
    yield Finding("repository", "ok", f"{place} has {len(tags)} tags")
    if not tags:
        return
    root = place.resolve("latest" if "latest" in tags else tags[-1])
    yield from _referrers(place, root)
    with place._at.send("GET", f"manifests/{root.digest}", "pull", headers={"Accept": root.media_type}) as response:
        told = _rates({name.lower(): value for name, value in response.headers.items()})
        data = response.body(4 << 20)
    if told:
        yield Finding("rate limit", "ok", told)
    blobs = sorted(_blobs(data, root.media_type), key=lambda blob: -blob.size)
    if blobs and blobs[0].size > 1:
        yield from _ranges(place, blobs[0])


def _blobs(data: bytes, media_type: str) -> tuple[Descriptor, ...]:
    try:
        return parse_manifest(data, media_type, "the manifest").blobs
    except InstallMLError:
        return ()  # some tools' manifests are not for us, and yet the registry is sound


def _referrers(place: Repository, root: Descriptor) -> Iterator[Finding]:
    found = len(place.referrers(root))
    native = place._at.registry.referrers_api
    way = "the referrers API is used" if native else "there is no referrers API: the tag schema is used instead"
    yield Finding("referrers", "ok", f"{way}; {found} refer to what was looked at")
    if not native and place._at.registry.quirks.referrers is Referrers.YES:
        yield Finding("referrers", "warning", "such registries have the API as a rule: an old version, or switched off")


def _ranges(place: Repository, blob: Descriptor) -> Iterator[Finding]:
    stop = min(blob.size, 1 << 10) - 1
    with place._at.send("GET", f"blobs/{blob.digest}", "pull", headers={"Range": f"bytes=0-{stop}"}) as response:
        elsewhere = response.place if response.redirected else ""
        partly = response.status == 206
        size = len(response.body(stop + 1)) if partly else 0
    if elsewhere:
        yield Finding("storage", "ok", f"blobs lie at {elsewhere}, where credentials are not sent")
    if partly and size == stop + 1:
        yield Finding("ranges", "ok", "parts of a blob are sent: large ones come over several connections, and resume")
    else:
        yield Finding("ranges", "warning", "only whole blobs are sent: one connection each, from the start every time")


class _Writing:
    """What can be seen by pushing only. Everything is remembered and taken away again."""

    def __init__(self, place: Repository, now: float) -> None:
        self._place = place
        self._at = place._at
        self._seed = f"installml doctor {now:.6f}\n"
        self._left: list[Descriptor] = []
        self._tag = ""

    def run(self) -> Iterator[Finding]:
        """Push, look and remove."""
        try:
            yield from self._guarded("push", self._push)
            yield from self._guarded("streaming", self._stream)
            yield from self._guarded("chunks", self._chunks)
            yield from self._guarded("mount", self._mount)
            yield from self._guarded("referrers", self._refer)
        finally:
            yield from self._remove()

    def _guarded(self, check: str, step: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
        try:
            yield from step()
        except InstallMLError as error:
            yield Finding(check, "warning", error.message, error.hint)

    def _data(self, number: int, size: int = 512) -> bytes:
        line = f"{number} {self._seed}".encode()
        return (line * (size // len(line) + 1))[:size]

    def _blob(self, data: bytes) -> Descriptor:
        return Descriptor.of(data, "application/octet-stream")

    def _push(self) -> Iterator[Finding]:
        data = self._data(0)
        blob = self._blob(data)
        self._left.append(blob)
        self._place.push(blob, io.BytesIO(data))
        yield Finding("push", "ok", "a blob goes up in one PUT")

    def _open(self) -> tuple[str, int]:
        with self._at.send("POST", "blobs/uploads/", "pull", "push", body=b"") as response:
            response.drain()
            location = self._at.registry.continued(response, response.headers.get("Location", ""))
            least = response.headers.get("OCI-Chunk-Min-Length", "")
        return location, int(least) if least.isascii() and least.isdigit() and len(least) < 12 else 0

    def _patch(self, location: str, data: bytes, start: int | None) -> tuple[int, str, str]:
        """Send a chunk; return the status, Range, and where it goes on."""
        headers = {"Content-Type": "application/octet-stream"}
        if start is not None:
            headers["Content-Range"] = f"{start}-{start + len(data) - 1}"
        with self._at.send("PATCH", location, "pull", "push", headers=headers, body=data, follow=False) as response:
            response.drain()
            after = response.headers.get("Location", "")
            following = self._at.registry.continued(response, after) if after else location
            return response.status, response.headers.get("Range", ""), following

    def _close(self, location: str, digest: Digest) -> int:
        joint = "&" if urlsplit(location).query else "?"
        url = f"{location}{joint}digest={quote(str(digest), safe='')}"
        with self._at.send("PUT", url, "pull", "push", body=b"", follow=False) as response:
            response.drain()
            return response.status

    def _stream(self) -> Iterator[Finding]:
        data = self._data(1, _CHUNK)
        location, _ = self._open()
        status, _, location = self._patch(location, data, None)
        closed = self._close(location, self._blob(data).digest) if status in {201, 202, 204} else status
        if closed in {201, 202, 204}:
            self._left.append(self._blob(data))
            yield Finding("streaming", "ok", "the digest may come at the end: new files are hashed while they are sent")
        else:
            yield Finding("streaming", "ok", f"the digest must come first ({closed}): new files are hashed, then sent")

    def _chunks(self) -> Iterator[Finding]:
        quirks = self._at.registry.quirks
        location, least = self._open()
        size = max(least, quirks.chunk_min, _CHUNK)
        data = self._data(2, 2 * size)
        first, told, location = self._patch(location, data[:size], 0)
        second, told_second, location = self._patch(location, data[size:], size) if first in {201, 202} else (0, "", "")
        closed = self._close(location, self._blob(data).digest) if second in {201, 202} else second or first
        if closed not in {201, 202, 204}:
            yield Finding("chunks", "ok", f"chunks are not taken ({closed}): each blob is one PUT, and begins again")
            return
        self._left.append(self._blob(data))
        stuck = told == told_second or told_second != f"0-{2 * size - 1}"
        how = f"{first}, Range {told_second!r} after {2 * size} bytes"
        count = "our own count is right" if stuck else "Range is right"
        bounds = f" of {format_size(size)} or more" if max(least, quirks.chunk_min) else ""
        yield Finding("chunks", "ok", f"chunks{bounds} are taken ({how}; {count}): used to go on after a break")

    def _mount(self) -> Iterator[Finding]:
        blob = self._left[0]
        path = f"blobs/uploads/?mount={quote(str(blob.digest))}&from={quote(self._at.name, safe='')}"
        with self._at.send("POST", path, "pull", "push", body=b"") as response:
            response.drain()
            mounted = response.status == 201
        text = "a blob is linked where a neighbour has it" if mounted else "what a neighbour has is sent once more"
        yield Finding("mount", "ok", f"mounting is answered with {response.status}: {text}")

    def _refer(self) -> Iterator[Finding]:
        subject = self._manifest(3, None)
        yield Finding("types", "ok", "the media types of model packages are taken")
        referrer = self._manifest(4, subject)
        self._tag = f"{subject.digest.algorithm}-{subject.digest.hex}"
        found = [entry.digest for entry in self._place.referrers(subject)]
        native = bool(self._at.registry.referrers_api)
        way = "the referrers API" if native else "the tag schema"
        if referrer.digest in found:
            yield Finding("referrers", "ok", f"what refers to a package is found again, by {way}")
        else:
            yield Finding("referrers", "warning", f"what refers to a package is not found again by {way}")

    def _manifest(self, number: int, subject: Descriptor | None) -> Descriptor:
        # Of its own, never the empty one: what is removed afterwards must be nobody else's.
        config_data = json.dumps({"descriptor": {"name": f"doctor-{number}", "version": self._seed.strip()}}).encode()
        config = Descriptor.of(config_data, MODEL_CONFIG)
        data = Manifest(config, (self._left[0],), MODEL_MANIFEST, {}, subject).to_bytes()
        root = Descriptor.of(data, IMAGE_MANIFEST)
        for descriptor, content in ((config, config_data), (root, data)):
            self._left.append(descriptor)
            self._place.push(descriptor, io.BytesIO(content))
        return root

    def _remove(self) -> Iterator[Finding]:
        """Take everything away, manifests before their blobs."""
        kept: list[InstallMLError] = []
        for descriptor in reversed(self._left):
            try:
                self._place.delete(descriptor)
            except NotFound:
                pass
            except InstallMLError as error:
                kept.append(error)
        try:
            if self._tag:  # of the tag schema: an empty list is left of it
                self._place.untag(self._tag)
        except NotFound:
            pass
        except InstallMLError as error:
            kept.append(error)
        if not kept:
            yield Finding("deletion", "ok", "what was pushed to look has been removed")
        else:
            message = f"{len(kept)} small objects stay in {self._place}: {kept[0].message}"
            yield Finding("deletion", "warning", message, kept[0].hint)
