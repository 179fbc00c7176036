"""Private keys as files: PKCS #8 in PEM, and cosign's ``cosign.key``, both read and written.

Written PKCS #8 is encrypted with AES-256-CBC under a key that scrypt derives (RFC 8018, 6.2 with RFC 7914, 7).
``cryptography``'s own choice is PBKDF2 with 2048 rounds, which a graphics card tries a million times a second; scrypt
costs 16 MiB and a quarter of a second each time, the most memory with which ``openssl`` reads the file unasked.

``cosign.key`` is JSON in PEM: scrypt and NaCl's secretbox (go-securesystemslib, "encrypted"). How much a file may ask
of its reader is bounded before anything is derived.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import secrets
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7

from ..spec.canonical import canonical
from ..trust.dsse import check, decode64, encode64, read_json
from ..trust.errors import EvidenceInvalid, KeyInvalid
from ..trust.keys import MAX_KEY, KeyKind, PublicKey
from .der import Element, integer, octets, oid, read_der, sequence
from .errors import PassphraseRefused
from .secret import Ask, Secret

__all__ = ["COSIGN_LABELS", "Ask", "PrivateKey", "Secret", "is_locked", "read_private", "write_cosign", "write_pkcs8"]

COSIGN_LABELS = ("ENCRYPTED SIGSTORE PRIVATE KEY", "ENCRYPTED COSIGN PRIVATE KEY")
"""PEM labels of a cosign key: the first is written, cosign before 2.0 wrote the second."""

_LOCKED = "ENCRYPTED PRIVATE KEY"
_PLAIN = ("PRIVATE KEY", "EC PRIVATE KEY", "RSA PRIVATE KEY")
_PEM = re.compile(rb"-----BEGIN ([A-Z0-9 ]{1,64})-----\s+([A-Za-z0-9+/=\s]+?)-----END \1-----")

_PBES2, _SCRYPT, _PBKDF2, _AES256 = (
    "1.2.840.113549.1.5.13", "1.3.6.1.4.1.11591.4.11", "1.2.840.113549.1.5.12", "2.16.840.1.101.3.4.1.42",
)  # fmt: skip
# OWASP "Password Storage Cheat Sheet": as strong as N=2**17, r=8, p=1, in the 32 MiB that OpenSSL allows by itself
_N, _R, _P = 1 << 14, 8, 5
_COSIGN_N, _COSIGN_R, _COSIGN_P = 1 << 16, 8, 1  # what cosign writes; it refuses what it does not know
_MOST_MEMORY = 512 << 20  # bytes that scrypt may take: 128 * N * r
_MOST_WORK = 1 << 23  # N * r * p; cosign's is 2**19, which is a quarter of a second
_MOST_ROUNDS = 10_000_000  # of PBKDF2: some seconds


@dataclass(frozen=True, slots=True, eq=False)
class PrivateKey:
    """A private key in memory; a ``Signer``."""

    _key: Any

    @classmethod
    def generate(cls) -> PrivateKey:
        """Return a new key: ECDSA on P-256, which every tool of the field reads."""
        return cls(ec.generate_private_key(ec.SECP256R1()))

    @property
    def public_key(self) -> PublicKey:
        """Its public half."""
        return PublicKey.of_key(self._key.public_key())

    def sign(self, data: bytes) -> bytes:
        """Return the signature over ``data``, as ``PublicKey.verify`` takes it."""
        if isinstance(self._key, rsa.RSAPrivateKey):
            return self._key.sign(data, padding.PKCS1v15(), hashes.SHA256())
        signature: bytes = self._key.sign(data, ec.ECDSA(_HASHES[self.public_key.kind]))
        return signature

    def der(self) -> bytes:
        """Return it unprotected, as DER of PKCS #8: for the writers of this module."""
        form, none = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        data: bytes = self._key.private_bytes(serialization.Encoding.DER, form, none)
        return data

    def __repr__(self) -> str:
        return f"PrivateKey({self.public_key.fingerprint})"


_HASHES: dict[KeyKind, hashes.HashAlgorithm] = {
    KeyKind.P256: hashes.SHA256(),
    KeyKind.P384: hashes.SHA384(),
    KeyKind.P521: hashes.SHA512(),
}


def is_locked(data: bytes) -> bool:
    """Return whether a key file asks for a passphrase."""
    label, _ = _block(data, "")
    return label not in _PLAIN


