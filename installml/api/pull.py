"""``pull``: a package comes from a registry into the local store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

from ..events import BlobDone, BlobProgress, BlobStarted, Notice, Phase
from ..spec.media import ANNOTATION_TITLE
from ..spec.units import format_size
from ..store.recovery import settling
from ..transfer import Copied, copy
from .index import relatives, release_of, seeds
from .places import Found, find_remote, full, is_known
from .results import PullResult
from .session import AMBIENT, Session
from .subset import Part, here_in_part, part_of, wish
from .vouching import Vouched, vouch

if TYPE_CHECKING:
    from ..spec.descriptor import Descriptor
    from ..store.disk import DiskRepository
    from ..transfer.delta import LocalDelta
    from ..transfer.patches import Patched

__all__ = ["Brought", "bring", "pull"]

ENGINE = "installml.transfer.download.engine"
"""Needed where something is fetched: loaded while the registry's first answer is on its way."""


@dataclass(frozen=True, slots=True)
class Brought:
    """What it took to have a package here.

    Attributes:
        copied: What was fetched.
        seeded: Bytes that came from this machine instead: from similar files, or from another tool's cache.
    """

    copied: Copied
    seeded: int


def pull(
    reference: str,
    *,
    only: str | Sequence[str] = (),
    checkpoint: str | None = None,
    allow_unsigned: bool = False,
    allow_downgrade: bool = False,
    session: Session = AMBIENT,
) -> PullResult:
    """Fetch a package into the local store, every byte checked. The registry is asked, whatever is here already.

    Args:
        reference: The package.
        only: Globs: only the files that they mean, besides what is here already.
        checkpoint: Only the files of this checkpoint and those that belong to none, besides what is here already.
        allow_unsigned: Take it although nobody vouches for it.
        allow_downgrade: Take it although a version that was signed later has been seen under the same tag.
        session: Collaborators.

    Raises:
        NotFound: Its registry does not have it.
        ReferenceInvalid: It names no registry.
        NotAPackage: It is something else.
        NothingSelected: It has no such file or checkpoint; nothing was fetched.
        TrustError: Nobody who is trusted here vouches for it; nothing but signatures was fetched.
        IntegrityError: The registry sent other bytes than it named.
    """
    wanted = wish(only, checkpoint)
    session.on_event(Phase("resolving", reference))
    asked = full(reference, session)
    if not is_known(asked, session):
        Thread(target=import_module, args=(ENGINE,), name="loading", daemon=True).start()
    found = find_remote(asked, session)
    package = found.package()
    part = part_of(package, wanted, reference)
    vouched = vouch(found, session, allow_unsigned=allow_unsigned, allow_downgrade=allow_downgrade)
    done = bring(found, part, session, vouched)
    return PullResult(
        reference=found.reference,
        name=package.name,
        version=package.version,
        digest=found.descriptor.digest,
        size=package.manifest.size,
        moved=done.copied.moved,
        blobs=done.copied.blobs,
        seeded=done.seeded,
        partial=here_in_part(package, found.descriptor, session),
        signers=vouched.signers,
        notices=(vouched.told,) if vouched.verdict else (),
    )


