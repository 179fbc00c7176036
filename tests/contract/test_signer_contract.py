"""Whoever signs keeps the same promises: a key in memory, in a file, in a hardware module."""

from __future__ import annotations

import os
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from installml.signing.errors import KeyExposed, KeyNotFound, PassphraseRefused, SignerUnavailable, SigningFailed
from installml.signing.keyfile import PrivateKey, write_cosign, write_pkcs8
from installml.signing.keyring import KeyRing, private_file, uri_file
from installml.signing.secret import Secret, ask_nobody
from installml.signing.signers import RemoteSigner, Signer, open_signer, remote_key
from installml.trust.dsse import Envelope
from installml.trust.errors import SignatureInvalid
from installml.trust.keys import PublicKey
from tests.services.keyservices import KeyService, key_service
from tests.services.programs import need

PIN = "123456"
PHRASE = "correct horse"
LIBRARIES = ("/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so")


class SignerContract(ABC):
    """What every signer promises."""

    @pytest.fixture
    @abstractmethod
    def signer(self, tmp_path: Path) -> Signer:
        """Return the signer."""

    def test_what_it_signs_holds(self, signer: Signer) -> None:
        signer.public_key.verify(signer.sign(b"x"), b"x")

    def test_it_signs_nothing_and_much(self, signer: Signer) -> None:
        for data in (b"", b"x" * (1 << 20)):
            signer.public_key.verify(signer.sign(data), data)

    def test_what_it_signs_holds_for_nothing_else(self, signer: Signer) -> None:
        with pytest.raises(SignatureInvalid):
            signer.public_key.verify(signer.sign(b"x"), b"y")

    def test_it_signs_envelopes(self, signer: Signer) -> None:
        Envelope.signed(b"{}", signer.sign).verify(signer.public_key)

    def test_no_representation_shows_a_secret(self, signer: Signer) -> None:
        assert PIN not in repr(signer)
        assert PHRASE not in repr(signer)


class TestKeyInMemory(SignerContract):
    @pytest.fixture
    def signer(self) -> Signer:
        return PrivateKey.generate()


class TestKeyOfTheRing(SignerContract):
    @pytest.fixture
    def signer(self, tmp_path: Path) -> Signer:
        key, ring = PrivateKey.generate(), KeyRing(tmp_path)
        ring.add("acme", key.public_key, private_file(write_pkcs8(key, Secret(PHRASE))))
        return open_signer("acme", ring, lambda _: Secret(PHRASE))


class TestKeyFileOfCosign(SignerContract):
    @pytest.fixture
    def signer(self, tmp_path: Path) -> Signer:
        path = tmp_path / "cosign.key"
        path.write_bytes(write_cosign(PrivateKey.generate(), Secret(PHRASE)))
        path.chmod(0o600)
        return open_signer(str(path), KeyRing(tmp_path / "keys"), lambda _: Secret(PHRASE))


