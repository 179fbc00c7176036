"""``push``: a package goes from the local store, or straight from its folder, to a registry."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ..errors import NotFound, UsageError
from ..events import Phase
from ..packing.recipe import load_recipe
from ..reference import Reference
from ..spec.package import read_package
from ..store.verified import read_manifest
from ..transfer import copy
from .build import made, named
from .places import folder_of, full, is_folder
from .results import PushResult
from .session import AMBIENT, Session

__all__ = ["push", "push_folder"]


def push(source: str | Path, destination: str = "", *, tag: str = "", session: Session = AMBIENT) -> PushResult:
    """Send a package to a registry.

    Args:
        source: Reference of a package in the local store, or a model folder, which is built on the way.
        destination: Registry reference; the source's own when left out.
        tag: Registry reference for a folder (the command line's ``-t``).
        session: Collaborators.

    Returns:
        What was sent and what was there already.

    Raises:
        NotFound: The local store has no such package.
        ReferenceInvalid: The destination names no registry.
    """
    text = str(source)
    if isinstance(source, Path) or tag or is_folder(text):
        if tag and destination:
            raise UsageError("a folder is pushed to one place", hint=f"installml push {text} -t {tag}")
        return push_folder(folder_of(text), tag or destination, session)
    reference = full(text, session)
    target = _destination(destination, reference, session)
    local = session.local(reference)
    try:
        root = local.resolve(reference.pointer)
    except NotFound as error:
        raise NotFound(
            f"{reference} is not in the local store",
            hint=f"Build it first: installml build DIR -t {reference}; or push a folder: installml push DIR -t REF",
            subject=str(reference),
        ) from error
    if target.digest not in (None, root.digest):
        raise UsageError(f"{reference} is {root.digest}, not what {target} names", hint=f"installml push {reference}")
    package = read_package(read_manifest(local, root), str(reference))
    session.on_event(Phase("pushing", str(target)))
    with session.store.lease():
        done = copy(
            local,
            session.remote(target),
            root,
            tags=[target.tag] if target.tag else [],
            jobs=session.jobs,
            on_event=session.on_event,
            phase="uploading",
        )
    return PushResult(
        reference=target.with_digest(root.digest),
        name=package.name,
        version=package.version,
        digest=root.digest,
        size=package.manifest.size,
        moved=done.moved,
        blobs=done.blobs,
    )


def _destination(text: str, reference: Reference, session: Session) -> Reference:
    target = session.qualify(text) if text else reference
    if target.digest is not None:
        return target  # kept without a tag, or under the one beside the digest
    return replace(target, tag=target.tag or reference.tag)  # a digest alone moves no tag


def push_folder(folder: Path, destination: str, session: Session) -> PushResult:
    """Build ``folder`` and send it; nothing is stored twice on this disk."""
    target = named(destination, load_recipe(folder), session)
    remote = session.remote(target)  # a name that cannot be meant is told before gigabytes are read
    package = made(folder, session)
    session.on_event(Phase("pushing", str(target)))
    done = copy(
        package,
        remote,
        package.root,
        tags=[target.tag],
        jobs=session.jobs,
        on_event=session.on_event,
        phase="uploading",
    )
    return PushResult(
        reference=target.with_digest(package.root.digest),
        name=package.recipe.name,
        version=package.recipe.version,
        digest=package.root.digest,
        size=package.manifest.size,
        moved=done.moved,
        blobs=done.blobs,
        notices=package.notices,
    )
