"""``info`` and ``list``: what a package is, and what is on this machine. No file of a package is read."""

from __future__ import annotations

from contextlib import suppress

from ..errors import InstallMLError
from ..machines.words import describe
from ..reference import Reference
from ..spec.package import Package, read_package
from ..spec.recipe import tag_of
from ..spec.subset import checkpoints_of
from ..store.disk import Ref
from ..store.installed import Record
from ..transfer.delta import Fetch, fetch_needed
from .index import known_indexes
from .places import Found, find
from .results import AttestationInfo, FileInfo, InfoResult, ListEntry, ListResult, PartialFiles, UpdateInfo
from .session import AMBIENT, Session
from .subset import here_in_part, installed_in_part

__all__ = ["info", "list_"]


def info(reference: str, *, from_: str = "", attestations: bool = False, session: Session = AMBIENT) -> InfoResult:
    """Return what a package's manifest says.

    Args:
        reference: The package: the registry's answer, else the local store's.
        from_: Another version of it, or another package: also say how many bytes an update from there would fetch.
        attestations: Also read what is signed about it: signatures, bills of materials, scans.
        session: Collaborators.

    Raises:
        NotFound: Neither has it.
        NotAPackage: It is something else; says what.
    """
    found = find(reference, session)
    package = found.package()
    prefix = "org.opencontainers.image."
    here = [r for r in session.installed.records() if r.descriptor.digest == found.descriptor.digest]
    return InfoResult(
        reference=found.reference,
        name=package.name,
        version=package.version,
        digest=found.descriptor.digest,
        size=package.manifest.size,
        engine=package.engine,
        place=found.origin,
        description=package.annotations.get(f"{prefix}description", ""),
        license=package.annotations.get(f"{prefix}licenses", ""),
        hardware=tuple(describe(profile) for profile in package.profiles),
        files=tuple(FileInfo(f.path, f.role.value, f.descriptor.size, f.descriptor.digest) for f in package.files),
        annotations=dict(package.annotations),
        installed=str(here[0].path) if here else "",
        update=_update(found, from_, session) if from_ else None,
        checkpoints=_checkpoints(package),
        partial=installed_in_part(package, here[0]) if here else here_in_part(package, found.descriptor, session),
        attestations=_attestations(found, session) if attestations else None,
    )


def _attestations(found: Found, session: Session) -> tuple[AttestationInfo, ...]:
    from .attest import attestations_of  # it needs cryptography, which a plain look does not

    return attestations_of(found, session)


def _checkpoints(package: Package) -> tuple[str, ...]:
    """Return the names of the checkpoints; what cannot be read is no reason to tell nothing of the rest."""
    try:
        return tuple(checkpoints_of(package))
    except InstallMLError:
        return ()


def _update(found: Found, base: str, session: Session) -> UpdateInfo:
    """Return what a machine that has ``base`` would fetch; manifests and chunk indexes are read, nothing else."""
    before = find(_base(found.reference, base), session)
    there = {blob.digest for blob in before.package().manifest.blobs}
    lacking = [blob for blob in found.package().manifest.blobs if blob.digest not in there]
    known = {one.digest(n) for one in known_indexes(before, session) for n in range(len(one))}
    wanted = {one.blob: one for one in known_indexes(found, session)} if known else {}
    fetch = sum((fetch_needed(blob, wanted.get(blob.digest), known) for blob in lacking), Fetch())
    files = sum(file.descriptor.digest not in there for file in found.package().files)
    return UpdateInfo(before.reference, fetch.size, fetch.requests, files)


def _base(reference: Reference, text: str) -> Reference | str:
    """Return what ``--from`` names: a version of the same package, unless it can only be a reference."""
    if any(mark in text for mark in "/:@"):
        return text
    return reference.with_tag(tag_of(text))


def list_(*, session: Session = AMBIENT) -> ListResult:
    """Return the packages in the local store, and which of them are installed."""
    entries = []
    installed = {record.reference: record for record in session.installed.records()}
    for ref in session.store.refs():
        record = installed.pop(ref.reference.with_digest(ref.descriptor.digest), None)
        entries.append(_entry(ref, session, record))
    entries += [_forgotten(record, session) for record in installed.values()]
    return ListResult(tuple(sorted(entries, key=lambda e: str(e.reference))))


def _entry(ref: Ref, session: Session, record: Record | None) -> ListEntry:
    name, version, size = ref.reference.repository, ref.reference.tag, ref.descriptor.size
    partial: PartialFiles | None = None
    with suppress(InstallMLError):  # an index, another tool's or a damaged one is listed by its reference alone
        package = read_package(session.local(ref.reference).manifest(ref.descriptor), str(ref.reference))
        name, version, size = package.name, package.version, package.manifest.size
        partial = installed_in_part(package, record) if record else here_in_part(package, ref.descriptor, session)
    path = str(record.path) if record else ""
    return ListEntry(ref.reference, name, version, ref.descriptor.digest, size, bool(path), path, partial)


def _forgotten(record: Record, session: Session) -> ListEntry:
    """Return what is installed and has no reference in the store."""
    partial: PartialFiles | None = None
    with suppress(InstallMLError):  # its manifest is damaged or gone
        manifest = session.local(record.reference).manifest(record.descriptor) if record.partial else None
        partial = installed_in_part(read_package(manifest, str(record.reference)), record) if manifest else None
    return ListEntry(
        record.reference,
        record.name,
        record.version,
        record.descriptor.digest,
        record.size,
        True,
        str(record.path),
        partial,
    )
