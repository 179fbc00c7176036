"""Signers, packages and signatures for the tests of decisions: names instead of digests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from installml.digest import Digest
from installml.reference import Reference
from installml.trust.evidence import Claims, Evidence, Form, IdentitySigner, KeySigner, Signed, Signer
from installml.trust.judging import SIGNATURE_TYPES

NOW = 1_800_000_000
DAY = 86_400
REF = "registry.example.com/acme/sentiment:1.4.0"
PACKAGE = Digest.of(b"the package")
OTHER = Digest.of(b"another package")
SCAN = "https://installml.dev/scan/v1"

ISSUER = "https://accounts.example.com"


def key(name: str) -> KeySigner:
    """Return the signer whose key is called so."""
    return KeySigner(str(Digest.of(name.encode())))


ALICE, BOB, CAROL, STRANGER = key("alice"), key("bob"), key("carol"), key("stranger")
RELEASE = IdentitySigner("https://github.com/acme/models/.github/workflows/release.yml@refs/tags/v1", ISSUER)


def signature(
    signer: Signer = ALICE,
    *,
    ref: str = REF,
    subjects: tuple[Digest, ...] = (PACKAGE,),
    created: int | None = NOW - DAY,
    expires: int | None = None,
    form: Form = Form.BUNDLE,
    kind: str = "",
    signed_at: int | None = None,
    predicate: Mapping[str, Any] | None = None,
    chunks: Digest | None = None,
) -> Signed:
    """Return a signature whose cryptography holds."""
    return Signed(
        signer=signer,
        form=form,
        predicate_type=kind or SIGNATURE_TYPES[form],
        subjects=subjects,
        claims=Claims(ref, "1.4.0" if ref else "", created, expires, chunks),
        predicate=predicate or {},
        signed_at=signed_at,
        source=Digest.of(repr((signer, ref, created)).encode()),
    )


def scan(signer: Signer = ALICE, *severities: str, **more: Any) -> Signed:
    """Return a scan attestation with findings of these severities."""
    findings = [{"rule": "x", "severity": severity} for severity in severities]
    return signature(signer, kind=SCAN, predicate={"findings": findings}, **more)


def evidence(*signed: Signed, **more: Any) -> Evidence:
    """Return what was found about the package."""
    return Evidence(PACKAGE, signed, **more)


def asked(ref: str = REF) -> Reference:
    """Return what was asked for."""
    return Reference.parse(ref)
