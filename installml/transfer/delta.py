"""What a copy may use besides its source: chunk indexes, and bytes that are on this machine already.

Indexes and seeds need no trust: a chunk is compared with its BLAKE3 digest after it has been copied, and the blob as a
whole with its own digest before it is visible. A lying index costs bytes, never a wrong one. Where a verified signature
vouches for an index, its chunk digests prove as much as the blob's; who is trusted is decided elsewhere and told here.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol, runtime_checkable

from blake3 import blake3

from ..digest import Digest
from ..errors import InstallMLError
from ..events import Listener, Notice, ignore
from ..spec.chunks import (
    ANNOTATION_BLOB,
    CHUNK_INDEX,
    CHUNK_INDEX_LAYER,
    LARGE,
    MAX_CHUNK,
    ChunkIndex,
    most_bytes,
    parse_chunk_index,
)
from ..spec.descriptor import Descriptor
from ..spec.extents import Extent, Extents
from ..spec.manifest import Index, Manifest
from ..spec.media import EMPTY, IMAGE_MANIFEST
from ..store.protocol import Assembly, Destination, Fetcher, ReferrerLister
from ..store.verified import read_manifest, read_verified
from .parts import Parts, to_fetch
from .seeds import Seeds

__all__ = [
    "Delta",
    "Estimator",
    "Fetch",
    "IndexSource",
    "LocalDelta",
    "Release",
    "fetch_needed",
    "publish_indexes",
    "published_indexes",
    "read_published",
    "spared",
]

_MOST_REFERRERS = 4
"""Chunk index manifests of one package that are looked at: anybody who may push can add one."""


class Delta(Protocol):
    """Helps ``copy`` to fetch less. Nothing in it is trusted but what ``vouched`` says."""

    def index(self, blob: Digest) -> ChunkIndex | None:
        """Return the chunk index of a blob, if there is one."""
        ...

    def vouched(self, blob: Digest) -> bool:
        """Return whether a verified signature names that index: then its chunk digests prove as much as the blob's."""
        ...

    def fill(self, descriptor: Descriptor, assembly: Assembly) -> int:
        """Put into ``assembly`` what is on this machine already.

        Returns:
            How many bytes that gave.
        """
        ...


@runtime_checkable
class Estimator(Protocol):
    """A ``Delta`` that knows beforehand what it saves."""

    def needed(self, blobs: Iterable[Descriptor]) -> Fetch:
        """Return what bringing ``blobs``, which are not here, would fetch."""
        ...


def spared(delta: Delta | None, blobs: Sequence[Descriptor]) -> int:
    """Return how many bytes of ``blobs``, which lack, need not be fetched because they are on this machine."""
    return sum(blob.size for blob in blobs) - delta.needed(blobs).size if isinstance(delta, Estimator) else 0


class IndexSource(Fetcher, ReferrerLister, Protocol):
    """A place that has packages and the chunk indexes that refer to them."""


@dataclass(frozen=True, slots=True)
class Release:
    """One package as far as its bytes matter: its manifest and what names it."""

    descriptor: Descriptor
    manifest: Manifest

    @property
    def large(self) -> tuple[Descriptor, ...]:
        """The blobs that have a chunk index, each once, in the manifest's order."""
        return tuple(blob for blob in self.manifest.blobs if blob.size >= LARGE)


def published_indexes(source: IndexSource, package: Release) -> dict[Digest, Descriptor]:
    """Return where the chunk indexes of a package are: two small requests, and none of them is read yet.

    Returns:
        Descriptor of the index by the blob that it says to be about.

    Raises:
        InstallMLError: They cannot be listed or read.
    """
    found: dict[Digest, Descriptor] = {}
    sizes = {blob.digest: blob.size for blob in package.large}
    listed = sorted(source.referrers(package.descriptor, CHUNK_INDEX), key=lambda referrer: referrer.digest)
    for referrer in listed[:_MOST_REFERRERS]:
        manifest = read_manifest(source, referrer.bare())
        subject = manifest.subject
        if isinstance(manifest, Index) or subject is None or subject.digest != package.descriptor.digest:
            continue
        for layer in manifest.layers:
            blob = _blob_of(layer)
            if blob in sizes and layer.size <= most_bytes(sizes[blob]):
                found.setdefault(blob, layer)
    return found


def _blob_of(layer: Descriptor) -> Digest | None:
    try:
        return Digest.parse(layer.annotations.get(ANNOTATION_BLOB)) if layer.media_type == CHUNK_INDEX_LAYER else None
    except InstallMLError:
        return None


def read_published(source: Fetcher, layer: Descriptor, blob: Descriptor) -> ChunkIndex:
    """Fetch the index ``layer``, which says to be about ``blob``.

    Raises:
        ChunkIndexInvalid: It is no index of that blob.
    """
    data = read_verified(source, layer, cap=most_bytes(blob.size))
    return parse_chunk_index(data, blob.digest, blob.size, f"the chunk index {layer.digest}")


