"""Which files of a package are wanted when not all are: by glob, or by the name of a checkpoint.

``dev.installml.checkpoints`` of the manifest says which files make a checkpoint. Files that are in none belong to all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ..errors import UsageError
from .canonical import canonical, parse_json
from .globs import matches
from .media import ANNOTATION_CHECKPOINTS, OWN_FOLDER
from .node import Node
from .package import NotAPackage, Package, PackagedFile

__all__ = [
    "EVERYTHING", "MAX_CHECKPOINTS", "NothingSelected", "Wish", "checkpoint_problems", "checkpoints_of",
    "checkpoints_text", "select_files",
]  # fmt: skip

MAX_CHECKPOINTS = 2048
"""Bytes of the annotation: it travels with every look at the manifest."""

_LISTED = 20


class NothingSelected(UsageError):
    """What was asked for is no part of the package; the hint lists what there is."""

    reference = "nothing-selected"


@dataclass(frozen=True, slots=True)
class Wish:
    """Which part of a package somebody wants; all of it when nothing is said.

    Attributes:
        only: Globs of package paths.
        checkpoint: Name of one of its checkpoints.
    """

    only: tuple[str, ...] = ()
    checkpoint: str = ""

    def __post_init__(self) -> None:
        if self.only and self.checkpoint:
            raise UsageError("files are chosen by glob or by checkpoint, not both", hint="Leave out --checkpoint.")

    def __bool__(self) -> bool:
        return bool(self.only or self.checkpoint)


EVERYTHING = Wish()


def checkpoints_text(checkpoints: Mapping[str, tuple[str, ...]]) -> str:
    """Return the annotation's value; empty when there are no checkpoints."""
    if not checkpoints:
        return ""
    return canonical({name: list(globs) for name, globs in checkpoints.items()}).decode()


def checkpoint_problems(checkpoints: Mapping[str, tuple[str, ...]], paths: Iterable[str]) -> list[str]:
    """Return what is wrong with a recipe's checkpoints, given the paths of its files: sentences."""
    paths, size = list(paths), len(checkpoints_text(checkpoints).encode())
    problems = [
        f"checkpoints[{name!r}]: no file of the package is meant by {', '.join(globs) or 'it'}"
        for name, globs in checkpoints.items()
        if not any(matches(path, globs) for path in paths)
    ]
    if "" in checkpoints:
        problems.append("checkpoints: a checkpoint needs a name")
    if size > MAX_CHECKPOINTS:
        problems.append(f"checkpoints: they take {size} bytes, at most {MAX_CHECKPOINTS} are allowed; use fewer globs")
    return problems


def checkpoints_of(package: Package) -> dict[str, tuple[str, ...]]:
    """Return the checkpoints of a package: name to globs.

    Raises:
        NotAPackage: The annotation is not what it should be.
    """
    text = package.annotations.get(ANNOTATION_CHECKPOINTS, "")
    if not text:
        return {}
    node = Node(parse_json(text.encode(), f"annotation {ANNOTATION_CHECKPOINTS}", cap=MAX_CHECKPOINTS))
    found = {name: child.strings() for name, child in node.items()}
    if node.violations:
        raise NotAPackage(f"the annotation {ANNOTATION_CHECKPOINTS} is not valid: {'; '.join(node.violations)}")
    return found


def select_files(package: Package, wish: Wish, origin: str) -> tuple[PackagedFile, ...]:
    """Return the files that ``wish`` means, in the package's order; our own small documents always come.

    Args:
        package: The package.
        wish: What is wanted.
        origin: The package's name, for errors.

    Raises:
        NothingSelected: No file is meant, or there is no such checkpoint.
        NotAPackage: Its checkpoints cannot be read.
    """
    if not wish:
        return package.files
    meant = _by_checkpoint(package, wish.checkpoint, origin) if wish.checkpoint else _by_glob(package, wish, origin)
    return tuple(file for file in package.files if file.path in meant or file.path.startswith(f"{OWN_FOLDER}/"))


def _by_glob(package: Package, wish: Wish, origin: str) -> set[str]:
    paths = [file.path for file in package.files]
    meant = {path for path in paths if matches(path, wish.only)}
    if not meant:
        theirs = [path for path in paths if not path.startswith(f"{OWN_FOLDER}/")]
        raise NothingSelected(
            f"no file of {origin} is meant by {' or '.join(wish.only)}",
            hint=f"It has {_listing(theirs)}; all of them: installml info {origin}",
            subject=origin,
        )
    return meant


def _by_checkpoint(package: Package, name: str, origin: str) -> set[str]:
    checkpoints = checkpoints_of(package)
    if name not in checkpoints:
        named = f"It has {_listing(checkpoints)}; name one: --checkpoint {next(iter(checkpoints), '')}"
        unnamed = f"It names none. Choose files: --only GLOB; see them with: installml info {origin}"
        hint = named if checkpoints else unnamed
        raise NothingSelected(f"{origin} has no checkpoint {name!r}", hint=hint, subject=origin)
    others = tuple(glob for globs in checkpoints.values() for glob in globs)
    paths = [file.path for file in package.files]
    return {path for path in paths if matches(path, checkpoints[name]) or not matches(path, others)}


def _listing(names: Iterable[str]) -> str:
    shown = list(names)
    more = f" and {len(shown) - _LISTED} more" if len(shown) > _LISTED else ""
    return ", ".join(shown[:_LISTED]) + more
