"""OpenSSF Model Signing: the real model_signing verifies what we sign, and we what it signs, over the same files."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from installml.digest import Digest
from installml.signing.keyfile import PrivateKey, read_private, write_pkcs8
from installml.signing.secret import ask_nobody
from installml.trust import oms
from installml.trust.bundle import Bundle, KeyHint, parse_bundle
from installml.trust.dsse import Envelope
from installml.trust.statement import statement_of
from tests.interop.conftest import Observed
from tests.services.tools import need

pytestmark = pytest.mark.integration

FILES = {
    "README.md": b"# model\n",
    "a/b.txt": b"1",
    "a-b/c.bin": b"2" * 1000,
    "a.txt": b"",
    ".installml/runtime.json": b"{}",
    "name with spaces/ключ.txt": b"3",
    ".gitattributes": b"*.bin lfs",
}


class ModelSigning:
    """model_signing, a model folder, and a key."""

    def __init__(self, python: Path, folder: Path, key: PrivateKey) -> None:
        self._python, self._folder, self.key = python, folder, key
        self.model = folder / "model"
        for name, data in FILES.items():
            path = self.model / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        (folder / "key.pem").write_bytes(write_pkcs8(key, None))
        (folder / "key.pub").write_text(key.public_key.pem)

    @property
    def signature(self) -> Path:
        return self.model / "model.sig"

    def digests(self) -> dict[str, Digest]:
        files = [path for path in self.model.rglob("*") if path.is_file() and path != self.signature]
        return {path.relative_to(self.model).as_posix(): Digest.of(path.read_bytes()) for path in files}

    def run(self, verb: str, *flags: str) -> subprocess.CompletedProcess[str]:
        words = [self._python, "-m", "model_signing", verb, "key", self.model, "--signature", self.signature, *flags]
        environment = {"PATH": os.environ["PATH"], "HOME": str(self._folder), "LC_ALL": "C.UTF-8"}
        return subprocess.run(
            list(map(str, words)), env=environment, cwd=self._folder, capture_output=True, text=True, timeout=60,
            check=False,
        )  # fmt: skip

    def sign(self) -> None:
        done = self.run("sign", "--private_key", "key.pem")
        assert done.returncode == 0, done.stderr

    def sign_here(self) -> None:
        statement = oms.build("model", self.digests().items())
        envelope = Envelope.signed(statement.to_bytes(), self.key.sign)
        self.signature.write_bytes(Bundle(envelope, KeyHint(self.key.public_key.oms_hint)).to_bytes())

    def verify(self) -> subprocess.CompletedProcess[str]:
        return self.run("verify", "--public_key", "key.pub")

    def differences(self) -> list[str]:
        envelope = parse_bundle(self.signature.read_bytes(), "model.sig").verify(self.key.public_key)
        return oms.read(statement_of(envelope, "model.sig"), "model.sig").differences(self.digests())


def model(tmp_path: Path, curve: ec.EllipticCurve) -> ModelSigning:
    form, none = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    pem = ec.generate_private_key(curve).private_bytes(serialization.Encoding.PEM, form, none)
    return ModelSigning(need("model-signing"), tmp_path, read_private(pem, ask_nobody, "key"))


@pytest.fixture(params=[ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()], ids=lambda curve: curve.name)
def each(request: pytest.FixtureRequest, tmp_path: Path) -> ModelSigning:
    """Return a model, and a key of each kind that model_signing knows."""
    return model(tmp_path, request.param)


@pytest.fixture
def signing(tmp_path: Path) -> ModelSigning:
    """Return a model, and a key of the usual kind."""
    return model(tmp_path, ec.SECP256R1())


def test_model_signing_verifies_what_we_signed(each: ModelSigning, observed: Observed) -> None:
    each.sign_here()
    done = each.verify()
    assert done.returncode == 0, done.stdout + done.stderr
    observed("model-signing", "verify key, our model.sig", "verified")


def test_what_model_signing_signed_holds_here(each: ModelSigning, observed: Observed) -> None:
    each.sign()
    assert each.differences() == []
    observed("installml, model-signing", "sign key; verify", "verified")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda model: (model / "a.txt").write_bytes(b"x"), "a.txt was changed"),
        (lambda model: (model / "a" / "b.txt").unlink(), "a/b.txt is missing"),
        (lambda model: (model / "evil.py").write_bytes(b"x"), "evil.py was not signed"),
    ],
    ids=["changed", "missing", "extra"],
)
def test_both_refuse_the_same_differences_whoever_signed(
    signing: ModelSigning, observed: Observed, change, sentence: str
) -> None:  # type: ignore[no-untyped-def]
    signing.sign_here()
    change(signing.model)
    assert signing.verify().returncode != 0
    assert signing.differences() == [sentence]
    observed("installml, model-signing", f"verify, {sentence}", "refused by both")


def test_neither_covers_the_files_of_git(signing: ModelSigning, observed: Observed) -> None:
    signing.sign_here()
    (signing.model / ".gitattributes").write_bytes(b"changed")
    assert signing.verify().returncode == 0
    assert signing.differences() == []
    observed("installml, model-signing", "verify, .gitattributes was changed", "not covered by either")
