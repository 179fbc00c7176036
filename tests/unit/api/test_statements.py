"""What InstallML says about a package itself, signed, attached and read back as a policy reads it."""

from __future__ import annotations

import pickle
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from installml.api.attest import attach_statement, attestations_of
from installml.api.keys import keys_generate, signer_of
from installml.api.places import Found, find
from installml.api.pull import pull
from installml.api.push import push
from installml.api.scan import examine, gate_of, read_suppressions
from installml.api.session import Session
from installml.api.statements import Said, provenance_statement, sbom_statement, scan_statement
from installml.attesting.slsa import LOCAL_BUILDER
from installml.registry_server import RunningRegistry
from installml.trust.policy import NoWorseThan
from installml.trust.statement import ML_BOM, PROVENANCE, SCAN
from tests.unit.attesting.kit import cyclonedx_errors
from tests.unit.attesting.test_scan import CHECK

EVIL = b"cos\nsystem\n(S'true'\ntR."


@pytest.fixture
def packaged(registry: RunningRegistry, write_model: Callable[..., Path], session: Session) -> Found:
    files = {"weights.bin": b"w" * 100, "evil.pkl": EVIL, "plain.pkl": pickle.dumps({"a": 1})}
    folder = write_model(files=files)
    reference = f"{registry.address}/acme/sentiment:1.0.0"
    push(folder, tag=reference, session=session)
    return find(reference, session)


def scanned(packaged: Found, session: Session, suppressions: str = "") -> Said:
    pull(str(packaged.reference), session=session)
    report, outcome = examine(packaged.package(), session, gate_of("high"), read_suppressions(suppressions))
    return scan_statement(report, outcome, session)


def test_the_three_statements_are_attached_and_hold(packaged: Found, session: Session) -> None:
    keys_generate("ada", no_passphrase=True, session=session)
    statements = (
        sbom_statement(packaged, session), provenance_statement(packaged, session), scanned(packaged, session),
    )  # fmt: skip
    for said in statements:
        attach_statement(packaged, said.type, said.predicate, signer_of("ada", session), session)
    told = attestations_of(packaged, session)
    assert [(one.type, one.state, one.key) for one in told] == [
        (ML_BOM, "holds", "ada"), (SCAN, "holds", "ada"), (PROVENANCE, "holds", "ada"),
    ]  # fmt: skip
    assert [one.summary for one in told][1:] == ["worst finding: critical", f"built by {LOCAL_BUILDER}"]


def test_the_bill_of_materials_is_valid(packaged: Found, session: Session) -> None:
    assert cyclonedx_errors(sbom_statement(packaged, session).predicate) == []


def test_a_scan_says_what_it_found_as_policies_read_it(packaged: Found, session: Session) -> None:
    said = scanned(packaged, session)
    assert list(CHECK.iter_errors(said.predicate)) == []
    assert "critical" in NoWorseThan("high").unmet(said.predicate)
    assert said.predicate["findings"][0]["path"] == "evil.pkl"
    assert said.predicate["files"] == {"scanned": len(packaged.package().files), "skipped": 0}


def test_what_somebody_answers_for_stands_apart(packaged: Found, session: Session, tmp_path: Path) -> None:
    rule = scanned(packaged, session).predicate["findings"][0]["rule"]
    path = tmp_path / "suppressions.toml"
    path.write_text(
        f'[[suppress]]\nrule = "{rule}"\npath = "evil.pkl"\nreason = "a test"\nwho = "Ada"\nexpires = 2999-01-01\n'
    )
    predicate = scanned(packaged, session, str(path)).predicate
    assert predicate["suppressed"][0]["suppressed"] == {"reason": "a test", "by": "Ada", "expires": "2999-01-01"}
    assert rule not in [one["rule"] for one in predicate["findings"]]


def test_provenance_names_the_commit_that_the_folder_is_at(packaged: Found, session: Session, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    git = ["git", "-C", str(folder), "-c", "user.name=Ada", "-c", "user.email=ada@example.com"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "first"]):
        subprocess.run([*git, *words], check=True, capture_output=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    predicate = provenance_statement(packaged, session, folder=folder, builder="https://ci.example.com").predicate
    dependencies = {one["name"]: one for one in predicate["buildDefinition"]["resolvedDependencies"]}
    assert dependencies["source"]["digest"] == {"gitCommit": head}
    assert dependencies["recipe"]["digest"]["sha256"]
    assert predicate["runDetails"]["builder"]["id"] == "https://ci.example.com"


def test_a_folder_that_git_does_not_know_has_no_commit(packaged: Found, session: Session, tmp_path: Path) -> None:
    predicate = provenance_statement(packaged, session, folder=tmp_path / "model").predicate
    assert "source" not in [one["name"] for one in predicate["buildDefinition"]["resolvedDependencies"]]
