"""Licences as SPDX spells them (SPDX 3.0.1, annex "SPDX license expressions"); the one door to ``packaging.licenses``.

That package carries the list of identifiers; it is imported when it is used.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Kind", "Licence", "read_licence"]

MAX_EXPRESSION = 500
"""Characters; longer ones are taken for a name, and never parsed."""
_OPERATORS = re.compile(r"[\s()]")


class Kind(StrEnum):
    """What a licence's text is."""

    ID = "id"
    EXPRESSION = "expression"
    NAME = "name"


@dataclass(frozen=True, slots=True)
class Licence:
    """A licence.

    Attributes:
        kind: ``id`` for one identifier of the SPDX list, ``expression`` for any other valid expression, ``name`` for
            what SPDX does not know.
        text: In SPDX's own spelling for the first two.
    """

    kind: Kind
    text: str

    @property
    def expression(self) -> str:
        """An SPDX expression; a name becomes a ``LicenseRef-`` of its letters and digits."""
        if self.kind is not Kind.NAME:
            return self.text
        return "LicenseRef-" + (re.sub(r"[^A-Za-z0-9.]+", "-", self.text)[:100].strip("-") or "unnamed")


def read_licence(text: str) -> Licence | None:
    """Return the licence that ``text`` names, or None for an empty text."""
    text = text.strip()
    if not text:
        return None
    spelled = _canonical(text) if len(text) <= MAX_EXPRESSION else ""
    if not spelled:
        return Licence(Kind.NAME, text)
    single = not _OPERATORS.search(spelled) and not spelled.startswith("LicenseRef-") and not spelled.endswith("+")
    return Licence(Kind.ID if single else Kind.EXPRESSION, spelled)


def _canonical(text: str) -> str:
    from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

    try:
        return str(canonicalize_license_expression(text))
    except (InvalidLicenseExpression, RecursionError, MemoryError, ValueError):
        return ""
