"""installml scan as a person or a CI job types it: exit codes, text that can be acted on, JSON and SARIF."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    folder = tmp_path / "bad"
    folder.mkdir()
    (folder / "config.json").write_text('{"auto_map": {"AutoModel": "modeling_x.XModel"}}')
    (folder / "installml.yaml").write_text("name: acme/bad\nversion: 1.0.0\nlicense: MIT\n")
    return folder


def test_a_blocked_scan_exits_4_and_says_what_where_why_and_what_to_do(run: Run, bad: Path) -> None:
    done = run("scan", bad)
    assert done.code == 4
    lines = done.out.splitlines()
    assert lines[0] == "high  config-auto-map  config.json, byte 1"
    assert "modeling_x.XModel" in lines[1]
    assert lines[2].startswith("    why: ")
    assert lines[3].startswith("    do: ")
    assert lines[-1] == "blocked: the gate lets nothing through from high on"


def test_a_clean_scan_exits_0(run: Run, model: Path) -> None:
    done = run("scan", model)
    assert done.code == 0
    assert "nothing found" in done.out


def test_never_tells_and_exits_0(run: Run, bad: Path) -> None:
    done = run("scan", bad, "--block", "never")
    assert done.code == 0
    assert "config-auto-map" in done.out
    assert "blocked" not in done.out


@pytest.mark.parametrize("order", [("scan", "--format", "json"), ("--format", "json", "scan")])
def test_json_is_one_document_wherever_the_flag_stands(run: Run, bad: Path, order: tuple[str, ...]) -> None:
    done = run(*order, bad)
    assert done.code == 4
    assert (done.json["schemaVersion"], done.json["kind"], done.json["blocked"]) == (1, "ScanResult", True)
    assert done.json["findings"][0]["rule"] == "config-auto-map"
    assert done.json["counts"] == {"high": 1}


def test_sarif_is_a_log_and_the_exit_code_is_the_same(run: Run, bad: Path) -> None:
    done = run("scan", bad, "--format", "sarif")
    assert done.code == 4
    log = json.loads(done.out)
    assert log["version"] == "2.1.0"
    assert log["runs"][0]["results"][0]["ruleId"] == "config-auto-map"


def test_a_suppressed_finding_is_told_with_who_and_why(run: Run, bad: Path, tmp_path: Path) -> None:
    keys = (
        'rule = "config-auto-map"',
        'path = "config.json"',
        'reason = "read"',
        'who = "ana"',
        "expires = 2999-01-01",
    )
    (tmp_path / "s.toml").write_text("\n".join(("[[suppress]]", *keys)))
    done = run("scan", bad, "--suppressions", tmp_path / "s.toml")
    assert done.code == 0
    assert "suppressed  config-auto-map  config.json, byte 1: read (ana, until 2999-01-01)" in done.out


def test_a_package_of_the_store_is_named_by_its_reference(run: Run, model: Path) -> None:
    assert run("build", model).code == 0
    assert run("scan", "acme/sentiment:1.0.0").code == 0


def test_a_word_that_is_no_severity_is_refused(run: Run, bad: Path) -> None:
    assert run("scan", bad, "--block", "huge").code == 2


def test_a_name_with_control_characters_does_not_reach_the_terminal(run: Run, bad: Path) -> None:
    (bad / "a\x1b[2Jb.jinja").write_text("{{ x.__class__ }}")
    assert "\x1b" not in run("scan", bad).out
