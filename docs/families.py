"""Write the table of registries into docs/registries.md from the code. ``python docs/families.py`` writes.

A test compares what this would write with what is there, so the table cannot rot.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from installml.registry.quirks import FAMILIES, Quirks  # noqa: E402

PAGE = ROOT / "docs" / "registries.md"
BEGIN = "<!-- registry families: begin (written by docs/families.py from installml/registry/quirks.py) -->\n"
END = "<!-- registry families: end -->\n"


def line(row: Quirks) -> str:
    """Return one family as one line of the table."""
    told = "<br>".join(f"{fact.habit}: **{fact.answer}**" for fact in row.facts)
    sources = "<br>".join(dict.fromkeys(fact.source for fact in row.facts))
    cells = [f"{row.title} (`{row.family}`)", told, sources]
    return "| " + " | ".join(cell.replace("|", "\\|").replace("_", "\\_") for cell in cells) + " |\n"


def section() -> str:
    """Return the generated part of the page."""
    rows = sorted(FAMILIES.values(), key=lambda row: row.title.lower())
    head = "| registry | what it does: **what we do** | how that is known |\n|---|---|---|\n"
    return f"{BEGIN}\n{head}{''.join(map(line, rows))}\n{END}"


def page(text: str) -> str:
    """Return the page with the generated part put in its place."""
    before, _, rest = text.partition(BEGIN)
    return before + section() + rest.partition(END)[2]


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text("utf-8")), "utf-8")
