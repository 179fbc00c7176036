"""What the verbs return. Each value has a stable JSON form: ``schemaVersion``, ``kind``, then its fields in camelCase.

Sizes are bytes, times seconds since the epoch, digests ``sha256:<hex>``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import PurePath
from typing import Any

from ..digest import Digest
from ..reference import Reference

__all__ = [
    "BuildResult",
    "CacheUsage",
    "CacheVerification",
    "Collection",
    "CopyResult",
    "DamagedBlob",
    "DemoDigit",
    "DemoResult",
    "DemoStep",
    "DoctorFinding",
    "DoctorReport",
    "ExportResult",
    "FileInfo",
    "HardwareReport",
    "IndexResult",
    "InfoResult",
    "InitResult",
    "InstallResult",
    "ListEntry",
    "ListResult",
    "LoginResult",
    "MendedBlob",
    "PartialFiles",
    "PredictResult",
    "PullResult",
    "PushResult",
    "RemoveResult",
    "RepairResult",
    "Result",
    "RunningServer",
    "ServerList",
    "SettingValue",
    "SettingsResult",
    "StopResult",
    "TagResult",
    "TagsResult",
    "TestResult",
    "Transfer",
    "UninstallResult",
    "UpdateInfo",
    "to_json",
]


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


def to_json(value: Any) -> Any:
    """Return ``value`` as plain JSON: dataclasses by field in camelCase, digests, references and paths as text."""
    if isinstance(value, Result):
        return {"schemaVersion": 1, "kind": type(value).__name__, **_fields(value)}
    if isinstance(value, (Digest, Reference, PurePath)):
        return str(value)
    if isinstance(value, Enum):
        return value.value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _fields(value)
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [to_json(item) for item in value]
    return value


def _fields(value: Any) -> dict[str, Any]:
    return {_camel(f.name): to_json(getattr(value, f.name)) for f in dataclasses.fields(value) if f.repr}


@dataclass(frozen=True, slots=True)
class Result:
    """Root of what verbs return."""


@dataclass(frozen=True, slots=True)
class InitResult(Result):
    """A recipe was written, or would be.

    Attributes:
        path: The recipe's file.
        recipe: Its text.
        format: What was recognised, best first; empty when nothing was.
        engine: Chosen engine.
        written: Files written, the recipe among them.
        notices: What could not be told and should be filled in by hand.
    """

    path: str
    recipe: str
    format: str
    engine: str
    written: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BuildResult(Result):
    """A package was built; ``destination`` is where it is: the local store or a registry."""

    reference: Reference
    name: str
    version: str
    digest: Digest
    size: int
    files: int
    destination: str
    notices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PushResult(Result):
    """A package was sent. ``moved`` counts bytes, ``blobs`` outcomes: copied, exists, mounted."""

    reference: Reference
    name: str
    version: str
    digest: Digest
    size: int
    moved: int
    blobs: Mapping[str, int] = field(default_factory=dict)
    notices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PartialFiles:
    """Some files of a package.

    Attributes:
        files: Their paths.
        of: Number of files of the whole package.
        size: Bytes of these files.
    """

    files: tuple[str, ...]
    of: int
    size: int


@dataclass(frozen=True, slots=True)
class PullResult(PushResult):
    """A package was fetched into the local store.

    Attributes:
        seeded: Bytes that this machine had in other files.
        partial: What of it is here now where files were left out; null when it is whole.
    """

    seeded: int = 0
    partial: PartialFiles | None = None


@dataclass(frozen=True, slots=True)
class IndexResult(Result):
    """Chunk indexes were attached to a package.

    Attributes:
        digest: The package.
        place: Where it is.
        files: Large files that have an index.
        chunks: Chunks of all of them.
        size: Bytes of the indexes.
        chunks_digest: One digest for all of them, for a signature to name; None when there is none.
        unchanged: They were there already, the same bytes.
    """

    reference: Reference
    digest: Digest
    place: str
    files: int
    chunks: int
    size: int
    chunks_digest: Digest | None
    unchanged: bool = False


@dataclass(frozen=True, slots=True)
class CopyResult(Result):
    """A package was copied from one place to another."""

    source: str
    destination: str
    digest: Digest
    size: int
    moved: int
    blobs: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ExportResult(CopyResult):
    """A package was written to an OCI layout folder."""


@dataclass(frozen=True, slots=True)
class TagsResult(Result):
    """Tags of one repository, in ASCII order."""

    repository: str
    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TagResult(Result):
    """A tag was set."""

    reference: Reference
    digest: Digest


@dataclass(frozen=True, slots=True)
class RemoveResult(Result):
    """A tag or manifest was removed from ``place``, a registry or the local store, or with ``dry_run`` would be."""

    reference: Reference
    place: str
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class LoginResult(Result):
    """Credentials were saved or forgotten; ``stored`` names the file or helper."""

    registry: str
    username: str
    stored: str


@dataclass(frozen=True, slots=True)
class FileInfo:
    """One file of a package."""

    path: str
    role: str
    size: int
    digest: Digest


@dataclass(frozen=True, slots=True)
class UpdateInfo:
    """What going from one package to another would fetch.

    Attributes:
        reference: The package that one comes from.
        size: Bytes of content, where that package is here with its chunk indexes.
        requests: Requests for them.
        files: Files that differ.
    """

    reference: Reference
    size: int
    requests: int
    files: int


@dataclass(frozen=True, slots=True)
class InfoResult(Result):
    """What a manifest tells; no blob was read.

    Attributes:
        place: Where the manifest was read.
        hardware: Profiles in words; empty when it runs anywhere.
        annotations: As they stand in the manifest.
        installed: Path when it is installed here, else empty.
        update: With ``--from``: what an update would fetch.
        checkpoints: Names that ``--checkpoint`` takes.
        partial: Which files are here (installed, or else in the local store) where some were left out.
    """

    reference: Reference
    name: str
    version: str
    digest: Digest
    size: int
    engine: str
    place: str
    description: str
    license: str
    hardware: tuple[str, ...]
    files: tuple[FileInfo, ...]
    annotations: Mapping[str, str]
    installed: str = ""
    update: UpdateInfo | None = None
    checkpoints: tuple[str, ...] = ()
    partial: PartialFiles | None = None


@dataclass(frozen=True, slots=True)
class ListEntry:
    """One package on this machine.

    Attributes:
        partial: Which files are here (installed, or else in the local store) where some were left out.
    """

    reference: Reference
    name: str
    version: str
    digest: Digest
    size: int
    installed: bool
    path: str = ""
    partial: PartialFiles | None = None


@dataclass(frozen=True, slots=True)
class ListResult(Result):
    """Packages on this machine."""

    packages: tuple[ListEntry, ...]


@dataclass(frozen=True, slots=True)
class InstallResult(Result):
    """A model is installed.

    Attributes:
        path: The read-only folder.
        variant: Hardware profile that fits, or empty.
        signers: Who vouches for it.
        source: Where the bytes came from.
        moved: Bytes fetched; with ``--dry-run``, that would be.
        seeded: Bytes that this machine had in other files.
        requests: With ``--dry-run``: requests for content that fetching would take.
        partial: Which files are installed where some were left out; null when it is whole.
        linked: How the files share the store's bytes.
        runtime: Key of the runtime environment, or empty.
        python: Its interpreter, or empty.
        unchanged: It was installed already, the same bytes.
        notices: What the reader should know, such as that nobody vouches for it.
    """

    reference: Reference
    name: str
    version: str
    digest: Digest
    size: int
    path: str
    variant: str
    signers: tuple[str, ...]
    source: str
    moved: int
    linked: str
    runtime: str
    python: str
    unchanged: bool = False
    notices: tuple[str, ...] = ()
    seeded: int = 0
    requests: int = 0
    partial: PartialFiles | None = None


@dataclass(frozen=True, slots=True)
class UninstallResult(Result):
    """A model is no longer installed; its content goes with the next ``cache gc`` unless it is needed elsewhere."""

    reference: Reference
    name: str
    version: str
    path: str


@dataclass(frozen=True, slots=True)
class RunningServer(Result):
    """A server that runs, or ran.

    Attributes:
        id: Unique on this machine.
        name: The served model's name.
        started: ISO 8601, UTC.
        log: Its log file.
        token: Bearer token that callers must send; not part of the JSON form.
    """

    id: str
    name: str
    version: str
    digest: str
    url: str
    pid: int
    started: str
    log: str
    token: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Transfer(Result):
    """A transfer that goes on in the background, or did.

    Attributes:
        id: Unique on this machine; what ``logs`` and ``stop`` take.
        verb: What it does, such as ``pull``.
        package: The reference as it was given.
        state: ``running``, ``done``, ``failed``, ``stopped``, or ``died``: gone without a word.
        phase: What it does, or did last.
        fraction: How much is done, from 0 to 1.
        done: Bytes that are there.
        total: Bytes of the package; 0 while unknown.
        speed: Bytes a second of the last seconds.
        started: ISO 8601, UTC.
        log: Its log file.
        message: Why it failed; empty otherwise.
    """

    id: str
    verb: str
    package: str
    state: str
    phase: str
    fraction: float
    done: int
    total: int
    speed: int
    pid: int
    started: str
    log: str
    message: str = ""


@dataclass(frozen=True, slots=True)
class ServerList(Result):
    """Servers of this machine, and its transfers in the background.

    Attributes:
        transfers: Those that go on, and those whose end was not shown yet; with ``--all`` every one that is known.
    """

    servers: tuple[RunningServer, ...]
    transfers: tuple[Transfer, ...] = ()


@dataclass(frozen=True, slots=True)
class StopResult(Result):
    """Servers and transfers that were stopped."""

    stopped: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PredictResult(Result):
    """A model's answer in the protocol's form.

    Attributes:
        outputs: As in the Open Inference Protocol v2: name, datatype, shape, data.
        served: URL of the server that answered; empty when a worker was started for it.
    """

    name: str
    version: str
    outputs: tuple[Mapping[str, Any], ...]
    served: str = ""


@dataclass(frozen=True, slots=True)
class TestResult(Result):
    """The packaged example was run.

    Attributes:
        passed: No difference was found.
        differences: Where the answer differs from the recorded one, in words.
        compared: Whether there was a recorded answer to compare with.
        recorded: File to which the answer was written, or empty.
    """

    __test__ = False  # pytest: not a test class

    name: str
    version: str
    passed: bool
    differences: tuple[str, ...]
    compared: bool
    recorded: str = ""


@dataclass(frozen=True, slots=True)
class CacheUsage(Result):
    """Bytes on disk by what holds them."""

    home: str
    packages: int
    reclaimable: int
    staging: int
    installed: int
    runtimes: int
    free: int


@dataclass(frozen=True, slots=True)
class Collection(Result):
    """What ``cache gc`` removed, or would."""

    blobs: int
    staging: int
    runtimes: int
    freed: int
    dry_run: bool


@dataclass(frozen=True, slots=True)
class DamagedBlob:
    """A blob that is not what its name says."""

    digest: Digest
    reason: str
    needed_by: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CacheVerification(Result):
    """Every blob was hashed again.

    Attributes:
        checked: Blobs that were hashed.
        damaged: Those that are not what their names say, or are missing.
        partial: Packages that are here in part; what was left out of them on purpose is not missing.
    """

    checked: int
    damaged: tuple[DamagedBlob, ...]
    partial: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MendedBlob:
    """A blob that was damaged and is sound again.

    Attributes:
        digest: The blob.
        size: Its bytes.
        fetched: Bytes that it took from a registry.
    """

    digest: Digest
    size: int
    fetched: int


@dataclass(frozen=True, slots=True)
class RepairResult(Result):
    """Every blob was hashed again, and those that were damaged are sound now.

    Attributes:
        checked: Blobs that were hashed.
        mended: Those that were damaged.
        moved: Bytes fetched.
        relinked: Files of installed models that were damaged with them and are sound again.
        partial: Packages that are here in part; what was left out of them on purpose is not fetched.
    """

    checked: int
    mended: tuple[MendedBlob, ...]
    moved: int
    relinked: tuple[str, ...] = ()
    partial: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HardwareReport(Result):
    """What this machine has, and whether a package fits.

    Attributes:
        machine: Facts by name.
        reference: The package asked about, or empty.
        fits: Whether it fits; None when no package was asked about.
        variant: The profile that fits.
        shortfalls: What is missing, in words.
    """

    machine: Mapping[str, Any]
    reference: str = ""
    fits: bool | None = None
    variant: str = ""
    shortfalls: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DoctorFinding:
    """One thing that was looked at. ``state`` is ``ok``, ``warning`` or ``problem``; ``hint`` is what to type."""

    check: str
    state: str
    message: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class DoctorReport(Result):
    """What is right and wrong with this machine."""

    findings: tuple[DoctorFinding, ...]


@dataclass(frozen=True, slots=True)
class SettingValue:
    """One setting, and where its value came from."""

    name: str
    value: Any
    origin: str


@dataclass(frozen=True, slots=True)
class SettingsResult(Result):
    """All settings."""

    settings: tuple[SettingValue, ...]


@dataclass(frozen=True, slots=True)
class DemoDigit:
    """One image of the demonstration: its 8 x 8 pixels (0 to 16), the truth and the model's answer."""

    pixels: tuple[tuple[int, ...], ...]
    truth: int
    answer: int
    confidence: float


@dataclass(frozen=True, slots=True)
class DemoStep:
    """One step of the demonstration: what could have been typed, what it did, and how many seconds it took."""

    command: str
    outcome: str
    seconds: float


@dataclass(frozen=True, slots=True)
class DemoResult(Result):
    """The demonstration ran to its end."""

    steps: tuple[DemoStep, ...]
    digits: tuple[DemoDigit, ...]
    wheels: tuple[str, ...]
    seconds: float
