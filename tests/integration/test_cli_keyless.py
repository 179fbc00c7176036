"""The command line signs and verifies without a key, against a real Sigstore on loopback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from installml.registry_server import start
from tests.services.sigstore import Sigstore, sigstore
from tests.unit.api.kit import make_model

pytestmark = pytest.mark.integration

ANN = "ann@example.org"


@dataclass(frozen=True)
class Desk:
    """Somebody at a terminal: a home, a pushed package, and the local Sigstore's trust config."""

    folder: Path
    reference: str
    services: Sigstore

    def run(self, *words: str, stdin: str = "", **more: str) -> subprocess.CompletedProcess[str]:
        """Run one command line."""
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "INSTALLML_HOME": str(self.folder / "home"),
            "INSTALLML_TRUST_CONFIG": str(self.services.trust_config),
            **more,
        }
        return subprocess.run(
            [sys.executable, "-m", "installml", *words], cwd=self.folder, env=environment, input=stdin,
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    def token(self, identity: str = ANN) -> str:
        """Write an identity token into a file."""
        path = self.folder / "token"
        path.write_text(self.services.token(identity))
        return str(path)

    def signs(self) -> None:
        """Sign the package as ann."""
        done = self.run("sign", self.reference, "--identity-token", self.token())
        assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def services() -> Iterator[Sigstore]:
    with sigstore() as running:
        yield running


@pytest.fixture
def desk(services: Sigstore, tmp_path: Path) -> Iterator[Desk]:
    with start() as registry:
        made = Desk(tmp_path, f"{registry.address}/acme/sentiment:1.0.0", services)
        done = made.run("push", str(make_model(tmp_path / "model")), "--tag", made.reference)
        assert done.returncode == 0, done.stderr
        (tmp_path / "nonsense").write_text("no token")
        yield made


def test_who_signed_is_told_and_can_be_asked_for(desk: Desk) -> None:
    done = desk.run("--format", "json", "sign", desk.reference, "--keyless", "--identity-token", desk.token())
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["identity"], told["issuer"], told["key"]) == (ANN, desk.services.issuer, "")
    assert [each["over"] for each in told["signatures"]] == ["manifest", "files"]
    verified = desk.run("verify", desk.reference, "--identity", ANN, "--issuer", desk.services.issuer)
    assert verified.returncode == 0, verified.stderr
    assert ANN in verified.stdout


def test_the_next_command_that_is_told_works(desk: Desk) -> None:
    done = desk.run("sign", desk.reference, "--identity-token", desk.token())
    [told] = [line for line in done.stdout.splitlines() if line.startswith("next: ")]
    verified = desk.run(*told.removeprefix("next: installml ").split())
    assert verified.returncode == 0, verified.stderr


@pytest.mark.parametrize(
    ("identity", "issuer"), [("bob@example.org", ""), (ANN, "https://accounts.google.com"), ("ann", "")]
)
def test_what_somebody_else_would_have_to_have_signed_is_refused(identity: str, issuer: str, desk: Desk) -> None:
    desk.signs()
    done = desk.run("verify", desk.reference, "--identity", identity, "--issuer", issuer or desk.services.issuer)
    assert done.returncode == 4


def test_without_the_instances_roots_the_signature_proves_nothing(desk: Desk) -> None:
    desk.signs()
    words = ("verify", desk.reference, "--identity", ANN, "--issuer", desk.services.issuer)
    assert desk.run(*words, INSTALLML_TRUST_CONFIG="").returncode == 4


def test_whoever_trusts_the_identity_need_not_name_it(desk: Desk) -> None:
    desk.signs()
    assert desk.run("verify", desk.reference).returncode == 4
    prefix = desk.reference.rpartition("/")[0]
    added = desk.run("trust", "add", prefix, "--identity", ANN, "--issuer", desk.services.issuer)
    assert added.returncode == 0, added.stderr
    done = desk.run("verify", desk.reference)
    assert done.returncode == 0, done.stderr


def test_a_pull_needs_somebody_who_is_trusted(desk: Desk) -> None:
    desk.signs()
    elsewhere = {"INSTALLML_HOME": str(desk.folder / "another home")}
    refused = desk.run("pull", desk.reference, **elsewhere)
    assert refused.returncode == 4
    assert f"--identity {ANN} --issuer {desk.services.issuer}" in " ".join(refused.stderr.split())
    prefix = desk.reference.rpartition("/")[0]
    desk.run("trust", "add", prefix, "--identity", ANN, "--issuer", desk.services.issuer, **elsewhere)
    done = desk.run("pull", desk.reference, **elsewhere)
    assert done.returncode == 0, done.stderr


def test_a_token_comes_from_standard_input(desk: Desk) -> None:
    done = desk.run("sign", desk.reference, "--identity-token", "-", stdin=desk.services.token(ANN) + "\n")
    assert done.returncode == 0, done.stderr


def test_a_push_signs_as_somebody(desk: Desk) -> None:
    reference = desk.reference.replace(":1.0.0", ":1.0.1")
    done = desk.run("push", "model", "--tag", reference, "--sign", "--keyless", "--identity-token", desk.token())
    assert done.returncode == 0, done.stderr
    verified = desk.run("verify", reference, "--identity", ANN, "--issuer", desk.services.issuer)
    assert verified.returncode == 0, verified.stderr


def test_a_push_that_does_not_sign_needs_nobody(desk: Desk) -> None:
    done = desk.run("push", "model", "--tag", desk.reference, "--keyless")
    assert done.returncode == 2
    assert "Add --sign." in done.stderr


def test_a_statement_is_signed_by_somebody_too(desk: Desk) -> None:
    (desk.folder / "said.json").write_text('{"accuracy": 0.93}')
    done = desk.run(
        "attest", desk.reference, "--predicate", "said.json", "--type", "https://example.com/evaluation/v1",
        "--identity-token", desk.token(),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    listed = desk.run("info", desk.reference, "--attestations", "--format", "json")
    [statement] = json.loads(listed.stdout)["attestations"]
    assert (statement["signer"], statement["state"]) == (f"{ANN} ({desk.services.issuer})", "holds")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--keyless",), "nobody says who signs"),
        (("--keyless", "--key", "acme"), "not both"),
        (("--keyless", "--cosign-classic", "on"), "the classic form is signed with a key"),
        (("--identity-token", "nonsense"), "holds no identity token"),
        (("--identity-token", "missing"), "cannot be read"),
    ],
)
def test_a_wish_that_makes_no_sense_is_exit_code_2(words: tuple[str, ...], sentence: str, desk: Desk) -> None:
    done = desk.run("sign", desk.reference, *words)
    assert done.returncode == 2
    assert sentence in " ".join(done.stderr.split())