def read_private(data: bytes, ask: Ask, origin: str) -> PrivateKey:
    """Return the private key that a file holds.

    Args:
        data: The file: one PEM block, PKCS #8 (encrypted or not), ``EC``/``RSA PRIVATE KEY`` or cosign's.
        ask: Called for the passphrase where the file is encrypted.
        origin: What the file is called, for errors and the question.

    Raises:
        KeyInvalid: Not a private key, of a kind that does not sign here, or one that asks too much of its reader.
        PassphraseRefused: The passphrase is wrong.
    """
    label, body = _block(data, origin)
    if label in COSIGN_LABELS:
        return _loaded(_open_cosign(body, ask, origin), origin)
    if label == _LOCKED:
        _check_costs(body, origin)
        secret = ask(f"passphrase of {origin}")
        return _loaded(body, origin, secret)
    if b"ENCRYPTED" in data:  # RFC 1421's headers, as OpenSSL wrote them before PKCS #8: MD5 and one round
        raise KeyInvalid(
            f"{origin} is encrypted in an old way that protects little",
            hint=f"openssl pkcs8 -topk8 -scrypt -in {origin} -out NEW",
            subject=origin,
        )
    return _loaded(_normalised(data, origin), origin)


def write_pkcs8(key: PrivateKey, secret: Secret | None) -> bytes:
    """Return ``key`` as PKCS #8 in PEM, encrypted under ``secret``; open to every reader when that is None."""
    if secret is None:
        return _pem("PRIVATE KEY", key.der())
    salt, start = secrets.token_bytes(16), secrets.token_bytes(16)
    derived = _scrypt(secret, salt, _N, _R, _P)
    padder = PKCS7(128).padder()
    encryptor = Cipher(algorithms.AES(derived), modes.CBC(start)).encryptor()
    sealed = encryptor.update(padder.update(key.der()) + padder.finalize()) + encryptor.finalize()
    kdf = sequence(oid(_SCRYPT), sequence(octets(salt), integer(_N), integer(_R), integer(_P)))
    scheme = sequence(oid(_PBES2), sequence(kdf, sequence(oid(_AES256), octets(start))))
    return _pem(_LOCKED, sequence(scheme, octets(sealed)))


def write_cosign(key: PrivateKey, secret: Secret) -> bytes:
    """Return ``key`` as ``cosign.key``, which ``cosign sign --key`` reads."""
    from nacl.bindings import crypto_secretbox

    salt, nonce = secrets.token_bytes(32), secrets.token_bytes(24)
    derived = _scrypt(secret, salt, _COSIGN_N, _COSIGN_R, _COSIGN_P)
    document = {
        "kdf": {
            "name": "scrypt",
            "params": {"N": _COSIGN_N, "r": _COSIGN_R, "p": _COSIGN_P},
            "salt": encode64(salt),
        },
        "cipher": {"name": "nacl/secretbox", "nonce": encode64(nonce)},
        "ciphertext": encode64(crypto_secretbox(key.der(), nonce, derived)),
    }
    return _pem(COSIGN_LABELS[0], canonical(document))


def _open_cosign(body: bytes, ask: Ask, origin: str) -> bytes:
    from nacl.bindings import crypto_secretbox_open
    from nacl.exceptions import CryptoError

    salt, costs, nonce, sealed = _parse_cosign(body, origin)
    _bound(*costs, origin)
    derived = _scrypt(ask(f"passphrase of {origin}"), salt, *costs)
    try:
        return bytes(crypto_secretbox_open(sealed, nonce, derived))
    except CryptoError:
        raise _wrong(origin) from None


def _parse_cosign(body: bytes, origin: str) -> tuple[bytes, tuple[int, int, int], bytes, bytes]:
    try:
        node = read_json(body, origin, cap=MAX_KEY)
        fields = node.mapping(("kdf", "cipher", "ciphertext"), ("kdf", "cipher", "ciphertext"))
        kdf = fields["kdf"].mapping(("name", "params", "salt"), ("name", "params", "salt"))
        cipher = fields["cipher"].mapping(("name", "nonce"), ("name", "nonce"))
        params = kdf["params"].mapping(("N", "r", "p"), ("N", "r", "p"))
        kdf["name"].choice(("scrypt",))
        cipher["name"].choice(("nacl/secretbox",))
        costs = (params["N"].integer(least=2), params["r"].integer(least=1), params["p"].integer(least=1))
        salt, nonce = decode64(kdf["salt"], most=1024), decode64(cipher["nonce"], most=24)
        if cipher["nonce"] and len(nonce) != 24:
            cipher["nonce"].fail("must have 24 bytes")
        sealed = decode64(fields["ciphertext"], most=MAX_KEY)
        check(node, origin)
    except EvidenceInvalid as error:
        raise KeyInvalid(f"{error.message}: not a key that cosign wrote", subject=origin) from None
    return salt, costs, nonce, sealed


