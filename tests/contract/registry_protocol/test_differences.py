"""The table of differences in docs/registries.md is the one that the tests know."""

from __future__ import annotations

from pathlib import Path

from tests.contract.registry_protocol.clauses import TABLE
from tests.contract.registry_protocol.differences import BEGIN, END, KNOWN, section

PAGE = Path(__file__).resolve().parents[3] / "docs" / "registries.md"


def test_every_known_difference_names_a_clause() -> None:
    ids = {clause.id for clause in TABLE}
    assert {kind: sorted(set(known) - ids) for kind, known in KNOWN.items()} == {kind: [] for kind in KNOWN}


def test_the_documentation_shows_the_known_differences() -> None:
    text = PAGE.read_text()
    shown = text[text.index(BEGIN) : text.index(END) + len(END)]
    assert shown == section(), "run: python -m tests.contract.registry_protocol.differences"
