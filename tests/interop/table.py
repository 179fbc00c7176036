"""What other people's tools do with our packages, and we with theirs: the page `docs/interop.md` as rows.

`python tests/interop/table.py` runs the tests of this folder and writes the page from what they saw; every later run
of the tests is held against it. Only the standard library is imported.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["PAGE", "REGISTRIES", "VARIABLE", "Observation", "read", "render", "versions"]

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "interop.md"
VARIABLE = "INSTALLML_INTEROP_RESULTS"
"""Names the file that a run leaves its observations in, instead of being held against the page."""

REGISTRIES = ("distribution 2.8", "distribution 3", "go-containerregistry", "embedded")
EVERY = "every one"
NOWHERE = "none: folders only"

INTRODUCTION = """# Interoperability

What other people's tools do with packages that InstallML made, and what InstallML does with theirs. Each row is an
assertion of a test in `tests/interop/`, named in the last column, and holds for the registries in the column before.

The package of the tests is made to be difficult: a dot folder, a name with a space, one in another script, nested
code, an empty file, an executable script, README and LICENSE, 5 MiB of weights; and a second one with a lock.
"All files" means the same tree, byte for byte, as `installml install` lays out.

This page is written by `python tests/interop/table.py`; a test fails when a tool starts to behave otherwise.

## Versions

| tool | version |
|---|---|
"""
RESULTS = """
## Results

| tool | operation | result | registries | test |
|---|---|---|---|---|
"""


@dataclass(frozen=True, slots=True, order=True)
class Observation:
    """One fact that one test saw with one registry; the registry is empty where none took part."""

    tool: str
    operation: str
    result: str
    registry: str
    test: str


def render(observations: Iterable[Observation], tools: Mapping[str, str]) -> str:
    """Return the page."""
    rows: dict[tuple[str, str, str, str], set[str]] = {}
    for seen in observations:
        rows.setdefault((seen.tool, seen.operation, seen.result, seen.test), set()).add(seen.registry)
    lines = [_line(tool, number) for tool, number in sorted(tools.items())]
    results = [
        _line(tool, operation, result, _named(registries), f"`{test}`")
        for (tool, operation, result, test), registries in sorted(rows.items())
    ]
    return INTRODUCTION + "".join(lines) + RESULTS + "".join(results)


def _line(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |\n"


def _named(registries: set[str]) -> str:
    if registries == set(REGISTRIES):
        return EVERY
    return ", ".join(name for name in REGISTRIES if name in registries) or NOWHERE


def read(page: str) -> set[Observation]:
    """Return what the page says, one observation for each registry of a row."""
    found = set()
    for tool, operation, result, registries, test in _cells(page.partition("## Results")[2], 5):
        names = {EVERY: REGISTRIES, NOWHERE: ("",)}.get(registries) or registries.split(", ")
        found |= {Observation(tool, operation, result, name, test.strip("`")) for name in names}
    return found


def versions(page: str) -> dict[str, str]:
    """Return tool and version as the page has them."""
    section = page.partition("## Versions")[2].partition("## Results")[0]
    return {tool: number for tool, number in _cells(section, 2)}


def _cells(section: str, count: int) -> list[list[str]]:
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| ")]
    return [row for row in rows[1:] if len(row) == count]


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder, "results.json")
        run = [sys.executable, "-m", "pytest", "-q", "-m", "integration", str(ROOT / "tests" / "interop")]
        code = subprocess.run(run, cwd=ROOT, env={**os.environ, VARIABLE: str(results), "CI": "true"}).returncode
        if code:
            return code
        seen = json.loads(results.read_text("utf-8"))
    PAGE.write_text(render([Observation(*row) for row in seen["observations"]], seen["versions"]), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
