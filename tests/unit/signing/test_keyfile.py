"""Private keys as files: what is written protects, what is read is bounded, and nothing shows a secret."""

from __future__ import annotations

import base64
import copy
import json
import pickle
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from installml.signing import der
from installml.signing.errors import PassphraseMissing, PassphraseRefused
from installml.signing.keyfile import PrivateKey, is_locked, read_private, write_cosign, write_pkcs8
from installml.signing.secret import Ask, Secret, ask_nobody, chosen
from installml.trust.errors import KeyInvalid
from installml.trust.keys import MAX_KEY, KeyKind, PublicKey

VECTORS = Path(__file__).parents[1] / "trust" / "vectors"
PHRASE = "correct horse"
KEY = PrivateKey.generate()


def typed(text: str) -> Ask:
    return lambda _: Secret(text)


def pem(key: Any, form: serialization.PrivateFormat = serialization.PrivateFormat.PKCS8, password: str = "") -> bytes:
    lock = serialization.BestAvailableEncryption(password.encode()) if password else serialization.NoEncryption()
    return bytes(key.private_bytes(serialization.Encoding.PEM, form, lock))


@pytest.fixture(scope="module")
def locked() -> bytes:
    return write_pkcs8(KEY, Secret(PHRASE))


@pytest.fixture(scope="module")
def cosign() -> bytes:
    return write_cosign(KEY, Secret(PHRASE))


def test_a_new_key_is_the_one_that_every_tool_reads() -> None:
    assert KEY.public_key.kind is KeyKind.P256


def test_what_a_key_signs_holds_under_its_public_half() -> None:
    KEY.public_key.verify(KEY.sign(b"x"), b"x")


@pytest.mark.parametrize("write", [write_pkcs8, write_cosign])
def test_a_key_is_read_as_it_was_written(write: Callable[[PrivateKey, Secret], bytes]) -> None:
    data = write(KEY, Secret(PHRASE))
    assert is_locked(data)
    assert read_private(data, typed(PHRASE), "acme").public_key == KEY.public_key


def test_an_open_key_is_read_without_a_question() -> None:
    data = write_pkcs8(KEY, None)
    assert not is_locked(data)
    assert read_private(data, ask_nobody, "acme").public_key == KEY.public_key


@pytest.mark.parametrize("curve", [ec.SECP384R1(), ec.SECP521R1()])
def test_other_curves_sign_with_the_hash_that_belongs_to_them(curve: ec.EllipticCurve) -> None:
    key = read_private(pem(ec.generate_private_key(curve)), ask_nobody, "acme")
    key.public_key.verify(key.sign(b"x"), b"x")


def test_rsa_keys_sign() -> None:
    key = read_private(pem(rsa.generate_private_key(65537, 2048)), ask_nobody, "acme")
    key.public_key.verify(key.sign(b"x"), b"x")


@pytest.mark.parametrize("kind", ["ec", "rsa"])
def test_the_older_open_forms_are_read(kind: str) -> None:
    key: Any = ec.generate_private_key(ec.SECP256R1()) if kind == "ec" else rsa.generate_private_key(65537, 2048)
    data = pem(key, serialization.PrivateFormat.TraditionalOpenSSL)
    assert read_private(data, ask_nobody, "acme").public_key == PublicKey.of_key(key.public_key())


def test_what_cosign_wrote_is_read() -> None:
    data = (VECTORS / "cosign-encrypted.key").read_bytes()
    key = read_private(data, typed("test-only"), "cosign.key")
    assert key.public_key == PublicKey.parse((VECTORS / "cosign-encrypted.pub").read_bytes())


def test_the_label_of_older_cosign_is_read(cosign: bytes) -> None:
    older = cosign.replace(b"SIGSTORE", b"COSIGN")
    assert read_private(older, typed(PHRASE), "acme").public_key == KEY.public_key


def test_what_openssl_wrote_is_read() -> None:
    key = read_private((VECTORS / "openssl-scrypt.pem").read_bytes(), typed("x"), "acme")
    assert key.public_key == PublicKey.parse((VECTORS / "openssl-scrypt.pub").read_bytes())


def test_the_encryption_that_cryptography_chooses_is_read() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    assert read_private(pem(key, password=PHRASE), typed(PHRASE), "acme").public_key.kind is KeyKind.P256


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not on PATH")
def test_openssl_reads_what_is_written(locked: bytes) -> None:
    words = ["openssl", "pkey", "-passin", f"pass:{PHRASE}", "-pubout"]
    done = subprocess.run(words, input=locked, capture_output=True, check=True)
    assert done.stdout.decode() == KEY.public_key.pem


def test_the_written_key_is_derived_by_scrypt_at_the_cost_that_is_promised(locked: bytes) -> None:
    body = base64.b64decode(b"".join(locked.splitlines()[1:-1]))
    kdf = der.read_der(body).children[0].children[1].children[0].children
    assert kdf[0].oid == "1.3.6.1.4.1.11591.4.11"
    assert [each.integer for each in kdf[1].children[1:]] == [16384, 8, 5]


