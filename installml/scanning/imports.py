"""What a pickle may import: the list in allowed.txt, and what is called dangerous, in dangerous.txt. Imports nothing.

An import is allowed by its module and its full name together. A dotted name ("core._internal.sys.modules") reaches
through a module to what that happens to import, so only whole names of the list count.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from functools import cache
from pathlib import Path

__all__ = ["Verdict", "does_harm", "judge"]

#: Parts of a module's path below which a class of that name may be somebody else's.
_NEVER_BELOW = frozenset(("tests", "test", "testing", "_testing", "conftest", "__main__", "externals", "io"))


class Verdict(Enum):
    """What is thought of an import."""

    allowed = "allowed"
    unknown = "unknown"
    dangerous = "dangerous"


def judge(module: str, name: str) -> Verdict:
    """Say whether a pickle may import ``name`` from ``module``, both exactly as the pickle spells them."""
    exact, below = _allowed()
    if name in exact.get(module, ()):
        return Verdict.allowed
    parts = module.split(".")
    if not _NEVER_BELOW.intersection(parts) and all(part.isidentifier() and part.isascii() for part in parts):
        packages = (".".join(parts[:count]) for count in range(1, len(parts) + 1))
        if any(name in below.get(package, ()) for package in packages):
            return Verdict.allowed
    if parts[0] in _dangerous()["modules"] or does_harm(name) or does_harm(parts[-1]):
        return Verdict.dangerous
    return Verdict.unknown


def does_harm(name: str) -> bool:
    """Say whether a name, or a part of a dotted one, is known for harm in whatever module it is found."""
    return not _dangerous()["names"].isdisjoint(name.split("."))


_Names = dict[str, frozenset[str]]


@cache
def _allowed() -> tuple[_Names, _Names]:
    """Return what allowed.txt says: names of exactly a module, and names of a module and all below it."""
    exact: _Names = {}
    below: _Names = {}
    for module, names in _lines("allowed.txt"):
        package = module.removesuffix(".*")
        table = exact if package == module else below
        table[package] = table.get(package, frozenset()) | names
    return exact, below


@cache
def _dangerous() -> _Names:
    table: _Names = {"modules": frozenset(), "names": frozenset()}
    for kind, words in _lines("dangerous.txt"):
        table[kind] |= words
    return table


def _lines(file: str) -> Iterator[tuple[str, frozenset[str]]]:
    module = ""
    for line in Path(__file__).with_name(file).read_text("utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        if not line.startswith(" "):
            module, _, line = line.partition(": ")
        yield module, frozenset(line.split())
