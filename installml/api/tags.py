"""``tags``, ``tag`` and ``remove``: names in a registry or in the local store."""

from __future__ import annotations

from ..errors import UsageError
from ..events import Phase
from ..reference import LOCAL, Reference, check_tag
from ..store.protocol import Target
from .results import RemoveResult, TagResult, TagsResult
from .session import AMBIENT, Session

__all__ = ["remove", "tag", "tags"]


def _place(reference: Reference, local: bool, session: Session) -> Target:
    return session.local(reference) if local or reference.registry == LOCAL else session.remote(reference)


def tags(reference: str, *, local: bool = False, session: Session = AMBIENT) -> TagsResult:
    """List the tags of a repository.

    Args:
        reference: The repository; a tag in it is ignored.
        local: Ask the local store instead of the registry.
        session: Collaborators.

    Raises:
        NotFound: There is no such repository.
    """
    full = session.qualify(reference)
    found = tuple(_place(full, local or session.offline, session).tags())
    name = full.repository if full.registry == LOCAL else f"{full.registry}/{full.repository}"
    return TagsResult(name, found)


def tag(reference: str, new_tag: str, *, session: Session = AMBIENT) -> TagResult:
    """Give a package one more tag in its repository.

    Args:
        reference: The package, by tag or digest.
        new_tag: The tag.
        session: Collaborators.

    Raises:
        NotFound: There is no such package.
        ReferenceInvalid: ``new_tag`` is not of the grammar.
    """
    full = session.qualify(reference)
    check_tag(new_tag)
    place = _place(full, False, session)
    root = place.resolve(full.pointer)
    place.tag(root, new_tag)
    return TagResult(full.with_tag(new_tag), root.digest)


def remove(reference: str, *, local: bool = False, dry_run: bool = False, session: Session = AMBIENT) -> RemoveResult:
    """Remove a tag, or with a digest the manifest and every tag on it.

    Args:
        reference: The package; a tag or digest must be written out.
        local: Remove it from the local store instead of the registry.
        dry_run: Only check that it is there.
        session: Collaborators.

    Raises:
        NotFound: There is no such package.
        UsageError: Neither tag nor digest was given.
        Unsupported: The registry does not delete.
    """
    full = session.qualify(reference)
    if not full.tag and full.digest is None:
        raise UsageError(
            f"{reference} names no tag",
            hint=f"Say what goes: installml remove {reference}:TAG; list tags with: installml tags {reference}",
        )
    place = _place(full, local, session)
    session.on_event(Phase("removing", str(full)))
    root = place.resolve(full.pointer)
    if not dry_run and full.digest is not None:
        place.delete(root)
    elif not dry_run:
        place.untag(full.tag)
    return RemoveResult(full, "local store" if local or full.registry == LOCAL else full.registry, dry_run)
