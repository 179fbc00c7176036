"""What goes wrong with private keys and whoever holds them. No error shows a passphrase, a PIN or a byte of a key::

UsageError                  2
├── PassphraseMissing          a passphrase is needed and there is nobody to ask
├── PassphraseRefused          wrong, empty, too short, or not the same twice
├── KeyExists                  a key of that name is there; keys are never overwritten
├── KeyExposed                 others can read the file of a private key
├── SignerUnavailable          what holds the key cannot be used here: an extra, a device, a login
├── IdentityMissing            nobody says who signs, or says it in a way that cannot be used
└── TrustConfigInvalid         a file of roots of trust that cannot be read
NotFound                    1
└── KeyNotFound                no key of that name, or only its public half
InstallMLError              1
└── SigningFailed              whoever holds the key did not sign, or signed something else
"""

from __future__ import annotations

from ..errors import InstallMLError, NotFound, UsageError

__all__ = [
    "IdentityMissing",
    "KeyExists",
    "KeyExposed",
    "KeyNotFound",
    "PassphraseMissing",
    "PassphraseRefused",
    "SignerUnavailable",
    "SigningFailed",
    "TrustConfigInvalid",
]


class PassphraseMissing(UsageError):
    """A passphrase is needed, and there is nobody to ask for it."""

    reference = "passphrase-missing"
    default_hint = "Run it in a terminal to be asked, or set INSTALLML_KEY_PASSWORD."


class PassphraseRefused(UsageError):
    """The passphrase is wrong, empty, too short, or was not the same twice."""

    reference = "passphrase-refused"


class KeyExists(UsageError):
    """A key of that name is there already; a key is never overwritten."""

    reference = "key-exists"
    default_hint = "Take another name, or make its successor with: installml keys rotate NAME"


class KeyExposed(UsageError):
    """Others on this machine can read the file of a private key."""

    reference = "key-exposed"

    def __init__(self, path: str) -> None:
        hint = f"chmod 600 {path}; whoever could read it may have copied it, so think about: installml keys rotate NAME"
        super().__init__(f"others can read the private key {path}", hint=hint, subject=path)


class SignerUnavailable(UsageError):
    """What holds the key cannot be used here: an extra is not installed, a device or a login is missing."""

    reference = "signer-unavailable"


class IdentityMissing(UsageError):
    """Nobody says who signs: no identity token, no CI job that has one, nobody who could log in; or it is of no use."""

    reference = "identity-missing"
    default_hint = "Log in with a browser in a terminal, or name a token: --identity-token FILE"


class TrustConfigInvalid(UsageError):
    """A file that should say whom to trust (a trusted root, a trust config, certificates of authorities) does not."""

    reference = "trust-config-invalid"
    default_hint = "Ask whoever runs the authority for its trusted root, or leave it out to use the public one."


class KeyNotFound(NotFound):
    """There is no key of that name, or only its public half is here."""

    reference = "key-not-found"
    default_hint = "See which there are: installml keys list"


class SigningFailed(InstallMLError):
    """Whoever holds the key did not sign, or signed with another key or algorithm."""

    reference = "signing-failed"
