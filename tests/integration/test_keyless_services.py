"""Signing as somebody against a real Sigstore on loopback: where the identity comes from, and what happens without."""

from __future__ import annotations

import json
import threading
import urllib.request
import webbrowser
from collections.abc import Iterator
from pathlib import Path

import pytest

from installml.digest import Digest
from installml.signing.errors import SigningFailed
from installml.signing.keyless import KeylessSigner, open_verifier
from installml.signing.secret import Secret
from installml.trust.bundle import Certificates
from installml.trust.evidence import IdentitySigner
from installml.trust.statement import COSIGN_SIGN, Statement, Subject
from tests.services.servers import HOST, free_port
from tests.services.sigstore import JOB, PERSON, Sigstore, provider, sigstore

pytestmark = pytest.mark.integration

STATEMENT = Statement((Subject("", (Digest.of(b"the package"),)),), COSIGN_SIGN).to_bytes()


@pytest.fixture(scope="module")
def services() -> Iterator[Sigstore]:
    with sigstore() as running:
        yield running


@pytest.fixture(autouse=True)
def no_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let it look as if this were no CI job."""
    for name in ("GITHUB_ACTIONS", "GITLAB_CI", "CIRCLECI", "BUILDKITE", "SIGSTORE_ID_TOKEN"):
        monkeypatch.delenv(name, raising=False)


def test_a_token_says_who_signs(services: Sigstore) -> None:
    signer = KeylessSigner(services.trust_config, token=Secret(services.token("bob@example.org")))
    bundle, proved = signer.sign(STATEMENT)
    assert proved.signer == IdentitySigner("bob@example.org", services.issuer)
    assert bundle.envelope.payload == STATEMENT
    assert open_verifier(services.trusted_root).verify(bundle.to_bytes(), "the bundle") == proved


def test_one_identity_serves_several_statements(services: Sigstore) -> None:
    signer = KeylessSigner(services.trust_config, token=Secret(services.token(PERSON)))
    other = Statement((Subject("", (Digest.of(b"another package"),)),), COSIGN_SIGN).to_bytes()
    bundles = [signer.bundle(each) for each in (STATEMENT, other)]
    assert [each.envelope.payload for each in bundles] == [STATEMENT, other]
    assert isinstance(bundles[0].material, Certificates)
    assert bundles[0].material == bundles[1].material
    assert bundles[0].log_entries != bundles[1].log_entries


def test_a_ci_job_signs_as_itself(services: Sigstore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "the job's own")
    monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_URL", f"{services.issuer}/job?api-version=2.0")
    _, proved = KeylessSigner(services.trust_config).sign(STATEMENT)
    assert proved.signer == IdentitySigner(JOB, services.issuer)


def test_a_person_signs_by_logging_in_with_a_browser(services: Sigstore, monkeypatch: pytest.MonkeyPatch) -> None:
    visits: list[threading.Thread] = []

    def visit(url: str) -> bool:
        visits.append(threading.Thread(target=lambda: urllib.request.urlopen(url, timeout=20).close()))
        visits[-1].start()
        return True

    monkeypatch.setattr(webbrowser, "open", visit)
    _, proved = KeylessSigner(services.trust_config, browser=True).sign(STATEMENT)
    visits[0].join()
    assert proved.signer == IdentitySigner(PERSON, services.issuer)


def test_a_token_goes_before_the_ci_job(services: Sigstore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "the job's own")
    monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_URL", f"{services.issuer}/job?api-version=2.0")
    _, proved = KeylessSigner(services.trust_config, token=Secret(services.token("bob@example.org"))).sign(STATEMENT)
    assert proved.signer == IdentitySigner("bob@example.org", services.issuer)


@pytest.mark.parametrize("service", ["caUrls", "rekorTlogUrls", "tsaUrls"])
def test_without_one_of_the_services_nothing_is_signed(service: str, services: Sigstore, tmp_path: Path) -> None:
    config = json.loads(services.trust_config.read_text())
    config["signingConfig"][service][0]["url"] = f"http://{HOST}:{free_port()}"
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config))
    with pytest.raises(SigningFailed):
        KeylessSigner(path, token=Secret(services.token(PERSON))).bundle(STATEMENT)


def test_a_token_of_another_provider_is_not_given_a_certificate(services: Sigstore) -> None:
    with provider() as other, pytest.raises(SigningFailed, match="400 Client Error"):
        KeylessSigner(services.trust_config, token=Secret(other.token(PERSON))).bundle(STATEMENT)
