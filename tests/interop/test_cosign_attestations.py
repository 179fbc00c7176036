"""Statements that ``attest`` attaches are verified by the real cosign, and those of ``cosign attest`` are read here."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from installml.api.attest import attest
from installml.api.info import info
from installml.api.keys import keys_export, keys_generate, keys_import
from installml.api.push import push
from installml.api.sbom import sbom
from installml.api.session import Session
from installml.registry_server import start
from installml.trust.statement import ML_BOM
from tests.services import tools
from tests.unit.api.kit import make_model, make_session

EVALUATION = "https://example.com/evaluation/v1"
REGISTRIES: dict[str, Callable[..., Any]] = {"embedded": start, "no referrers": tools.distribution3}


@dataclass(frozen=True)
class Stage:
    """A pushed package, somebody with a key, and cosign."""

    session: Session
    reference: str
    digest: str
    folder: Path

    @property
    def pinned(self) -> str:
        """The package by its digest, as cosign wants it."""
        return f"{self.reference.rpartition(':')[0]}@{self.digest}"

    def cosign(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run cosign without a transparency log."""
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "COSIGN_PASSWORD": ""}
        command = [str(tools.tool("cosign")), *words]
        return subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=60, check=False
        )

    def verified(self, kind: str) -> subprocess.CompletedProcess[str]:
        """Ask cosign whether there is an attestation of ``kind`` by our key."""
        return self.cosign(
            "verify-attestation", "--key", "ada.pub", "--type", kind, "--insecure-ignore-tlog=true",
            "--allow-http-registry", self.pinned,
        )  # fmt: skip


@pytest.fixture(params=REGISTRIES)
def stage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stage]:
    tools.need("cosign")
    with REGISTRIES[request.param]() as registry:
        session = make_session(tmp_path / "home", tmp_path / "user")
        reference = f"{registry.address}/acme/sentiment:1.0.0"
        pushed = push(make_model(tmp_path / "model"), tag=reference, session=session)
        keys_generate("ada", no_passphrase=True, session=session)
        (tmp_path / "ada.pub").write_text(keys_export("ada", session=session).text)
        yield Stage(session, reference, str(pushed.digest), tmp_path)


def test_cosign_verifies_our_bill_of_materials_and_gives_it_back(stage: Stage) -> None:
    document = sbom(stage.reference, session=stage.session).document
    attest(stage.reference, predicate=document, type_="sbom", session=stage.session)
    done = stage.verified("cyclonedx")
    assert done.returncode == 0, done.stderr
    statement = json.loads(base64.b64decode(json.loads(done.stdout)["payload"]))
    assert statement["predicateType"] == ML_BOM
    assert statement["predicate"] == json.loads(json.dumps(document))


def test_cosign_verifies_a_statement_of_any_type_and_no_other(stage: Stage) -> None:
    attest(stage.reference, predicate={"accuracy": 0.93}, type_=EVALUATION, session=stage.session)
    assert stage.verified(EVALUATION).returncode == 0
    assert stage.verified("cyclonedx").returncode != 0


def test_a_statement_by_cosign_is_read_here(stage: Stage) -> None:
    made = stage.cosign("generate-key-pair")
    assert made.returncode == 0, made.stderr
    (stage.folder / "evaluation.json").write_text('{"accuracy": 0.93}')
    done = stage.cosign(
        "attest", "--key", "cosign.key", "--predicate", "evaluation.json", "--type", EVALUATION, "--yes",
        "--tlog-upload=false", "--use-signing-config=false", "--allow-http-registry", stage.pinned,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    keys_import(str(stage.folder / "cosign.pub"), "bob", session=stage.session)
    [told] = info(stage.reference, attestations=True, session=stage.session).attestations or ()
    assert (told.type, told.state, told.key) == (EVALUATION, "holds", "bob")
