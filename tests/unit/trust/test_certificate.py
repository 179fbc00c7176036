"""Whom a certificate names: exactly one identity, exactly one issuer, in characters that can be shown."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

from installml.trust.certificate import ISSUER, ISSUER_RAW, USER_NAME, read_identity
from installml.trust.errors import EvidenceInvalid
from installml.trust.evidence import IdentitySigner

KEY = ec.generate_private_key(ec.SECP256R1())
WHEN = datetime(2026, 1, 1, tzinfo=UTC)
ANN, WHO = "ann@example.org", "https://login.example.org"
MAIL = x509.RFC822Name(ANN)


def utf8(text: str) -> bytes:
    data = text.encode()
    length = bytes([len(data)]) if len(data) < 128 else bytes([0x82]) + len(data).to_bytes(2)
    return b"\x0c" + length + data


def certificate(*names: x509.GeneralName, raw: bytes | None = None, wrapped: bytes | None = None) -> x509.Certificate:
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(x509.Name([]))
        .public_key(KEY.public_key())
        .serial_number(1)
        .not_valid_before(WHEN)
        .not_valid_after(WHEN)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=True)
    for oid, value in ((ISSUER_RAW, raw), (ISSUER, wrapped)):
        if value is not None:
            builder = builder.add_extension(x509.UnrecognizedExtension(oid, value), critical=False)
    return builder.sign(KEY, hashes.SHA256())


@pytest.mark.parametrize(
    ("name", "identity"),
    [
        (MAIL, ANN),
        (
            x509.UniformResourceIdentifier("https://github.com/a/b@refs/heads/main"),
            "https://github.com/a/b@refs/heads/main",
        ),
        (x509.OtherName(USER_NAME, utf8("ann!example.org")), "ann!example.org"),
    ],
)
@pytest.mark.parametrize(
    "issuers", [{"raw": WHO.encode()}, {"wrapped": utf8(WHO)}, {"raw": WHO.encode(), "wrapped": utf8(WHO)}]
)
def test_identity_and_issuer_are_read_whole(name: x509.GeneralName, identity: str, issuers: dict[str, bytes]) -> None:
    assert read_identity(certificate(name, **issuers), "x") == IdentitySigner(identity, WHO)


def test_a_long_issuer_is_read_to_its_end() -> None:
    issuer = f"https://login.example.org/{'a' * 300}"
    assert read_identity(certificate(MAIL, wrapped=utf8(issuer)), "x").issuer == issuer


REFUSED = {
    "nobody": certificate(raw=WHO.encode()),
    "two people": certificate(MAIL, x509.RFC822Name("bob@example.org"), raw=WHO.encode()),
    "a host": certificate(x509.DNSName("example.org"), raw=WHO.encode()),
    "another kind of other name": certificate(x509.OtherName(ISSUER, utf8(ANN)), raw=WHO.encode()),
    "no issuer": certificate(MAIL),
    "an empty issuer": certificate(MAIL, raw=b""),
    "two issuers": certificate(MAIL, raw=WHO.encode(), wrapped=utf8("https://other.example.org")),
    "an issuer that is not UTF-8": certificate(MAIL, raw=b"\xff\xfe"),
    "an issuer in another type": certificate(MAIL, wrapped=b"\x13" + utf8(WHO)[1:]),
    "an issuer with something behind it": certificate(MAIL, wrapped=utf8(WHO) + b"!"),
    "an issuer cut short": certificate(MAIL, wrapped=utf8(WHO)[:-1]),
    "an issuer whose length is spelled long": certificate(MAIL, wrapped=b"\x0c\x81\x19" + WHO.encode()),
    "an issuer with a line break": certificate(MAIL, raw=f"{WHO}\nanother".encode()),
    "an issuer that turns the text around": certificate(MAIL, raw=f"{WHO}\u202egro".encode()),
    "an issuer with a space at its end": certificate(MAIL, raw=f"{WHO} ".encode()),
    "an endless issuer": certificate(MAIL, raw=b"a" * 5000),
    "a name that cannot be shown": certificate(x509.OtherName(USER_NAME, utf8("ann\x1b[2J")), raw=WHO.encode()),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_certificate_is_refused_that_names(case: str) -> None:
    with pytest.raises(EvidenceInvalid):
        read_identity(REFUSED[case], "x")


@settings(max_examples=100, deadline=None)
@given(raw=st.none() | st.binary(max_size=200), wrapped=st.none() | st.binary(max_size=200))
def test_whatever_stands_there_a_name_or_an_error_comes_out(raw: bytes | None, wrapped: bytes | None) -> None:
    try:
        found = read_identity(certificate(MAIL, raw=raw, wrapped=wrapped), "x")
    except EvidenceInvalid:
        return
    assert found.issuer.isprintable()
    assert found.identity == ANN
