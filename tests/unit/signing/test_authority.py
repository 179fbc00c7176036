"""Certificates of a private authority: who may sign by them, and who may not."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID

from installml.signing.authority import Authority
from installml.signing.errors import TrustConfigInvalid
from installml.signing.keyless import open_verifier
from installml.signing.proof import Certified
from installml.testing import SettableClock
from installml.trust.bundle import Bundle, Certificates, KeyHint
from installml.trust.dsse import Envelope
from installml.trust.errors import EvidenceInvalid, SignatureInvalid
from installml.trust.evidence import KeySigner
from tests.unit.signing.authorities import NOW, Holder, issue

CODE, SERVER = ExtendedKeyUsageOID.CODE_SIGNING, ExtendedKeyUsageOID.SERVER_AUTH
ANY = ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE


ROOT = issue("root", authority=True, days=3650)
MIDDLE = issue("middle", ROOT, authority=True, days=1000)
SIGNER = issue("signer", MIDDLE, purposes=(CODE,))


def bundle(signer: Holder = SIGNER, between: tuple[Holder, ...] = (MIDDLE,), payload: bytes = b"{}") -> Bundle:
    chain = (signer.der, *(each.der for each in between))
    return Bundle(Envelope.signed(payload, signer.sign), Certificates(chain, single=False))


@pytest.fixture
def trusting(tmp_path: Path) -> Callable[..., Authority]:
    def read(*holders: Holder, now: datetime = NOW) -> Authority:
        path = tmp_path / "ca.pem"
        path.write_bytes(b"".join(each.pem for each in holders))
        return Authority.read(path, SettableClock(now.timestamp()))

    return read


def test_whoever_the_authority_lets_sign_counts_as_the_authority(trusting: Callable[..., Authority]) -> None:
    assert trusting(ROOT).verify(bundle(), "x") == Certified(KeySigner(ROOT.fingerprint))


def test_an_authority_in_the_middle_can_be_the_one_that_is_trusted(trusting: Callable[..., Authority]) -> None:
    assert trusting(MIDDLE).verify(bundle(between=()), "x") == Certified(KeySigner(MIDDLE.fingerprint))


def test_a_certificate_that_names_no_purpose_may_sign(trusting: Callable[..., Authority]) -> None:
    signer = issue("signer", ROOT)
    assert trusting(ROOT).verify(bundle(signer, ()), "x") == Certified(KeySigner(ROOT.fingerprint))


def test_the_private_authority_is_asked_about_what_is_in_no_log(trusting: Callable[..., Authority]) -> None:
    verifier = open_verifier(authority=trusting(ROOT))
    assert verifier.verify(bundle().to_bytes(), "x") == Certified(KeySigner(ROOT.fingerprint))


STRANGER = issue("root", authority=True)
REFUSED: dict[str, tuple[Bundle, str]] = {
    "another authority of the same name": (bundle(issue("signer", STRANGER, purposes=(CODE,)), ()), "vouches"),
    "the way to the authority is missing": (bundle(between=()), "vouches"),
    "nobody else's certificate": (bundle(issue("signer", purposes=(CODE,)), ()), "vouches"),
    "given out by one that may not": (bundle(issue("below", SIGNER, purposes=(CODE,)), (SIGNER, MIDDLE)), "vouches"),
    "a web server's": (bundle(issue("www", ROOT, purposes=(SERVER,)), ()), "not one for signing"),
    "for any purpose": (bundle(issue("any", ROOT, purposes=(ANY,)), ()), "not one for signing"),
    "not for signatures": (bundle(issue("enc", ROOT, purposes=(CODE,), signs=False), ()), "not one for signing"),
    "the authority's own": (bundle(ROOT, ()), "not one for signing"),
    "run out": (bundle(issue("old", ROOT, purposes=(CODE,), start=NOW - timedelta(days=40), days=30), ()), "proves"),
    "not yet": (bundle(issue("new", ROOT, purposes=(CODE,), start=NOW + timedelta(days=1)), ()), "proves"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_certificate_does_not_sign_when_it_is(case: str, trusting: Callable[..., Authority]) -> None:
    signed, reason = REFUSED[case]
    with pytest.raises(SignatureInvalid, match=reason):
        trusting(ROOT).verify(signed, "x")


def test_an_authority_that_has_run_out_vouches_for_nothing(trusting: Callable[..., Authority]) -> None:
    short = issue("short", authority=True, days=20)
    signed = bundle(issue("signer", short, purposes=(CODE,)), ())
    with pytest.raises(SignatureInvalid, match="vouches"):
        trusting(short, now=NOW + timedelta(days=30)).verify(signed, "x")


def test_a_payload_changed_after_signing_is_refused(trusting: Callable[..., Authority]) -> None:
    first, second = bundle(), bundle(payload=b"[]")
    mixed = Bundle(Envelope(b"[]", first.envelope.payload_type, first.envelope.signatures), second.material)
    with pytest.raises(SignatureInvalid, match="did not sign this"):
        trusting(ROOT).verify(mixed, "x")


def test_a_bundle_by_a_bare_key_is_none_of_the_authoritys(trusting: Callable[..., Authority]) -> None:
    with pytest.raises(EvidenceInvalid, match="not signed with a certificate"):
        trusting(ROOT).verify(Bundle(bundle().envelope, KeyHint("")), "x")


def test_bytes_that_are_no_certificate_prove_nothing(trusting: Callable[..., Authority]) -> None:
    with pytest.raises(EvidenceInvalid, match="cannot be read"):
        trusting(ROOT).verify(Bundle(bundle().envelope, Certificates((b"\x30\x03abc",), single=False)), "x")


@pytest.mark.parametrize("content", [b"", b"hello", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_a_file_without_certificates_names_no_authority(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    path.write_bytes(content)
    with pytest.raises(TrustConfigInvalid, match="certificates of authorities"):
        Authority.read(path, SettableClock())


def test_a_certificate_that_is_not_an_authoritys_is_not_trusted_as_one(trusting: Callable[..., Authority]) -> None:
    with pytest.raises(TrustConfigInvalid, match="certificates of authorities"):
        trusting(SIGNER)
