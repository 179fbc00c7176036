"""What the store may forget, and whether what it holds is still what it was.

A blob stays while a ref, an installed model or a referrer of something that stays names it, or while somebody's
unfinished work may (``DiskStore.lease``).
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ..digest import Digest
from ..errors import IntegrityError, NotFound, StoreUnusable
from ..spec.descriptor import Descriptor
from .disk import DiskStore, read_ref
from .files import remove_empty, remove_tree
from .installed import InstalledStore
from .litter import sweep
from .verified import read_manifest

__all__ = ["Collected", "Damage", "Usage", "collect", "reachable", "usage", "verify_store"]


@dataclass(frozen=True, slots=True)
class Collected:
    """What a collection did.

    Attributes:
        blobs: Digests removed.
        staging: Unfinished files and folders removed.
        freed: Bytes on disk that came free; content that an installed model still links frees nothing.
    """

    blobs: tuple[Digest, ...]
    staging: int
    freed: int


@dataclass(frozen=True, slots=True)
class Usage:
    """Bytes in the store by what holds them."""

    blobs: int
    reachable: int
    staging: int


@dataclass(frozen=True, slots=True)
class Damage:
    """A blob that is not what its name says.

    Attributes:
        digest: The name.
        reason: What was found.
        needed_by: References that need it.
    """

    digest: Digest
    reason: str
    needed_by: tuple[str, ...]


def reachable(store: DiskStore, roots: Iterable[Descriptor], *, expected: bool = False) -> set[Digest]:
    """Return every digest that ``roots`` need, their referrers included.

    Args:
        store: The store.
        roots: Manifests.
        expected: Only what should be here: without what was left out of packages that are here in part.
    """
    referrers = _referrer_table(store)
    blobs: set[Digest] = set()
    manifests: set[Digest] = set()  # apart: what is a layer in one place may be a manifest in another
    queue = list(roots)
    place = store.repository("local", "gc")
    while queue:
        descriptor = queue.pop()
        if descriptor.digest in manifests:
            continue
        manifests.add(descriptor.digest)
        queue.extend(referrers.get(descriptor.digest, ()))
        with contextlib.suppress(NotFound):
            manifest = read_manifest(place, descriptor)
            left = store.left_out.of(descriptor.digest) if expected else frozenset()
            blobs.update(blob.digest for blob in manifest.blobs if blob.digest not in left)
            queue.extend(manifest.manifests)
    return blobs | manifests


def _referrer_table(store: DiskStore) -> dict[Digest, list[Descriptor]]:
    table: dict[Digest, list[Descriptor]] = {}
    for path in (store.root / "refs").rglob("^*/sha*-*"):
        subject = Digest.parse(path.parent.name[1:].replace("-", ":", 1))
        with contextlib.suppress(NotFound):
            table.setdefault(subject, []).append(read_ref(path))
    return table


def collect(store: DiskStore, installed: Iterable[Descriptor] = (), *, dry_run: bool = False) -> Collected:
    """Remove what nothing needs.

    Args:
        store: The store.
        installed: Manifests of installed models.
        dry_run: Only say what would go.

    Returns:
        What was removed.
    """
    floor = store.lease_floor()  # read before marking: whoever starts later re-marks what it reuses
    needed = reachable(store, [*(ref.descriptor for ref in store.refs()), *installed])
    gone, freed = [], 0
    for digest, path in list(store.blobs.digests()):
        if digest in needed:
            continue
        size = _size_alone(path)
        if store.blobs.stale(digest, floor) if dry_run else store.blobs.remove(digest, older_than=floor):
            gone.append(digest)
            freed += size
    if not dry_run:
        _prune_referrers(store)
        _prune_chunks(store, floor)
        store.left_out.prune(floor)
        InstalledStore(store.root).sweep(floor)
        store.unsynced.settle(store.blobs.path, at_once=True)
        _forget_owed(store, needed)
    count, size = _collect_staging(store, floor, dry_run)
    swept, small = sweep(store.root, store.host, dry_run=dry_run)
    return Collected(tuple(gone), count + swept, freed + size + small)


def _size_alone(path: Path) -> int:
    """Return the bytes that come free when ``path`` goes: none while a link of it stays."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return 0
    return status.st_size if status.st_nlink == 1 else 0