def publish_indexes(place: Destination, release: Release, indexes: Sequence[ChunkIndex]) -> tuple[Descriptor, bool]:
    """Attach the chunk indexes of a package to it: one referrer, one layer each, the same bytes whoever does it.

    Args:
        place: Where the package is.
        release: The package.
        indexes: Of its large blobs, in the manifest's order.

    Returns:
        The referrer, and whether it is new there.
    """
    layers = []
    for index in indexes:
        data = index.to_bytes()
        layers.append((Descriptor.of(data, CHUNK_INDEX_LAYER, annotations={ANNOTATION_BLOB: str(index.blob)}), data))
    config = Descriptor.of(b"{}", EMPTY)
    descriptors = tuple(descriptor for descriptor, _ in layers)
    manifest = Manifest(config, descriptors, CHUNK_INDEX, subject=release.descriptor.bare()).to_bytes()
    descriptor = Descriptor.of(manifest, IMAGE_MANIFEST)
    if place.exists(descriptor):
        return descriptor, False
    for blob, data in (*layers, (config, b"{}"), (descriptor, manifest)):
        place.push(blob, io.BytesIO(data))
    return descriptor, True


class LocalDelta:
    """The ``Delta`` of one package that comes to this machine's store. May be used from several threads.

    The registry is asked for an index only where one can help: for a large blob that is missing while there is
    something to take chunks from, or when somebody vouches for it.

    Args:
        source: Where the package comes from.
        package: The package.
        seeds: What is here.
        relatives: Packages of the same repository that are here: their large blobs become seeds when they are not.
        trusted: Digests of indexes that verified signatures vouch for.
        published: Where the indexes of the package are, by blob, where that has been asked already.
        on_event: Told what cannot be used.
    """

    def __init__(
        self,
        source: IndexSource,
        package: Release,
        seeds: Seeds,
        *,
        relatives: Sequence[Release] = (),
        trusted: Collection[Digest] = (),
        published: Mapping[Digest, Descriptor] = MappingProxyType({}),
        on_event: Listener = ignore,
    ) -> None:
        self._source = source
        self._blobs = {blob.digest: blob for blob in package.large}
        self._package = package
        self._seeds = seeds
        self._relatives = relatives
        self._trusted = trusted
        self._on_event = on_event
        self._lock = threading.Lock()
        self._indexes: dict[Digest, ChunkIndex | None] = {}
        self._published = {package.descriptor.digest: dict(published)} if published else {}
        self._learned = False
        self._told = False
        self.taken = 0  # bytes that came from seeds

    def index(self, blob: Digest) -> ChunkIndex | None:
        """Return the chunk index of a blob of the package: one that is here, else the registry's, else None."""
        descriptor = self._blobs.get(blob)
        if descriptor is None:
            return None
        with self._lock:
            if blob not in self._indexes:
                self._indexes[blob] = self._best(descriptor)
            return self._indexes[blob]

    def vouched(self, blob: Digest) -> bool:
        """Return whether the index of ``blob`` is one of the trusted; nothing is asked when none is.

        It never is for a blob that has proved wrong although all of its chunks were what a trusted index said.
        """
        if not self._trusted or self._seeds.distrusted(blob):
            return False
        return self._named(self.index(blob))

    def _best(self, blob: Descriptor) -> ChunkIndex | None:
        """Return the index that is here, unless only the registry's is one of the trusted."""
        here = self._usable(blob)
        if here is not None:
            return here
        with self._seeds.alone():
            here = self._usable(blob)  # another process has fetched it meanwhile
            fetched = None if here is not None else self._fetched(self._package, blob)
        if here is not None or self._named(fetched):
            return here or fetched
        return self._seeds.index(blob.digest, blob.size) or fetched

    def _usable(self, blob: Descriptor) -> ChunkIndex | None:
        """Return the index that is here; one that nobody vouches for does not do where others are vouched for."""
        here = self._seeds.index(blob.digest, blob.size)
        return here if not self._trusted or self._named(here) else None

    def _named(self, index: ChunkIndex | None) -> bool:
        return index is not None and Digest.of(index.to_bytes()) in self._trusted

    def fill(self, descriptor: Descriptor, assembly: Assembly) -> int:
        """Copy into ``assembly`` every missing chunk that some seed has; return how many bytes that gave."""
        if descriptor.digest not in self._blobs or not self.useful():
            return 0
        index = self.index(descriptor.digest)
        if index is None:
            return 0
        self._learn()
        there, wanted = Extents(Extents(assembly.missing()).missing(index.size)), dict[bytes, list[int]]()
        for number in range(len(index)):
            if index.extent(number) not in there:
                wanted.setdefault(index.digest(number), []).append(number)
        taken = 0
        for seed in self._seeds.indexes():
            if not wanted:
                break
            taken += self._take(seed, index, wanted, there, assembly)
        with self._lock:
            self.taken += taken
        return taken

    def needed(self, blobs: Iterable[Descriptor]) -> Fetch:
        """Return what bringing ``blobs``, which are not here, would fetch; only manifests and indexes are read."""
        known: set[bytes] = set()
        if self.useful():
            self._learn(read=False)
            known = {seed.digest(number) for seed in self._seeds.indexes() for number in range(len(seed))}
        total = Fetch()
        for blob in blobs:
            total += fetch_needed(blob, self.index(blob.digest) if known else None, known)
        return total

    def useful(self) -> bool:
        """Return whether there is anything to take chunks from."""
        return bool(self._seeds.indexes()) or any(
            self._seeds.has(blob.digest) for package in self._relatives for blob in package.large
        )

    def _take(
        self, seed: ChunkIndex, index: ChunkIndex, wanted: dict[bytes, list[int]], present: Extents, assembly: Assembly
    ) -> int:
        """Copy from one seed what it has of ``wanted``; what proved right is wanted no more.

        Of a chunk that is there in part only the rest is copied: a damaged seed must not spoil what came before.
        """
        buffer, good = memoryview(bytearray(MAX_CHUNK)), Extents()
        for path in self._seeds.files(seed.blob):
            pairs = list(_shared(seed, index, wanted))
            if not pairs:
                break
            self._seeds.copy(path, list(_lacking(pairs, index, present)), assembly)
            for _, number in pairs:
                if holds(assembly, index, number, buffer):
                    good.add(index.extent(number))
                    wanted.pop(index.digest(number), None)
        taken = 0
        for extent in good:
            taken += assembly.written(extent)
            assembly.keep(extent)
        return taken

    def _learn(self, *, read: bool = True) -> None:
        """Make seeds of the relatives' large blobs: with the registry's index of them, else by reading them."""
        with self._lock:
            if self._learned:
                return
            self._learned = True
            known = {index.blob for index in self._seeds.indexes()}
            for package in self._relatives:
                for blob in package.large:
                    if blob.digest in known or blob.digest in self._blobs or not self._seeds.has(blob.digest):
                        continue
                    known.add(blob.digest)
                    if self._fetched(package, blob) is None and read:
                        self._seeds.make(blob)

    def _fetched(self, package: Release, blob: Descriptor) -> ChunkIndex | None:
        """Return the registry's index of a blob; whatever is wrong with it only means that there is none."""
        try:
            if package.descriptor.digest not in self._published:
                self._published[package.descriptor.digest] = {}
                self._published[package.descriptor.digest] = published_indexes(self._source, package)
            layer = self._published[package.descriptor.digest].get(blob.digest)
            if layer is None:
                return None
            index = read_published(self._source, layer, blob)
        except InstallMLError as error:
            if not self._told:
                self._told = True
                self._on_event(Notice(f"fetching without chunk indexes: {error.message}"))
            return None
        self._seeds.learn(index)
        return index


