"""``installml trust``, as a person or a script types it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.signatures

Run = Callable[..., Any]
KEY = "sha256:" + "a" * 64
OFF = '[[rules]]\nprefix = "*"\nlevel = "off"\n'


def test_a_machine_that_trusts_nobody_says_what_happens_and_what_to_type(run: Run) -> None:
    lines = run("trust", "list").out.splitlines()
    assert lines == [
        "nobody is trusted in advance; somebody at a terminal is asked at the first use of a signed package",
        "trust somebody with: installml trust add REGISTRY/PATH --key FILE",
    ]


def test_who_was_added_is_listed_as_a_document(run: Run) -> None:
    assert run("trust", "add", "r.example/acme", "--key", KEY).code == 0
    document = run("trust", "list", "--format", "json").json
    assert (document["kind"], [rule["prefix"] for rule in document["rules"]]) == ("TrustListResult", ["r.example/acme"])


def test_a_mistake_in_the_policy_is_told_with_its_place_and_exit_code_2(run: Run, home: Path) -> None:
    (home / "trust").mkdir(parents=True)
    (home / "trust" / "trust.toml").write_text('[[rules]]\nprefix = "*"\nlevle = "off"\n')
    answer = run("trust", "policy", "show")
    assert answer.code == 2
    assert "rules[0]: unknown key 'levle', did you mean 'level'?" in answer.err


@pytest.mark.parametrize("before", [True, False])
def test_a_policy_is_given_before_or_behind_the_verb(run: Run, tmp_path: Path, before: bool) -> None:
    given = tmp_path / "given.toml"
    given.write_text(OFF)
    flag = ("--policy", str(given))
    words = (*flag, "trust", "policy", "show") if before else ("trust", "policy", "show", *flag)
    assert f"*       off    not looked at  {given}" in run(*words).out


def test_a_policy_is_given_by_the_environment(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = tmp_path / "given.toml"
    given.write_text(OFF)
    monkeypatch.setenv("INSTALLML_POLICY", str(given))
    assert run("trust", "policy", "show", "r.example/x", "--format", "json").json["decides"]["level"] == "off"


def test_a_policy_that_is_not_there_is_an_error_and_not_the_default(run: Run, tmp_path: Path) -> None:
    answer = run("--policy", str(tmp_path / "none.toml"), "trust", "list")
    assert (answer.code, "cannot be read" in answer.err) == (2, True)


def test_a_package_that_nobody_signed_is_explained_with_exit_code_4(run: Run, model: Path) -> None:
    assert run("build", str(model), "-t", "local/acme/sentiment:1.0.0").code == 0
    answer = run("trust", "test", "local/acme/sentiment:1.0.0")
    assert answer.code == 4
    assert "local/acme/sentiment is not signed" in answer.out
    assert run("trust", "test", "local/acme/sentiment:1.0.0", "--allow-unsigned").code == 0


def test_forgetting_without_a_terminal_asks_nobody(run: Run) -> None:
    run("trust", "rotate", "r.example/acme/x", "--key", KEY)
    assert "forgot who was trusted and what was seen" in run("trust", "rotate", "r.example/acme/x").out
    assert "nobody is trusted in advance" in run("trust", "list").out
