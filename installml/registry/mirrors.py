"""Mirrors: places that are asked for content before the registry itself is.

A mirror is never trusted. What a digest names (blobs, manifests by digest) may come from anywhere, since whoever reads
it compares; manifests are compared here. What moves (tags, lists of referrers) comes from the registry itself unless
the user says that mirrors may tell. Nothing is ever pushed to a mirror, and each host gets its own credentials only.

What a mirror cannot give is fetched from the next one, or from the registry, and the reader is told once why. A mirror
that gave wrong bytes, or cannot be used at all, is left alone for the rest of the process; one that stumbles, after
some strikes.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from io import BytesIO
from urllib.parse import urlsplit

from ..digest import Digest, Readable
from ..errors import InstallMLError, IntegrityError, NotFound
from ..reference import check_tag
from ..spec.canonical import MAX_MANIFEST
from ..spec.descriptor import Descriptor
from ..spec.extents import Extent
from ..spec.media import MANIFESTS
from ..store.verified import read_verified
from .downloads import ReceivedSpan
from .errors import ConnectionLost, RateLimited, ServerFailed, TimedOut
from .lines import is_cut, is_unwanted
from .repository import Registry, Repository

__all__ = ["MirrorAddress", "MirrorSettings", "MirrorWrong", "Mirrored", "Mirrors"]

_STRIKES = 3
_STUMBLES = (ConnectionLost, TimedOut, ServerFailed, RateLimited)
_ADDRESS = re.compile(
    r"(?:(?P<scheme>https?)://)?(?P<host>(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)(?::\d{1,5})?)"
    r"(?:/(?P<prefix>[a-z0-9._/-]*))?"
)


class MirrorWrong(ConnectionLost):
    """A mirror sent bytes that are not what their digest says; the next attempt goes elsewhere."""

    reference = "mirror-wrong"
    default_hint = "Run the same command again; take the mirror out of the configuration if it stays wrong."


@dataclass(frozen=True, slots=True)
class MirrorAddress:
    """Where a mirror is.

    Attributes:
        host: Host and optional port.
        prefix: What stands before the repository's name there; empty for nothing.
        plain: Plain http was asked for.
    """

    host: str
    prefix: str = ""
    plain: bool = False

    @classmethod
    def parse(cls, text: str) -> MirrorAddress:
        """Return the address that ``text`` spells: ``HOST[:PORT][/PREFIX]``, with or without ``https://``.

        Raises:
            ValueError: It is none; the message says what one looks like and never repeats the text.
        """
        match = _ADDRESS.fullmatch(text.strip().rstrip("/"))
        try:
            parts = urlsplit(f"//{match['host']}") if match else None
            named = parts is not None and parts.hostname and (parts.port is None or parts.port > 0)
        except ValueError:
            named = None
        if match is None or not named:
            raise ValueError("a mirror such as mirror.example.com or https://harbor.example.com/hub-proxy")
        return cls(match["host"].lower(), (match["prefix"] or "").strip("/"), match["scheme"] == "http")

    def __str__(self) -> str:
        return f"{self.host}/{self.prefix}" if self.prefix else self.host


@dataclass(frozen=True, slots=True)
class MirrorSettings:
    """What the user says about the mirrors of one registry.

    Attributes:
        addresses: In the order in which they are asked.
        resolve_tags: Tags and lists of referrers may come from them too.
    """

    addresses: tuple[MirrorAddress, ...] = ()
    resolve_tags: bool = False


class _Mirror:
    """One mirror and what is remembered of it."""

    def __init__(self, address: MirrorAddress, open_registry: Callable[[str], Registry]) -> None:
        self.address = address
        self._open = open_registry
        self._registry: Registry | None = None
        self._strikes = 0

    @property
    def usable(self) -> bool:
        return self._strikes < _STRIKES

    def repository(self, name: str) -> Repository:
        if self._registry is None:
            self._registry = self._open(self.address.host)
        return self._registry.repository(f"{self.address.prefix}/{name}" if self.address.prefix else name)

    def strike(self, error: InstallMLError) -> None:
        self._strikes += 1 if isinstance(error, _STUMBLES) and not isinstance(error, MirrorWrong) else _STRIKES


class Mirrors:
    """The mirrors of one registry, in the order in which they are asked; shared by threads.

    Args:
        host: The registry that they stand for.
        settings: Where they are, and what they may tell.
        open_registry: Opens a registry by its host, with the credentials for that host.
        tell: Told, in a sentence and once a mirror, why it is not used.
    """

    def __init__(
        self,
        host: str,
        settings: MirrorSettings,
        open_registry: Callable[[str], Registry],
        *,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.host = host
        self.resolve_tags = settings.resolve_tags
        self._mirrors = [_Mirror(address, open_registry) for address in settings.addresses]
        self._tell = tell
        self._told: set[str] = set()
        self._guard = threading.Lock()

    def around(self, origin: Repository) -> Mirrored:
        """Return a repository of the registry, read through its mirrors."""
        return Mirrored(origin, self)

    def usable(self) -> list[_Mirror]:
        """Return the mirrors that are still asked."""
        return [mirror for mirror in self._mirrors if mirror.usable]

    def failed(self, mirror: _Mirror, error: InstallMLError) -> None:
        """Take note that a mirror did not give what it was asked for."""
        if isinstance(error, NotFound):
            return  # it need not have everything
        with self._guard:
            mirror.strike(error)
            first = str(mirror.address) not in self._told
            self._told.add(str(mirror.address))
        if first:
            self._tell(f"the mirror {mirror.address} was of no use: {error.message}; {self.host} is asked instead")


class Mirrored(Repository):
    """A repository whose content is read from mirrors first; everything else is the repository's own.

    Args:
        origin: The repository itself.
        mirrors: Who is asked before it.
    """

    def __init__(self, origin: Repository, mirrors: Mirrors) -> None:
        super().__init__(origin._at)
        self._mirrors = mirrors
        self._places: dict[int, Repository] = {}
        self._givers: dict[Digest, set[_Mirror]] = {}
        self._doubted: set[tuple[Digest, _Mirror]] = set()

    def _usable(self, digest: Digest | None = None) -> Iterator[tuple[_Mirror, Repository]]:
        for mirror in self._mirrors.usable():
            if digest is None or (digest, mirror) not in self._doubted:
                place = self._places.get(id(mirror)) or mirror.repository(self._at.name)
                yield mirror, self._places.setdefault(id(mirror), place)

    @contextmanager
    def fetch(self, descriptor: Descriptor) -> Iterator[Readable]:
        """Open the content that ``descriptor`` names, at a mirror or at the registry; it is not verified yet.

        Raises:
            NotFound: The registry itself does not have it.
            MirrorWrong: What came from a mirror has proved wrong to whoever read it; the next attempt goes elsewhere.
        """
        if descriptor.media_type in MANIFESTS and descriptor.size <= MAX_MANIFEST:
            yield BytesIO(self._manifest_bytes(descriptor))
            return
        with ExitStack() as stack:
            for mirror, place in self._usable(descriptor.digest):
                try:
                    stream = stack.enter_context(place.fetch(descriptor))
                except InstallMLError as error:
                    self._mirrors.failed(mirror, error)
                else:
                    break
            else:
                yield stack.enter_context(super().fetch(descriptor))
                return
            try:
                yield _Continued(stream, descriptor, lambda error, at: self._rest(stack, mirror, descriptor, error, at))
            except IntegrityError as error:
                raise self._wrong(mirror, descriptor, error) from error

    def _manifest_bytes(self, descriptor: Descriptor) -> bytes:
        for mirror, place in self._usable(descriptor.digest):
            try:
                return read_verified(place, descriptor, cap=MAX_MANIFEST)
            except InstallMLError as error:
                self._mirrors.failed(mirror, error)
        with super().fetch(descriptor) as stream:
            return stream.read()

    def _rest(
        self, stack: ExitStack, mirror: _Mirror, descriptor: Descriptor, error: InstallMLError, position: int
    ) -> Readable:
        """Open at the registry what a mirror did not finish."""
        self._mirrors.failed(mirror, error)
        extent = Extent(position, descriptor.size)
        return stack.enter_context(super().fetch_range(descriptor, extent))

    def _wrong(self, mirror: _Mirror, descriptor: Descriptor, error: IntegrityError) -> MirrorWrong:
        wrong = MirrorWrong(f"the mirror {mirror.address} sent wrong bytes: {error.message}", subject=str(self))
        self._doubted.add((descriptor.digest, mirror))
        self._mirrors.failed(mirror, wrong)
        return wrong

    def fetch_range(self, descriptor: Descriptor, extent: Extent) -> ReceivedSpan:
        """Open a part of a blob, at a mirror or at the registry; as ``Repository.fetch_range``.

        When the answer of a mirror breaks off, whoever asks again for the rest gets it from wherever it is.
        """
        for mirror, place in self._usable(descriptor.digest):
            try:
                span = place.fetch_range(descriptor, extent)
            except InstallMLError as error:
                if not is_unwanted():
                    self._mirrors.failed(mirror, error)
                if is_cut():
                    raise
            else:
                self._givers.setdefault(descriptor.digest, set()).add(mirror)
                return _Watched(span, lambda error, mirror=mirror: self._mirrors.failed(mirror, error))  # type: ignore[misc]
        return super().fetch_range(descriptor, extent)

    def doubt(self, descriptor: Descriptor) -> bool:
        """Hear that what came for a blob was wrong; return whether another attempt gets it from somewhere else."""
        givers = self._givers.pop(descriptor.digest, set())
        for mirror in givers:
            self._doubted.add((descriptor.digest, mirror))
            wrong = MirrorWrong(f"bytes for {descriptor.digest.short} were wrong", subject=str(self))
            self._mirrors.failed(mirror, wrong)
        return bool(givers)

    def resolve(self, pointer: str) -> Descriptor:
        """Return the descriptor under ``pointer``: of a digest from wherever it is, of a tag from the registry.

        A tag comes from a mirror only where the user has said so.
        """
        if ":" not in pointer and not self._mirrors.resolve_tags:
            return super().resolve(pointer)
        # Read, not asked for by HEAD: size and type of what a digest names are then those of the bytes.
        wanted = Digest.parse(pointer) if ":" in pointer else None
        if wanted is None:
            check_tag(pointer)
        for mirror, place in self._usable(wanted):
            try:
                return place._resolve_by_reading(f"manifests/{pointer}", pointer, wanted)
            except InstallMLError as error:
                self._mirrors.failed(mirror, error)
        return super().resolve(pointer)

    def resolve_by_reading(self, pointer: str) -> Descriptor:
        """As ``resolve``: the registry tells what a tag means, and a mirror gives the manifest."""
        return self.resolve(pointer)

    def referrers(self, descriptor: Descriptor, artifact_type: str = "") -> list[Descriptor]:
        """Return who refers to ``descriptor``, as the registry tells it; mirrors only where they may tell tags.

        What is left out of a list cannot be seen from the list, so a mirror could hide a signature.
        """
        for mirror, place in self._usable() if self._mirrors.resolve_tags else ():
            try:
                return place.referrers(descriptor, artifact_type)
            except InstallMLError as error:
                self._mirrors.failed(mirror, error)
        return super().referrers(descriptor, artifact_type)


class _Continued:
    """A stream that goes on elsewhere when the place that it comes from breaks off."""

    def __init__(
        self, stream: Readable, descriptor: Descriptor, rest: Callable[[InstallMLError, int], Readable]
    ) -> None:
        self._stream = stream
        self._size = descriptor.size
        self._rest: Callable[[InstallMLError, int], Readable] | None = rest
        self._position = 0

    def read(self, size: int = -1, /) -> bytes:
        try:
            block = self._stream.read(size)
        except InstallMLError as error:
            rest, self._rest = self._rest, None
            if rest is None or self._position >= self._size:
                raise
            self._stream = rest(error, self._position)
            block = self._stream.read(size)
        self._position += len(block)
        return block


class _Watched(ReceivedSpan):
    """A span that says when the place that it comes from breaks off."""

    def __init__(self, span: ReceivedSpan, failed: Callable[[InstallMLError], None]) -> None:
        self.start = span.start
        self.stop = span.stop
        self._span = span
        self._failed = failed
        self._aborted = False

    def readinto(self, buffer: memoryview, /) -> int:
        try:
            return self._span.readinto(buffer)
        except InstallMLError as error:
            if not self._aborted:
                self._failed(error)
            raise

    def read(self, size: int = -1, /) -> bytes:
        try:
            return self._span.read(size)
        except InstallMLError as error:
            if not self._aborted:
                self._failed(error)
            raise

    def abort(self) -> None:
        self._aborted = True
        self._span.abort()

    def close(self) -> None:
        self._span.close()