def _shared(seed: ChunkIndex, index: ChunkIndex, wanted: dict[bytes, list[int]]) -> Iterator[tuple[Extent, int]]:
    """Yield each place in ``seed`` that has a wanted chunk, with the numbers of the chunks that it makes."""
    places = {digest: n for n in range(len(seed) - 1, -1, -1) if (digest := seed.digest(n)) in wanted}
    numbers = sorted((number, digest) for digest in places for number in wanted[digest])
    for number, digest in numbers:
        there = seed.extent(places[digest])
        if there.size == index.extent(number).size:
            yield there, number


def _lacking(
    pairs: Iterable[tuple[Extent, int]], index: ChunkIndex, present: Extents
) -> Iterator[tuple[Extent, Extent]]:
    """Yield where the bytes of chunks lie and where they go, without those that are present."""
    for there, number in pairs:
        offset = there.start - index.extent(number).start
        for piece in present.lacking(index.extent(number)):
            yield Extent(piece.start + offset, piece.stop + offset), piece


def holds(assembly: Assembly, index: ChunkIndex, number: int, buffer: memoryview) -> bool:
    """Return whether the bytes of one chunk, read back, are what its digest says.

    Args:
        assembly: Where the chunk was put.
        index: Its index.
        number: Which chunk.
        buffer: ``MAX_CHUNK`` bytes to work in.
    """
    extent, at = index.extent(number), 0
    view = buffer[: extent.size]
    while at < extent.size:
        count = assembly.read(extent.start + at, view[at:])
        if not count:
            return False
        at += count
    return blake3(view).digest() == index.digest(number)


@dataclass(frozen=True, slots=True)
class Fetch:
    """What bringing something would ask of the source.

    Attributes:
        size: Bytes of content.
        requests: Requests for content; those for manifests and indexes are made before this is known.
    """

    size: int = 0
    requests: int = 0

    def __add__(self, other: Fetch) -> Fetch:
        return Fetch(self.size + other.size, self.requests + other.requests)


def fetch_needed(blob: Descriptor, index: ChunkIndex | None, known: Collection[bytes]) -> Fetch:
    """Return what must be fetched of a missing blob when chunks with the digests ``known`` are here.

    Args:
        blob: The blob.
        index: Its chunks; None when nobody has published them, and then all of it is fetched.
        known: BLAKE3 digests.
    """
    lacking = [Extent(0, blob.size)]
    if index is not None:
        lacking = list(Extents(index.extent(n) for n in range(len(index)) if index.digest(n) not in known))
    parts, fetch = Parts(to_fetch(lacking, blob.size)), Fetch()
    while parts:
        fetch += Fetch(parts.take(0, 1).size, 1)
    return fetch