@pytest.fixture(scope="module")
def token(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the URI of a key in a SoftHSM token; the library is loaded once a process, so there is one token."""
    need("softhsm")
    pkcs11 = pytest.importorskip("pkcs11")
    folder = tmp_path_factory.mktemp("token")
    (folder / "tokens").mkdir()
    (folder / "softhsm.conf").write_text(f"directories.tokendir = {folder / 'tokens'}\n")
    library = next(path for path in LIBRARIES if Path(path).exists())
    before = {name: os.environ.get(name) for name in ("SOFTHSM2_CONF", "PYKCS11LIB")}
    os.environ.update(SOFTHSM2_CONF=str(folder / "softhsm.conf"), PYKCS11LIB=library)
    try:
        words = ["softhsm2-util", "--init-token", "--free", "--label", "acme", "--pin", PIN, "--so-pin", "654321"]
        subprocess.run(words, check=True, capture_output=True)
        _make_key(pkcs11, library)
        yield "hsm:2?label=acme"
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def _make_key(pkcs11: object, library: str) -> None:
    import pkcs11 as p
    from pkcs11.util.ec import encode_named_curve_parameters

    curve = {p.Attribute.EC_PARAMS: encode_named_curve_parameters("secp256r1")}
    with p.lib(library).get_token(token_label="acme").open(user_pin=PIN, rw=True) as session:
        session.create_domain_parameters(p.KeyType.EC, curve, local=True).generate_keypair(store=True, id=b"\x02")


def pin(_: str) -> Secret:
    return Secret(PIN)


class TestKeyInAToken(SignerContract):
    @pytest.fixture
    def signer(self, token: str, tmp_path: Path) -> Signer:
        ring = KeyRing(tmp_path)
        uri, public = remote_key(token, pin)
        ring.add("acme", public, uri_file(uri))
        return open_signer("acme", ring, pin)

    def test_the_question_names_the_token(self, signer: Signer, token: str) -> None:
        asked: list[str] = []
        RemoteSigner(token, signer.public_key, lambda what: (asked.append(what), Secret(PIN))[1]).sign(b"x")
        assert asked == [f"PIN of {token}"]

    def test_a_wrong_pin_is_an_error_that_does_not_repeat_it(self, signer: Signer, token: str) -> None:
        with pytest.raises(SigningFailed, match="PinIncorrect") as caught:
            RemoteSigner(token, signer.public_key, lambda _: Secret("987654")).sign(b"x")
        assert "987654" not in caught.value.message + caught.value.hint

    def test_another_key_behind_the_same_name_is_noticed(self, token: str) -> None:
        with pytest.raises(SigningFailed, match="signed with another key"):
            RemoteSigner(token, PrivateKey.generate().public_key, pin).sign(b"x")

    def test_a_key_that_is_not_in_the_token_is_named(self, token: str) -> None:
        with pytest.raises(SignerUnavailable, match=r"hsm:7.*could not find"):
            remote_key("hsm:7?label=acme", pin)


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[KeyService]:
    """Return key services that AWS's and Vault's own libraries are pointed at."""
    with key_service() as running:
        for name, value in {
            "AWS_ENDPOINT_URL_KMS": running.url,
            "AWS_ACCESS_KEY_ID": "nobody",
            "AWS_SECRET_ACCESS_KEY": "nothing",
            "AWS_DEFAULT_REGION": "eu-central-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_MAX_ATTEMPTS": "1",
            "VAULT_ADDR": running.url,
            "VAULT_TOKEN": "a-vault-token",
            "NO_PROXY": "127.0.0.1",
        }.items():
            monkeypatch.setenv(name, value)
        yield running


class TestKeyOfAWS(SignerContract):
    @pytest.fixture
    def signer(self, service: KeyService, tmp_path: Path) -> Signer:
        pytest.importorskip("boto3")
        ring = KeyRing(tmp_path)
        uri, public = remote_key("awskms:alias/release", ask_nobody)
        ring.add("acme", public, uri_file(uri))
        return open_signer("acme", ring, ask_nobody)

    def test_a_key_that_was_exchanged_behind_its_alias_is_noticed(self, signer: Signer, service: KeyService) -> None:
        service.aws_key = ec.generate_private_key(ec.SECP256R1())
        with pytest.raises(SigningFailed, match="signed with another key"):
            signer.sign(b"x")

    def test_what_the_service_answers_is_told(self, service: KeyService) -> None:
        pytest.importorskip("boto3")
        with pytest.raises(SignerUnavailable, match="Alias alias/other is not found"):
            remote_key("awskms:alias/other", ask_nobody)


class TestKeyOfVault(SignerContract):
    @pytest.fixture
    def signer(self, service: KeyService, tmp_path: Path) -> Signer:
        pytest.importorskip("hvac")
        ring = KeyRing(tmp_path)
        uri, public = remote_key("hv:release", ask_nobody)
        assert uri == "hv:release/3"
        ring.add("acme", public, uri_file(uri))
        return open_signer("acme", ring, ask_nobody)

    def test_a_key_that_is_not_there_is_told_without_the_token(self, service: KeyService) -> None:
        pytest.importorskip("hvac")
        with pytest.raises(SignerUnavailable, match=r"encryption key not found|InvalidPath") as caught:
            remote_key("hv:other", ask_nobody)
        assert "a-vault-token" not in caught.value.message + caught.value.hint


@pytest.mark.parametrize(
    ("uri", "module"), [("gcpkms:projects/x", "google.cloud.kms"), ("azurekms:vault/key", "azure.identity")]
)
def test_a_service_whose_extra_is_not_installed_says_which(uri: str, module: str) -> None:
    if _installed(module):
        pytest.skip(f"{module} is installed here")
    with pytest.raises(SignerUnavailable, match="an extra that is not installed") as caught:
        remote_key(uri, ask_nobody)
    assert caught.value.hint == f"pip install 'installml[{uri.partition(':')[0]}]'"


def _installed(module: str) -> bool:
    import importlib.util

    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def test_without_a_library_the_error_says_how_to_name_one(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pkcs11")
    monkeypatch.delenv("PYKCS11LIB", raising=False)
    with pytest.raises(SignerUnavailable, match="no PKCS #11 library is named") as caught:
        remote_key("hsm:2", ask_nobody)
    assert caught.value.hint.startswith("PYKCS11LIB=")


def test_without_a_name_the_only_key_that_can_sign_does(tmp_path: Path) -> None:
    ring, key = KeyRing(tmp_path), PrivateKey.generate()
    ring.add("theirs", PrivateKey.generate().public_key, {})
    with pytest.raises(KeyNotFound, match="no key here can sign") as caught:
        open_signer("", ring, ask_nobody)
    assert caught.value.hint == "installml keys generate NAME"
    ring.add("acme", key.public_key, private_file(write_pkcs8(key, None)))
    assert open_signer("", ring, ask_nobody).public_key == key.public_key
    ring.add("beta", key.public_key, private_file(write_pkcs8(key, None)))
    with pytest.raises(KeyNotFound, match="several keys can sign: acme, beta"):
        open_signer("", ring, ask_nobody)


def test_a_passphrase_that_is_wrong_is_told_before_anything_is_signed(tmp_path: Path) -> None:
    key, ring = PrivateKey.generate(), KeyRing(tmp_path)
    ring.add("acme", key.public_key, private_file(write_pkcs8(key, Secret(PHRASE))))
    with pytest.raises(PassphraseRefused):
        open_signer("acme", ring, lambda _: Secret("something else"))


def test_a_file_that_others_can_read_does_not_sign(tmp_path: Path) -> None:
    path = tmp_path / "release.key"
    path.write_bytes(write_pkcs8(PrivateKey.generate(), None))
    path.chmod(0o644)
    with pytest.raises(KeyExposed, match=r"others can read"):
        open_signer(str(path), KeyRing(tmp_path / "keys"), ask_nobody)


def test_a_file_of_the_folder_one_stands_in_is_not_taken_for_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "acme").write_bytes(write_pkcs8(PrivateKey.generate(), None))
    (tmp_path / "acme").chmod(0o600)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(KeyNotFound, match="there is no key acme"):
        open_signer("acme", KeyRing(tmp_path / "keys"), ask_nobody)


def test_an_address_signs_without_a_name_too(service: KeyService, tmp_path: Path) -> None:
    pytest.importorskip("boto3")
    signer = open_signer("awskms:alias/release", KeyRing(tmp_path), ask_nobody)
    assert signer.public_key == PublicKey.of_key(service.aws_key.public_key())
    signer.public_key.verify(signer.sign(b"x"), b"x")
