"""Licences in SPDX's spelling, or as the names that they are."""

from __future__ import annotations

import json
from importlib.resources import files

import pytest
from packaging.licenses import _spdx

from installml.attesting.licences import Kind, read_licence


@pytest.mark.parametrize(
    ("text", "kind", "spelled"),
    [
        ("apache-2.0", Kind.ID, "Apache-2.0"),
        (" MIT ", Kind.ID, "MIT"),
        ("mit or apache-2.0", Kind.EXPRESSION, "MIT OR Apache-2.0"),
        ("GPL-2.0-only WITH Classpath-exception-2.0", Kind.EXPRESSION, "GPL-2.0-only WITH Classpath-exception-2.0"),
        ("LicenseRef-llama3.1", Kind.EXPRESSION, "LicenseRef-llama3.1"),
        ("Apache-2.0+", Kind.EXPRESSION, "Apache-2.0+"),
        ("Bob's licence", Kind.NAME, "Bob's licence"),
        ("MIT AND", Kind.NAME, "MIT AND"),
        ("(" * 300 + "MIT" + ")" * 300, Kind.NAME, "(" * 300 + "MIT" + ")" * 300),
        ("(" * 230 + "MIT" + ")" * 230, Kind.NAME, "(" * 230 + "MIT" + ")" * 230),
    ],
)  # fmt: skip
def test_what_a_text_is(text: str, kind: Kind, spelled: str) -> None:
    found = read_licence(text)
    assert found is not None
    assert (found.kind, found.text) == (kind, spelled)


def test_nothing_is_no_licence() -> None:
    assert read_licence("  ") is None


@pytest.mark.parametrize(
    ("text", "expression"),
    [("MIT", "MIT"), ("Bob's licence", "LicenseRef-Bob-s-licence"), ("!!!", "LicenseRef-unnamed")],
)
def test_everything_has_an_expression(text: str, expression: str) -> None:
    found = read_licence(text)
    assert found is not None
    assert found.expression == expression


def test_every_identifier_that_we_give_is_one_that_cyclonedx_knows() -> None:
    listed = json.loads(files("cyclonedx.schema._res").joinpath("spdx.SNAPSHOT.schema.json").read_text("utf-8"))
    assert {entry["id"] for entry in _spdx.LICENSES.values()} <= set(listed["enum"])
