"""What was said about packages in other people's formats."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ...digest import Digest
from ...reference import Reference
from .form import Result

__all__ = ["AttestResult", "AttestationInfo", "SbomResult"]


@dataclass(frozen=True, slots=True)
class AttestResult(Result):
    """A signed statement was attached to a package.

    Attributes:
        place: Where it was attached.
        type: Its predicate type.
        signer: Fingerprint of the key that signed it, or who did.
        attestation: Digest of the manifest that carries it.
        size: Bytes of the statement.
    """

    reference: Reference
    digest: Digest
    place: str
    type: str
    signer: str
    attestation: Digest
    size: int


@dataclass(frozen=True, slots=True)
class AttestationInfo:
    """One statement about a package, or what only looks like one. That it holds does not mean that anybody trusts it.

    Attributes:
        type: Its predicate type; empty when it could not be proved.
        signer: Who signed it; empty when that could not be proved.
        key: Name of the signer's key on this machine; empty when it has none.
        state: `holds`, `about-another`, `invalid`, `unknown-key`, `unreadable` or `unsupported`.
        made: When, ISO 8601 in UTC: a log's or timestamp's proof, else the signer's word; empty when nobody says.
        source: Digest of the manifest that carries it.
        summary: Of a scan, a bill of materials or a provenance, in a few words.
        reason: Why it does not hold; empty when it does.
    """

    type: str
    signer: str
    key: str
    state: str
    made: str
    source: Digest | None
    summary: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class SbomResult(Result):
    """The bill of materials of a package.

    Attributes:
        reference: The package; with ``local/`` when no registry has it.
        spec: Name and version of its specification.
        files: Files of the package, all listed.
        libraries: Python distributions of its lock; 0 without a lock.
        output: File that it was written to; empty when it is in ``document``.
        document: The bill of materials itself; empty when it was written to a file.
        notices: What could not be read, and so is not in it.
    """

    reference: Reference
    digest: Digest
    spec: str
    files: int
    libraries: int
    output: str = ""
    document: Mapping[str, Any] = field(default_factory=dict, hash=False)
    notices: tuple[str, ...] = ()
