"""How locking and making an environment can fail."""

from __future__ import annotations

from ..errors import InstallMLError, IntegrityError, ModelError, ResolutionError, UsageError

__all__ = [
    "HashMismatch",
    "IndexUnreachable",
    "LockInvalid",
    "NoSolution",
    "PythonMissing",
    "RequirementInvalid",
    "RuntimeFailed",
    "WheelsMissing",
]

BRING_WHEELS = (
    "On a machine with a network and the same platform: pip download --require-hashes --no-deps "
    "--only-binary :all: -r .installml/requirements.lock -d wheels; then copy the folder here and set "
    "INSTALLML_WHEELS=wheels"
)


class RequirementInvalid(UsageError):
    """A requirement or Python version specifier that cannot be locked."""

    reference = "requirement-invalid"
    default_hint = "Write names with versions (PEP 508), such as numpy>=2.1; Python as in >=3.11,<3.13."


class LockInvalid(IntegrityError):
    """A package's lock has a line that a lock must not have."""

    reference = "lock-invalid"
    default_hint = "A lock holds only lines like: name==1.2.3 --hash=sha256:<hex>. Ask the package's author to rebuild."


class HashMismatch(IntegrityError):
    """The index or wheel folder gave another file than the one that was locked."""

    reference = "wheel-hash-mismatch"
    default_hint = "Nothing was installed. Use another index (INSTALLML_INDEX), or ask the package's author to rebuild."


class NoSolution(ResolutionError):
    """No set of versions, or no wheel for this machine, satisfies the requirements."""

    reference = "requirements-unsatisfiable"
    default_hint = "Loosen the requirement that is named, or use an index that has the version."


class IndexUnreachable(InstallMLError):
    """The package index cannot be reached or refuses."""

    reference = "index-unreachable"
    default_hint = "Check network, proxy and INSTALLML_INDEX; with wheels in a folder set INSTALLML_WHEELS=DIR."


class WheelsMissing(ModelError):
    """Without a network, not all wheels are on this machine."""

    reference = "wheels-missing"
    default_hint = BRING_WHEELS


class PythonMissing(ModelError):
    """No interpreter on this machine is what the package asks for."""

    reference = "python-missing"


class RuntimeFailed(ModelError):
    """The environment could not be made for another reason; uv's own words are in the message."""

    reference = "runtime-failed"
