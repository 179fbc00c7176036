"""XOR patches between packages: made against a base that is on this machine, and used where that very base is."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO

from ..digest import Digest
from ..errors import InstallMLError, IntegrityError
from ..events import Listener, Notice, ignore
from ..registry.errors import RegistryError, TransportError
from ..spec.chunks import LARGE, ChunkIndex
from ..spec.descriptor import Descriptor
from ..spec.extents import Extent
from ..spec.manifest import Manifest
from ..spec.package import Package
from ..spec.patch import MAX_SHARE, PATCH, PATCH_LAYER, Patch, read_patches
from ..store.protocol import Assembly, FileSource
from ..store.verified import open_verified, read_manifest
from .delta import Delta, Estimator, Fetch, IndexSource, Release
from .xor import apply_patch, best_width, make_patch

__all__ = ["Patched", "made_patches"]

_MOST_REFERRERS = 4
"""Lists of patches of one package that are looked at: anybody who may push can add one."""


Staging = Callable[[str], AbstractContextManager[tuple[Path, Callable[[bytes], None]]]]
"""Opens a fresh file of ours and a way to write to it; it is gone after the block."""


def made_patches(
    base: Package, base_files: FileSource, target: Package, target_files: FileSource, staging: Staging
) -> Iterator[tuple[Patch, str, BinaryIO]]:
    """Make the patches that pay: for each large file of ``target`` that stands under the same path in ``base``.

    Yields:
        The patch, the file's path in the package, and the patch as an open file, which is gone at the next step.

    Raises:
        NotFound: A file of the base or the target is not there.
    """
    for file in target.files:
        old = base.file(file.path)
        new = file.descriptor
        if old is None or old.descriptor.digest == new.digest or new.size < LARGE:
            continue
        with base_files.open_file(old.descriptor) as before, target_files.open_file(new) as after:
            if before is None or after is None:
                continue
            with staging("patch") as (path, write):
                made = _made(old.descriptor, before, new, after, write)
                if made is not None:
                    with path.open("rb", buffering=0) as patch:
                        yield made, file.path, patch


def _made(
    old: Descriptor, before: BinaryIO, new: Descriptor, after: BinaryIO, write: Callable[[bytes], object]
) -> Patch | None:
    width = best_width(before, after, new.size)
    before.seek(0)
    after.seek(0)
    most, state = int(new.size * MAX_SHARE), hashlib.sha256()

    def both(piece: bytes) -> None:
        state.update(piece)
        write(piece)

    size = make_patch(before, after, width, both, most=most)
    if size > most:
        return None
    return Patch(new.digest, old.digest, width, Descriptor(PATCH_LAYER, Digest("sha256", state.hexdigest()), size))


class Patched:
    """A ``Delta`` that takes what a patch makes before it looks for chunks. May be used from several threads.

    A patch is used when nothing of the blob is here yet, the very base that it names is, and it is smaller than
    ``MAX_SHARE`` of the blob. Patches of a package are listed once, and only where a base may be here.

    Args:
        inner: What to ask for everything else.
        source: Where the package comes from.
        package: The package.
        files: The files that hold a blob on this machine.
        on_event: Told what is used and what cannot be.
    """

    def __init__(
        self,
        inner: Delta,
        source: IndexSource,
        package: Release,
        files: Callable[[Digest], Iterator[Path]],
        on_event: Listener = ignore,
    ) -> None:
        self._inner = inner
        self._source = source
        self._package = package
        self._files = files
        self._on_event = on_event
        self._lock = threading.Lock()
        self._offered: tuple[Patch, ...] | None = None
        self.fetched = 0  # bytes of patches that were fetched
        self.spared = 0  # bytes that they made

    def index(self, blob: Digest) -> ChunkIndex | None:
        """Return the chunk index of a blob, if there is one."""
        return self._inner.index(blob)

    def vouched(self, blob: Digest) -> bool:
        """Return whether a verified signature names that index."""
        return self._inner.vouched(blob)

    def needed(self, blobs: Iterable[Descriptor]) -> Fetch:
        """Return what would be fetched without patches: what they make shares no blocks, so it needs as much room."""
        wanted = list(blobs)
        if isinstance(self._inner, Estimator):
            return self._inner.needed(wanted)
        return Fetch(sum(blob.size for blob in wanted), len(wanted))

    def fill(self, descriptor: Descriptor, assembly: Assembly) -> int:
        """Put into ``assembly`` what a patch makes, else what ``inner`` finds; return how many bytes that gave."""
        untouched = assembly.missing() == [Extent(0, descriptor.size)]
        if untouched and descriptor.size >= LARGE and self._make(descriptor, assembly):
            return descriptor.size
        return self._inner.fill(descriptor, assembly)

    def _make(self, descriptor: Descriptor, assembly: Assembly) -> bool:
        for patch in self._patches():
            if patch.target != descriptor.digest or patch.layer.size >= MAX_SHARE * descriptor.size:
                continue
            for path in self._files(patch.base):
                if self._apply(patch, path, descriptor, assembly):
                    return True
        return False

    def _patches(self) -> tuple[Patch, ...]:
        """Return what is offered, the smallest first; a list that cannot be had is an empty one."""
        with self._lock:
            if self._offered is None:
                try:
                    self._offered = tuple(sorted(self._listed(), key=lambda patch: patch.layer.size))
                except InstallMLError as error:
                    self._offered = ()
                    self._on_event(Notice(f"fetching without patches: {error.message}"))
            return self._offered

    def _listed(self) -> Iterator[Patch]:
        listed = sorted(self._source.referrers(self._package.descriptor, PATCH), key=lambda entry: entry.digest)
        for referrer in listed[:_MOST_REFERRERS]:
            manifest = read_manifest(self._source, referrer.bare())
            subject = manifest.subject.digest if isinstance(manifest, Manifest) and manifest.subject else None
            if isinstance(manifest, Manifest) and subject == self._package.descriptor.digest:
                yield from read_patches(manifest)

    def _apply(self, patch: Patch, path: Path, descriptor: Descriptor, assembly: Assembly) -> bool:
        position = 0

        def write(block: bytes) -> None:
            nonlocal position
            assembly.write(position, block)
            position += len(block)

        whole = Extent(0, descriptor.size)
        try:
            with path.open("rb", buffering=0) as base, open_verified(self._source, patch.layer) as stream:
                apply_patch(base, stream, descriptor.size, patch.width, write)
        except (IntegrityError, RegistryError, TransportError, OSError) as error:
            assembly.forget(whole)
            self._on_event(Notice(f"fetching without a patch: {error}"))
            return False
        assembly.keep(whole)
        with self._lock:
            self.fetched += patch.layer.size
            self.spared += descriptor.size
        return True