def _check_costs(body: bytes, origin: str) -> None:
    """Return when opening PKCS #8 costs what may be asked (RFC 8018, appendix A; RFC 7914, 7)."""
    try:
        scheme = read_der(body).children[0].children
        if scheme[0].oid != _PBES2:
            raise KeyInvalid(
                f"{origin} is encrypted with {scheme[0].oid}, an old scheme that protects little",
                hint=f"openssl pkcs8 -topk8 -scrypt -in {origin} -out NEW",
                subject=origin,
            )
        kdf = scheme[1].children[0].children
        parameters = kdf[1].children
        if kdf[0].oid == _SCRYPT:
            n, r, p = (parameters[place].integer for place in (1, 2, 3))
            _bound(n, r, p, origin)
        elif kdf[0].oid != _PBKDF2 or not 1 <= _rounds(parameters) <= _MOST_ROUNDS:
            raise _costly(origin)
    except (IndexError, ValueError):
        raise KeyInvalid(f"{origin} is not a private key that can be read", subject=origin) from None


def _rounds(parameters: tuple[Element, ...]) -> int:
    return parameters[1].integer


def _bound(n: int, r: int, p: int, origin: str) -> None:
    if n < 2 or n & (n - 1) or r < 1 or p < 1 or 128 * n * r > _MOST_MEMORY or n * r * p > _MOST_WORK:
        raise _costly(origin)


def _costly(origin: str) -> KeyInvalid:
    return KeyInvalid(
        f"{origin} asks for a key derivation that is unknown or would take too much time or memory",
        hint="Only open key files that you made or know the maker of.",
        subject=origin,
    )


def _wrong(origin: str) -> PassphraseRefused:
    return PassphraseRefused(
        f"this is not the passphrase of {origin}, or the file is damaged", hint="Try again.", subject=origin
    )


def _scrypt(secret: Secret, salt: bytes, n: int, r: int, p: int) -> bytes:
    return hashlib.scrypt(secret.reveal(), salt=salt, n=n, r=r, p=p, maxmem=128 * r * (n + p + 2) + (1 << 20), dklen=32)


def _loaded(der: bytes, origin: str, secret: Secret | None = None) -> PrivateKey:
    try:
        key = serialization.load_der_private_key(der, secret.reveal() if secret is not None else None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        if secret is not None and not isinstance(error, UnsupportedAlgorithm):  # one wrong one in 256 pads well
            raise _wrong(origin) from None
        raise KeyInvalid(f"{origin} is not a private key that can be read", subject=origin) from None
    if PublicKey.of_key(key.public_key(), origin).kind is KeyKind.ED25519:
        # cosign 3.1.3 signs Ed25519ph with it and verifies the pure variant only; model_signing 1.1 knows ECDSA only
        raise KeyInvalid(
            f"{origin} is an Ed25519 key; signatures by it are not understood by every tool", subject=origin
        )
    return PrivateKey(key)


def _normalised(data: bytes, origin: str) -> bytes:
    try:
        key = serialization.load_pem_private_key(data, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise KeyInvalid(f"{origin} is not a private key that can be read", subject=origin) from None
    form, none = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.DER, form, none)


def _block(data: bytes, origin: str) -> tuple[str, bytes]:
    """Return label and content of the one private key in a file."""
    if len(data) > MAX_KEY:
        raise KeyInvalid(f"{origin} has {len(data)} bytes, a key at most {MAX_KEY}", subject=origin)
    labels = [each.decode() for each in re.findall(rb"-----BEGIN ([A-Z0-9 ]{1,64})-----", data)]
    private = [label for label in labels if label.endswith("PRIVATE KEY")]
    if len(private) != 1 or private[0] not in (*COSIGN_LABELS, _LOCKED, *_PLAIN):
        found = ", ".join(labels[:3]) or "none"
        raise KeyInvalid(f"{origin} must hold one private key in PEM, found {found}", subject=origin)
    for label, body in _PEM.findall(data):
        if label.decode() == private[0]:
            try:
                return private[0], base64.b64decode(re.sub(rb"\s", b"", body), validate=True)
            except binascii.Error:
                break
    if private[0] in _PLAIN and b"ENCRYPTED" in data:
        return private[0], b""
    raise KeyInvalid(f"{origin} is not a private key that can be read", subject=origin)


def _pem(label: str, data: bytes) -> bytes:
    body = base64.encodebytes(data).replace(b"\n", b"")
    lines = b"\n".join(body[i : i + 64] for i in range(0, len(body), 64))
    return b"-----BEGIN %s-----\n%s\n-----END %s-----\n" % (label.encode(), lines, label.encode())
