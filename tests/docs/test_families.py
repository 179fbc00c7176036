"""The table of registries on the page is the one in the code."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from installml.registry.quirks import FAMILIES, Quirks

ROOT = Path(__file__).resolve().parents[2]
_spec = importlib.util.spec_from_file_location("families", ROOT / "docs" / "families.py")
assert _spec is not None
assert _spec.loader is not None
families = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(families)


def test_the_page_has_the_table_of_the_code() -> None:
    text = families.PAGE.read_text("utf-8")
    assert families.page(text) == text, "run: python docs/families.py"


@pytest.mark.parametrize("row", FAMILIES.values(), ids=lambda row: row.family)
def test_every_registry_has_its_line(row: Quirks) -> None:
    assert families.line(row) in families.PAGE.read_text("utf-8")
