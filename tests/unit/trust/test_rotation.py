"""A key hands over to its successor: both have to say so."""

from __future__ import annotations

import base64
import json

import pytest

from installml.digest import Digest
from installml.signing.keyfile import PrivateKey
from installml.trust.dsse import IN_TOTO, Envelope, EnvelopeSignature, encode64, pae
from installml.trust.errors import EvidenceInvalid, KeyInvalid, SignatureInvalid
from installml.trust.rotation import Rotation, parse_rotation, rotation_bytes
from installml.trust.statement import COSIGN_SIGN, Statement, Subject

OLD, NEW, OTHER = (PrivateKey.generate() for _ in range(3))
ROTATION = Rotation(OLD.public_key, NEW.public_key, 1_700_000_000)
GOOD = rotation_bytes(ROTATION, OLD.sign, NEW.sign)


def resigned(document: dict[str, object], *signers: PrivateKey) -> bytes:
    payload = json.dumps(document).encode()
    signatures = tuple(EnvelopeSignature(each.sign(pae(IN_TOTO, payload))) for each in signers)
    return json.dumps(Envelope(payload, IN_TOTO, signatures).document()).encode()


def statement() -> dict[str, object]:
    return dict(json.loads(base64.b64decode(json.loads(GOOD)["payload"])))


def test_a_rotation_is_read_as_it_was_written() -> None:
    assert parse_rotation(GOOD, "here") == ROTATION


@pytest.mark.parametrize("signers", [(OLD.sign, OTHER.sign), (OTHER.sign, NEW.sign), (OLD.sign, OLD.sign)])
def test_a_rotation_that_one_of_both_did_not_sign_is_refused(signers: tuple) -> None:  # type: ignore[type-arg]
    with pytest.raises(SignatureInvalid):
        parse_rotation(rotation_bytes(ROTATION, *signers), "here")


def test_the_order_of_signatures_does_not_matter() -> None:
    assert parse_rotation(resigned(statement(), NEW, OLD), "here") == ROTATION


def test_a_key_does_not_follow_itself() -> None:
    same = Rotation(OLD.public_key, OLD.public_key, 0)
    with pytest.raises(EvidenceInvalid, match="not two"):
        parse_rotation(rotation_bytes(same, OLD.sign, OLD.sign), "here")


def test_a_fingerprint_beside_another_key_is_refused() -> None:
    changed = statement()
    changed["predicate"]["new"]["fingerprint"] = OTHER.public_key.fingerprint  # type: ignore[index]
    with pytest.raises(EvidenceInvalid, match="not the ones named"):
        parse_rotation(resigned(changed, OLD, NEW), "here")


def test_a_statement_about_other_keys_is_refused() -> None:
    changed = statement()
    changed["subject"] = list(reversed(changed["subject"]))  # type: ignore[call-overload]
    with pytest.raises(EvidenceInvalid, match="about other keys"):
        parse_rotation(resigned(changed, OLD, NEW), "here")


def test_a_private_key_in_a_rotation_is_refused() -> None:
    changed = statement()
    changed["predicate"]["new"]["publicKey"] = "-----BEGIN PRIVATE KEY-----"  # type: ignore[index]
    with pytest.raises(KeyInvalid, match="private key"):
        parse_rotation(resigned(changed, OLD, NEW), "here")


def test_another_statement_by_both_keys_is_no_rotation() -> None:
    other = Statement((Subject("", (Digest.of(b"x"),)),), COSIGN_SIGN)
    with pytest.raises(EvidenceInvalid, match="the predicate is"):
        parse_rotation(resigned(json.loads(other.to_bytes()), OLD, NEW), "here")


def test_a_changed_byte_is_noticed() -> None:
    document = json.loads(GOOD)
    document["payload"] = encode64(json.dumps({**statement(), "more": 1}).encode())
    with pytest.raises(SignatureInvalid):
        parse_rotation(json.dumps(document).encode(), "here")
