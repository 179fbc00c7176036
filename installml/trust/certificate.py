"""Whom a signing certificate was given to (Fulcio, "docs/certificate-specification.md" and "docs/oid-info.md").

Only read here: whether the certificate holds is for ``signing.keyless``. Nothing is matched by a pattern; identity and
issuer are the whole texts, and a certificate that says either of them twice says neither.
"""

from __future__ import annotations

from cryptography import x509
from cryptography.x509 import ObjectIdentifier

from .errors import EvidenceInvalid
from .evidence import IdentitySigner

__all__ = ["ISSUER", "ISSUER_RAW", "USER_NAME", "read_identity"]

ISSUER_RAW = ObjectIdentifier("1.3.6.1.4.1.57264.1.1")
"""Issuer as plain UTF-8 without DER around it: the first form, still written beside the second."""
ISSUER = ObjectIdentifier("1.3.6.1.4.1.57264.1.8")
"""Issuer as DER UTF8String: the present form."""
USER_NAME = ObjectIdentifier("1.3.6.1.4.1.57264.1.7")
"""OtherName with a user's name, where the provider knows no e-mail addresses."""

_MOST = 2048
_UTF8_STRING = 0x0C


def read_identity(certificate: x509.Certificate, origin: str) -> IdentitySigner:
    """Return whom a certificate names, and who vouched for that.

    Args:
        certificate: One that somebody has verified, or will.
        origin: Where it came from, for the error's sentence.

    Raises:
        EvidenceInvalid: It does not name exactly one identity and one issuer, or in characters that cannot be shown.
    """
    try:
        extensions = certificate.extensions
        identity = _identity(extensions)
        issuer = _issuer(extensions)
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        raise EvidenceInvalid(f"{origin}: its certificate cannot be read: {str(error)[:200]}", subject=origin) from None
    for noun, text in (("identity", identity), ("issuer", issuer)):
        # what cannot be seen (RFC 3629 text can turn around what follows it) must not be shown as a name
        if not 0 < len(text) <= _MOST or not text.isprintable() or text != text.strip():
            raise EvidenceInvalid(f"{origin}: its certificate names no {noun} that can be shown", subject=origin)
    return IdentitySigner(identity, issuer)


def _identity(extensions: x509.Extensions) -> str:
    try:
        names = list(extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        return ""
    if len(names) != 1:  # "certificate-specification.md": exactly one GeneralName
        raise ValueError(f"{len(names)} subject alternative names")
    name = names[0]
    if isinstance(name, x509.RFC822Name | x509.UniformResourceIdentifier):
        return str(name.value)
    if isinstance(name, x509.OtherName) and name.type_id == USER_NAME:
        return _utf8_string(name.value)
    raise ValueError(f"a subject alternative name of the kind {type(name).__name__}")


def _issuer(extensions: x509.Extensions) -> str:
    raw, wrapped = _extension(extensions, ISSUER_RAW), _extension(extensions, ISSUER)
    told = set() if raw is None else {raw.decode("utf-8")}
    if wrapped is not None:
        told.add(_utf8_string(wrapped))
    if len(told) > 1:
        raise ValueError("two different issuers")
    return told.pop() if told else ""


def _extension(extensions: x509.Extensions, oid: ObjectIdentifier) -> bytes | None:
    try:
        found = extensions.get_extension_for_oid(oid).value
    except x509.ExtensionNotFound:
        return None
    if not isinstance(found, x509.UnrecognizedExtension):
        raise ValueError(f"an extension {oid.dotted_string} of another kind")  # noqa: TRY004
    return found.value


def _utf8_string(data: bytes) -> str:
    """Return the text of a DER UTF8String (X.690, 8.1.3 and 10.1: the shortest form of the length)."""
    if len(data) < 2 or data[0] != _UTF8_STRING:
        raise ValueError("not a UTF8String")
    size, start = data[1], 2
    if size & 0x80:
        start = 2 + (size & 0x7F)
        size = int.from_bytes(data[2:start])
        if start > 4 or size < 0x80 or (start == 4 and size < 0x100):
            raise ValueError("not a UTF8String")
    if len(data) != start + size:
        raise ValueError("not a UTF8String")
    return data[start:].decode("utf-8")
