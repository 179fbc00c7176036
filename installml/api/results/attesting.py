"""What was said about packages in other people's formats."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ...digest import Digest
from ...reference import Reference
from .form import Result

__all__ = ["SbomResult"]


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
