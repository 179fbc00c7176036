"""``info`` and ``list``: what a package is, and what is on this machine. No blob is read."""

from __future__ import annotations

from ..errors import InstallMLError
from ..machines.words import describe
from ..spec.package import read_package
from ..store.disk import Ref
from .places import find
from .results import FileInfo, InfoResult, ListEntry, ListResult
from .session import AMBIENT, Session

__all__ = ["info", "list_"]


def info(reference: str, *, session: Session = AMBIENT) -> InfoResult:
    """Return what a package's manifest says.

    Args:
        reference: The package: the registry's answer, else the local store's.
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
    )


def list_(*, session: Session = AMBIENT) -> ListResult:
    """Return the packages in the local store, and which of them are installed."""
    entries = []
    installed = {record.reference: record for record in session.installed.records()}
    for ref in session.store.refs():
        record = installed.pop(ref.reference.with_digest(ref.descriptor.digest), None)
        entries.append(_entry(ref, session, str(record.path) if record else ""))
    for record in installed.values():
        entries.append(
            ListEntry(
                record.reference,
                record.name,
                record.version,
                record.descriptor.digest,
                record.size,
                True,
                str(record.path),
            )
        )
    return ListResult(tuple(sorted(entries, key=lambda e: str(e.reference))))


def _entry(ref: Ref, session: Session, path: str) -> ListEntry:
    name, version, size = ref.reference.repository, ref.reference.tag, ref.descriptor.size
    try:
        package = read_package(session.local(ref.reference).manifest(ref.descriptor), str(ref.reference))
        name, version, size = package.name, package.version, package.manifest.size
    except InstallMLError:
        pass  # an index, another tool's artifact or a damaged one is listed by its reference alone
    return ListEntry(ref.reference, name, version, ref.descriptor.digest, size, bool(path), path)
