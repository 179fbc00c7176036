"""Sigstore bundles: read from any tool, written for every tool."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from sigstore_models.bundle.v1 import Bundle as SigstoreModel

from installml.trust.bundle import (
    BUNDLE,
    Bundle,
    Certificates,
    InclusionProof,
    KeyHint,
    LogEntry,
    MessageSignature,
    parse_bundle,
)
from installml.trust.dsse import Envelope, EnvelopeSignature
from installml.trust.errors import EvidenceInvalid, SignatureInvalid
from installml.trust.keys import PublicKey

VECTORS = Path(__file__).parent / "vectors"
PRIVATE = ec.generate_private_key(ec.SECP256R1())
KEY = PublicKey.of_key(PRIVATE.public_key())
READ = ("ecdsa-p256", "ecdsa-p384", "ecdsa-p521", "rsa2048")


def sign(data: bytes) -> bytes:
    return PRIVATE.sign(data, ec.ECDSA(hashes.SHA256()))


def own(hint: str = KEY.hint) -> Bundle:
    return Bundle(Envelope.signed(b"{}", sign), KeyHint(hint))


def entry(**change: Any) -> LogEntry:
    proof = InclusionProof(4, b"r" * 32, 5, (b"h" * 32,), "log\n5\n")
    return LogEntry(
        **{"log_index": 4, "log_id": b"i" * 32, "kind": "dsse", "version": "0.0.1", "proof": proof, **change}
    )


@pytest.mark.parametrize("name", READ)
def test_what_cosign_attests_with_each_kind_of_key_holds(name: str) -> None:
    bundle = parse_bundle((VECTORS / f"cosign-attestation-{name}.json").read_bytes(), "here")
    bundle.verify(PublicKey.parse((VECTORS / f"{name}.pub").read_bytes()))


def test_what_cosign_attests_with_ed25519_is_read_and_refused_with_the_reason() -> None:
    bundle = parse_bundle((VECTORS / "cosign-attestation-ed25519.json").read_bytes(), "here")
    with pytest.raises(SignatureInvalid, match="Ed25519ph"):
        bundle.verify(PublicKey.parse((VECTORS / "ed25519.pub").read_bytes()))


@pytest.mark.parametrize("name", [*READ, "ed25519"])
def test_what_cosign_signs_over_a_file_is_read(name: str) -> None:
    bundle = parse_bundle((VECTORS / f"cosign-blob-{name}.json").read_bytes(), "here")
    assert isinstance(bundle.content, MessageSignature)
    PublicKey.parse((VECTORS / f"{name}.pub").read_bytes()).verify(
        bundle.content.signature, (VECTORS / "blob.txt").read_bytes()
    )


def test_a_bundle_of_a_file_is_no_bundle_of_a_statement() -> None:
    bundle = parse_bundle((VECTORS / "cosign-blob-ecdsa-p256.json").read_bytes(), "here")
    with pytest.raises(EvidenceInvalid, match="bytes elsewhere"):
        bundle.verify(PublicKey.parse((VECTORS / "ecdsa-p256.pub").read_bytes()))


def test_the_hint_of_model_signing_is_accepted() -> None:
    bundle = parse_bundle((VECTORS / "model-signing-ecdsa-p384.json").read_bytes(), "here")
    bundle.verify(PublicKey.parse((VECTORS / "model-signing-ecdsa-p384.pub").read_bytes()))


CERTIFICATES = {"certificate": Certificates((b"der",)), "chain": Certificates((b"a", b"b"), single=False)}
CONTENTS = {
    "envelope": Envelope(b"{}", "a/b", (EnvelopeSignature(b"s", "k"),)),
    "message": MessageSignature(b"s", "SHA2_256", hashlib.sha256(b"x").digest()),
    "message without a digest": MessageSignature(b"s"),
}
BUNDLES = {
    **{name: Bundle(content, KeyHint("hint")) for name, content in CONTENTS.items()},
    **{name: Bundle(CONTENTS["envelope"], material) for name, material in CERTIFICATES.items()},
    "logged": Bundle(
        CONTENTS["envelope"], CERTIFICATES["certificate"], (entry(integrated_time=1_700_000_000),), (b"t",)
    ),
    "logged with a promise": Bundle(CONTENTS["envelope"], KeyHint(""), (entry(promise=b"p", body=b"{}"),)),
    "logged without a proof": Bundle(CONTENTS["envelope"], KeyHint(""), (entry(proof=None, log_index=0),)),
}


@pytest.mark.parametrize("bundle", BUNDLES.values(), ids=BUNDLES)
def test_a_bundle_is_read_as_it_was_written(bundle: Bundle) -> None:
    assert parse_bundle(bundle.to_bytes(), "here") == bundle


def test_sigstores_own_reader_takes_what_is_written() -> None:
    bundle = BUNDLES["logged with a promise"]
    model = SigstoreModel.from_json(Bundle(bundle.content, CERTIFICATES["certificate"], bundle.log_entries).to_bytes())
    assert model.media_type == BUNDLE
    assert model.verification_material.tlog_entries[0].log_index == 4


def test_numbers_are_read_as_text_and_as_numbers() -> None:
    document = json.loads(BUNDLES["logged"].to_bytes())
    document["verificationMaterial"]["tlogEntries"][0]["logIndex"] = 4
    assert parse_bundle(json.dumps(document).encode(), "here") == BUNDLES["logged"]


@pytest.mark.parametrize("minor", [1, 2, 3])
def test_older_versions_are_read_and_the_newest_is_written(minor: int) -> None:
    document = json.loads(own().to_bytes())
    document["mediaType"] = f"application/vnd.dev.sigstore.bundle+json;version=0.{minor}"
    bundle = parse_bundle(json.dumps(document).encode(), "here")
    assert bundle.media_type == document["mediaType"]
    assert json.loads(bundle.to_bytes())["mediaType"] == BUNDLE


@pytest.mark.parametrize("hint", [KEY.hint, KEY.oms_hint, ""], ids=["ours", "of model_signing", "none"])
def test_a_signature_by_the_named_key_holds(hint: str) -> None:
    assert own(hint).verify(KEY).payload == b"{}"


def test_a_bundle_that_names_another_key_is_refused_though_the_signature_holds() -> None:
    with pytest.raises(SignatureInvalid, match="names the key"):
        own("c29tZWJvZHkgZWxzZQ==").verify(KEY)


def test_a_hint_that_is_right_does_not_help_a_wrong_signature() -> None:
    bundle = Bundle(Envelope(b"{}", "a/b", (EnvelopeSignature(b"s"),)), KeyHint(KEY.hint))
    with pytest.raises(SignatureInvalid, match="did not sign"):
        bundle.verify(KEY)


def test_a_certificate_is_no_known_key() -> None:
    with pytest.raises(SignatureInvalid, match="certificate"):
        Bundle(Envelope.signed(b"{}", sign), CERTIFICATES["certificate"]).verify(KEY)


def spoil(*steps: Any) -> Callable[[dict[str, Any]], None]:
    *path, last, value = steps

    def change(document: dict[str, Any]) -> None:
        for step in path:
            document = document[step]
        if value is ...:
            del document[last]
        else:
            document[last] = value

    return change


MATERIAL = "verificationMaterial"
REFUSED: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "another version": (spoil("mediaType", "application/vnd.dev.sigstore.bundle.v0.9+json"), "mediaType"),
    "no version": (spoil("mediaType", ...), "'mediaType' is missing"),
    "nothing signed": (spoil("dsseEnvelope", ...), "exactly one of messageSignature, dsseEnvelope"),
    "two things signed": (spoil("messageSignature", {"signature": "YQ=="}), "exactly one of messageSignature"),
    "two signatures": (spoil("dsseEnvelope", "signatures", [{"sig": "YQ=="}] * 2), "exactly one signature, not 2"),
    "no material": (spoil(MATERIAL, ...), "is missing"),
    "no key": (spoil(MATERIAL, "publicKey", ...), "exactly one of publicKey"),
    "key and certificate": (spoil(MATERIAL, "certificate", {"rawBytes": "YQ=="}), "exactly one of publicKey"),
    "an unknown field": (spoil(MATERIAL, "new", 1), "unknown key 'new'"),
    "entries that are a mapping": (spoil(MATERIAL, "tlogEntries", {}), "must be a list"),
    "an entry of nothing": (spoil(MATERIAL, "tlogEntries", [{}]), "'logId' is missing"),
    "very many entries": (spoil(MATERIAL, "tlogEntries", [{}] * 17), "at most 16"),
    "a negative number": (
        spoil(MATERIAL, "tlogEntries", [{"logIndex": "-1", "logId": {}, "kindVersion": {}}]),
        "not a whole number",
    ),
    "a number beyond 64 bits": (
        spoil(MATERIAL, "tlogEntries", [{"logIndex": "9" * 19, "logId": {}, "kindVersion": {}}]),
        "is not between",
    ),
    "an empty chain": (spoil(MATERIAL, {"x509CertificateChain": {"certificates": []}}), "at least one entry"),
}


@pytest.mark.parametrize(("change", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_bundle_is_refused_with_its_place(change: Callable[[dict[str, Any]], None], reason: str) -> None:
    document = json.loads(own().to_bytes())
    change(document)
    with pytest.raises(EvidenceInvalid, match=reason):
        parse_bundle(json.dumps(document).encode(), "here")


def test_a_bundle_cut_short_is_refused() -> None:
    data = own().to_bytes()
    for end in range(0, len(data), 7):
        with pytest.raises(EvidenceInvalid):
            parse_bundle(data[:end], "here")
