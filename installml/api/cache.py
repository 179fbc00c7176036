"""``cache df|gc|verify|path``: what the store holds, what can go, and whether it is sound."""

from __future__ import annotations

import contextlib
import stat
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from ..digest import Digest
from ..errors import IntegrityError, NotFound, StoreUnusable
from ..events import BlobProgress, Phase
from ..machines.probe import free_space
from ..runtime.environment import collect as collect_runtimes
from ..spec.recipe import tag_of
from ..store.gc import Damage, collect, reachable, usage, verify_store
from ..store.installed import Record
from ..store.recovery import settle
from .results import CacheUsage, CacheVerification, Collection, DamagedBlob
from .session import AMBIENT, Session
from .subset import partial_packages

__all__ = ["CacheDamaged", "cache_df", "cache_gc", "cache_path", "cache_verify"]


class CacheDamaged(IntegrityError):
    """Blobs of the store are not what their names say."""

    reference = "cache-damaged"

    def __init__(self, verification: CacheVerification, installed: Sequence[str] = ()) -> None:
        self.verification = verification
        damaged = verification.damaged
        lines = "".join(
            f"\n  - {blob.digest}: {blob.reason}"
            + (f"; needed by {', '.join(blob.needed_by)}" if blob.needed_by else "")
            for blob in damaged
        )
        super().__init__(
            f"{len(damaged)} of {verification.checked} blobs are damaged:{lines}",
            hint=_cure(sorted({owner for blob in damaged for owner in blob.needed_by}), installed),
        )


def _cure(owners: Sequence[str], installed: Sequence[str]) -> str:
    """Return what to type: everything that needs a damaged blob must let go of it before it is fetched again."""
    if not owners and not installed:
        return "Nothing needs them; remove them with: installml cache gc"
    steps = [f"installml remove --local {owner}" for owner in owners]
    steps += [f"installml uninstall {reference}" for reference in installed]
    return f"{'; '.join(steps)}; installml cache gc; then install or build it again."


def _tree_size(folder: Path) -> int:
    """Return the bytes below ``folder`` that no other name shares."""
    return sum(_own_sizes(folder))


def _own_sizes(folder: Path) -> Iterator[int]:
    for path in folder.rglob("*") if folder.is_dir() else ():
        with contextlib.suppress(FileNotFoundError):  # others may remove what is listed
            status = path.lstat()
            if stat.S_ISREG(status.st_mode) and status.st_nlink == 1:
                yield status.st_size


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
    keep = {record.runtime for record in session.installed.records() if record.runtime}
    going = [] if _busy(session) else _unused_runtimes(session.runtimes, keep)
    size = sum(map(_tree_size, going))
    gone = len(collect_runtimes(session.runtimes, keep)) if going and not dry_run else len(going)
    return Collection(len(done.blobs), done.staging, gone, done.freed + size, dry_run)


def _busy(session: Session) -> bool:
    """Return whether somebody works on the store: an installation may use an environment that no record names yet.

    ``collect`` has just removed the leases of processes that are gone.
    """
    return any((session.home / "ingest").glob("lease.*"))


def _unused_runtimes(runtimes: Path, keep: set[str]) -> list[Path]:
    return [p for p in runtimes.iterdir() if p.name not in keep] if runtimes.is_dir() else []


def cache_verify(*, session: Session = AMBIENT) -> CacheVerification:
    """Hash every blob again; what was left out of packages that are here in part is not missing.

    Raises:
        CacheDamaged: Some are not what their names say, or are missing; lists them and who needs them.
    """
    session.on_event(Phase("verifying", str(session.home)))
    checked = 0
    wrong: dict[Digest, str] = {}
    with contextlib.suppress(StoreUnusable):  # can only be read: what is wrong shows below all the same
        wrong = settle(session.store, on_event=session.on_event)
    damaged = []
    for outcome in verify_store(session.store):
        if isinstance(outcome, Damage):
            reason = wrong.pop(outcome.digest, outcome.reason)
            damaged.append(DamagedBlob(outcome.digest, reason, outcome.needed_by))
        checked += 1
        session.on_event(BlobProgress(str(outcome if isinstance(outcome, Digest) else outcome.digest), 0))
    damaged += [DamagedBlob(digest, reason, ()) for digest, reason in wrong.items()]
    result = CacheVerification(checked, tuple(damaged), partial_packages(session.store.refs(), session))
    if damaged:
        raise CacheDamaged(result, _installations({blob.digest for blob in damaged}, session))
    return result


def _installations(damaged: set[Digest], session: Session) -> list[str]:
    """Return what is installed of damaged blobs: a collection keeps them although no reference names them."""
    return sorted(
        str(replace(record.reference, digest=None, tag=tag_of(record.version)))
        for record in session.installed.records()
        if damaged & _needed(record, session)
    )


def _needed(record: Record, session: Session) -> set[Digest]:
    try:
        return reachable(session.store, [record.descriptor])
    except (IntegrityError, NotFound):  # its own manifest is damaged
        return {record.descriptor.digest}


def cache_path(*, session: Session = AMBIENT) -> Path:
    """Return the folder of the store."""
    return session.home
