"""Every error that InstallML raises on purpose has its root, and its branch, here.

An error says what failed (message), whose fault it is (its branch), what to type next (hint), and carries
a stable kebab-case identifier (reference) and the thing it is about (subject). A branch fixes the exit code::

    InstallMLError                 1  failed
    ├── UsageError                 2  the caller asked for something that cannot be meant
    │   ├── ReferenceInvalid          a name that the grammar does not know
    │   ├── RecipeInvalid             installml.yaml or a manifest breaks its schema (lists every violation)
    │   ├── SettingInvalid            a configuration value
    │   ├── ChunkIndexInvalid         a chunk index that breaks its format (installml.spec.chunks)
    │   ├── NothingSelected           no file or checkpoint of the package is meant (installml.spec.subset)
    │   └── FormatError               a model file that is not what its header claims (file and offset)
    ├── NotFound                   1  nothing there under that name
    │   └── PackagePartial            only some of the package's files are here (installml.api.subset)
    ├── TransportError             1  the network between us and a registry (installml.registry.errors)
    ├── RegistryError              1  a registry answered, and its answer is no (installml.registry.errors)
    ├── StoreError                 1  the local disk: full, read-only, unreadable
    │   ├── DiskFull
    │   └── StoreUnusable
    ├── IntegrityError             3  bytes are not what their digest says
    │   ├── DigestMismatch
    │   ├── SizeMismatch
    │   └── SourceChanged             a file changed while it was read
    ├── TrustError                 4  nobody vouches for it
    ├── HardwareError              5  this machine cannot run it
    ├── ResolutionError            6  no version answers the wish
    ├── ModelError                 7  the model or its runtime failed
    └── Interrupted              130  Ctrl-C or SIGTERM

Subclasses that belong to one room live in that room. What lower libraries raise is translated once, at the
door where it enters.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

__all__ = [
    "DigestMismatch",
    "DiskFull",
    "FormatError",
    "HardwareError",
    "InstallMLError",
    "IntegrityError",
    "Interrupted",
    "ModelError",
    "NotFound",
    "RecipeInvalid",
    "ReferenceInvalid",
    "ResolutionError",
    "SettingInvalid",
    "SizeMismatch",
    "SourceChanged",
    "StoreError",
    "StoreUnusable",
    "TrustError",
    "UsageError",
]


class InstallMLError(Exception):
    """Root of every error raised on purpose.

    Args:
        message: What failed, in one plain sentence without a trailing full stop.
        hint: What to type or do next; overrides the class's own hint.
        subject: The reference, path or host that it is about.
    """

    reference: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 1
    default_hint: ClassVar[str] = ""

    def __init__(self, message: str, *, hint: str = "", subject: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.subject = subject
        self._hint = hint

    @property
    def hint(self) -> str:
        """What the reader can do about it; empty when there is nothing honest to say."""
        return self._hint or self.default_hint

    def __str__(self) -> str:
        return self.message


class UsageError(InstallMLError):
    """The request itself cannot be meant: wrong words, wrong file, wrong combination."""

    reference = "usage"
    exit_code = 2


class ReferenceInvalid(UsageError):
    """A name that the reference grammar does not know."""

    reference = "reference-invalid"
    default_hint = "A reference looks like registry.example.com/acme/sentiment:1.4.0 or acme/sentiment@sha256:<hex>."


class RecipeInvalid(UsageError):
    """A recipe or manifest breaks its schema; every violation is listed at once."""

    reference = "recipe-invalid"

    def __init__(self, origin: str, violations: Sequence[str], *, hint: str = "") -> None:
        self.violations = tuple(violations)
        lines = "".join(f"\n  - {violation}" for violation in self.violations)
        super().__init__(f"{origin} is not valid:{lines}", hint=hint, subject=origin)


class SettingInvalid(UsageError):
    """A configuration value cannot be used; says which one and where it came from."""

    reference = "setting-invalid"
    default_hint = "Show every setting and its origin with: installml config show"


class FormatError(UsageError):
    """A model file is not what its name or header claims.

    Args:
        path: The file, as the user knows it.
        reason: What is wrong there.
        offset: Byte position in the file where reading stopped making sense.
    """

    reference = "format-invalid"
    default_hint = "The file may be truncated or of another format; fetch or export it again."

    def __init__(self, path: str, reason: str, *, offset: int = 0, hint: str = "") -> None:
        self.path = path
        self.offset = offset
        super().__init__(f"{path}: {reason} (at byte {offset})", hint=hint, subject=path)


class NotFound(InstallMLError):
    """There is nothing under that name."""

    reference = "not-found"


class StoreError(InstallMLError):
    """The local disk refused."""

    reference = "store"


class DiskFull(StoreError):
    """No room for the bytes: on the disk, in a quota, or within the largest file allowed. What has arrived is kept."""

    reference = "disk-full"
    default_hint = (
        "Free some with: installml cache gc (what takes room: installml cache df), or choose another disk with "
        "--home DIR or INSTALLML_HOME."
    )


class StoreUnusable(StoreError):
    """The store cannot be read or written: permissions, a read-only file system, a file in a folder's place."""

    reference = "store-unusable"
    default_hint = "Choose another place with --home DIR or INSTALLML_HOME."


class IntegrityError(InstallMLError):
    """Bytes are not what their digest says."""

    reference = "integrity"
    exit_code = 3


class DigestMismatch(IntegrityError):
    """The bytes received are not the bytes that were named."""

    reference = "digest-mismatch"
    default_hint = "Nothing was kept. Try another mirror, or ask the registry's owner to verify its storage."

    def __init__(self, expected: str, actual: str, origin: str) -> None:
        self.expected = expected
        self.actual = actual
        super().__init__(f"{origin} gave {actual} for {expected}", subject=origin)


class SizeMismatch(IntegrityError):
    """More or fewer bytes arrived than the descriptor names."""

    reference = "size-mismatch"
    default_hint = "Nothing was kept. The transfer was cut short or the registry's storage is damaged; try again."

    def __init__(self, expected: int, actual: str, origin: str) -> None:
        super().__init__(f"{origin} gave {actual} bytes where {expected} were named", subject=origin)


class SourceChanged(IntegrityError):
    """A file of the model folder changed while it was being read."""

    reference = "source-changed"
    default_hint = "Wait until nothing writes to the folder, then build again."

    def __init__(self, path: str) -> None:
        super().__init__(f"{path} changed while it was read", subject=path)


class TrustError(InstallMLError):
    """Nobody that this machine trusts vouches for it."""

    reference = "trust"
    exit_code = 4


class HardwareError(InstallMLError):
    """This machine cannot run the package."""

    reference = "hardware"
    exit_code = 5


class ResolutionError(InstallMLError):
    """No version answers the wish."""

    reference = "unresolvable"
    exit_code = 6


class ModelError(InstallMLError):
    """The model or its runtime failed: environment, load, inference."""

    reference = "model"
    exit_code = 7


class Interrupted(InstallMLError):
    """Somebody pressed Ctrl-C or sent SIGTERM; what had arrived whole is kept."""

    reference = "interrupted"
    exit_code = 130
