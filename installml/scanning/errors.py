"""What goes wrong around a scan; what it finds is no error.

::

    UsageError
    ├── SuppressionsInvalid    a file of suppressions that breaks its form (lists every violation)
    ├── AdvisoriesInvalid      a file or folder of advisories that is not OSV
    └── ScannerMissing         another scanner was asked for, and is not on this machine or failed
    TrustError
    └── ScanBlocked            the gate does not let a package through
"""

from __future__ import annotations

from collections.abc import Sequence

from installml.errors import TrustError, UsageError

__all__ = ["AdvisoriesInvalid", "ScanBlocked", "ScannerMissing", "SuppressionsInvalid"]


class SuppressionsInvalid(UsageError):
    """A file of suppressions breaks its form; every violation is listed at once."""

    reference = "suppressions-invalid"
    default_hint = "Each [[suppress]] needs rule, path, reason, who and expires (a date such as 2027-01-31)."

    def __init__(self, origin: str, violations: Sequence[str]) -> None:
        self.violations = tuple(violations)
        lines = "".join(f"\n  - {violation}" for violation in self.violations)
        super().__init__(f"{origin} is not valid:{lines}", subject=origin)


class AdvisoriesInvalid(UsageError):
    """A file or folder of advisories cannot be read as OSV documents."""

    reference = "advisories-invalid"
    default_hint = "Give a JSON file of OSV documents, or a folder of them (ossf.github.io/osv-schema)."


class ScannerMissing(UsageError):
    """Another scanner was asked for a second opinion and is not there, or did not give one."""

    reference = "scanner-missing"


class ScanBlocked(TrustError):
    """A scan found something that the policy does not let through."""

    reference = "scan-blocked"
    default_hint = "See what was found with: installml scan REF"
