"""Opening what people name: where a package is, which digest a tag names now, and what its manifest says."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from ..errors import InstallMLError, IntegrityError, NotFound, ReferenceInvalid
from ..events import Notice
from ..reference import LOCAL, Location, Reference, parse_location
from ..registry.errors import TransportError
from ..spec.descriptor import Descriptor
from ..spec.manifest import Index, Manifest
from ..spec.media import RECIPE_NAME
from ..spec.package import Package, read_package
from ..store.disk import DiskRepository
from ..store.layout import LayoutStore
from ..store.protocol import Source, Target
from ..store.verified import read_manifest
from .session import Session

__all__ = ["Found", "find", "find_remote", "folder_of", "full", "is_folder", "is_known", "open_place"]


@dataclass(frozen=True)
class Found:
    """A package that was found.

    Attributes:
        source: The place that has it.
        reference: What was asked for, with its registry and the digest that it names now.
        descriptor: The manifest's descriptor.
        manifest: The manifest.
        remote: Whether the place is a registry.
    """

    source: Source
    reference: Reference
    descriptor: Descriptor
    manifest: Manifest | Index
    remote: bool

    @property
    def origin(self) -> str:
        """The place in words."""
        return self.reference.registry if self.remote else "local store"

    def package(self) -> Package:
        """Return the manifest as a model package; anything else raises NotAPackage."""
        return self._package

    @cached_property
    def _package(self) -> Package:
        """Read once: with a thousand files that takes as long as fetching a dozen of them."""
        return read_package(self.manifest, str(self.reference))


def is_folder(text: str) -> bool:
    """Return whether ``text`` means a model folder rather than a reference.

    ``dir:PATH``, anything that starts like a path, and an existing folder with a recipe do.
    """
    if text.startswith(("dir:", ".", "/", "~")):
        return True
    path = Path(text)
    return path.is_dir() and (path / RECIPE_NAME).is_file()


def folder_of(text: str) -> Path:
    """Return the path of a folder that ``is_folder`` recognised."""
    return Path(text.removeprefix("dir:")).expanduser()


def full(text: str | Reference, session: Session) -> Reference:
    """Return the reference that ``text`` means, with registry, and with the tag ``latest`` when it names none."""
    reference = session.qualify(text)
    return reference if reference.tag or reference.digest else reference.with_tag("latest")


def find(text: str | Reference, session: Session) -> Found:
    """Return the package under a reference: its registry's answer, else the local store's.

    A tag is resolved to a digest here, once, and everything after uses the digest: a tag may move meanwhile.

    Raises:
        NotFound: Neither has it.
        TransportError: The registry cannot be asked and the local store does not have it either.
    """
    reference = full(_known(session.qualify(text), session), session)
    if session.offline or reference.registry == LOCAL:
        return _here(reference, session)
    try:
        return find_remote(reference, session)
    except (NotFound, TransportError) as error:
        return _fallback(reference, error, session)


def _known(reference: Reference, session: Session) -> Reference:
    """Return a bare name as the one package of that name on this machine, whatever registry it came from.

    A name that no registry qualifies means what was built here; failing that, what was brought here, if there is
    exactly one such repository. It never chooses between two.

    Raises:
        ReferenceInvalid: Several registries have brought a package of that name.
    """
    if reference.registry != LOCAL or any(session.local(reference).tags()):
        return reference
    refs = [ref.reference for ref in session.store.refs() if ref.reference.repository == reference.repository]
    registries = sorted({known.registry for known in refs})
    if len(registries) > 1:
        raise ReferenceInvalid(
            f"{reference.repository} came from {' and '.join(registries)}",
            hint=f"Name one: {registries[0]}/{reference.repository}",
            subject=reference.repository,
        )
    if not registries:
        return reference
    tags = [known.tag for known in refs if known.tag]
    only = tags[0] if len(tags) == 1 and not reference.digest else reference.tag
    return replace(reference, registry=registries[0], tag=reference.tag or only)


def find_remote(reference: Reference, session: Session) -> Found:
    """Return what the registry of ``reference`` has under it, and nobody else.

    One question: where the reference is known here, which digest it names now, and a manifest of that digest that is
    here already is not read again; else the manifest.
    """
    here, source = session.local(reference), session.remote(reference)
    resolve = source.resolve if is_known(reference, session) else source.resolve_by_reading
    return _found(source, reference, resolve, here=here, remote=True)


def is_known(reference: Reference, session: Session) -> bool:
    """Return whether ``reference``, which says what it means in full, was brought to this machine before."""
    try:
        session.local(reference).resolve(reference.pointer)
    except InstallMLError:
        return False
    return True


def _here(reference: Reference, session: Session) -> Found:
    local = session.local(reference)
    try:
        return _found(local, reference, local.resolve, remote=False)
    except NotFound as error:
        hint = "Run it again without --offline." if session.offline and reference.registry != LOCAL else ""
        tags = ", ".join(local.tags()[:10])
        if tags and not hint:
            hint = f"Name a tag that is here: {tags}"
        raise NotFound(error.message, hint=hint, subject=str(reference)) from error


def _fallback(reference: Reference, error: InstallMLError, session: Session) -> Found:
    try:
        local = session.local(reference)
        found = _found(local, reference, local.resolve, remote=False)
    except NotFound:
        raise error from None
    session.on_event(Notice(f"{error.message}; using the copy of {reference} on this machine"))
    return found


def _found(
    source: Source,
    reference: Reference,
    resolve: Callable[[str], Descriptor],
    *,
    here: DiskRepository | None = None,
    remote: bool,
) -> Found:
    try:
        descriptor = resolve(reference.pointer)
    except NotFound as error:
        if remote or error.hint:
            raise
        raise NotFound(
            error.message, hint="See what is on this machine: installml list", subject=error.subject
        ) from error
    manifest = _kept(here, descriptor) or read_manifest(source, descriptor)
    return Found(source, reference.with_digest(descriptor.digest), descriptor, manifest, remote)


def _kept(here: DiskRepository | None, descriptor: Descriptor) -> Manifest | Index | None:
    """Return a manifest of the local store; None when it is not there, or damaged."""
    with suppress(IntegrityError):
        return read_manifest(here, descriptor) if here is not None and here.exists(descriptor) else None
    return None


def open_place(text: str, session: Session) -> tuple[Target, str, Location]:
    """Return the place that ``text`` names, and the tag or digest inside it (empty when it names none).

    Raises:
        ReferenceInvalid: It is outside the grammar.
    """
    location = parse_location(text)
    if location.scheme == "oci-layout":
        return LayoutStore(Path(location.path).expanduser()), location.tag, location
    reference = session.qualify(location.reference or Reference("", location.path))
    place: Target = session.local(reference) if reference.registry == LOCAL else session.remote(reference)
    return place, str(reference.digest or "") or reference.tag, Location("registry", reference=reference)
