"""``cache df|gc|verify|path``: what the store holds, what can go, and whether it is sound."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ..digest import Digest
from ..errors import IntegrityError
from ..events import BlobProgress, Phase
from ..hardware.probe import free_space
from ..runtime.environment import collect as collect_runtimes
from ..store.gc import Damage, collect, usage, verify_store
from .results import CacheUsage, CacheVerification, Collection, DamagedBlob
from .session import AMBIENT, Session

__all__ = ["CacheDamaged", "cache_df", "cache_gc", "cache_path", "cache_verify"]


class CacheDamaged(IntegrityError):
    """Blobs of the store are not what their names say."""

    reference = "cache-damaged"

    def __init__(self, verification: CacheVerification) -> None:
        self.verification = verification
        damaged = verification.damaged
        lines = "".join(
            f"\n  - {blob.digest}: {blob.reason}"
            + (f"; needed by {', '.join(blob.needed_by)}" if blob.needed_by else "")
            for blob in damaged
        )
        owner = next((blob.needed_by[0] for blob in damaged if blob.needed_by), "")
        super().__init__(
            f"{len(damaged)} of {verification.checked} blobs are damaged:{lines}",
            hint=f"Fetch it again: installml remove --local {owner}; installml cache gc; installml pull {owner}"
            if owner
            else "Nothing needs them; remove them with: installml cache gc",
        )


def _tree_size(folder: Path) -> int:
    """Return the bytes below ``folder`` that no other name shares."""
    return sum(p.lstat().st_size for p in _own_files(folder))


def _own_files(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*") if folder.is_dir() else ():
        if path.is_file() and not path.is_symlink() and path.lstat().st_nlink == 1:
            yield path


def cache_df(*, session: Session = AMBIENT) -> CacheUsage:
    """Return how many bytes packages, installed models and runtimes take."""
    roots = [record.descriptor for record in session.installed.records()]
    held = usage(session.store, roots)
    return CacheUsage(
        home=str(session.home),
        packages=held.blobs,
        reclaimable=held.blobs - held.reachable,
        staging=held.staging,
        installed=_tree_size(session.installed.folder),
        runtimes=_tree_size(session.runtimes),
        free=free_space(session.home),
    )


def cache_gc(*, dry_run: bool = False, session: Session = AMBIENT) -> Collection:
    """Remove what no reference, installed model or running work needs.

    Args:
        dry_run: Only say what would go.
        session: Collaborators.
    """
    session.on_event(Phase("collecting", str(session.home)))
    records = list(session.installed.records())
    done = collect(session.store, [record.descriptor for record in records], dry_run=dry_run)
    keep = {record.runtime for record in records if record.runtime}
    before = _tree_size(session.runtimes)
    if dry_run:
        going = [p for p in session.runtimes.glob("*") if p.name not in keep] if session.runtimes.is_dir() else []
        return Collection(len(done.blobs), done.staging, len(going), done.freed + sum(map(_tree_size, going)), True)
    gone = collect_runtimes(session.runtimes, keep)
    freed = before - _tree_size(session.runtimes) if gone else 0
    return Collection(len(done.blobs), done.staging, len(gone), done.freed + freed, False)


def cache_verify(*, session: Session = AMBIENT) -> CacheVerification:
    """Hash every blob again.

    Raises:
        CacheDamaged: Some are not what their names say, or are missing; lists them and who needs them.
    """
    session.on_event(Phase("verifying", str(session.home)))
    checked = 0
    damaged = []
    for outcome in verify_store(session.store):
        if isinstance(outcome, Damage):
            damaged.append(DamagedBlob(outcome.digest, outcome.reason, outcome.needed_by))
        checked += 1
        session.on_event(BlobProgress(str(outcome if isinstance(outcome, Digest) else outcome.digest), 0))
    result = CacheVerification(checked, tuple(damaged))
    if damaged:
        raise CacheDamaged(result)
    return result


def cache_path(*, session: Session = AMBIENT) -> Path:
    """Return the folder of the store."""
    return session.home
