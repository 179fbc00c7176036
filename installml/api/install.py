"""``install`` and ``uninstall``: all or nothing, step by step (docs/concepts/install.md).

Resolve to a digest once; read the manifest; refuse what cannot fit before any blob moves; fetch with every byte
checked; lay out; make the runtime environment; and only then write the record that puts the model in use.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace

from ..errors import InstallMLError, IntegrityError, ModelError, NotFound, ReferenceInvalid, UsageError
from ..events import Notice, Phase
from ..machines.match import require
from ..reference import Reference, check_tag
from ..runtime.environment import Environment, ensure
from ..runtime.errors import RuntimeFailed
from ..runtime.lock import lock as make_lock
from ..spec.media import LOCK_PATH, RUNTIME_PATH
from ..spec.package import Package, PackagedFile
from ..spec.recipe import tag_of
from ..spec.runtime import RuntimeManifest, parse_runtime
from ..store.installed import Record
from ..store.materialise import materialise
from ..store.protocol import Source
from ..store.room import room_needed
from ..store.verified import read_verified
from ..transfer.delta import Fetch, spared
from .gating import gate
from .places import Found, find
from .pull import Brought, bring, delta_of
from .results import InstallResult, UninstallResult
from .session import AMBIENT, Session
from .subset import Part, part_of, require_here, wish, with_installed
from .vouching import Vouched, vouch

__all__ = ["LayersUnsupported", "find_installed", "install", "runtime_of", "uninstall"]


class LayersUnsupported(UsageError):
    """The package has layers that this version cannot lay out."""

    reference = "layers-unsupported"
    default_hint = "Pack it again with raw layers; with modctl: modctl build --raw."


def install(
    reference: str,
    *,
    only: str | Sequence[str] = (),
    checkpoint: str | None = None,
    runtime: bool = True,
    allow_unsigned: bool = False,
    allow_downgrade: bool = False,
    block: str = "high",
    suppressions: str = "",
    dry_run: bool = False,
    session: Session = AMBIENT,
) -> InstallResult:
    """Install a model so that it can be served.

    Args:
        reference: The package.
        only: Globs: only the files that they mean are installed, besides what is installed of the package already.
        checkpoint: Only the files of this checkpoint and those that belong to none, besides what is installed already.
        runtime: Also make its runtime environment, unless what is installed is a part that cannot be run.
        allow_unsigned: Install it although nobody vouches for it; that is recorded.
        allow_downgrade: Install it although a version that was signed later has been seen under the same tag.
        block: Severity of a scan's finding from which it is not installed: info, low, medium, high, critical, or never.
            What was built on this machine, or is installed already, is not scanned.
        suppressions: TOML file of findings that do not count.
        dry_run: Stop after the checks; nothing is fetched or changed.
        session: Collaborators.

    Returns:
        Where it is and how it was proved.

    Raises:
        NotFound: Neither registry nor local store has it.
        NotAPackage: It is something else.
        NothingSelected: It has no such file or checkpoint; nothing was fetched.
        HardwareError: This machine cannot run it; nothing was fetched.
        TrustError: Nobody who is trusted here vouches for it; nothing but signatures was fetched.
        ScanBlocked: The scan found danger; the previous version stays in use.
        IntegrityError: Bytes are not what was named; the previous version stays in use.
        ModelError: The runtime environment cannot be made; the previous version stays in use.
    """
    wanted = wish(only, checkpoint)
    session.on_event(Phase("resolving", reference))
    found = find(reference, session)
    package = found.package()
    before = _in_use(found, package, session)
    part = with_installed(part_of(package, wanted, reference), package, _of_this(before, found))
    _check_layers(part, found)
    require_here(found, part, session)
    need = _bytes_needed(found, part, session)
    profile = require(package.profiles, session.machine(), need, str(found.reference))
    variant = profile.name if profile else ""
    vouched = vouch(found, session, allow_unsigned=allow_unsigned, allow_downgrade=allow_downgrade, looking=dry_run)
    if dry_run:
        return _planned(found, package, part, variant, vouched, session)
    before = _without_damage(before, found, package, session)
    session.store.prepare()
    with session.store.lease():
        done = bring(found, part, session, vouched)
        scanned: tuple[str, ...] = ()
        if vouched.verdict is not None and not _installed_like_this(before, found, part):
            scanned = gate(found, package, part, session, block=block, suppressions=suppressions)
        environment = _environment(package, session.local(found.reference), session) if runtime and part.runs else None
        record = _record(found, package, part, variant, environment, vouched, session)
        if environment is None and before is not None and before.descriptor.digest == record.descriptor.digest:
            record = replace(record, runtime=before.runtime, python=before.python)  # one that is there is kept
        session.installed.record(record)
    unchanged = before is not None and _same(before, record)
    return _result(record, done, part, (vouched.told, *scanned), unchanged=unchanged)


def _installed_like_this(before: Record | None, found: Found, part: Part) -> bool:
    """Return whether the same part of the same package was installed, and so scanned, before."""
    known = _of_this(before, found)
    return known is not None and known.partial == part.paths


def _same(before: Record, now: Record) -> bool:
    return (before.descriptor.digest, before.partial, before.runtime) == (
        now.descriptor.digest,
        now.partial,
        now.runtime,
    )


def _version(found: Found, package: Package) -> str:
    """Return the version to install under: other tools' are free text, and only what can be a tag is a folder."""
    try:
        return check_tag(tag_of(package.version))
    except ReferenceInvalid:
        return found.reference.tag or found.descriptor.digest.short


