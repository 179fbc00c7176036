"""``install`` and ``uninstall``: all or nothing, step by step (cli.md, "install, step by step").

Resolve to a digest once; read the manifest; refuse what cannot fit before any blob moves; fetch with every byte
checked; lay out; make the runtime environment; and only then write the record that puts the model in use.
"""

from __future__ import annotations

from ..digest import Digest
from ..errors import InstallMLError, ModelError, NotFound, UsageError
from ..events import Notice, Phase
from ..hardware.match import require
from ..reference import Reference
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
from ..store.verified import read_verified
from .places import Found, find
from .pull import bring
from .results import InstallResult, UninstallResult
from .session import AMBIENT, Session

__all__ = ["LayersUnsupported", "find_installed", "install", "runtime_of", "uninstall"]

UNVERIFIED = "not verified: nobody's signature was checked; signing arrives with a later version"


class LayersUnsupported(UsageError):
    """The package has layers that this version cannot lay out."""

    reference = "layers-unsupported"
    default_hint = "Pack it again with raw layers; with modctl: modctl build --raw."


def install(
    reference: str,
    *,
    runtime: bool = True,
    allow_unsigned: bool = False,
    dry_run: bool = False,
    session: Session = AMBIENT,
) -> InstallResult:
    """Install a model so that it can be served.

    Args:
        reference: The package.
        runtime: Also make its runtime environment.
        allow_unsigned: Accepted for scripts that will need it, and recorded; this version checks no signatures.
        dry_run: Stop after the checks; nothing is fetched or changed.
        session: Collaborators.

    Returns:
        Where it is and how it was proved.

    Raises:
        NotFound: Neither registry nor local store has it.
        NotAPackage: It is something else.
        HardwareError: This machine cannot run it; nothing was fetched.
        IntegrityError: Bytes are not what was named; the previous version stays in use.
        ModelError: The runtime environment cannot be made; the previous version stays in use.
    """
    session.on_event(Phase("resolving", reference))
    found = find(reference, session)
    package = found.package()
    _check_layers(package, found)
    need = _bytes_needed(package, session)
    profile = require(package.profiles, session.machine(), need, str(found.reference))
    variant = profile.name if profile else ""
    if dry_run:
        return _planned(found, package, variant, need)
    before = _in_use(found, package, session)
    session.store.prepare()
    with session.store.lease():
        done = bring(found, session)
        record = _record(found, package, variant, runtime, allow_unsigned, session)
    return _result(record, done.moved, unchanged=before == record.descriptor.digest)


def _version(found: Found, package: Package) -> str:
    return tag_of(package.version) or found.reference.tag or found.descriptor.digest.short


def _check_layers(package: Package, found: Found) -> None:
    packed = sorted({file.form for file in package.files if file.form != "raw"})
    if packed:
        raise LayersUnsupported(
            f"{found.reference} has layers packed as {', '.join(packed)}", subject=str(found.reference)
        )


def _bytes_needed(package: Package, session: Session) -> int:
    """Return the bytes that installing will write: what the store lacks already."""
    blobs = session.store.blobs
    return sum(blob.size for blob in package.manifest.blobs if not blobs.exists(blob))


def _planned(found: Found, package: Package, variant: str, need: int) -> InstallResult:
    return InstallResult(
        reference=found.reference,
        name=package.name,
        version=_version(found, package),
        digest=found.descriptor.digest,
        size=package.size,
        path="",
        variant=variant,
        signers=(),
        source=found.origin,
        moved=need,
        linked="",
        runtime="",
        python="",
        notices=("nothing was fetched or changed", UNVERIFIED),
    )


def _record(
    found: Found, package: Package, variant: str, runtime: bool, allow_unsigned: bool, session: Session
) -> Record:
    local = session.local(found.reference)
    environment = _environment(package, local, session) if runtime else None
    place = session.installed.place(found.reference, _version(found, package))
    session.on_event(Phase("linking", str(place), count=len(package.files)))
    with session.installed.staging(found.descriptor) as staging:
        files = [(file, session.store.blobs.path(file.descriptor.digest)) for file in package.files]
        linked = materialise(files, staging)
        path = session.installed.adopt(staging, place, found.descriptor)
    record = Record(
        reference=found.reference,
        name=package.name or found.reference.repository,
        version=_version(found, package),
        descriptor=found.descriptor,
        path=path,
        size=package.size,
        source=found.origin,
        variant=variant,
        linked=linked.how,
        installed_at=int(session.clock()),
        runtime=environment.key if environment else "",
        python=str(environment.python) if environment else "",
        allow_unsigned=allow_unsigned,
    )
    session.installed.record(record)
    return record


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
    if not lock:
        session.on_event(Notice(f"{package.name} was built without a lock; its requirements are resolved now"))
        lock = make_lock(manifest.requirements, manifest.python, session.index)
    try:
        return ensure(session.runtimes, lock, manifest.python, session.index, session.on_event)
    except InstallMLError as error:
        if not isinstance(error, ModelError) or error.hint:
            raise
        raise RuntimeFailed(error.message, hint="installml install --no-runtime lays out the files alone") from error


def _in_use(found: Found, package: Package, session: Session) -> Digest | None:
    """Return the digest that is installed under this name and version now."""
    try:
        return session.installed.read(
            session.installed.place(found.reference, _version(found, package))
        ).descriptor.digest
    except InstallMLError:
        return None


def _result(record: Record, moved: int, *, unchanged: bool) -> InstallResult:
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
        moved=moved,
        linked=record.linked,
        runtime=record.runtime,
        python=record.python,
        unchanged=unchanged,
        notices=(UNVERIFIED,),
    )


def find_installed(reference: str | Reference, session: Session) -> Record:
    """Return the installed model that ``reference`` means: the newest installation when it names no version.

    Raises:
        NotFound: None is installed.
        UsageError: Several models of that name come from different registries.
    """
    wanted = Reference.parse(reference) if isinstance(reference, str) else reference
    found = session.installed.find(wanted)
    registries = sorted({record.reference.registry for record in found})
    if len(registries) > 1:
        preferred = session.qualify(wanted)
        own = [record for record in found if record.reference.registry == preferred.registry]
        if not own:
            raise UsageError(
                f"{wanted} is installed from {' and '.join(registries)}",
                hint=f"Name one: {registries[0]}/{wanted}",
                subject=str(wanted),
            )
        found = own
    if not found:
        raise NotFound(f"{wanted} is not installed", hint=f"installml install {wanted}", subject=str(wanted))
    return found[0]


def uninstall(reference: str, *, session: Session = AMBIENT) -> UninstallResult:
    """Remove an installed model and its refs in the local store; its content goes with the next ``cache gc``.

    Args:
        reference: The installed model.
        session: Collaborators.

    Raises:
        NotFound: It is not installed.
    """
    record = find_installed(reference, session)
    session.installed.remove(record)
    local = session.local(record.reference)
    others = [r for r in session.installed.records() if r.descriptor.digest == record.descriptor.digest]
    if not others:
        try:
            local.delete(record.descriptor)
        except NotFound:
            pass  # its content is gone already; what was asked for is done
    return UninstallResult(record.reference, record.name, record.version, str(record.path))
