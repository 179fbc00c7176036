"""Every block of every page is run, and prints what the page says."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
_spec = importlib.util.spec_from_file_location("docs_blocks", ROOT / "docs" / "blocks.py")
assert _spec is not None
assert _spec.loader is not None
documented = importlib.util.module_from_spec(_spec)
sys.modules["docs_blocks"] = documented
_spec.loader.exec_module(documented)

PAGES = [
    page
    for page in sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
    if any(block.run for block in documented.blocks(page.read_text("utf-8")))
]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_a_page_says_what_happens(page: Path) -> None:
    assert documented.check(page) == []


def test_a_wrong_page_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```console\n$ installml --version\ninstallml is something else\n```\n")
    (wrong,) = documented.check(page)
    assert "page.md:1: $ installml --version" in wrong


def test_every_block_that_is_not_run_says_why() -> None:
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for block in documented.blocks(page.read_text("utf-8")):
            assert block.run or "not run: " in page.read_text("utf-8")
