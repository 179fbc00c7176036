"""The page of results: what it says is what can be read back, and every row has its test."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.interop.table import PAGE, REGISTRIES, Observation, read, render, versions
from tests.services.programs import TOOLS, GoTool, PythonTool


def test_a_page_is_read_back_as_what_it_was_made_from() -> None:
    seen = {Observation("oras", "pull | cp", "all files", name, "test_a") for name in REGISTRIES}
    seen |= {
        Observation("crane", "validate", "valid", "embedded", "test_b"),
        Observation("skopeo", "inspect oci:", "same", "", "test_c"),
    }
    page = render(seen, {"oras": "1.3.2", "crane": "0.22.1"})
    assert {row.operation for row in read(page)} == {"pull / cp", "validate", "inspect oci:"}
    assert len(read(page)) == len(seen)
    assert versions(page) == {"oras": "1.3.2", "crane": "0.22.1"}
    assert render(read(page), versions(page)) == page


def test_every_row_of_the_page_has_its_test() -> None:
    tests = "".join(path.read_text("utf-8") for path in Path(__file__).parent.glob("test_*.py"))
    named = {row.test for row in read(PAGE.read_text("utf-8"))}
    assert named
    assert named <= set(re.findall(r"def (test_\w+)", tests))


def pinned_and_used() -> list[str]:
    """Return the programs of the page whose version is pinned here; services behind a test have no row."""
    used = {word for row in read(PAGE.read_text("utf-8")) for word in row.tool.split(", ")} | {"distribution3"}
    return [name for name, tool in TOOLS.items() if name in used and isinstance(tool, (GoTool, PythonTool))]


@pytest.mark.parametrize("name", pinned_and_used())
def test_the_page_names_the_pinned_versions_up_to_a_patch(name: str) -> None:
    assert _minor(versions(PAGE.read_text("utf-8"))[name]) == _minor(TOOLS[name].version())


def _minor(version: str) -> list[str]:
    return version.split(".")[:2]
