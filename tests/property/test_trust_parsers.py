"""Signatures, statements and bundles come from anybody: what is written is read, and nothing makes a reader stumble."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from installml.digest import Digest
from installml.errors import InstallMLError
from installml.trust import oms
from installml.trust.bundle import (
    Bundle,
    Certificates,
    InclusionProof,
    KeyHint,
    LogEntry,
    MessageSignature,
    parse_bundle,
)
from installml.trust.dsse import Envelope, EnvelopeSignature, parse_envelope
from installml.trust.errors import EvidenceInvalid
from installml.trust.keys import PublicKey
from installml.trust.simple import SimplePayload, parse_simple
from installml.trust.statement import Statement, Subject, parse_statement, statement_of

VECTORS = Path(__file__).parents[1] / "unit" / "trust" / "vectors"
SEEDS = sorted(VECTORS.glob("*.json"))
WORDS = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=20)
TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20)
SMALL = st.binary(max_size=40)
U63 = st.integers(0, 2**63 - 1)
DIGESTS = st.builds(Digest.of, SMALL, st.sampled_from(["sha256", "sha512"]))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXTS,
    lambda children: st.lists(children, max_size=3) | st.dictionaries(TEXTS, children, max_size=3),
    max_leaves=8,
)
FREE = st.dictionaries(TEXTS, VALUES, max_size=3)

SIGNATURES = st.builds(EnvelopeSignature, SMALL, TEXTS)
ENVELOPES = st.builds(Envelope, SMALL, WORDS, st.tuples(SIGNATURES))
MESSAGES = st.builds(MessageSignature, SMALL, st.just("SHA2_256"), st.binary(min_size=32, max_size=32))
PROOFS = st.builds(InclusionProof, U63, SMALL, U63, st.lists(SMALL, max_size=3).map(tuple), TEXTS)
ENTRIES = st.builds(
    LogEntry, U63, SMALL, WORDS, WORDS, st.none() | st.integers(1, 2**40), SMALL, st.none() | PROOFS, SMALL
)
MATERIALS = (
    st.builds(KeyHint, TEXTS)
    | st.builds(Certificates, st.tuples(SMALL))
    | st.builds(Certificates, st.lists(SMALL, min_size=1, max_size=3).map(tuple), st.just(False))
)
BUNDLES = st.builds(
    Bundle, ENVELOPES | MESSAGES, MATERIALS, st.lists(ENTRIES, max_size=2).map(tuple),
    st.lists(SMALL, max_size=2).map(tuple),
)  # fmt: skip
ONE_DIGEST = st.tuples(DIGESTS) | st.tuples(SMALL.map(Digest.of), SMALL.map(lambda data: Digest.of(data, "sha512")))
SUBJECTS = st.builds(Subject, TEXTS, ONE_DIGEST, FREE)
STATEMENTS = st.builds(Statement, st.lists(SUBJECTS, min_size=1, max_size=3).map(tuple), WORDS, FREE)


@given(BUNDLES)
def test_every_bundle_is_read_as_it_was_written(bundle: Bundle) -> None:
    assert parse_bundle(bundle.to_bytes(), "here") == bundle


@given(STATEMENTS)
def test_every_statement_is_read_as_it_was_written(statement: Statement) -> None:
    read = parse_statement(statement.to_bytes(), "here")
    assert set(read.digests) == set(statement.digests)  # two digests of one subject have no order
    assert read.to_bytes() == statement.to_bytes()


@given(TEXTS, SMALL.map(Digest.of), FREE)
def test_every_classic_payload_is_read_as_it_was_written(reference: str, digest: Digest, optional: Any) -> None:
    payload = SimplePayload(reference, digest, optional)
    assert parse_simple(payload.to_bytes(), "here") == payload


@given(st.dictionaries(WORDS.filter(lambda path: path not in (*oms.GIT_PATHS, "model.sig")), SMALL, min_size=1))
def test_every_model_is_read_as_it_was_built_and_equals_itself(texts: dict[str, bytes]) -> None:
    files = {path: Digest.of(data) for path, data in texts.items() if path.partition("/")[0] not in oms.GIT_PATHS}
    with contextlib.suppress(EvidenceInvalid):
        model = oms.read(oms.build("m", files.items()), "here")
        assert dict(model.files) == {p: d for p, d in files.items() if p.partition("/")[0] != "model.sig"}
        assert model.differences(files) == []


def _everything(data: bytes) -> None:
    """Read ``data`` as everything that it might be; only errors of ours may come of it."""
    readers: tuple[Callable[[], Any], ...] = (
        lambda: statement_of(parse_bundle(data, "here").envelope, "here"),
        lambda: oms.read(statement_of(parse_bundle(data, "here").envelope, "here"), "here"),
        lambda: parse_envelope(data, "here"),
        lambda: oms.read(parse_statement(data, "here"), "here"),
        lambda: parse_simple(data, "here"),
        lambda: PublicKey.parse(data),
        lambda: PublicKey.of_der(data),
    )
    for read in readers:
        with contextlib.suppress(InstallMLError):
            read()


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused_by_an_error_of_ours(data: bytes) -> None:
    _everything(data)


@given(st.sampled_from(SEEDS), st.data())
def test_a_bundle_with_bytes_changed_is_read_or_refused_by_an_error_of_ours(seed: Path, data: st.DataObject) -> None:
    raw = bytearray(seed.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    _everything(bytes(raw[: data.draw(st.integers(1, len(raw)))]))


@given(st.sampled_from(SEEDS), st.data())
def test_a_bundle_with_values_changed_is_read_or_refused_by_an_error_of_ours(seed: Path, data: st.DataObject) -> None:
    document = json.loads(seed.read_text())
    place: Any = document
    while True:
        key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        if not isinstance(place[key], (dict, list)) or not place[key] or data.draw(st.booleans()):
            break
        place = place[key]
    place[key] = data.draw(VALUES)
    _everything(json.dumps(document).encode())


@given(st.sampled_from(SEEDS), st.data())
def test_no_changed_byte_of_a_payload_leaves_its_signature_standing(seed: Path, data: st.DataObject) -> None:
    bundle = parse_bundle(seed.read_bytes(), "here")
    if not isinstance(bundle.content, Envelope):
        return
    key = PublicKey.parse(VECTORS.joinpath(seed.stem.removeprefix("cosign-attestation-") + ".pub").read_bytes())
    raw = bytearray(bundle.content.payload)
    place = data.draw(st.integers(0, len(raw) - 1))
    raw[place] ^= data.draw(st.integers(1, 255))
    changed = Bundle(Envelope(bytes(raw), bundle.content.payload_type, bundle.content.signatures), bundle.material)
    with contextlib.suppress(InstallMLError):
        changed.verify(key)
        raise AssertionError("a changed payload was accepted")
