"""Certificates of a private authority: a company's own, as ``model_signing sign certificate`` uses them.

The bundle carries the signer's certificate and those between it and the authority; there is no log and no timestamp.
Nothing then proves when it was signed, so the certificate must hold now: one that has run out vouches for nothing,
which is stricter than model_signing 1.1, which asks only whether it held on its first day.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.x509 import ExtendedKeyUsage, KeyUsage
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import ExtensionPolicy, PolicyBuilder, Store, VerificationError

from ..trust.bundle import Bundle, Certificates
from ..trust.errors import EvidenceInvalid, KeyInvalid, SignatureInvalid
from ..trust.evidence import KeySigner
from ..trust.keys import PublicKey
from .errors import TrustConfigInvalid
from .keyring import read_key_file
from .proof import Certified

__all__ = ["Authority"]

_MOST_ANCHORS = 64


@dataclass(frozen=True, slots=True)
class Authority:
    """Authorities that may say who signs.

    Attributes:
        anchors: Their certificates: whatever one of them vouches for holds, be it a root or not.
        now: Seconds since the epoch; called at each verification.
    """

    anchors: tuple[x509.Certificate, ...]
    now: Callable[[], float]

    @classmethod
    def read(cls, path: Path, now: Callable[[], float]) -> Authority:
        """Return the authorities of a file of certificates in PEM.

        Raises:
            TrustConfigInvalid: It is not such a file, or holds a certificate that is not an authority's.
            StoreError: It cannot be read.
        """
        origin = str(path)
        try:
            anchors = tuple(x509.load_pem_x509_certificates(read_key_file(path)))
            usable = all(map(_is_authority, anchors))
        except (ValueError, KeyInvalid, x509.DuplicateExtension):
            anchors, usable = (), False
        if not usable or not 0 < len(anchors) <= _MOST_ANCHORS:
            raise TrustConfigInvalid(
                f"{origin} must hold certificates of authorities in PEM, one to {_MOST_ANCHORS}", subject=origin
            )
        return cls(anchors, now)

    def verify(self, bundle: Bundle, origin: str) -> Certified:
        """Return who signed: whoever this authority lets sign counts as the authority itself.

        Args:
            bundle: A bundle with certificates.
            origin: Where it came from, for errors.

        Raises:
            EvidenceInvalid: There is no certificate or no envelope, or one that cannot be read.
            SignatureInvalid: No authority vouches for the certificate now, it may not sign, or did not sign this.
        """
        if not isinstance(bundle.material, Certificates):
            raise EvidenceInvalid(f"{origin}: it was not signed with a certificate", subject=origin)
        try:
            leaf, *between = map(x509.load_der_x509_certificate, bundle.material.chain)
            _check_usage(leaf, origin)
            anchor = self._anchor(leaf, between, origin)
            key = PublicKey.of_key(leaf.public_key(), origin)
            signer = KeySigner(PublicKey.of_key(anchor.public_key(), origin).fingerprint)
        except (ValueError, KeyInvalid, x509.DuplicateExtension) as error:
            raise EvidenceInvalid(
                f"{origin}: its certificate cannot be read: {str(error)[:200]}", subject=origin
            ) from None
        bundle.envelope.verify(key)
        return Certified(signer)

    def _anchor(self, leaf: x509.Certificate, between: list[x509.Certificate], origin: str) -> x509.Certificate:
        now = datetime.fromtimestamp(self.now(), UTC)
        if not leaf.not_valid_before_utc <= now <= leaf.not_valid_after_utc:
            raise SignatureInvalid(
                f"{origin}: its certificate counts from {leaf.not_valid_before_utc:%Y-%m-%d} to "
                f"{leaf.not_valid_after_utc:%Y-%m-%d}, and nothing proves that it was signed then",
                subject=origin,
            )
        verifier = (
            PolicyBuilder()
            .store(Store(list(self.anchors)))
            .time(now)
            .extension_policies(ca_policy=ExtensionPolicy.webpki_defaults_ca(), ee_policy=ExtensionPolicy.permit_all())
            .build_client_verifier()
        )
        try:
            return verifier.verify(leaf, between).chain[-1]
        except VerificationError as error:
            reason = str(error)[:200]
            raise SignatureInvalid(
                f"{origin}: no authority here vouches for its certificate: {reason}", subject=origin
            ) from None


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _check_usage(leaf: x509.Certificate, origin: str) -> None:
    """Return when a certificate is for signing (RFC 5280, 4.2.1.3 and 4.2.1.12).

    A web server's certificate of the same authority must not sign models: where purposes are named, signing code is
    one of them; ``anyExtendedKeyUsage`` is not taken for it.
    """
    try:
        signs = leaf.extensions.get_extension_for_class(KeyUsage).value.digital_signature
    except x509.ExtensionNotFound:
        signs = False
    try:
        purposes = leaf.extensions.get_extension_for_class(ExtendedKeyUsage).value
        signs = signs and ExtendedKeyUsageOID.CODE_SIGNING in purposes
    except x509.ExtensionNotFound:
        pass
    if not signs or _is_authority(leaf):
        raise SignatureInvalid(f"{origin}: its certificate is not one for signing", subject=origin)
