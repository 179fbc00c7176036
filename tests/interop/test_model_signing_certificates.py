"""model_signing's signatures with certificates, keyless and of a private authority, verified here; and ours there."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID

from installml.digest import Digest
from installml.signing.authority import Authority
from installml.signing.keyless import KeylessSigner, open_verifier
from installml.signing.proof import Proofs
from installml.signing.secret import Secret
from installml.testing import SettableClock
from installml.testing.sigstore import SimulatedSigstore
from installml.trust import oms
from installml.trust.bundle import Bundle, Certificates
from installml.trust.dsse import Envelope
from installml.trust.evidence import Form, IdentitySigner, KeySigner, Signed, Unproved
from tests.interop.conftest import Observed
from tests.services.sigstore import Sigstore, sigstore
from tests.services.tools import need
from tests.unit.signing.authorities import Holder, issue

pytestmark = pytest.mark.integration

ANN = "ann@example.org"
FILES = {"README.md": b"# model\n", "weights/a.bin": b"2" * 1000}
PACKAGE = Digest.of(b"the package")


@dataclass(frozen=True)
class Model:
    """A model folder and model_signing."""

    folder: Path

    @property
    def signature(self) -> Path:
        return self.folder / "model.sig"

    @property
    def digests(self) -> dict[str, Digest]:
        return {name: Digest.of(data) for name, data in FILES.items()}

    def statement(self) -> bytes:
        return oms.build("model", self.digests.items()).to_bytes()

    def run(self, verb: str, method: str, *flags: object) -> subprocess.CompletedProcess[str]:
        words = [need("model-signing"), "-m", "model_signing", verb, method, self.folder / "model"]
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "LC_ALL": "C.UTF-8"}
        return subprocess.run(
            [*map(str, words), "--signature", str(self.signature), *map(str, flags)],
            env=environment, cwd=self.folder, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    def proved(self, proofs: Proofs) -> Signed | Unproved:
        return proofs.bundle(self.signature.read_bytes(), Digest.of(b"the referrer"), {})


@pytest.fixture
def model(tmp_path: Path) -> Model:
    for name, data in FILES.items():
        path = tmp_path / "model" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return Model(tmp_path)


@pytest.fixture(scope="module")
def services() -> Iterator[Sigstore]:
    need("model-signing")
    with sigstore() as running:
        yield running


def test_we_verify_what_model_signing_signed_keyless(model: Model, services: Sigstore, observed: Observed) -> None:
    done = model.run(
        "sign", "sigstore", "--trust_config", services.trust_config, "--identity_token", services.token(ANN)
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = model.proved(Proofs(PACKAGE, (), open_verifier(services.trusted_root), model.digests))
    assert isinstance(found, Signed)
    assert (found.signer, found.form) == (IdentitySigner(ANN, services.issuer), Form.OMS)
    assert found.subjects == (PACKAGE,)
    observed("installml, model-signing", "sign sigstore; verify", "verified")


def test_what_model_signing_signed_proves_nothing_under_other_roots(
    model: Model, services: Sigstore, tmp_path: Path, observed: Observed
) -> None:
    model.run("sign", "sigstore", "--trust_config", services.trust_config, "--identity_token", services.token(ANN))
    elsewhere = tmp_path / "elsewhere.json"
    elsewhere.write_bytes(SimulatedSigstore(datetime.now(UTC)).trusted_root())
    assert isinstance(model.proved(Proofs(PACKAGE, (), open_verifier(elsewhere), model.digests)), Unproved)
    observed("installml, model-signing", "sign sigstore; verify under other roots", "refused by installml")


@pytest.mark.parametrize(("identity", "accepted"), [(ANN, True), ("bob@example.org", False)])
def test_model_signing_verifies_what_we_signed_keyless(
    identity: str, accepted: bool, model: Model, services: Sigstore, observed: Observed
) -> None:
    signer = KeylessSigner(services.trust_config, token=Secret(services.token(ANN)))
    model.signature.write_bytes(signer.bundle(model.statement()).to_bytes())
    done = model.run(
        "verify", "sigstore", "--trust_config", services.trust_config, "--identity", identity,
        "--identity_provider", services.issuer,
    )  # fmt: skip
    assert (done.returncode == 0) is accepted, done.stdout + done.stderr
    observed(
        "installml, model-signing",
        f"sign --keyless; verify sigstore as {'who signed' if accepted else 'somebody else'}",
        "verified" if accepted else "refused by model_signing",
    )


@dataclass(frozen=True)
class Company:
    """A private authority, whoever signs by it, and their files."""

    root: Holder
    middle: Holder
    signer: Holder
    folder: Path

    def file(self, name: str, data: bytes) -> Path:
        path = self.folder / name
        path.write_bytes(data)
        return path


@pytest.fixture
def company(tmp_path: Path) -> Company:
    start = datetime.now(UTC) - timedelta(days=1)
    root = issue("root", authority=True, start=start)
    middle = issue("middle", root, authority=True, start=start)
    signer = issue("signer", middle, purposes=(ExtendedKeyUsageOID.CODE_SIGNING,), start=start)
    return Company(root, middle, signer, tmp_path)


def trusting(company: Company, anchor: Holder, model: Model) -> Proofs:
    clock = SettableClock(datetime.now(UTC).timestamp())
    authority = Authority.read(company.file("ca.pem", anchor.pem), clock)
    return Proofs(PACKAGE, (), open_verifier(authority=authority), model.digests)


def test_we_verify_what_model_signing_signed_with_a_certificate(
    model: Model, company: Company, observed: Observed
) -> None:
    done = model.run(
        "sign", "certificate", "--private_key", company.file("key.pem", company.signer.private),
        "--signing_certificate", company.file("signer.pem", company.signer.pem),
        "--certificate_chain", company.file("middle.pem", company.middle.pem),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    found = model.proved(trusting(company, company.root, model))
    assert isinstance(found, Signed)
    assert (found.signer, found.subjects) == (KeySigner(company.root.fingerprint), (PACKAGE,))
    assert isinstance(model.proved(trusting(company, issue("root", authority=True), model)), Unproved)
    observed("installml, model-signing", "sign certificate; verify", "verified; refused under another authority")


def test_model_signing_verifies_what_was_signed_here_with_a_certificate(
    model: Model, company: Company, observed: Observed
) -> None:
    envelope = Envelope.signed(model.statement(), company.signer.sign)
    chain = Certificates((company.signer.der, company.middle.der), single=False)
    model.signature.write_bytes(Bundle(envelope, chain).to_bytes())
    ours, other = company.root.pem, issue("root", authority=True).pem
    codes = [
        model.run("verify", "certificate", "--certificate_chain", company.file(f"{name}.pem", pem)).returncode
        for name, pem in (("ours", ours), ("other", other))
    ]
    assert codes[0] == 0
    assert codes[1] != 0
    observed(
        "installml, model-signing",
        "bundle with a certificate; verify certificate",
        "verified; refused under another authority",
    )
