"""DSSE envelopes: one content, one spelling."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from installml.trust.dsse import IN_TOTO, Envelope, EnvelopeSignature, pae, parse_envelope
from installml.trust.errors import EvidenceInvalid, SignatureInvalid
from installml.trust.keys import PublicKey

PRIVATE = ec.generate_private_key(ec.SECP256R1())
KEY = PublicKey.of_key(PRIVATE.public_key())


def sign(data: bytes) -> bytes:
    return PRIVATE.sign(data, ec.ECDSA(hashes.SHA256()))


def spelled(change: Callable[[dict[str, Any]], Any] = lambda _: None) -> bytes:
    document = Envelope.signed(b'{"a":1}', sign).document()
    change(document)
    return json.dumps(document).encode()


def test_the_pre_authentication_encoding_is_the_protocols_example() -> None:
    # secure-systems-lab/dsse, protocol.md, "Test Vectors"
    assert pae("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )


def test_lengths_are_counted_in_bytes() -> None:
    assert pae("a/b", "é".encode()) == b"DSSEv1 3 a/b 2 \xc3\xa9"


def test_what_is_signed_is_read_and_holds() -> None:
    envelope = parse_envelope(spelled(), "here")
    envelope.verify(KEY)
    assert (envelope.payload, envelope.payload_type) == (b'{"a":1}', IN_TOTO)


def test_another_payload_under_the_same_signature_is_refused() -> None:
    envelope = Envelope.signed(b"one", sign)
    with pytest.raises(SignatureInvalid):
        Envelope(b"two", envelope.payload_type, envelope.signatures).verify(KEY)


def test_the_same_payload_as_another_type_is_refused() -> None:
    envelope = Envelope.signed(b"one", sign)
    with pytest.raises(SignatureInvalid):
        Envelope(b"one", "text/plain", envelope.signatures).verify(KEY)


def test_a_signature_over_the_bare_payload_is_refused() -> None:
    with pytest.raises(SignatureInvalid):
        Envelope(b"one", IN_TOTO, (EnvelopeSignature(sign(b"one")),)).verify(KEY)


def test_one_good_signature_among_several_is_enough() -> None:
    good = Envelope.signed(b"one", sign).signatures
    Envelope(b"one", IN_TOTO, (EnvelopeSignature(b"bad"), *good)).verify(KEY)


def test_no_signature_proves_nothing() -> None:
    with pytest.raises(SignatureInvalid, match="no signature"):
        Envelope(b"one", IN_TOTO, ()).verify(KEY)


def spoil(field: str, value: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda document: document.__setitem__(field, value)


REFUSED: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "no payload": (lambda document: document.pop("payload"), "'payload' is missing"),
    "base64 without padding": (spoil("payload", "YQ"), "payload: is not base64"),
    "base64 for addresses": (spoil("payload", "-_-_"), "payload: is not base64"),
    "base64 with a line feed": (spoil("payload", "YWJj\n"), "payload: is not base64"),
    "base64 with spare bits": (spoil("payload", "YR=="), "payload: is not base64"),
    "base64 that is not text": (spoil("payload", 7), "payload: must be base64 text"),
    "base64 that is not ASCII": (spoil("payload", "YWJjé"), "payload: must be base64 text"),
    "no signatures": (spoil("signatures", []), "at least one entry"),
    "many signatures": (spoil("signatures", [{"sig": "YQ=="}] * 17), "at most 16"),
    "a signature without bytes": (spoil("signatures", [{}]), "'sig' is missing"),
    "a huge signature": (
        spoil("signatures", [{"sig": base64.b64encode(b"x" * 3000).decode()}]),
        "more than 2048 bytes",
    ),
    "a type with a blank": (spoil("payloadType", "a b"), "is not a media type"),
    "an unknown field": (spoil("extra", 1), "unknown key 'extra'"),
}


@pytest.mark.parametrize(("change", "reason"), REFUSED.values(), ids=REFUSED)
def test_another_spelling_is_refused_with_its_place(change: Callable[[dict[str, Any]], Any], reason: str) -> None:
    with pytest.raises(EvidenceInvalid, match=reason):
        parse_envelope(spelled(change), "here")


@pytest.mark.parametrize("data", [b"", b"[]", b"null", b'{"payload":"","payload":""}', b"\xff", b"[" * 100_000])
def test_what_is_not_one_json_object_is_refused(data: bytes) -> None:
    with pytest.raises(EvidenceInvalid, match="here"):
        parse_envelope(data, "here")


def test_many_violations_are_counted_and_not_all_listed() -> None:
    data = json.dumps({f"k{i}": 1 for i in range(50)}).encode()
    with pytest.raises(EvidenceInvalid, match=r"and \d+ more") as caught:
        parse_envelope(data, "here")
    assert len(caught.value.message) < 1000
