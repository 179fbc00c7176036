"""``pull``: a package comes from a registry into the local store."""

from __future__ import annotations

from ..errors import NotFound
from ..events import Phase
from ..reference import LOCAL
from ..transfer import Copied, copy
from .places import Found, find
from .results import PullResult
from .session import AMBIENT, Session

__all__ = ["bring", "pull"]


def pull(reference: str, *, allow_unsigned: bool = False, session: Session = AMBIENT) -> PullResult:
    """Fetch a package into the local store, every byte checked.

    Args:
        reference: The package.
        allow_unsigned: Accepted for scripts that will need it; signatures are not checked by this version.
        session: Collaborators.

    Raises:
        NotFound: No registry has it.
        NotAPackage: It is something else.
        IntegrityError: The registry sent other bytes than it named.
    """
    session.on_event(Phase("resolving", reference))
    found = find(reference, session)
    if found.reference.registry == LOCAL:
        raise NotFound(
            f"{found.reference.repository} names no registry to pull from",
            hint=f"installml pull REGISTRY/{found.reference.repository}, or set INSTALLML_REGISTRY",
        )
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
    tag = found.reference.tag or ("" if "@" in str(found.reference) else "latest")
    session.store.prepare()
    with session.store.lease():
        return copy(
            found.source,
            local,
            found.descriptor,
            tags=[tag or str(found.descriptor.digest)],
            jobs=session.jobs,
            on_event=session.on_event,
            phase="downloading",
        )
