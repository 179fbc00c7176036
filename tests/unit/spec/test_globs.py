"""Globs: the language, and that no glob can make it slow."""

from __future__ import annotations

import fnmatch
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from installml.spec.globs import Globs, matches


def expression(glob: str) -> re.Pattern[str]:
    """Return the same glob as a regular expression: short, and at the mercy of its author."""
    parts = re.split(r"(\*\*/|\*\*|\*|\?|\[[^\]]*\])", glob)
    table = {"**/": "(?:[^/]+/)*", "**": ".*", "*": "[^/]*", "?": "[^/]"}

    def one(part: str) -> str:
        if part.startswith("["):
            return fnmatch.translate(part).removeprefix("(?s:").rpartition(")")[0]
        return table.get(part) or re.escape(part)

    return re.compile("".join(map(one, parts)), re.DOTALL)


@pytest.mark.parametrize(
    ("glob", "meant", "not_meant"),
    [
        ("*.bin", ["a.bin", ".bin"], ["a/b.bin", "a.bin2"]),
        ("**", ["a", "a/b/c"], []),
        ("best/**", ["best/a", "best/a/b"], ["best", "other/best/a"]),
        ("**/*.bin", ["a.bin", "x/y/a.bin"], ["a.txt", "x//a.txt"]),
        ("a/**/b", ["a/b", "a/x/b", "a/x/y/b"], ["ab", "a/xb"]),
        ("model-?.gguf", ["model-1.gguf"], ["model-12.gguf", "model-/.gguf"]),
        ("[a-c].bin", ["a.bin", "c.bin"], ["d.bin", "[a-c].bin"]),
        ("[!a].bin", ["b.bin"], ["a.bin"]),
        ("[].bin", ["[].bin"], ["a.bin"]),
        ("[ab.bin", ["[ab.bin"], ["a.bin"]),
    ],
)
def test_the_language(glob: str, meant: list[str], not_meant: list[str]) -> None:
    assert [path for path in (*meant, *not_meant) if matches(path, (glob,))] == meant


def test_no_glob_means_nothing() -> None:
    assert not matches("a", ())


def test_one_of_several_globs_is_enough() -> None:
    globs = ("*.txt", "x/**")
    assert [path for path in ("a.txt", "x/y", "a.bin") if matches(path, globs)] == ["a.txt", "x/y"]


@given(st.text(st.sampled_from("ab/*?[]!-."), max_size=12), st.lists(st.text(st.sampled_from("ab/[]."), max_size=8)))
def test_it_is_the_same_language_as_the_regular_expression(glob: str, paths: list[str]) -> None:
    pattern = expression(glob)
    for path in paths:
        assert Globs([glob]).match(path) == bool(pattern.fullmatch(path)), path


@pytest.mark.parametrize("glob", ["*a" * 200 + "b", "**a" * 200 + "b", "**/" * 300 + "x", "**/****/" * 100 + "b"])
def test_a_glob_that_would_ruin_a_regular_expression_has_few_states(glob: str) -> None:
    globs = Globs([glob])
    assert not globs.match("a" * 250 + "/" + "a" * 250)
    assert len(globs._steps) <= 501  # one for each character: nothing was tried twice
