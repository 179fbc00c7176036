"""File names inside a package: one rule for titles and filepaths, at build and at install.

A name is a relative POSIX path that means the same file on every operating system, and never one outside.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

__all__ = ["MAX_COMPONENT", "collisions", "name_problem"]

MAX_COMPONENT = 255  # bytes; the limit of ext4, XFS, APFS and NTFS
MAX_PATH = 4096
_RESERVED = {"con", "prn", "aux", "nul", *(f"{port}{i}" for port in ("com", "lpt") for i in "123456789¹²³")}
_FORBIDDEN = set('<>:"|?*\\')


def name_problem(name: str) -> str:
    """Return why ``name`` cannot be a file of a package, or an empty string.

    The Windows names and characters are those of "Naming Files, Paths, and Namespaces".
    """
    if not name or len(name) > MAX_PATH:
        return "is empty or too long"
    try:
        name.encode()
    except UnicodeEncodeError:
        return "is not UTF-8"
    if name.startswith("/"):
        return "is absolute"
    return next((problem for part in name.split("/") if (problem := _part_problem(part))), "")


def _part_problem(part: str) -> str:
    if part in {"", ".", ".."}:
        return f"has a component {part!r}"
    if len(part.encode()) > MAX_COMPONENT:
        return f"has a component of more than {MAX_COMPONENT} bytes"
    if any(unicodedata.category(c) in {"Cc", "Cs"} for c in part):
        return "contains control characters"
    if set(part) & _FORBIDDEN:
        return "contains a character that Windows forbids: " + " ".join(sorted(set(part) & _FORBIDDEN))
    if part[-1] in ". ":
        return "has a component that ends in a dot or space"
    if part.split(".")[0].rstrip().lower() in _RESERVED:
        return f"has a component that Windows reserves: {part}"
    return ""


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def collisions(names: Iterable[str]) -> list[tuple[str, str]]:
    """Return pairs of names that some file system takes for one, or where one is a folder of the other.

    Names are compared under NFC and case folding (APFS, NTFS).
    """
    ordered = sorted(set(names))
    by_fold: dict[str, str] = {}
    pairs = []
    for name in ordered:
        first = by_fold.setdefault(_folded(name), name)
        if first != name:
            pairs.append((first, name))
    for name in ordered:
        parts = name.split("/")
        for depth in range(1, len(parts)):
            owner = by_fold.get(_folded("/".join(parts[:depth])))
            if owner is not None:
                pairs.append((owner, name))
    return pairs