def bring(found: Found, part: Part, session: Session, vouched: Vouched | None = None) -> Brought:
    """Bring a part of what was found into the local store under its own reference, with what this machine has already.

    In this order: whole blobs from other tools' caches, chunks of our own files, and the rest from where it was found.
    What is left out on purpose is written down before the reference shows the package. Who vouches for it was asked
    before, or does not matter because nothing of it will be used: to be scanned, to be signed.
    """
    local = session.local(found.reference)
    session.store.prepare()
    with session.store.lease(), settling(session.store, session.on_event):
        left_out, wanted = session.store.left_out, {blob.digest for blob in part.blobs}
        left_out.add(found.descriptor.digest, {blob.digest for blob in found.package().manifest.blobs} - wanted)
        taken = _from_caches(found, part, local, session)
        # What helps to fetch less reads every installed model: not where all is here already.
        delta = delta_of(found, session, vouched) if not all(map(local.exists, part.blobs)) else None
        patched = _patched(delta, found, session)
        copied = copy(
            found.source,
            local,
            found.descriptor,
            tags=[found.reference.tag or str(found.descriptor.digest)],
            jobs=session.jobs,
            on_event=session.on_event,
            phase="downloading",
            delta=patched or delta,
            limit=session.limit,
            part_size=session.part_size,
            tuning=session.tuning,
            wanted=None if part.whole else lambda blob: blob.digest in wanted,
        )
        left_out.settle(found.descriptor.digest, wanted)
    reused = delta.taken if delta is not None else 0
    if reused:
        session.on_event(Notice(f"{format_size(reused)} came from files that are on this machine"))
    if patched is not None and patched.fetched:
        made = f"{format_size(patched.spared)} were made of {format_size(patched.fetched)} of patches"
        session.on_event(Notice(f"{made} and a version that is on this machine"))
        copied = replace(copied, moved=copied.moved + patched.fetched)
    return Brought(copied, taken + reused)


def delta_of(found: Found, session: Session, vouched: Vouched | None = None) -> LocalDelta | None:
    """Return what helps to fetch less of a package; None where nothing is fetched.

    Args:
        found: The package.
        session: Collaborators.
        vouched: Who vouches for it, and so perhaps for its chunk indexes; None while only bytes are counted.
    """
    if not found.remote:
        return None
    from ..transfer.delta import LocalDelta

    published = vouched.indexes(found, session) if vouched is not None else {}
    return LocalDelta(
        session.remote(found.reference),
        release_of(found),
        seeds(session),
        relatives=relatives(found.reference, found.descriptor.digest, session),
        trusted={*session.trusted_indexes(found.descriptor), *(layer.digest for layer in published.values())},
        published=published,
        on_event=session.on_event,
    )


def _patched(delta: LocalDelta | None, found: Found, session: Session) -> Patched | None:
    """Return ``delta`` behind the package's patches, where a base of one may be here."""
    if delta is None or not delta.useful():
        return None
    from ..transfer.patches import Patched

    remote = session.remote(found.reference)
    return Patched(delta, remote, release_of(found), seeds(session).files, session.on_event)


def _from_caches(found: Found, part: Part, local: DiskRepository, session: Session) -> int:
    """Take the blobs that other tools have fetched already; return how many bytes that gave."""
    if not (session.hub_caches or session.ollama_caches) or not found.remote:
        return 0
    from ..transfer.seeds import Caches

    caches = Caches(session.hub_caches, session.ollama_caches)
    lacking = [blob for blob in part.blobs if not local.exists(blob)]
    pairs = [(blob, place) for blob in lacking if (place := caches.find(blob)) is not None]
    if not pairs:
        return 0
    session.on_event(Phase("reusing", count=len(pairs), size=sum(blob.size for blob, _ in pairs)))
    taken = dict[str, int]()
    for blob, (path, owner) in pairs:
        if _taken(blob, path, local, session):
            taken[owner] = taken.get(owner, 0) + blob.size
        else:
            session.on_event(Notice(f"{path} is not what its name says; it is fetched instead"))
    for owner, size in taken.items():
        session.on_event(Notice(f"{format_size(size)} came from {owner}, every byte checked"))
    return sum(taken.values())


def _taken(blob: Descriptor, path: Path, local: DiskRepository, session: Session) -> bool:
    from ..transfer.seeds import take_whole

    name, title = str(blob.digest), blob.annotations.get(ANNOTATION_TITLE, blob.digest.short)
    session.on_event(BlobStarted(name, title, blob.size))
    good = take_whole(blob, path, local, report=lambda count: session.on_event(BlobProgress(name, count)))
    session.on_event(BlobDone(name, title, blob.size, "copied"))
    return good