@pytest.mark.parametrize("wrong", ["", "Correct horse", PHRASE + " "])
def test_a_wrong_passphrase_is_refused_and_not_repeated(locked: bytes, cosign: bytes, wrong: str) -> None:
    for data in (locked, cosign):
        with pytest.raises(PassphraseRefused, match="not the passphrase of acme") as caught:
            read_private(data, typed(wrong), "acme")
        assert not wrong or wrong not in caught.value.message + caught.value.hint


def test_where_nobody_can_be_asked_the_error_says_both_ways(locked: bytes) -> None:
    with pytest.raises(PassphraseMissing, match="nobody to ask for the passphrase of acme") as caught:
        read_private(locked, ask_nobody, "acme")
    assert "terminal" in caught.value.hint
    assert "INSTALLML_KEY_PASSWORD" in caught.value.hint


def test_two_writings_of_one_key_share_nothing() -> None:
    first, second = (base64.b64decode(b"".join(write_pkcs8(KEY, Secret(PHRASE)).splitlines()[1:-1])) for _ in "ab")
    assert first[-40:] != second[-40:]
    assert KEY.der()[-32:] not in first


REFUSED = {
    "nothing": (b"", "found none"),
    "a public key": (KEY.public_key.pem.encode(), "found PUBLIC KEY"),
    "two keys": (pem(ec.generate_private_key(ec.SECP256R1())) * 2, "must hold one private key"),
    "an ssh key": (
        pem(ec.generate_private_key(ec.SECP256R1()), serialization.PrivateFormat.OpenSSH),
        "found OPENSSH PRIVATE KEY",
    ),
    "no key inside": (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "not a private key"),
    "no base64 inside": (b"-----BEGIN PRIVATE KEY-----\nA===\n-----END PRIVATE KEY-----\n", "not a private key"),
    "half of it": (pem(ec.generate_private_key(ec.SECP256R1()))[:90], "not a private key"),
    "too much": (b"x" * (MAX_KEY + 1), "at most"),
    "a curve of others": (pem(ec.generate_private_key(ec.SECP256K1())), "curve secp256k1"),
    "a short RSA key": (pem(rsa.generate_private_key(65537, 1024)), "RSA with 1024 bits"),
    "the encryption of old OpenSSL": (
        pem(ec.generate_private_key(ec.SECP256R1()), serialization.PrivateFormat.TraditionalOpenSSL, PHRASE),
        "an old way that protects little",
    ),
}


