"""Public keys: how they are read, what they are called, and what a signature by them is.

ECDSA on P-256 with SHA-256 is what InstallML makes and what every tool reads. Read as well: P-384, P-521, RSA from
2048 bits and Ed25519, so that what others signed can be checked.

Names of one key, each where it is used:

- ``fingerprint``: ``sha256:`` and the hexadecimal SHA-256 of the DER SubjectPublicKeyInfo (RFC 5280, 4.1); for people
  and policies.
- ``hint``: the same 32 bytes in base64: what cosign 3 writes as ``publicKey.hint`` of a bundle.
- ``oms_hint``: hexadecimal SHA-256 of the PEM text, what model_signing 1.1 writes there and insists on.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

from .errors import KeyInvalid, SignatureInvalid

__all__ = ["MAX_KEY", "MAX_SIGNATURE", "KeyKind", "PublicKey", "is_private_pem"]

MAX_KEY = 64 << 10
"""Bytes of a key file that are read; an RSA key of 16384 bits has 13 KiB."""
MAX_SIGNATURE = 2048
"""Bytes of a signature; RSA with 16384 bits."""

_LEAST_RSA = 2048  # NIST SP 800-131A rev. 2, table 2: fewer are disallowed
_MOST_RSA = 16384  # OpenSSL's own limit for moduli; checking a larger one is a way to keep us busy
_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]{1,64})-----")


class KeyKind(StrEnum):
    """Algorithm and size of a key."""

    P256 = "ecdsa-p256"
    P384 = "ecdsa-p384"
    P521 = "ecdsa-p521"
    RSA = "rsa"
    ED25519 = "ed25519"


_CURVES = {"secp256r1": KeyKind.P256, "secp384r1": KeyKind.P384, "secp521r1": KeyKind.P521}
# The hash that goes with a curve is the one of Sigstore's algorithm registry (architecture-docs,
# "algorithm-registry.md"); cosign before version 3 took SHA-256 with every curve.
_HASHES: dict[KeyKind, tuple[hashes.HashAlgorithm, ...]] = {
    KeyKind.P256: (hashes.SHA256(),),
    KeyKind.P384: (hashes.SHA384(), hashes.SHA256()),
    KeyKind.P521: (hashes.SHA512(), hashes.SHA256()),
}


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public key of an accepted kind.

    Make one with ``parse`` or ``of_der``: they check it and bring its encoding into the one form that is hashed.

    Attributes:
        der: DER of its SubjectPublicKeyInfo.
    """

    der: bytes

    @classmethod
    def parse(cls, pem: bytes | str, origin: str = "public key") -> PublicKey:
        """Return the key that a PEM text holds.

        Args:
            pem: One block ``PUBLIC KEY`` (or ``RSA PUBLIC KEY``), perhaps with text around it.
            origin: Where it came from, for the error's sentence.

        Raises:
            KeyInvalid: No or several blocks, a private key, not a key, or of a kind not accepted.
        """
        data = pem.encode("utf-8", "replace") if isinstance(pem, str) else pem
        if len(data) > MAX_KEY:
            raise KeyInvalid(f"{origin} has {len(data)} bytes, a key at most {MAX_KEY}", subject=origin)
        labels = [label.decode() for label in _BLOCK.findall(data)]
        if any("PRIVATE KEY" in label for label in labels):
            raise KeyInvalid(
                f"{origin} is a private key where a public one is wanted",
                hint="Never hand it out. Print its public half with: installml keys export NAME",
                subject=origin,
            )
        if labels not in (["PUBLIC KEY"], ["RSA PUBLIC KEY"]):
            found = ", ".join(labels[:3]) or "none"
            raise KeyInvalid(f"{origin} must hold one PEM block PUBLIC KEY, found {found}", subject=origin)
        return cls._of(serialization.load_pem_public_key, data, origin)

    @classmethod
    def of_der(cls, der: bytes, origin: str = "public key") -> PublicKey:
        """Return the key of a DER SubjectPublicKeyInfo.

        Raises:
            KeyInvalid: Not a key, or of a kind not accepted.
        """
        if len(der) > MAX_KEY:
            raise KeyInvalid(f"{origin} has {len(der)} bytes, a key at most {MAX_KEY}", subject=origin)
        return cls._of(serialization.load_der_public_key, der, origin)

    @classmethod
    def of_key(cls, key: Any, origin: str = "public key") -> PublicKey:
        """Return the key that an object of ``cryptography`` is.

        Raises:
            KeyInvalid: Of a kind not accepted.
        """
        _kind(key, origin)
        return cls(key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo))

    @classmethod
    def _of(cls, load: Any, data: bytes, origin: str) -> PublicKey:
        try:
            key = load(data)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise KeyInvalid(f"{origin} is not a public key that can be read", subject=origin) from None
        return cls.of_key(key, origin)

    @property
    def kind(self) -> KeyKind:
        """Algorithm and size."""
        return _kind(_loaded(self.der), "public key")

    @property
    def pem(self) -> str:
        """PEM text, ending in a line feed."""
        key = _loaded(self.der)
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        return str(key.public_bytes(serialization.Encoding.PEM, form).decode())

    @property
    def fingerprint(self) -> str:
        """``sha256:<hex>`` of the DER."""
        return f"sha256:{hashlib.sha256(self.der).hexdigest()}"

    @property
    def hint(self) -> str:
        """Base64 of the DER's SHA-256, as cosign writes it into bundles."""
        return base64.b64encode(hashlib.sha256(self.der).digest()).decode()

    @property
    def oms_hint(self) -> str:
        """Hexadecimal SHA-256 of the PEM text, as model_signing writes it into bundles."""
        return hashlib.sha256(self.pem.encode()).hexdigest()

    def answers_to(self, hint: str) -> bool:
        """Return whether a bundle's hint names this key, in any of the forms that tools write."""
        return hint in {self.hint, self.oms_hint, self.fingerprint, self.fingerprint.partition(":")[2]}

    def verify(self, signature: bytes, data: bytes) -> None:
        """Return when this key signed ``data``.

        ECDSA signatures are DER (RFC 3279, 2.2.3) over the hash that belongs to the curve. RSA is PKCS #1 v1.5, which
        cosign makes, or PSS, both with SHA-256. Ed25519 is the pure one of RFC 8032.

        Raises:
            SignatureInvalid: It did not, or not in a way that is accepted.
        """
        if not 0 < len(signature) <= MAX_SIGNATURE:
            raise SignatureInvalid(f"a signature has 1 to {MAX_SIGNATURE} bytes, not {len(signature)}")
        if not any(_holds(attempt) for attempt in self._attempts(signature, data)):
            raise SignatureInvalid(f"the key {self.fingerprint} did not sign this{self._reservation()}")

    def _attempts(self, signature: bytes, data: bytes) -> Iterable[tuple[Any, ...]]:
        key = _loaded(self.der)
        if isinstance(key, ec.EllipticCurvePublicKey):
            return [(key.verify, signature, data, ec.ECDSA(each)) for each in _HASHES[self.kind]]
        if isinstance(key, ed25519.Ed25519PublicKey):
            return [(key.verify, signature, data)]
        pss = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.AUTO)
        return [(key.verify, signature, data, scheme, hashes.SHA256()) for scheme in (padding.PKCS1v15(), pss)]

    def _reservation(self) -> str:
        # Observed with cosign 3.1.3 and an Ed25519 key: `sign`, `attest` and `attest-blob` make the prehashed variant
        # (RFC 8032, 5.1, Ed25519ph), and `verify` takes the pure one only, so not even what cosign signed itself.
        # `cryptography` has only the pure one, and a signature does not say which it is.
        if self.kind is not KeyKind.ED25519:
            return ""
        return "; Ed25519ph, which cosign makes with such a key, is not read: sign with ECDSA P-256"

    def __str__(self) -> str:
        return f"{self.kind} {self.fingerprint}"


