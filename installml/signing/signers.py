"""Who signs: one interface over key files, hardware modules and key services.

A key file needs nothing but ``cryptography``. What keeps its keys to itself is reached through ``securesystemslib``
by a URI, each with an extra of its own:

==============  ============  ==========================================================
URI             extra         where the key is
==============  ============  ==========================================================
``hsm:``        hsm           a PKCS #11 token; ``PYKCS11LIB`` names its library
``awskms:``     awskms        AWS KMS
``gcpkms:``     gcpkms        Google Cloud KMS
``azurekms:``   azurekms      Azure Key Vault
``hv:``         vault         HashiCorp Vault's transit engine
==============  ============  ==========================================================
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qsl

from ..trust.errors import SignatureInvalid
from ..trust.keys import KeyKind, PublicKey
from .errors import KeyNotFound, SignerUnavailable, SigningFailed
from .keyfile import Ask, read_private
from .keyring import FILE_ENDINGS, Holding, KeyRing, check_private, read_key_file

__all__ = ["EXTRAS", "RemoteSigner", "Signer", "is_uri", "open_signer", "remote_key"]

EXTRAS = {"hsm": "hsm", "awskms": "awskms", "gcpkms": "gcpkms", "azurekms": "azurekms", "hv": "vault"}
"""Scheme of a URI to the extra that it needs."""


class Signer(Protocol):
    """Whoever can sign with one key."""

    @property
    def public_key(self) -> PublicKey:
        """The public half of the key."""
        ...

    def sign(self, data: bytes) -> bytes:
        """Return the signature over ``data``: of ECDSA the DER form, over the hash that belongs to the curve.

        Raises:
            SigningFailed: Whoever holds the key did not.
        """
        ...


@dataclass(frozen=True, slots=True)
class RemoteSigner:
    """A key in a device or service that signs and never hands it out.

    Attributes:
        uri: Where it is.
        public_key: Its public half, kept here: what comes back is checked against it.
        ask: Called for the PIN of a token.
    """

    uri: str
    public_key: PublicKey
    ask: Ask

    def sign(self, data: bytes) -> bytes:
        """Return the signature over ``data``.

        Raises:
            SignerUnavailable: The extra is not installed.
            SigningFailed: The device or service did not sign, or did with another key.
        """
        library = _library(self.uri)
        try:
            key = library.SSlibKey.from_crypto(_crypto_key(self.public_key), scheme=_scheme(self.public_key))
            signer = library.Signer.from_priv_key_uri(self.uri, key, _secrets(self.ask, self.uri))
            signature = bytes.fromhex(signer.sign(data).signature)
        except Exception as error:
            raise _failed(self.uri, error) from None
        try:
            self.public_key.verify(signature, data)
        except SignatureInvalid:
            raise SigningFailed(
                f"{self.uri} signed with another key than {self.public_key.fingerprint}",
                hint="The key behind the name was changed; import it again under a new name: installml keys import",
                subject=self.uri,
            ) from None
        return signature


def is_uri(text: str) -> bool:
    """Return whether ``text`` says where a key is that is not a file."""
    return text.partition(":")[0] in EXTRAS and ":" in text


def open_signer(label: str, ring: KeyRing, ask: Ask) -> Signer:
    """Return who signs with a key.

    Args:
        label: Name of a key of ``ring``, ``NAME@VERSION``, path of a key file (with a slash, or a file's ending), or
            URI of a key in a device or service. Empty for the only key that can sign here.
        ring: The keys of this machine.
        ask: Called for a passphrase or PIN where one is needed.

    Raises:
        KeyNotFound: There is no such key, or only its public half, or several to choose from.
        KeyExposed: Others can read its file.
        PassphraseRefused: The passphrase is wrong.
        SignerUnavailable: The device or service cannot be reached.
    """
    if is_uri(label):
        uri, public = remote_key(label, ask)
        return RemoteSigner(uri, public, ask)
    if "/" in label or label.endswith(FILE_ENDINGS):
        path = Path(label)
        check_private(path)
        return read_private(read_key_file(path), ask, label)
    entry = ring.find(label) if label else _only(ring)
    if entry.holding is Holding.REMOTE:
        return RemoteSigner(entry.uri, entry.public, ask)
    return entry.private(ask)


def _only(ring: KeyRing) -> Any:
    able = [each for each in ring.entries() if each.current and each.holding is not Holding.PUBLIC]
    if not able:
        raise KeyNotFound("no key here can sign", hint="installml keys generate NAME")
    if len(able) > 1:
        names = ", ".join(each.name for each in able[:8])
        raise KeyNotFound(f"several keys can sign: {names}", hint="Say which one: --key NAME")
    return able[0]


def remote_key(uri: str, ask: Ask) -> tuple[str, PublicKey]:
    """Return the full URI and the public key of a key in a device or service.

    Args:
        uri: Such as ``hsm:2?label=token``, ``awskms:alias/release``, ``hv:release``.
        ask: Called for the PIN of a token that hides even public keys.

    Raises:
        SignerUnavailable: The extra is not installed, or the key is not found there.
        KeyInvalid: It is of a kind that is not accepted.
    """
    library = _library(uri)
    try:
        full, key = _IMPORTS[uri.partition(":")[0]](library, uri, ask)
        loaded = key._crypto_key()
    except Exception as error:
        raise _failed(uri, error, SignerUnavailable) from None
    return str(full), PublicKey.of_key(loaded, uri)


def _import_hsm(library: Any, uri: str, ask: Ask) -> Any:
    path, _, query = uri.partition(":")[2].partition("?")
    label = dict(parse_qsl(query)).get("label")
    return library.HSMSigner.import_(int(path) if path else None, label, _secrets(ask, uri))


def _import_azure(library: Any, uri: str, ask: Ask) -> Any:
    vault, _, name = uri.partition(":")[2].strip("/").partition("/")
    return library.AzureSigner.import_(vault, name)


_IMPORTS: dict[str, Callable[[Any, str, Ask], Any]] = {
    "hsm": _import_hsm,
    "awskms": lambda library, uri, _: library.AWSSigner.import_(uri.partition(":")[2]),
    "gcpkms": lambda library, uri, _: library.GCPSigner.import_(uri.partition(":")[2]),
    "azurekms": _import_azure,
    "hv": lambda library, uri, _: library.VaultSigner.import_(uri.partition(":")[2]),
}


def _library(uri: str) -> Any:
    try:
        from securesystemslib import signer
    except ImportError:
        raise _missing(uri) from None
    return signer


def _missing(uri: str) -> SignerUnavailable:
    scheme = uri.partition(":")[0]
    return SignerUnavailable(
        f"keys of {scheme}: need an extra that is not installed",
        hint=f"pip install 'installml[{EXTRAS.get(scheme, 'kms')}]'",
        subject=uri,
    )


def _failed(uri: str, error: Exception, kind: type[SignerUnavailable | SigningFailed] = SigningFailed) -> Exception:
    """Return an error of ours for whatever the libraries of devices and services raise."""
    if type(error).__name__ == "UnsupportedLibraryError":
        return _missing(uri)
    if "PYKCS11LIB" in str(error):
        return SignerUnavailable(
            "no PKCS #11 library is named",
            hint="PYKCS11LIB=/usr/lib/softhsm/libsofthsm2.so (the path of your token's library)",
            subject=uri,
        )
    told = isinstance(error, ValueError) or type(error).__module__.partition(".")[0] in _TELL_NO_SECRETS
    reason = f": {error}" if told and str(error) else ""
    return kind(f"{uri} cannot be used: {type(error).__name__}{reason[:300]}", subject=uri)


_TELL_NO_SECRETS = {"botocore", "hvac", "google", "azure"}
"""Libraries whose errors say what a service answered; those of others may repeat what they were given."""


def _secrets(ask: Ask, uri: str) -> Callable[[str], str]:
    return lambda what: ask(f"{'PIN' if what == 'pin' else what} of {uri}").reveal().decode("utf-8", "surrogateescape")


def _crypto_key(key: PublicKey) -> Any:
    from cryptography.hazmat.primitives.serialization import load_der_public_key

    return load_der_public_key(key.der)


def _scheme(key: PublicKey) -> str | None:
    return "rsa-pkcs1v15-sha256" if key.kind is KeyKind.RSA else None  # cosign reads RSA as PKCS #1 v1.5
