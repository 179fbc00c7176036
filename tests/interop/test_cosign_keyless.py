"""Keyless both ways against a local Sigstore: cosign signs and we verify, we sign and cosign verifies.

What must not pass is tried on both sides: another identity, another issuer, other roots of trust, another package.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from installml.api.push import push
from installml.api.session import Session
from installml.digest import Digest
from installml.reference import Reference
from installml.registry_server import start
from installml.signing.attach import attach_bundle
from installml.signing.collect import collect
from installml.signing.keyless import KeylessSigner, open_verifier
from installml.signing.proof import Proofs
from installml.signing.secret import Secret
from installml.testing.sigstore import SimulatedSigstore
from installml.trust.claims import annotations_of
from installml.trust.evidence import Claims, Evidence, IdentitySigner, UnprovedKind
from installml.trust.statement import COSIGN_SIGN, Statement, Subject
from tests.interop.conftest import Observed
from tests.services import tools
from tests.services.sigstore import Sigstore, sigstore
from tests.unit.api.kit import make_model, make_session

pytestmark = pytest.mark.integration

ANN, BOB = "ann@example.org", "bob@example.org"


@dataclass(frozen=True)
class Stage:
    """A pushed package, cosign, and a Sigstore on this machine."""

    session: Session
    reference: Reference
    digest: Digest
    folder: Path
    services: Sigstore
    kind: str = "embedded"

    def cosign(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run cosign, which has no network but loopback to gain anything from."""
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.folder)}
        pinned = f"{self.reference.registry}/{self.reference.repository}@{self.digest}"
        command = [str(tools.tool("cosign")), *words, "--allow-http-registry", pinned]
        return subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=60, check=False
        )

    def cosign_signs(self, identity: str = ANN) -> None:
        """Let cosign sign the package as somebody."""
        token = self.folder / "token"
        token.write_text(self.services.token(identity))
        done = self.cosign(
            "sign", "--yes", "--identity-token", str(token), "--signing-config", str(self.services.signing_config),
            "--trusted-root", str(self.services.trusted_root),
        )  # fmt: skip
        assert done.returncode == 0, done.stderr

    def cosign_verifies(
        self, *, identity: str = ANN, issuer: str = "", root: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Ask cosign whether somebody signed the package."""
        return self.cosign(
            "verify", "--trusted-root", str(root or self.services.trusted_root), "--certificate-identity", identity,
            "--certificate-oidc-issuer", issuer or self.services.issuer,
        )  # fmt: skip

    def we_sign(self, identity: str = ANN, about: Digest | None = None) -> None:
        """Sign the package as somebody, and attach that."""
        claims = Claims(str(self.reference), "1.0.0", 1_790_000_000)
        statement = Statement((Subject("", (about or self.digest,), annotations_of(claims)),), COSIGN_SIGN)
        signer = KeylessSigner(self.services.trust_config, token=Secret(self.services.token(identity)))
        place = self.session.remote(self.reference)
        attach_bundle(place, place.resolve(self.reference.tag), signer.bundle(statement.to_bytes()))

    def we_verify(self, root: Path | None = None) -> Evidence:
        """Collect what proves something about the package."""
        place = self.session.remote(self.reference)
        verifier = open_verifier(root or self.services.trusted_root)
        return collect(place, place.resolve(self.reference.tag), Proofs(self.digest, certificates=verifier))


@pytest.fixture(scope="module")
def services() -> Iterator[Sigstore]:
    tools.need("cosign")
    with sigstore() as running:
        yield running


@pytest.fixture
def here(services: Sigstore, tmp_path: Path) -> Iterator[Stage]:
    with start() as registry:
        session = make_session(tmp_path / "home", tmp_path / "user")
        reference = Reference.parse(f"{registry.address}/acme/sentiment:1.0.0")
        pushed = push(make_model(tmp_path / "model"), tag=str(reference), session=session)
        yield Stage(session, reference, pushed.digest, tmp_path, services)


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """The trusted root of another instance."""
    path = tmp_path / "elsewhere.json"
    path.write_bytes(SimulatedSigstore(datetime.now(UTC)).trusted_root())
    return path


def test_we_verify_what_cosign_signed(here: Stage, observed: Observed) -> None:
    here.cosign_signs()
    [found] = here.we_verify().signed
    assert found.signer == IdentitySigner(ANN, here.services.issuer)
    assert (found.predicate_type, found.subjects) == (COSIGN_SIGN, (here.digest,))
    assert found.signed_at is not None
    assert found.log.startswith("http://127.0.0.1:")
    observed("cosign, installml", "sign keyless; verify", "verified")


def test_we_tell_apart_who_signed_with_cosign(here: Stage, observed: Observed) -> None:
    here.cosign_signs(ANN)
    here.cosign_signs(BOB)
    signers = {str(each.signer) for each in here.we_verify().signed}
    assert signers == {f"{who} ({here.services.issuer})" for who in (ANN, BOB)}
    observed("cosign, installml", "sign keyless twice; verify", "each told apart by installml")


def test_what_cosign_signed_proves_nothing_under_other_roots(here: Stage, elsewhere: Path, observed: Observed) -> None:
    here.cosign_signs()
    found = here.we_verify(elsewhere)
    assert found.signed == ()
    assert [each.kind for each in found.unproved] == [UnprovedKind.INVALID]
    observed("cosign, installml", "sign keyless; verify under other roots", "refused by installml")


def test_cosign_verifies_what_we_signed(here: Stage, observed: Observed) -> None:
    here.we_sign()
    done = here.cosign_verifies()
    assert done.returncode == 0, done.stderr
    observed("cosign, installml", "sign --keyless; verify", "verified by cosign")


def test_cosign_and_we_verify_both_what_we_both_signed(here: Stage, observed: Observed) -> None:
    here.we_sign(ANN)
    here.cosign_signs(BOB)
    assert [here.cosign_verifies(identity=who).returncode for who in (ANN, BOB)] == [0, 0]
    assert len(here.we_verify().signed) == 2
    observed("cosign, installml", "sign --keyless beside sign keyless; verify", "each verified by both")


def test_cosign_refuses_what_somebody_else_signed(here: Stage, observed: Observed) -> None:
    here.we_sign(BOB)
    done = here.cosign_verifies(identity=ANN)
    assert done.returncode != 0
    assert BOB in done.stderr
    observed("cosign, installml", "sign --keyless; verify as somebody else", "refused by cosign")


def test_cosign_refuses_an_identity_of_another_issuer(here: Stage, observed: Observed) -> None:
    here.we_sign()
    done = here.cosign_verifies(issuer="https://accounts.google.com")
    assert done.returncode != 0
    assert here.services.issuer in done.stderr
    observed("cosign, installml", "sign --keyless; verify under another issuer", "refused by cosign")


def test_cosign_refuses_what_we_signed_under_other_roots(here: Stage, elsewhere: Path, observed: Observed) -> None:
    here.we_sign()
    assert here.cosign_verifies(root=elsewhere).returncode != 0
    observed("cosign, installml", "sign --keyless; verify under other roots", "refused by cosign")


def test_cosign_refuses_what_we_signed_about_another_package(here: Stage, observed: Observed) -> None:
    here.we_sign(about=Digest.of(b"another package"))
    assert here.cosign_verifies().returncode != 0
    observed("cosign, installml", "sign --keyless, about another package; verify", "refused by cosign")


def test_what_we_signed_about_another_package_names_that_one(here: Stage) -> None:
    here.we_sign(about=Digest.of(b"another package"))
    assert [each.subjects for each in here.we_verify().signed] == [(Digest.of(b"another package"),)]