def _prune_referrers(store: DiskStore) -> None:
    for path in list((store.root / "refs").rglob("^*/sha*-*")):
        if not store.blobs.path(Digest.parse(path.name.replace("-", ":", 1))).exists():
            path.unlink(missing_ok=True)
            remove_empty(path.parent, store.root / "refs")


def _forget_owed(store: DiskStore, needed: Collection[Digest]) -> None:
    """Forget that the digests of content are to be compared that is there no more, and that nobody misses."""
    for digest in store.owed.digests():
        if digest not in needed and not store.blobs.path(digest).exists():
            store.owed.note(digest, False)


def _prune_chunks(store: DiskStore, floor: float) -> None:
    """Remove the chunk indexes of blobs that are gone; one made before its blob is there has a lease."""
    for blob in list(store.chunks.blobs()):
        if not store.blobs.path(blob).exists():
            store.chunks.remove(blob, older_than=floor)


def _collect_staging(store: DiskStore, floor: float, dry_run: bool) -> tuple[int, int]:
    count = freed = 0
    claims = store.blobs.partials.claims
    for path in sorted((store.root / "ingest").glob("*")):
        if path.name.startswith("lease."):
            continue
        partial = claims.is_partial(path)
        if _in_use(path, floor, deep=partial) or (partial and claims.in_use(path)):
            continue
        size = _size(path)
        if not dry_run and not (claims.collect(path) if partial else _removed(path)):
            continue
        count += 1
        freed += size
    return count, freed


def _removed(path: Path) -> bool:
    """Remove what somebody left; return false when it is another user's and may not be removed by us."""
    try:
        remove_tree(path)
    except StoreUnusable:
        return False
    return True


def _in_use(path: Path, floor: float, *, deep: bool = False) -> bool:
    """Return whether ``path``, or with ``deep`` something in it, is as young as work that is not finished."""
    try:
        young = path.lstat().st_mtime >= floor
        return young or (deep and any(_in_use(child, floor) for child in path.iterdir()))
    except FileNotFoundError:
        return True


def _size(path: Path) -> int:
    """Return the bytes of a file, or of all files below a folder; nothing for what goes away meanwhile.

    A file with gaps counts what it takes on the disk.
    """
    with contextlib.suppress(FileNotFoundError):
        if path.is_dir() and not path.is_symlink():
            return sum(_size(child) for child in path.iterdir())
        status = path.lstat()
        return min(status.st_size, status.st_blocks * 512) if path.name == "data" else status.st_size
    return 0


def usage(store: DiskStore, installed: Iterable[Descriptor] = ()) -> Usage:
    """Return how many bytes the store holds, and how many of them something needs."""
    sizes = {digest: _size(path) for digest, path in store.blobs.digests()}
    needed = reachable(store, [*(ref.descriptor for ref in store.refs()), *installed])
    staging = sum(_size(path) for path in (store.root / "ingest").glob("*"))
    return Usage(sum(sizes.values()), sum(size for digest, size in sizes.items() if digest in needed), staging)


def verify_store(store: DiskStore, *, remove: bool = False) -> Iterator[Damage | Digest]:
    """Re-hash every blob; yield its digest when it is sound and a ``Damage`` when it is not or is missing.

    What was left out of a package on purpose is not missing.

    Args:
        store: The store.
        remove: Set damaged blobs aside, so that the next pull or push brings them again.
    """
    owners = _owners(store)
    present = set()
    for digest, _ in store.blobs.digests():
        present.add(digest)
        reason = store.blobs.check(digest, quarantine=remove)
        if remove or not reason:
            store.owed.note(digest, False)
        yield Damage(digest, reason, tuple(owners.get(digest, ()))) if reason else digest
    for digest in sorted(set(owners) - present):
        yield Damage(digest, "is missing", tuple(owners[digest]))


def _owners(store: DiskStore) -> dict[Digest, list[str]]:
    owners: dict[Digest, list[str]] = {}
    for ref in store.refs():
        try:
            digests = reachable(store, [ref.descriptor], expected=True)
        except IntegrityError:
            digests = {ref.descriptor.digest}
        for digest in digests:
            owners.setdefault(digest, []).append(str(ref.reference))
    return owners
