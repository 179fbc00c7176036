"""``pull``: a package comes from a registry into the local store."""

from __future__ import annotations

from ..events import Phase
from ..transfer import Copied, copy
from .places import Found, find_remote, full
from .results import PullResult
from .session import AMBIENT, Session

__all__ = ["bring", "pull"]


def pull(reference: str, *, allow_unsigned: bool = False, session: Session = AMBIENT) -> PullResult:
    """Fetch a package into the local store, every byte checked. The registry is asked, whatever is here already.

    Args:
        reference: The package.
        allow_unsigned: Accepted for scripts that will need it; signatures are not checked by this version.
        session: Collaborators.

    Raises:
        NotFound: Its registry does not have it.
        ReferenceInvalid: It names no registry.
        NotAPackage: It is something else.
        IntegrityError: The registry sent other bytes than it named.
    """
    session.on_event(Phase("resolving", reference))
    found = find_remote(full(reference, session), session)
    package = found.package()
    done = bring(found, session)
    return PullResult(
        reference=found.reference,
        name=package.name,
        version=package.version,
        digest=found.descriptor.digest,
        size=package.manifest.size,
        moved=done.moved,
        blobs=done.blobs,
    )


def bring(found: Found, session: Session) -> Copied:
    """Copy what was found into the local store under its own reference."""
    local = session.local(found.reference)
    session.store.prepare()
    with session.store.lease():
        return copy(
            found.source,
            local,
            found.descriptor,
            tags=[found.reference.tag or str(found.descriptor.digest)],
            jobs=session.jobs,
            on_event=session.on_event,
            phase="downloading",
        )