def _check_layers(part: Part, found: Found) -> None:
    packed = sorted({file.form for file in part.files if file.form != "raw"})
    if packed:
        raise LayersUnsupported(
            f"{found.reference} has layers packed as {', '.join(packed)}", subject=str(found.reference)
        )


def _bytes_needed(found: Found, part: Part, session: Session) -> int:
    """Return the bytes that installing will write: what the store lacks, as far as it does not lie here otherwise."""
    return room_needed(session.store.blobs, part.blobs, lambda lacking: spared(delta_of(found, session), lacking))


def _planned(
    found: Found, package: Package, part: Part, variant: str, vouched: Vouched, session: Session
) -> InstallResult:
    """Return what would happen; only manifests and chunk indexes are read for it."""
    lacking = [blob for blob in part.blobs if not session.store.blobs.exists(blob)]
    delta = delta_of(found, session)
    fetch = delta.needed(lacking) if delta is not None else Fetch(sum(blob.size for blob in lacking), len(lacking))
    return InstallResult(
        reference=found.reference,
        name=package.name,
        version=_version(found, package),
        digest=found.descriptor.digest,
        size=package.manifest.size,
        path="",
        variant=variant,
        signers=vouched.signers,
        source=found.origin,
        moved=fetch.size,
        requests=fetch.requests,
        linked="",
        runtime="",
        python="",
        notices=("nothing was fetched or changed", vouched.told),
        partial=part.told,
    )


def _record(
    found: Found,
    package: Package,
    part: Part,
    variant: str,
    environment: Environment | None,
    vouched: Vouched,
    session: Session,
) -> Record:
    """Lay the files out and return the record that will put them in use."""
    place = session.installed.place(found.reference, _version(found, package))
    session.on_event(Phase("linking", str(place), count=len(part.files)))
    with session.installed.staging(found.descriptor) as staging:
        files = [(file, session.store.blobs.path(file.descriptor.digest)) for file in part.files]
        linked = materialise(files, staging)
        vouched.lay_out(staging, found, session)
        path = session.installed.adopt(staging, place, found.descriptor, part.paths)
    return Record(
        reference=found.reference,
        name=package.name or found.reference.repository,
        version=_version(found, package),
        descriptor=found.descriptor,
        path=path,
        size=package.manifest.size,
        source=found.origin,
        variant=variant,
        signers=vouched.signers,
        linked=linked.how,
        installed_at=int(session.clock()),
        runtime=environment.key if environment else "",
        python=str(environment.python) if environment else "",
        allow_unsigned=vouched.unsigned,
        partial=part.paths,
    )


def _document(package: Package, source: Source, path: str) -> bytes:
    file: PackagedFile | None = package.file(path)
    return read_verified(source, file.descriptor) if file else b""


def runtime_of(package: Package, source: Source) -> RuntimeManifest:
    """Return the package's runtime manifest; packages of other tools have none and get engine ``none``."""
    data = _document(package, source, RUNTIME_PATH)
    return parse_runtime(data, RUNTIME_PATH) if data else RuntimeManifest(engine="none")


