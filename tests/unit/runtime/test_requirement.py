from __future__ import annotations

import pytest

from installml.runtime.errors import RequirementInvalid
from installml.runtime.requirement import applies, comparable, lowest_python, parse, python_allows


@pytest.mark.parametrize(
    ("specifier", "lowest"),
    [
        ("", "3.11"),
        (">=3.11,<3.13", "3.11"),
        (">=3.12.4", "3.12.4"),
        ("==3.12.*", "3.12"),
        ("~=3.11", "3.11"),
        ("<3.13", "3.11"),
        (">3.10,>=3.9", "3.10"),
    ],
)
def test_a_lock_is_made_for_the_lowest_python_allowed(specifier: str, lowest: str) -> None:
    assert lowest_python(specifier) == lowest


@pytest.mark.parametrize("specifier", ["python3", ">=", "<3.10", "3.11"])
def test_a_specifier_without_meaning_is_refused(specifier: str) -> None:
    with pytest.raises(RequirementInvalid) as caught:
        lowest_python(specifier)

    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("specifier", "version", "allowed"),
    [("", "3.99.0", True), (">=3.11,<3.13", "3.12.9", True), (">=3.11,<3.13", "3.13.0", False),
     (">=3.14", "3.14.0rc2", False), (">=3.11", "3.14.0rc2", True), ("!=3.11.2", "3.11.2", False)],
)  # fmt: skip
def test_a_python_is_allowed_by_the_rules_of_versions(specifier: str, version: str, allowed: bool) -> None:
    assert python_allows(specifier, version) is allowed


def test_a_requirement_knows_whether_it_is_pinned() -> None:
    assert parse("Foo_Bar==1.0").exact == "1.0"
    assert parse("foo").exact == ""
    assert parse("foo>=1").exact == ""
    assert parse("foo==1.*").exact == ""
    assert parse("Foo_Bar").name == "foo-bar"


def test_a_marker_holds_for_the_environment_that_is_named() -> None:
    assert applies("", {})
    assert applies("python_version >= '3.13'", {"python_version": "3.13"})
    assert not applies("python_version >= '3.13'", {"python_version": "3.9"})


def test_equal_versions_compare_equal() -> None:
    assert comparable("Foo.bar", "1.0.0") == comparable("foo-bar", "1.0")
    assert comparable("foo", "1.0") != comparable("foo", "1.0.1")
