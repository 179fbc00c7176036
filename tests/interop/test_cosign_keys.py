"""Keys are the same for cosign and for us, in both directions: what one makes, the other signs and verifies with."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from installml.digest import Digest
from installml.signing.keyfile import PrivateKey, read_private, write_cosign, write_pkcs8
from installml.signing.secret import Secret
from installml.trust.bundle import Bundle, KeyHint, MessageSignature, parse_bundle
from installml.trust.dsse import Envelope
from installml.trust.errors import SignatureInvalid
from installml.trust.keys import PublicKey
from installml.trust.statement import SCAN, Statement, Subject, statement_of
from tests.interop.conftest import Observed
from tests.services.tools import need

pytestmark = pytest.mark.integration

PHRASE = "correct horse"
BLOB = b"hello\n"
LOCAL = ("--use-signing-config=false", "--tlog-upload=false", "-y")
"""Flags that keep cosign from asking anybody on the network."""


class Cosign:
    """cosign in a folder of its own, with the passphrase in its variable."""

    def __init__(self, program: Path, folder: Path) -> None:
        self.folder = folder
        self._program = program
        self._environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "COSIGN_PASSWORD": PHRASE}

    def attempt(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [str(self._program), *words]
        return subprocess.run(
            command, cwd=self.folder, env=self._environment, capture_output=True, text=True, timeout=60, check=False
        )

    def run(self, *words: str) -> str:
        done = self.attempt(*words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def keep(self, name: str, data: bytes) -> str:
        (self.folder / name).write_bytes(data)
        return name


@pytest.fixture
def cosign(tmp_path: Path) -> Cosign:
    made = Cosign(need("cosign"), tmp_path)
    made.keep("blob", BLOB)
    return made


def test_a_key_that_cosign_made_signs_here_what_cosign_verifies(cosign: Cosign, observed: Observed) -> None:
    cosign.run("generate-key-pair")
    key = read_private((cosign.folder / "cosign.key").read_bytes(), lambda _: Secret(PHRASE), "cosign.key")
    assert key.public_key == PublicKey.parse((cosign.folder / "cosign.pub").read_bytes())
    content = MessageSignature(key.sign(BLOB), "SHA2_256", hashlib.sha256(BLOB).digest())
    bundle = cosign.keep("bundle", Bundle(content, KeyHint(key.public_key.hint)).to_bytes())
    cosign.run("verify-blob", "--key", "cosign.pub", "--bundle", bundle, "--insecure-ignore-tlog", "blob")
    observed("cosign", "verify-blob, our signature by its key", "verified")


def test_a_key_that_we_made_signs_with_cosign_what_we_verify(cosign: Cosign, observed: Observed) -> None:
    key = PrivateKey.generate()
    cosign.keep("ours.key", write_cosign(key, Secret(PHRASE)))
    assert cosign.run("public-key", "--key", "ours.key") == key.public_key.pem
    cosign.run("sign-blob", "--key", "ours.key", *LOCAL, "--bundle", "bundle", "blob")
    bundle = parse_bundle((cosign.folder / "bundle").read_bytes(), "here")
    assert isinstance(bundle.content, MessageSignature)
    key.public_key.verify(bundle.content.signature, BLOB)
    assert bundle.material == KeyHint(key.public_key.hint)
    observed("cosign, installml", "sign-blob with our key; verify", "verified")


def test_a_statement_that_we_signed_is_verified_by_cosign_under_our_key_only(
    cosign: Cosign, observed: Observed
) -> None:
    key, other = PrivateKey.generate(), PrivateKey.generate()
    statement = Statement((Subject("blob", (Digest.of(BLOB),)),), SCAN, {"findings": []})
    envelope = Envelope.signed(statement.to_bytes(), key.sign)
    cosign.keep("bundle", Bundle(envelope, KeyHint(key.public_key.hint)).to_bytes())
    words = ("verify-blob-attestation", "--bundle", "bundle", "--insecure-ignore-tlog", "--type", SCAN)
    ours, theirs = (cosign.keep(f"{n}.pub", k.public_key.pem.encode()) for n, k in (("ours", key), ("other", other)))
    cosign.run(*words, "--key", ours, "blob")
    assert cosign.attempt(*words, "--key", theirs, "blob").returncode != 0
    observed("cosign", "verify-blob-attestation, our bundle", "verified; refused under another key")


@pytest.mark.parametrize("kind", ["ec:P-256", "ec:P-384", "ec:P-521", "rsa:2048"])
def test_what_cosign_attests_with_any_kind_of_key_holds_here(cosign: Cosign, observed: Observed, kind: str) -> None:
    algorithm, _, size = kind.partition(":")
    option = f"ec_paramgen_curve:{size}" if algorithm == "ec" else f"rsa_keygen_bits:{size}"
    words = ["openssl", "genpkey", "-algorithm", algorithm.upper(), "-pkeyopt", option, "-out", "key.pem"]
    subprocess.run(words, cwd=cosign.folder, check=True, capture_output=True, timeout=60)
    cosign.run("import-key-pair", "--key", "key.pem", "--output-key-prefix", "any")
    predicate = cosign.keep("predicate", b"{}")
    about = ("--predicate", predicate, "--type", "custom", "--bundle", "bundle")
    cosign.run("attest-blob", "--key", "any.key", *LOCAL, *about, "blob")
    key = PublicKey.parse((cosign.folder / "any.pub").read_bytes())
    envelope = parse_bundle((cosign.folder / "bundle").read_bytes(), "here").verify(key)
    assert statement_of(envelope, "here").digests == (Digest.of(BLOB),)
    own = read_private((cosign.folder / "any.key").read_bytes(), lambda _: Secret(PHRASE), "any.key")
    assert own.public_key == key
    observed("cosign, installml", f"attest-blob {kind}; verify", "verified")


def test_cosign_does_not_verify_what_it_attests_with_ed25519_and_neither_do_we(
    cosign: Cosign, observed: Observed
) -> None:
    words = ["openssl", "genpkey", "-algorithm", "ED25519", "-out", "key.pem"]
    subprocess.run(words, cwd=cosign.folder, check=True, capture_output=True, timeout=60)
    cosign.run("import-key-pair", "--key", "key.pem", "--output-key-prefix", "ed")
    predicate = cosign.keep("predicate", b"{}")
    about = ("--predicate", predicate, "--type", "custom", "--bundle", "bundle")
    cosign.run("attest-blob", "--key", "ed.key", *LOCAL, *about, "blob")
    verify = ("verify-blob-attestation", "--key", "ed.pub", "--bundle", "bundle", "--insecure-ignore-tlog")
    assert cosign.attempt(*verify, "--type", "custom", "blob").returncode != 0
    key = PublicKey.parse((cosign.folder / "ed.pub").read_bytes())
    with pytest.raises(SignatureInvalid, match="Ed25519ph"):
        parse_bundle((cosign.folder / "bundle").read_bytes(), "here").verify(key)
    observed(
        "cosign, installml",
        "attest-blob ed25519; verify",
        "refused by both: cosign signs Ed25519ph and verifies Ed25519",
    )


def test_our_encrypted_key_is_read_by_openssl_and_imported_by_cosign(cosign: Cosign, observed: Observed) -> None:
    key = PrivateKey.generate()
    cosign.keep("ours.pem", write_pkcs8(key, Secret(PHRASE)))
    words = ["openssl", "pkey", "-in", "ours.pem", "-passin", "env:COSIGN_PASSWORD", "-out", "open.pem"]
    surroundings = {"PATH": os.environ["PATH"], "COSIGN_PASSWORD": PHRASE}
    subprocess.run(words, cwd=cosign.folder, env=surroundings, check=True, capture_output=True, timeout=60)
    cosign.run("import-key-pair", "--key", "open.pem", "--output-key-prefix", "ours")
    assert (cosign.folder / "ours.pub").read_text() == key.public_key.pem
    observed("cosign", "import-key-pair of our key, opened by openssl", "the same key")
