"""Names that mean the same file everywhere, and nothing else."""

from __future__ import annotations

import pytest

from installml.spec.paths import collisions, name_problem


@pytest.mark.parametrize(
    "name",
    [
        "a", "a/b/c", ".hidden", ".installml/runtime.json", "with space.txt", "日本語.bin", "a" * 255, "é" * 127,
        "console", "com10", "com", "xcon", "con-1", "nul_", "a.con", "...a", "-", "~", "#", "%20", "x\u200dy",
    ],
)  # fmt: skip
def test_names_that_every_system_takes(name: str) -> None:
    assert name_problem(name) == ""


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("", "empty"),
        ("x" * 4097, "too long"),
        ("/etc/passwd", "absolute"),
        ("..", "'..'"),
        ("../x", "'..'"),
        ("a/../../x", "'..'"),
        ("a/..", "'..'"),
        (".", "'.'"),
        ("a/./b", "'.'"),
        ("a//b", "''"),
        ("a/", "''"),
        ("C:/x", "Windows forbids: :"),
        ("a\\b", "Windows forbids"),
        ("..\\x", "Windows forbids"),
        ("a<b", "Windows forbids"),
        ('a"b', "Windows forbids"),
        ("a|b?c*", "Windows forbids"),
        ("a\nb", "control"),
        ("a\x00b", "control"),
        ("a\x7f", "control"),
        ("a\x9bb", "control"),
        ("a.", "dot or space"),
        ("a /b", "dot or space"),
        ("...", "dot or space"),
        ("é" * 128, "more than 255 bytes"),
        ("a/" + "b" * 256, "more than 255 bytes"),
        ("x\ud800", "not UTF-8"),
        ("con", "reserves"),
        ("CON", "reserves"),
        ("Con.txt", "reserves"),
        ("aux.tar.gz", "reserves"),
        ("nul .txt", "reserves"),
        ("a/prn/b", "reserves"),
        ("COM1", "reserves"),
        ("lpt9.log", "reserves"),
        ("com³", "reserves"),
        ("LPT¹.txt", "reserves"),
    ],
)
def test_names_that_some_system_does_not_take(name: str, problem: str) -> None:
    assert problem in name_problem(name)


@pytest.mark.parametrize(
    ("names", "pairs"),
    [
        (["a", "b"], []),
        (["a", "a"], []),
        (["README", "readme"], [("README", "readme")]),
        (["caf\u00e9", "cafe\u0301"], [("cafe\u0301", "caf\u00e9")]),
        (["STRASSE", "stra\u00dfe"], [("STRASSE", "stra\u00dfe")]),
        (["a", "a/b"], [("a", "a/b")]),
        (["A", "a/b"], [("A", "a/b")]),
        (["a/b", "a/b/c/d"], [("a/b", "a/b/c/d")]),
        (["Dir/x", "dir/y"], []),
        (["\u1e9e", "\u00df"], [("\u00df", "\u1e9e")]),
    ],
)
def test_names_that_some_system_takes_for_one(names: list[str], pairs: list[tuple[str, str]]) -> None:
    assert collisions(names) == pairs
    assert collisions(reversed(names)) == pairs
