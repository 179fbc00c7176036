"""Requirement lines, version specifiers and markers: the one door to ``packaging``, which is imported when used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from packaging.tags import Tag

from .errors import RequirementInvalid

__all__ = [
    "Requirement",
    "applies",
    "canonical_name",
    "comparable",
    "lowest_python",
    "parse",
    "python_allows",
    "wheel_of",
    "wheel_tags",
]

LOWEST_PYTHON = "3.11"
"""What a package that names no lowest Python is locked for: installml's own lowest."""


@dataclass(frozen=True, slots=True)
class Requirement:
    """One parsed requirement.

    Attributes:
        name: Canonical name (PEP 503).
        extras: Sorted extras.
        exact: The version, when it is pinned with ``==`` and nothing else; empty otherwise.
        marker: Environment marker, normalised; empty when it always applies.
        url: A direct reference; empty for a name from an index.
    """

    name: str
    extras: tuple[str, ...]
    exact: str
    marker: str
    url: str


def parse(text: str) -> Requirement:
    """Return the requirement that ``text`` spells (PEP 508).

    Raises:
        RequirementInvalid: It is none.
    """
    from packaging.requirements import InvalidRequirement
    from packaging.requirements import Requirement as Parsed

    try:
        parsed = Parsed(text)
    except InvalidRequirement as error:
        raise RequirementInvalid(f"{text[:120]!r} is not a requirement", subject=text[:120]) from error
    pins = [s.version for s in parsed.specifier if s.operator == "==" and not s.version.endswith(".*")]
    return Requirement(
        canonical_name(parsed.name),
        tuple(sorted(parsed.extras)),
        pins[0] if len(pins) == len(parsed.specifier) == 1 else "",
        str(parsed.marker) if parsed.marker else "",
        parsed.url or "",
    )


def canonical_name(name: str) -> str:
    """Return ``name`` as every index spells it (PEP 503)."""
    from packaging.utils import canonicalize_name

    return str(canonicalize_name(name))


def applies(marker: str, environment: Mapping[str, str]) -> bool:
    """Return whether ``marker`` holds here.

    Args:
        marker: From ``parse``; empty always holds.
        environment: Marker variables that differ from the running interpreter's (PEP 508, "Environment Markers").
    """
    from packaging.markers import Marker

    return not marker or Marker(marker).evaluate(dict(environment))


def python_allows(specifier: str, version: str) -> bool:
    """Return whether the Python ``version`` is one that ``specifier`` allows (PEP 440); an empty one allows all.

    Raises:
        RequirementInvalid: The specifier is none.
    """
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    try:
        return SpecifierSet(specifier).contains(version, prereleases=True)
    except InvalidSpecifier as error:
        raise RequirementInvalid(f"{specifier!r} is not a Python version specifier", subject=specifier) from error


def lowest_python(specifier: str) -> str:
    """Return the lowest Python that ``specifier`` allows, which is what a lock is made for.

    Raises:
        RequirementInvalid: The specifier is none, or allows only versions below ours without naming a lowest.
    """
    from packaging.specifiers import SpecifierSet
    from packaging.version import Version

    python_allows(specifier, LOWEST_PYTHON)  # refuses what is no specifier
    bounds = [s.version.removesuffix(".*") for s in SpecifierSet(specifier) if s.operator in (">=", "==", "~=", ">")]
    if not bounds and not python_allows(specifier, LOWEST_PYTHON):
        raise RequirementInvalid(f"{specifier!r} does not say the lowest Python", subject=specifier)
    return max(bounds, key=Version, default=LOWEST_PYTHON)


def wheel_tags(python: str) -> frozenset[Tag]:
    """Return the tags (PEP 425) of the wheels that CPython ``python``, a full version, can use on this machine."""
    from packaging.tags import compatible_tags, cpython_tags

    major, minor = map(int, python.split(".")[:2])
    interpreter = f"cp{major}{minor}"
    return frozenset((*cpython_tags((major, minor)), *compatible_tags((major, minor), interpreter)))


def wheel_of(filename: str, tags: frozenset[Tag]) -> tuple[str, str] | None:
    """Return name and version of a wheel's file name, to compare; None when none of ``tags`` is its own."""
    from packaging.utils import InvalidWheelFilename, parse_wheel_filename

    try:
        name, version, _, own = parse_wheel_filename(filename)
    except InvalidWheelFilename:
        return None
    return comparable(name, str(version)) if own & tags else None


def comparable(name: str, version: str) -> tuple[str, str]:
    """Return name and version so that equal ones are equal: ``1.0`` is ``1.0.0`` (PEP 440)."""
    from packaging.utils import canonicalize_version

    return canonical_name(name), canonicalize_version(version)