def _environment(package: Package, source: Source, session: Session) -> Environment | None:
    """Make the environment that the package's lock asks for, or the one its unlocked wishes mean today."""
    manifest = runtime_of(package, source)
    lock = _document(package, source, LOCK_PATH)
    if manifest.engine == "none" and not lock:
        return None
    if not lock and manifest.lock is not None:
        raise RuntimeFailed(f"{package.name} names a lock that is not in it", subject=package.name)
    try:
        if not lock:
            session.on_event(Notice(f"{package.name} was built without a lock; its requirements are resolved now"))
            lock = make_lock(manifest.requirements, manifest.python, session.index)
        return ensure(session.runtimes, lock, manifest.python, session.index, session.on_event)
    except ModelError as error:
        if error.hint:
            raise
        hint = "installml install --no-runtime lays out the files alone"
        raise type(error)(error.message, hint=hint, subject=error.subject) from error


def _in_use(found: Found, package: Package, session: Session) -> Record | None:
    """Return what is installed under this name and version now."""
    try:
        return session.installed.read(session.installed.place(found.reference, _version(found, package)))
    except InstallMLError:
        return None


def _without_damage(record: Record | None, found: Found, package: Package, session: Session) -> Record | None:
    """Return ``record``, or None after removing it when it is of what was found and somebody has damaged it."""
    if record is None or _of_this(record, found) is None or _whole(record, package):
        return record
    session.installed.remove(record)
    return None


def _of_this(record: Record | None, found: Found) -> Record | None:
    """Return ``record`` if it is an installation of what was found, whole or in part."""
    return record if record is not None and record.descriptor.digest == found.descriptor.digest else None


def _whole(record: Record, package: Package) -> bool:
    """Return whether every installed file is there in its size: reading gigabytes is up to ``cache verify``."""
    there = set(record.partial)
    files = [file for file in package.files if not there or file.path in there]
    try:
        return all((record.path / f.path).stat().st_size == f.descriptor.size for f in files)
    except OSError:
        return False


def _result(record: Record, done: Brought, part: Part, notices: tuple[str, ...], *, unchanged: bool) -> InstallResult:
    return InstallResult(
        reference=record.reference,
        name=record.name,
        version=record.version,
        digest=record.descriptor.digest,
        size=record.size,
        path=str(record.path),
        variant=record.variant,
        signers=record.signers,
        source=record.source,
        moved=done.copied.moved,
        seeded=done.seeded,
        linked=record.linked,
        runtime=record.runtime,
        python=record.python,
        unchanged=unchanged,
        notices=notices,
        partial=part.told,
    )


def find_installed(reference: str | Reference, session: Session) -> Record:
    """Return the installed model that ``reference`` means: the newest installation when it names no version.

    Raises:
        NotFound: None is installed.
        UsageError: Several models of that name come from different registries.
    """
    wanted = Reference.parse(reference) if isinstance(reference, str) else reference
    preferred = session.qualify(wanted)
    found = session.installed.find(preferred) or session.installed.find(wanted)
    registries = sorted({record.reference.registry for record in found})
    if len(registries) > 1:
        raise UsageError(
            f"{wanted} is installed from {' and '.join(registries)}",
            hint=f"Name one: {registries[0]}/{wanted}",
            subject=str(wanted),
        )
    if not found:
        raise NotFound(f"{wanted} is not installed", hint=f"installml install {wanted}", subject=str(wanted))
    return max(found, key=_age)


def _age(record: Record) -> tuple[int, int]:
    """Return when it was installed; two installations may fall into one second."""
    try:
        return record.installed_at, (record.path.parent / "record.json").stat().st_mtime_ns
    except OSError:
        return record.installed_at, 0


def uninstall(reference: str, *, session: Session = AMBIENT) -> UninstallResult:
    """Remove an installed model; its content goes with the next ``cache gc``.

    What a registry gave is forgotten by the local store as well. What was built here stays until
    ``remove --local``: there may be no other copy.

    Args:
        reference: The installed model.
        session: Collaborators.

    Raises:
        NotFound: It is not installed.
    """
    record = find_installed(reference, session)
    session.installed.remove(record)
    fetched = record.source == record.reference.registry
    if fetched and not any(_twin(record, other) for other in session.installed.records()):
        with contextlib.suppress(NotFound, IntegrityError):  # gone or damaged: what was asked for is done
            session.local(record.reference).delete(record.descriptor)
    return UninstallResult(record.reference, record.name, record.version, str(record.path))


def _twin(one: Record, other: Record) -> bool:
    """Return whether both stand on the same refs: one package of one repository, installed under two versions."""
    place = one.reference.registry, one.reference.repository, one.descriptor.digest
    return place == (other.reference.registry, other.reference.repository, other.descriptor.digest)
