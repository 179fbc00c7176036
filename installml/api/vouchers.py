"""Whose word it is: who signs for ``sign`` and ``attest``, a key or somebody.

A key signs as itself (``signing.signers``). Somebody signs with a key that lives for minutes and a certificate for who
that is (``signing.keyless``), which takes long to load and is therefore loaded when it is asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias, runtime_checkable

from ..errors import UsageError
from ..signing.secret import Secret
from .session import Session

if TYPE_CHECKING:  # what signs is loaded when something is signed
    from ..signing.signers import Signer
    from ..trust.bundle import Bundle
    from ..trust.evidence import IdentitySigner
    from ..trust.keys import PublicKey

__all__ = ["Keyless", "Login", "Voucher", "key_of", "name_of", "voucher_of"]


@runtime_checkable
class Keyless(Protocol):
    """Whoever signs as somebody."""

    @property
    def identity(self) -> IdentitySigner | None:
        """As whom it signed last; None before."""
        ...

    def bundle(self, statement: bytes) -> Bundle:
        """Return a statement, signed, logged and verified."""
        ...


Voucher: TypeAlias = "Signer | Keyless"


@dataclass(frozen=True, slots=True)
class Login:
    """How somebody shows who they are.

    Attributes:
        token: Identity token; None to take the CI job's, or to ask.
        browser: Whether somebody is there who can log in with a browser.
    """

    token: Secret | None = None
    browser: bool = False


def voucher_of(key: str, login: Login | None, session: Session) -> Voucher:
    """Return who signs: as somebody with ``login``, else with a key.

    Args:
        key: As of ``signer_of``.
        login: How somebody shows who they are; None to sign with a key.
        session: Collaborators.

    Raises:
        UsageError: A key is named as well, or there is no network to sign without one.
        KeyNotFound: There is no such key, or several to choose from.
        TrustConfigInvalid: The session's roots of trust do not say who signs.
    """
    if login is None:
        from .keys import signer_of

        return signer_of(key, session)
    if key:
        raise UsageError("it is signed with a key or as somebody, not both", hint="Leave out one of them.", subject=key)
    if session.offline:
        raise UsageError("without a network only a key can sign", hint="Leave out --offline, or name a key.")
    from ..signing.keyless import KeylessSigner

    return KeylessSigner(session.trust_config, token=login.token, browser=login.browser)


def key_of(voucher: Voucher) -> PublicKey | None:
    """Return the key that signs; None when somebody does."""
    return None if isinstance(voucher, Keyless) else voucher.public_key


def name_of(voucher: Voucher) -> str:
    """Return who has signed, in words."""
    return str(voucher.identity) if isinstance(voucher, Keyless) else f"key {voucher.public_key.fingerprint}"
