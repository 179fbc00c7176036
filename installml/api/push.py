"""``push``: a package goes from the local store, or straight from its folder, to a registry."""

from __future__ import annotations

from collections.abc import Iterator, Set
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..digest import Digest
from ..errors import NotFound, StoreError, UsageError
from ..events import BlobDone, Event, Listener, Phase
from ..packing.hashing import Send
from ..packing.recipe import load_recipe
from ..reference import Reference
from ..spec.package import read_package
from ..store.verified import read_manifest
from ..transfer import copy
from ..transfer.delta import Release
from ..transfer.upload import Streams
from .build import made, named
from .index import attach_indexes
from .patches import Base, find_base, offer_patches
from .places import Found, folder_of, full, is_folder
from .results import PushResult
from .session import AMBIENT, Session
from .subset import require_whole
from .vouchers import Login

if TYPE_CHECKING:
    from ..registry.repository import Repository
    from ..spec.descriptor import Descriptor
    from ..spec.manifest import Manifest
    from ..store.protocol import Fetcher
    from .vouchers import Voucher

__all__ = ["push", "push_folder"]

_UPLOADING = "uploading"


def push(
    source: str | Path,
    destination: str = "",
    *,
    tag: str = "",
    patch_from: str = "",
    sign: bool = False,
    key: str = "",
    login: Login | None = None,
    session: Session = AMBIENT,
) -> PushResult:
    """Send a package to a registry.

    Args:
        source: Reference of a package in the local store, or a model folder, which is built on the way.
        destination: Registry reference; the source's own when left out.
        tag: Registry reference for a folder (the command line's ``-t``).
        patch_from: A version of the local store; patches from it are attached, where they pay, for those who have it.
        sign: Also sign it there, as ``sign`` does.
        key: Whose signature it is, as of ``sign``.
        login: How somebody shows who they are, as of ``sign``; asked for once everything is sent.
        session: Collaborators; its ``ask`` is asked for the key's passphrase before anything is sent.

    Returns:
        What was sent and what was there already.

    Raises:
        NotFound: The local store has no such package.
        ReferenceInvalid: The destination names no registry.
        KeyNotFound: There is no such key, or several to choose from.
        UsageError: A key is named, or somebody, and nothing is to be signed.
    """
    text = str(source)
    signer = _signer(sign, key, login, session)
    base = find_base(patch_from, session) if patch_from else None
    if isinstance(source, Path) or tag or is_folder(text):
        if tag and destination:
            raise UsageError("a folder is pushed to one place", hint=f"installml push {text} -t {tag}")
        return push_folder(folder_of(text), tag or destination, session, base, signer)
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
    require_whole(local, root, reference)
    package = read_package(read_manifest(local, root), str(reference))
    session.on_event(Phase("pushing", str(target)))
    with _leased(session):
        done = copy(
            local,
            _remote(target, session),
            root,
            tags=[target.tag] if target.tag else [],
            jobs=session.jobs,
            limit=session.limit,
            on_event=session.on_event,
            phase=_UPLOADING,
        )
        if done.moved:  # else one question was enough to see that everything is there
            attach_indexes(Release(root, package.manifest), local, session.remote(target), session)
        notices = offer_patches(base, package, root, local, session.remote(target), session) if base else ()
    signers = _signed(target, root, package.manifest, local, signer, session) if signer else ()
    return PushResult(
        reference=target.with_digest(root.digest),
        name=package.name,
        version=package.version,
        digest=root.digest,
        size=package.manifest.size,
        moved=done.moved,
        blobs=done.blobs,
        notices=notices,
        signers=signers,
    )


def _signer(sign: bool, key: str, login: Login | None, session: Session) -> Voucher | None:
    """Return who signs, before anything is sent: a wrong passphrase should not cost an upload."""
    if not sign:
        if key or login is not None:
            what = "a key is named" if key else "it is said who signs"
            raise UsageError(f"{what} and nothing is to be signed", hint="Add --sign.", subject=key)
        return None
    from .vouchers import voucher_of

    return voucher_of(key, login, session)


