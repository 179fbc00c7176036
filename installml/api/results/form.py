"""The root of what verbs return, and its JSON form."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import PurePath
from typing import Any

from ...digest import Digest
from ...reference import Reference

__all__ = ["Result", "camel", "to_json"]


def camel(name: str) -> str:
    """Return the name that a field has in JSON."""
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
    return {camel(f.name): to_json(getattr(value, f.name)) for f in dataclasses.fields(value) if f.repr}


@dataclass(frozen=True, slots=True)
class Result:
    """Root of what verbs return."""
