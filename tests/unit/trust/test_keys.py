"""Public keys: what is read, what they are called, what they vouch for."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

from installml.trust.errors import KeyInvalid, SignatureInvalid
from installml.trust.keys import MAX_KEY, KeyKind, PublicKey, is_private_pem

VECTORS = Path(__file__).parent / "vectors"
KINDS = {
    "ecdsa-p256": KeyKind.P256,
    "ecdsa-p384": KeyKind.P384,
    "ecdsa-p521": KeyKind.P521,
    "rsa2048": KeyKind.RSA,
    "ed25519": KeyKind.ED25519,
}
BLOB = (VECTORS / "blob.txt").read_bytes()


def spki(
    key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey, encoding: serialization.Encoding = serialization.Encoding.PEM
) -> bytes:
    return key.public_bytes(encoding, serialization.PublicFormat.SubjectPublicKeyInfo)


@pytest.fixture(scope="module")
def private() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@pytest.mark.parametrize(("name", "kind"), KINDS.items())
def test_what_cosign_signs_with_each_kind_of_key_holds(name: str, kind: KeyKind) -> None:
    key = PublicKey.parse((VECTORS / f"{name}.pub").read_bytes())
    bundle = json.loads((VECTORS / f"cosign-blob-{name}.json").read_text())
    assert key.kind is kind
    key.verify(base64.b64decode(bundle["messageSignature"]["signature"]), BLOB)


@pytest.mark.parametrize("name", KINDS)
def test_the_hint_is_the_one_that_cosign_writes(name: str) -> None:
    key = PublicKey.parse((VECTORS / f"{name}.pub").read_bytes())
    bundle = json.loads((VECTORS / f"cosign-blob-{name}.json").read_text())
    assert key.hint == bundle["verificationMaterial"]["publicKey"]["hint"]
    assert key.answers_to(key.hint)
    assert not key.answers_to("")


def test_the_hint_for_model_signing_is_the_one_that_it_writes() -> None:
    key = PublicKey.parse((VECTORS / "model-signing-ecdsa-p384.pub").read_text())
    bundle = json.loads((VECTORS / "model-signing-ecdsa-p384.json").read_text())
    assert key.oms_hint == bundle["verificationMaterial"]["publicKey"]["hint"]
    assert key.answers_to(key.oms_hint)


@pytest.mark.parametrize("name", KINDS)
def test_a_signature_over_other_bytes_is_refused(name: str) -> None:
    key = PublicKey.parse((VECTORS / f"{name}.pub").read_bytes())
    bundle = json.loads((VECTORS / f"cosign-blob-{name}.json").read_text())
    with pytest.raises(SignatureInvalid, match="did not sign this"):
        key.verify(base64.b64decode(bundle["messageSignature"]["signature"]), BLOB + b" ")


def test_the_signature_of_another_key_is_refused(private: ec.EllipticCurvePrivateKey) -> None:
    other = ec.generate_private_key(ec.SECP256R1())
    with pytest.raises(SignatureInvalid):
        PublicKey.of_key(private.public_key()).verify(other.sign(b"x", ec.ECDSA(hashes.SHA256())), b"x")


@pytest.mark.parametrize("curve", [ec.SECP384R1(), ec.SECP521R1()])
def test_larger_curves_with_sha256_hold_as_older_cosign_made_them(curve: ec.EllipticCurve) -> None:
    key = ec.generate_private_key(curve)
    PublicKey.of_key(key.public_key()).verify(key.sign(b"x", ec.ECDSA(hashes.SHA256())), b"x")


def test_rsa_pss_holds_as_well_as_pkcs1() -> None:
    key = rsa.generate_private_key(65537, 2048)
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)
    PublicKey.of_key(key.public_key()).verify(key.sign(b"x", pss, hashes.SHA256()), b"x")


@pytest.mark.parametrize("weak", [hashes.SHA1(), hashes.MD5()])
def test_rsa_over_a_broken_hash_is_refused(weak: hashes.HashAlgorithm) -> None:
    key = rsa.generate_private_key(65537, 2048)
    with pytest.raises(SignatureInvalid):
        PublicKey.of_key(key.public_key()).verify(key.sign(b"x", padding.PKCS1v15(), weak), b"x")


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()])
def test_ecdsa_over_a_broken_hash_is_refused(curve: ec.EllipticCurve) -> None:
    key = ec.generate_private_key(curve)
    with pytest.raises(SignatureInvalid):
        PublicKey.of_key(key.public_key()).verify(key.sign(b"x", ec.ECDSA(hashes.SHA1())), b"x")


@pytest.mark.parametrize("signature", [b"", b"\x30", b"0" * 64, b"x" * 5000])
def test_bytes_that_are_no_signature_are_refused(private: ec.EllipticCurvePrivateKey, signature: bytes) -> None:
    with pytest.raises(SignatureInvalid):
        PublicKey.of_key(private.public_key()).verify(signature, b"x")


def test_the_error_says_why_ed25519_attestations_of_cosign_are_not_read() -> None:
    key = PublicKey.parse((VECTORS / "ed25519.pub").read_bytes())
    with pytest.raises(SignatureInvalid, match=r"Ed25519ph.*sign with ECDSA P-256"):
        key.verify(b"x" * 64, b"x")


def test_the_fingerprint_is_that_of_the_der() -> None:
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    assert (
        PublicKey.of_key(key).fingerprint
        == "sha256:" + hashlib.sha256(spki(key, serialization.Encoding.DER)).hexdigest()
    )


def test_a_key_is_the_same_however_its_point_is_written(private: ec.EllipticCurvePrivateKey) -> None:
    public = private.public_key()
    compressed = public.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.CompressedPoint)
    algorithm = bytes.fromhex("301306072a8648ce3d020106082a8648ce3d030107")
    der = b"\x30\x39" + algorithm + b"\x03\x22\x00" + compressed
    assert PublicKey.of_der(der) == PublicKey.of_key(public)


def test_a_key_survives_its_pem(private: ec.EllipticCurvePrivateKey) -> None:
    key = PublicKey.of_key(private.public_key())
    assert PublicKey.parse(key.pem) == key
    assert PublicKey.parse("Key of acme:\n" + key.pem) == key


def test_a_private_key_in_a_public_ones_place_is_refused_and_not_shown(private: ec.EllipticCurvePrivateKey) -> None:
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    assert is_private_pem(pem)
    with pytest.raises(KeyInvalid, match="private key where a public one") as caught:
        PublicKey.parse(pem, "acme.pub")
    assert pem.decode()[30:60] not in caught.value.message + caught.value.hint
    assert "keys export" in caught.value.hint


def test_two_keys_in_one_file_are_refused(private: ec.EllipticCurvePrivateKey) -> None:
    with pytest.raises(KeyInvalid, match="one PEM block"):
        PublicKey.parse(spki(private.public_key()) * 2)


REFUSED = {
    "nothing": (b"", "found none"),
    "text": (b"hello", "found none"),
    "a certificate": (b"-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n", "found CERTIFICATE"),
    "no key inside": (b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "not a public key"),
    "half of it": (b"-----BEGIN PUBLIC KEY-----\nMFkw", "not a public key"),
    "too much": (b"x" * (MAX_KEY + 1), "at most"),
}


@pytest.mark.parametrize(("data", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_public_key_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(KeyInvalid, match=reason):
        PublicKey.parse(data)


@pytest.mark.parametrize("der", [b"", b"\x30\x00", b"x" * (MAX_KEY + 1)])
def test_der_that_is_no_key_is_refused(der: bytes) -> None:
    with pytest.raises(KeyInvalid):
        PublicKey.of_der(der)


def test_weak_and_unusual_keys_are_refused_with_what_is_accepted() -> None:
    short = rsa.generate_private_key(65537, 1024).public_key()
    with pytest.raises(KeyInvalid, match="RSA with 1024 bits; accepted are ECDSA on P-256"):
        PublicKey.parse(spki(short))
    odd = ec.generate_private_key(ec.SECP256K1()).public_key()
    with pytest.raises(KeyInvalid, match="curve secp256k1"):
        PublicKey.parse(spki(odd))


def test_a_pure_ed25519_signature_holds() -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    PublicKey.of_key(key.public_key()).verify(key.sign(b"x"), b"x")