@pytest.mark.parametrize(("data", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_private_key_that_signs_is_refused_with_the_reason(data: bytes, reason: str) -> None:
    with pytest.raises(KeyInvalid, match=reason):
        read_private(data, typed(PHRASE), "acme")


def test_an_ed25519_key_does_not_sign_here() -> None:
    from cryptography.hazmat.primitives.asymmetric import ed25519

    with pytest.raises(KeyInvalid, match="Ed25519"):
        read_private(pem(ed25519.Ed25519PrivateKey.generate()), ask_nobody, "acme")


def spoiled(cosign: bytes, change: Callable[[dict[str, Any]], Any]) -> bytes:
    document = json.loads(base64.b64decode(b"".join(cosign.splitlines()[1:-1])))
    change(document)
    label = b"ENCRYPTED SIGSTORE PRIVATE KEY"
    body = base64.b64encode(json.dumps(document).encode())
    return b"-----BEGIN " + label + b"-----\n" + body + b"\n-----END " + label + b"-----\n"


def cost(**params: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda document: document["kdf"]["params"].update(params)


COSTLY: dict[str, Callable[[dict[str, Any]], Any]] = {
    "much memory": cost(N=1 << 20),
    "much memory by r": cost(r=1 << 20),
    "much time by p": cost(p=1 << 20),
    "an N that is no power of two": cost(N=65535),
    "a huge N": cost(N=1 << 62),
}


@pytest.mark.parametrize("change", COSTLY.values(), ids=COSTLY)
def test_a_key_that_asks_too_much_of_its_reader_is_refused_before_anything_is_asked(
    cosign: bytes, change: Callable[[dict[str, Any]], Any]
) -> None:
    with pytest.raises(KeyInvalid, match="too much time or memory"):
        read_private(spoiled(cosign, change), ask_nobody, "acme")


BROKEN: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "another derivation": (lambda d: d["kdf"].update(name="md5"), "kdf.name"),
    "another cipher": (lambda d: d["cipher"].update(name="rot13"), "cipher.name"),
    "a short nonce": (lambda d: d["cipher"].update(nonce="AAAA"), "24 bytes"),
    "no parameters": (lambda d: d["kdf"].pop("params"), "'params' is missing"),
    "no rounds": (cost(N=0), "between"),
    "a number as text": (cost(N="65536"), "whole number"),
    "no content": (lambda d: d.pop("ciphertext"), "'ciphertext' is missing"),
}


@pytest.mark.parametrize(("change", "reason"), BROKEN.values(), ids=BROKEN)
def test_a_cosign_key_that_is_broken_is_refused_with_its_place(
    cosign: bytes, change: Callable[[dict[str, Any]], Any], reason: str
) -> None:
    with pytest.raises(KeyInvalid, match=reason):
        read_private(spoiled(cosign, change), ask_nobody, "acme")


def encrypted(kdf: bytes, scheme: str = "1.2.840.113549.1.5.13") -> bytes:
    cipher = der.sequence(der.oid("2.16.840.1.101.3.4.1.42"), der.octets(b"0" * 16))
    whole = der.sequence(der.sequence(der.oid(scheme), der.sequence(kdf, cipher)), der.octets(b"0" * 160))
    body = base64.encodebytes(whole)
    return b"-----BEGIN ENCRYPTED PRIVATE KEY-----\n" + body + b"-----END ENCRYPTED PRIVATE KEY-----\n"


def scrypt(n: int, r: int, p: int) -> bytes:
    parameters = der.sequence(der.octets(b"0" * 16), der.integer(n), der.integer(r), der.integer(p))
    return der.sequence(der.oid("1.3.6.1.4.1.11591.4.11"), parameters)


def pbkdf2(rounds: int) -> bytes:
    return der.sequence(der.oid("1.2.840.113549.1.5.12"), der.sequence(der.octets(b"0" * 16), der.integer(rounds)))


@pytest.mark.parametrize(
    "kdf",
    [scrypt(1 << 30, 8, 1), scrypt(1 << 14, 8, 1 << 20), pbkdf2(1 << 31), pbkdf2(0), der.sequence(der.oid("1.2"))],
)
def test_pkcs8_that_asks_too_much_is_refused_before_anything_is_asked(kdf: bytes) -> None:
    with pytest.raises(KeyInvalid):
        read_private(encrypted(kdf), ask_nobody, "acme")


def test_pkcs8_under_an_old_scheme_is_refused_with_what_helps() -> None:
    with pytest.raises(KeyInvalid, match="old scheme") as caught:
        read_private(encrypted(pbkdf2(1), "1.2.840.113549.1.5.3"), ask_nobody, "acme")
    assert "openssl pkcs8 -topk8 -scrypt" in caught.value.hint


def test_no_representation_of_a_secret_or_a_key_shows_it() -> None:
    secret = Secret("hunter2hunter2")
    assert "hunter2" not in f"{secret!r} {secret} {[secret]} {{'a': secret}}"
    number = str(KEY._key.private_numbers().private_value)
    assert number not in repr(KEY) + str(KEY)
    with pytest.raises(TypeError):
        pickle.dumps(secret)
    with pytest.raises(TypeError):
        copy.deepcopy(secret)


def answers(*texts: str) -> Ask:
    waiting = list(texts)
    return lambda _: Secret(waiting.pop(0))


def test_a_new_passphrase_is_asked_for_twice() -> None:
    assert chosen("acme", answers("long enough", "long enough")).reveal() == b"long enough"


@pytest.mark.parametrize(
    ("texts", "reason", "hint"),
    [
        (("",), "an empty passphrase", "--no-passphrase"),
        (("short",), "at least 8 characters", "longer"),
        (("long enough", "long enougg"), "not the same", "again"),
    ],
)
def test_a_new_passphrase_that_protects_nothing_is_refused(texts: tuple[str, ...], reason: str, hint: str) -> None:
    with pytest.raises(PassphraseRefused, match=reason) as caught:
        chosen("acme", answers(*texts))
    assert hint in caught.value.hint
    assert not any(text and text in caught.value.message for text in texts)


@pytest.mark.parametrize(
    "data", [b"", b"\x30", b"\x30\x05\x02\x01", b"\x30\x84\xff\xff\xff\xff", b"\x30\x80" * 20, b"\x02\x01\x01x"]
)
def test_der_that_is_cut_short_or_too_deep_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"cut short|after the end"):
        der.read_der(data)


@pytest.mark.parametrize("value", [0, 1, 127, 128, 255, 256, 1 << 31, (1 << 62) + 1])
def test_numbers_and_lengths_are_read_as_they_were_written(value: int) -> None:
    long = der.octets(b"x" * min(value, 70_000))
    element = der.read_der(der.sequence(der.integer(value), long))
    assert element.children[0].integer == value
    assert len(element.children[1].content) == min(value, 70_000)


def test_what_is_no_number_and_no_name_says_so() -> None:
    with pytest.raises(ValueError, match="whole number"):
        _ = der.read_der(b"\x02\x01\x80").integer
    with pytest.raises(ValueError, match="object identifier"):
        _ = der.read_der(b"\x06\x01\x80").oid
