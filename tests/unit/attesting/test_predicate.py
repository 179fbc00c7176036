"""Predicates of others: what is taken, what is refused, and what statement it becomes."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf import json_format
from in_toto_attestation.v1 import statement_pb2
from in_toto_attestation.v1.statement import Statement

from installml.attesting.predicate import (
    MAX_PREDICATE,
    TYPES,
    PredicateInvalid,
    check_predicate,
    predicate_type,
    read_predicate,
    statement_about,
)
from installml.digest import Digest
from installml.spec.canonical import JSONInvalid, canonical
from installml.trust.statement import parse_statement

DIGEST = Digest.of(b"manifest")


@pytest.mark.parametrize(("name", "uri"), TYPES.items())
def test_a_short_name_is_its_uri(name: str, uri: str) -> None:
    assert predicate_type(name) == uri


def test_a_uri_stays_as_it_is() -> None:
    assert predicate_type("https://example.com/eval/v1") == "https://example.com/eval/v1"


@pytest.mark.parametrize("text", ["", "sbomm", "https://a b", "https://x/\n", "https://ü", f"https://{'x' * 500}"])
def test_what_is_neither_is_refused(text: str) -> None:
    with pytest.raises(PredicateInvalid):
        predicate_type(text)


@pytest.mark.parametrize(
    "data", [b"[]", b'"x"', b"null", b'{"predicateType": "x", "predicate": {}}', b'{"payload": "", "payloadType": ""}']
)
def test_what_is_no_predicate_is_refused(data: bytes) -> None:
    with pytest.raises(PredicateInvalid):
        read_predicate(data, "file")


@pytest.mark.parametrize(
    "data",
    [
        b"", b"{", b'{"a":1,"a":2}', b'{"a":NaN}', b"\xff", b'{"a":' * 100 + b"1" + b"}" * 100,
        b" " * (MAX_PREDICATE + 1),
    ],
    ids=["empty", "broken", "doubled", "nan", "not-utf-8", "deep", "large"],
)  # fmt: skip
def test_json_that_is_made_to_hurt_is_refused(data: bytes) -> None:
    with pytest.raises(JSONInvalid):
        read_predicate(data, "file")


def test_the_statement_is_about_the_manifest_and_reads_back() -> None:
    statement = statement_about(DIGEST, "ghcr.io/acme/x", predicate_type("scan"), {"a": [1, {"b": "ü"}]})
    found = parse_statement(statement.to_bytes(), "test")
    assert found.digests == (DIGEST,)
    assert found.predicate_type == TYPES["scan"]
    assert found.predicate == {"a": [1, {"b": "ü"}]}
    assert canonical(found.predicate) == canonical(statement.predicate)


def test_the_statement_is_valid_by_in_totos_own_rules() -> None:
    ours = statement_about(DIGEST, "ghcr.io/acme/x", predicate_type("scan"), {"findings": []})
    Statement.copy_from_pb(json_format.Parse(ours.to_bytes(), statement_pb2.Statement())).validate()


@pytest.mark.parametrize("said", [{"a": float("inf")}, {"a": object()}, {1: 2, "1": 3}, {"a": "\ud800"}, {"a": {1, 2}}])
def test_what_json_cannot_spell_is_refused(said: dict[Any, Any]) -> None:
    with pytest.raises((PredicateInvalid, JSONInvalid)):
        check_predicate(said, "predicate")


def test_a_number_beyond_every_float_is_refused() -> None:
    with pytest.raises((PredicateInvalid, JSONInvalid)):
        read_predicate(b'{"accuracy": 1e999}', "file")
