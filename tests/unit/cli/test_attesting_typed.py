"""``sbom``, ``attest`` and ``info --attestations`` as they are typed."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from installml.registry_server import RunningRegistry
from tests.unit.attesting.kit import cyclonedx_errors, spdx_error

Run = Callable[..., Any]


@pytest.fixture
def there(run: Run, model: Path, registry: RunningRegistry) -> str:
    """Return the reference of a package in a registry; this machine has one key."""
    reference = f"{registry.address}/acme/sentiment:1.0.0"
    assert run("push", model, "-t", reference).code == 0
    assert run("keys", "generate", "ada", "--no-passphrase").code == 0
    return reference


def test_a_bill_of_materials_goes_to_standard_output_and_nothing_else_does(run: Run, there: str) -> None:
    done = run("sbom", there)
    assert done.code == 0
    assert cyclonedx_errors(json.loads(done.out)) == []


def test_what_is_written_to_a_file_is_what_would_have_been_printed(run: Run, there: str, tmp_path: Path) -> None:
    printed = run("sbom", there, "--spec", "spdx").out
    done = run("sbom", there, "--spec", "spdx", "-o", tmp_path / "bom.json")
    assert "SPDX 3.0.1" in done.out
    written = (tmp_path / "bom.json").read_text()
    assert spdx_error(json.loads(written)) == ""
    same = json.loads(printed)
    same["@graph"][0]["created"] = json.loads(written)["@graph"][0]["created"]  # now, for a package without a date
    assert same == json.loads(written)


def test_in_json_the_document_is_a_member(run: Run, there: str) -> None:
    answer = run("sbom", there, "--format", "json").json
    assert (answer["kind"], answer["spec"]) == ("SbomResult", "CycloneDX 1.6")
    assert cyclonedx_errors(answer["document"]) == []


def test_an_unknown_standard_is_refused(run: Run, there: str) -> None:
    done = run("sbom", there, "--spec", "swid")
    assert done.code == 2
    assert "cyclonedx-1.7" in done.err


def test_a_predicate_from_standard_input_is_attached_and_listed(
    run: Run, there: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'{"worst": "low", "findings": []}')))
    assert run("attest", there, "--predicate", "-", "--type", "scan").code == 0
    shown = run("info", there, "--attestations").out
    assert "holds" in shown
    assert "worst finding: low" in shown


def test_in_json_every_attestation_says_who_and_what(run: Run, there: str, tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text("{}")
    done = run(
        "attest", there, "--predicate", tmp_path / "p.json", "--type", "https://x.example/v1", "--format", "json"
    )
    [told] = run("info", there, "--attestations", "--format", "json").json["attestations"]
    assert told["type"] == "https://x.example/v1"
    assert told["signer"] == f"key {done.json['signer']}"
    assert told["source"] == done.json["attestation"]


def test_text_in_a_predicate_cannot_reach_the_terminal(run: Run, there: str, tmp_path: Path) -> None:
    evil = {"runDetails": {"builder": {"id": "\x1b]0;owned\x07\x1b[31m"}}}
    (tmp_path / "p.json").write_text(json.dumps(evil))
    assert run("attest", there, "--predicate", tmp_path / "p.json", "--type", "provenance").code == 0
    assert "\x1b" not in run("info", there, "--attestations").out


def test_a_predicate_that_is_not_there_is_named(run: Run, there: str) -> None:
    done = run("attest", there, "--predicate", "nowhere.json", "--type", "scan")
    assert done.code == 2
    assert "nowhere.json" in done.err


@pytest.mark.parametrize("flag", ["--predicate", "--type"])
def test_a_flag_that_is_needed_is_asked_for(flag: str, run: Run, there: str, tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text("{}")
    words = {"--predicate": tmp_path / "p.json", "--type": "scan"}
    del words[flag]
    done = run("attest", there, *(word for pair in words.items() for word in pair))
    assert done.code == 2
    assert flag in done.err