def _signed(
    target: Reference, root: Descriptor, manifest: Manifest, content: Fetcher, signer: Voucher, session: Session
) -> tuple[str, ...]:
    """Sign what was pushed."""
    from .sign import Wishes, sign_found

    found = Found(session.remote(target), target.with_digest(root.digest), root, manifest, remote=True)
    return (sign_found(found, signer, Wishes(), session, content=content).signer,)


@contextmanager
def _leased(session: Session) -> Iterator[None]:
    """Keep a collection from the store while it is read; a disk that is full or read-only can be pushed from as well.

    What somebody else collects meanwhile from under a push without a lease ends it, with nothing wrong published.
    """
    with ExitStack() as stack:
        with suppress(StoreError):
            stack.enter_context(session.store.lease())
        yield


def _destination(text: str, reference: Reference, session: Session) -> Reference:
    target = session.qualify(text) if text else reference
    if target.digest is not None:
        return target  # kept without a tag, or under the one beside the digest
    return replace(target, tag=target.tag or reference.tag)  # a digest alone moves no tag


def _remote(target: Reference, session: Session) -> Repository:
    """Return the place of ``target`` in its registry, where uploads that were cut off go on."""
    remote = session.remote(target)
    remote.resume_from(session.home / "state" / "uploads")
    return remote


class _Rest:
    """What ``copy`` does after files were sent while they were hashed: it finds those there, which is no news.

    Args:
        listener: Who is told the rest.
        streamed: Digests of the blobs that were sent.
        announced: Whether the phase of the upload has been told.
    """

    def __init__(self, listener: Listener, streamed: Set[Digest], announced: bool) -> None:
        self._listener = listener
        self._streamed = frozenset(map(str, streamed))
        self._announced = announced
        self._met = 0

    def __call__(self, event: Event) -> None:
        if isinstance(event, BlobDone) and event.outcome == "exists" and event.digest in self._streamed:
            self._met += 1
        elif not (self._announced and isinstance(event, Phase) and event.name == _UPLOADING):
            self._listener(event)

    def outcomes(self, blobs: dict[str, int]) -> dict[str, int]:
        """Return the outcomes of ``copy`` with what was streamed as what it is: copied."""
        sent = len(self._streamed)
        counts = {**blobs, "exists": blobs.get("exists", 0) - self._met, "copied": blobs.get("copied", 0) + sent}
        return {outcome: count for outcome, count in counts.items() if count > 0}


def push_folder(
    folder: Path, destination: str, session: Session, base: Base | None = None, signer: Voucher | None = None
) -> PushResult:
    """Build ``folder`` and send it; nothing is stored twice on this disk."""
    target = named(destination, load_recipe(folder), session)
    remote = _remote(target, session)  # a name that cannot be meant is told before gigabytes are read
    limit = session.limit.take if session.limit else lambda _: None
    with Streams(remote, session.jobs, session.on_event, limit) as streams:
        package = made(folder, session, Send(streams))
        session.on_event(Phase("pushing", str(target)))
        blobs = package.manifest.blobs
        announced = streams.announce(_UPLOADING, len(blobs), sum(blob.size for blob in blobs))
    with suppress(StoreError):  # where nothing can be written down, its signature is asked for like anybody's
        session.store.made.add(package.root.digest)
    rest = _Rest(session.on_event, streams.taken, announced)
    done = copy(
        package,
        remote,
        package.root,
        tags=[target.tag],
        jobs=session.jobs,
        limit=session.limit,
        on_event=rest,
        phase=_UPLOADING,
    )
    if done.moved:  # else one question was enough to see that everything is there
        attach_indexes(Release(package.root, package.manifest), package, remote, session)
    patches: tuple[str, ...] = ()
    if base is not None:
        described = read_package(package.manifest, str(target))
        patches = offer_patches(base, described, package.root, package, remote, session)
    signers = _signed(target, package.root, package.manifest, package, signer, session) if signer else ()
    return PushResult(
        reference=target.with_digest(package.root.digest),
        name=package.recipe.name,
        version=package.recipe.version,
        digest=package.root.digest,
        size=package.manifest.size,
        moved=done.moved + streams.sent,
        blobs=rest.outcomes(done.blobs),
        notices=(*package.notices, *patches),
        signers=signers,
    )
