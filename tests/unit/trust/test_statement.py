"""in-toto statements: who says what about which digests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from installml.digest import Digest
from installml.trust.bundle import parse_bundle
from installml.trust.dsse import Envelope
from installml.trust.errors import EvidenceInvalid
from installml.trust.statement import COSIGN_SIGN, STATEMENT, Statement, Subject, parse_statement, statement_of

VECTORS = Path(__file__).parent / "vectors"
DIGEST = Digest.of(b"x")


def document(**change: Any) -> bytes:
    subject = {"name": "m", "digest": {"sha256": DIGEST.hex}, "annotations": {"dev.installml.ref": "acme/m:1"}}
    whole = {"_type": STATEMENT, "subject": [subject], "predicateType": COSIGN_SIGN, "predicate": {}, **change}
    return json.dumps({key: value for key, value in whole.items() if value is not ...}).encode()


def test_a_statement_is_read_as_it_was_written() -> None:
    statement = Statement(
        (Subject("", (DIGEST,), {"dev.installml.version": "1.4.0"}), Subject("b", (Digest.of(b"y", "sha512"),))),
        COSIGN_SIGN,
        {"a": [1, {"b": None}]},
    )
    assert parse_statement(statement.to_bytes(), "here") == statement
    assert statement.digests == (DIGEST, Digest.of(b"y", "sha512"))


def test_the_same_statement_is_the_same_bytes() -> None:
    one = Statement((Subject("m", (DIGEST,)),), COSIGN_SIGN, {"b": 1, "a": (2,)})
    assert one.to_bytes() == Statement((Subject("m", (DIGEST,)),), COSIGN_SIGN, {"a": [2], "b": 1}).to_bytes()


def test_what_cosign_attests_is_read_though_its_version_is_older() -> None:
    bundle = parse_bundle((VECTORS / "cosign-attestation-ecdsa-p256.json").read_bytes(), "here")
    statement = statement_of(bundle.envelope, "here")
    assert statement.predicate_type == "https://cosign.sigstore.dev/attestation/v1"
    assert statement.digests == (Digest.of((VECTORS / "blob.txt").read_bytes()),)


def test_unknown_fields_are_ignored_as_the_framework_asks() -> None:
    assert parse_statement(document(new={"a": 1}), "here").subjects[0].name == "m"


def test_a_predicate_may_be_left_out() -> None:
    assert parse_statement(document(predicate=...), "here").predicate == {}


def test_digests_of_other_algorithms_are_not_compared_and_not_kept() -> None:
    subject = {"digest": {"sha256": DIGEST.hex, "gitCommit": "a" * 40}}
    assert parse_statement(document(subject=[subject]), "here").digests == (DIGEST,)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "another type": ({"_type": "https://example.com/Statement/v9"}, "_type"),
    "no type": ({"_type": ...}, "'_type' is missing"),
    "no subject": ({"subject": []}, "at least one entry"),
    "a subject without a digest": ({"subject": [{"name": "m"}]}, "'digest' is missing"),
    "a subject with an empty digest set": ({"subject": [{"digest": {}}]}, "at least one digest"),
    "a digest that is none": ({"subject": [{"digest": {"sha256": "abc"}}]}, "is not a sha256"),
    "a digest in capitals": ({"subject": [{"digest": {"sha256": DIGEST.hex.upper()}}]}, "is not a sha256"),
    "a digest with a path": ({"subject": [{"digest": {"sha256": "../../etc"}}]}, "is not a digest"),
    "a name with an escape": ({"subject": [{"name": "\x1b[2J", "digest": {"sha256": DIGEST.hex}}]}, "control"),
    "no predicate type": ({"predicateType": ...}, "'predicateType' is missing"),
    "a predicate that is a list": ({"predicate": []}, "must be a mapping"),
    "annotations that are a list": ({"subject": [{"digest": {"sha256": DIGEST.hex}, "annotations": []}]}, "a mapping"),
    "very many subjects": ({"subject": [{"digest": {"sha256": DIGEST.hex}}] * 10_001}, "at most 10000"),
}


@pytest.mark.parametrize(("change", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_statement_is_refused_with_the_reason(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(EvidenceInvalid, match=reason):
        parse_statement(document(**change), "here")


def test_a_key_that_stands_twice_is_refused() -> None:
    data = document().replace(b'"name"', b'"digest": {"sha256": "' + b"0" * 64 + b'"}, "name"')
    with pytest.raises(EvidenceInvalid, match="'digest' stands twice"):
        parse_statement(data, "here")


def test_an_envelope_around_something_else_is_refused() -> None:
    with pytest.raises(EvidenceInvalid, match="the payload is text/plain"):
        statement_of(Envelope(document(), "text/plain", ()), "here")
