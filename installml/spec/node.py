"""A value under validation: knows where it stands in its document and collects every violation, not the first.

Used by the recipe, the manifests and the runtime and hardware documents, so that all of them answer alike.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

from ..errors import InstallMLError

__all__ = ["Node"]

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")

T = TypeVar("T")
MAX_VIOLATIONS = 100


@dataclass(slots=True)
class Node:
    """One value of a document.

    Attributes:
        value: The parsed value; None stands for absent.
        where: Its place, such as ``runtime.signature.inputs[0]``.
        violations: Sentences found so far, shared by all nodes of the document.
    """

    value: Any
    where: str = ""
    violations: list[str] = field(default_factory=list)

    def fail(self, sentence: str) -> None:
        """Record a violation at this place; a document that has very many is not listed to its end."""
        if len(self.violations) < MAX_VIOLATIONS:
            self.violations.append(f"{self.where}: {sentence}" if self.where else sentence)

    def __bool__(self) -> bool:
        return self.value is not None

    def _as(self, kind: type | tuple[type, ...], noun: str) -> Any:
        if self.value is None:
            return None
        if not isinstance(self.value, kind) or (isinstance(self.value, bool) and kind is not bool):
            self.fail(f"must be {noun}, not {_noun(self.value)}")
            return None
        return self.value

    def mapping(
        self, known: Collection[str], required: Collection[str] = (), *, open_: bool = False
    ) -> dict[str, Node]:
        """Return a node for each known key; unknown and missing keys are violations.

        Args:
            known: The keys that may stand here.
            required: Those that must.
            open_: Ignore unknown keys (documents of other tools) instead of refusing them.
        """
        value = self._as(dict, "a mapping") or {}
        for key in value:
            if len(self.violations) >= MAX_VIOLATIONS:
                break
            if key not in known and not open_:
                near = difflib.get_close_matches(str(key)[:80], known, 1)
                self.fail(f"unknown key {str(key)[:80]!r}" + (f", did you mean {near[0]!r}?" if near else ""))
        for key in required:
            if value.get(key) is None and isinstance(self.value, dict):
                self.fail(f"{key!r} is missing")
        return {key: self._child(value.get(key), f".{key}" if self.where else key) for key in known}

    def items(self) -> Iterator[tuple[str, Node]]:
        """Yield key and node of a mapping whose keys are free text."""
        for key, value in (self._as(dict, "a mapping") or {}).items():
            child = self._child(value, f"[{str(key)!r}]")
            if isinstance(key, str):
                yield key, child
            else:
                child.fail("keys must be text")

    def sequence(self, most: int = 10_000) -> list[Node]:
        """Return the nodes of a list; empty when absent. An entry that is nothing is a violation."""
        value = self._as(list, "a list") or []
        if len(value) > most:
            self.fail(f"has {len(value)} entries, at most {most} are allowed")
        nodes = [self._child(child, f"[{i}]") for i, child in enumerate(value[:most])]
        for node in nodes:
            if not node:
                node.fail("is empty")
        return nodes

    def _child(self, value: Any, step: str) -> Node:
        return Node(value, f"{self.where}{step}", self.violations)

    def string(self, default: str = "", *, pattern: str = "", noun: str = "", most: int = 4096) -> str:
        """Return a text, or ``default`` when absent or wrong.

        Args:
            default: Used when there is none.
            pattern: Regular expression that the whole text must match.
            noun: What the pattern means, for the sentence.
            most: Most characters.
        """
        value = self._as(str, "text")
        if value is None:
            return default
        if len(value) > most:
            self.fail(f"has {len(value)} characters, at most {most} are allowed")
        elif pattern and not re.fullmatch(pattern, value):
            self.fail(f"{value[:80]!r} is not {noun or 'of the form ' + pattern}")
        elif not pattern and _CONTROL.search(value):
            self.fail("contains control characters")
        else:
            return str(value)
        return default

    def choice(self, options: Collection[str], default: str = "") -> str:
        """Return one of ``options``."""
        value = self._as(str, "text")
        if value is None or value in options:
            return value or default
        near = difflib.get_close_matches(value, options, 1)
        tail = f", did you mean {near[0]!r}?" if near else f"; it is one of {', '.join(sorted(options))}"
        self.fail(f"{value[:80]!r} is not known{tail}")
        return default

    def integer(self, default: int = 0, *, least: int = 0, most: int = 2**63 - 1) -> int:
        """Return a whole number between the bounds."""
        value = self._as(int, "a whole number")
        if value is None:
            return default
        if not least <= value <= most:
            self.fail(f"{value} is not between {least} and {most}")
            return default
        return int(value)

    def number(self, default: float = 0.0, *, least: float = 0.0) -> float:
        """Return a finite number of at least ``least``."""
        value = self._as((int, float), "a number")
        if value is None:
            return default
        if not least <= value < float("inf"):
            self.fail(f"{value} is not a finite number of at least {least}")
            return default
        return float(value)

    def strings(self, *, pattern: str = "", noun: str = "", most: int = 10_000) -> tuple[str, ...]:
        """Return a list of texts."""
        return tuple(text for n in self.sequence(most) if (text := n.string(pattern=pattern, noun=noun)))

    def parsed(self, parse: Callable[[str], T], default: T | None = None) -> T | None:
        """Return what ``parse`` makes of a text; its InstallMLError becomes a violation."""
        value = self._as(str, "text")
        if value is None:
            return default
        try:
            return parse(value)
        except InstallMLError as error:
            self.fail(error.message)
            return default


_NOUNS: tuple[tuple[type, str], ...] = (
    (bool, "true/false"),
    (int, "a whole number"),
    (float, "a number"),
    (str, "text"),
    (list, "a list"),
    (dict, "a mapping"),
)


def _noun(value: object) -> str:
    return next((noun for kind, noun in _NOUNS if isinstance(value, kind)), type(value).__name__)