def is_private_pem(data: bytes) -> bool:
    """Return whether a PEM block of ``data`` says that it is a private key."""
    return any(b"PRIVATE KEY" in label for label in _BLOCK.findall(data[:MAX_KEY]))


def _holds(attempt: tuple[Any, ...]) -> bool:
    verify, *arguments = attempt
    try:
        verify(*arguments)
    except (InvalidSignature, ValueError):
        return False
    return True


@lru_cache(maxsize=64)
def _loaded(der: bytes) -> Any:
    return serialization.load_der_public_key(der)


def _kind(key: Any, origin: str) -> KeyKind:
    if isinstance(key, ed25519.Ed25519PublicKey):
        return KeyKind.ED25519
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in _CURVES:
        return _CURVES[key.curve.name]
    if isinstance(key, rsa.RSAPublicKey) and _LEAST_RSA <= key.key_size <= _MOST_RSA:
        return KeyKind.RSA
    raise KeyInvalid(f"{origin} is {_spoken(key)}; accepted are {_ACCEPTED}", subject=origin)


_ACCEPTED = f"ECDSA on P-256, P-384 and P-521, RSA from {_LEAST_RSA} to {_MOST_RSA} bits, and Ed25519"


def _spoken(key: Any) -> str:
    if isinstance(key, ec.EllipticCurvePublicKey):
        return f"on the curve {key.curve.name}"
    if isinstance(key, rsa.RSAPublicKey):
        return f"RSA with {key.key_size} bits"
    return f"of the kind {type(key).__name__.removesuffix('PublicKey').strip('_')}"
