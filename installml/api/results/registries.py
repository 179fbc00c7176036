"""What became of names and credentials in a registry."""

from __future__ import annotations

from dataclasses import dataclass

from ...digest import Digest
from ...reference import Reference
from .form import Result

__all__ = [
    "LoginResult",
    "RemoveResult",
    "TagResult",
    "TagsResult",
]


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
