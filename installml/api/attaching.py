"""Attaching what is signed to a package: where the package was found, and in the local store if it is there too.

The one way in which ``sign``, ``attest`` and ``push --sign`` leave something behind.
"""

from __future__ import annotations

from contextlib import suppress

from ..errors import StoreError
from ..signing.attach import attach_bundle, attach_classic
from ..signing.signers import Signer
from ..spec.descriptor import Descriptor
from ..store.protocol import Destination
from ..trust.bundle import Bundle, KeyHint
from ..trust.claims import annotations_of
from ..trust.dsse import Envelope
from ..trust.evidence import Claims
from ..trust.simple import SimplePayload
from ..trust.statement import OMS, Statement
from .places import Found
from .session import Session
from .vouchers import Keyless, Voucher, key_of

__all__ = ["attach", "attach_in_classic_form", "signed"]


def signed(statement: Statement, signer: Voucher) -> Bundle:
    """Return a statement in a bundle that ``signer`` has signed.

    Args:
        statement: What is said.
        signer: Whoever says it.

    Raises:
        SigningFailed: Whoever holds the key, or one of the services that sign without one, did not.
    """
    if isinstance(signer, Keyless):
        return signer.bundle(statement.to_bytes())
    key = signer.public_key
    envelope = Envelope.signed(statement.to_bytes(), signer.sign)
    # model_signing refuses a signature over files whose hint is not its own way to name a key
    return Bundle(envelope, KeyHint(key.oms_hint if statement.predicate_type == OMS else key.hint))


def attach(found: Found, bundle: Bundle, signer: Voucher, session: Session) -> Descriptor:
    """Let a bundle refer to a package, where it was found and in the local store if that has it as well.

    Args:
        found: The package.
        bundle: Of ``signed``.
        signer: Whoever signed it.
        session: Collaborators.

    Returns:
        The manifest that carries it.

    Raises:
        RegistryError: The registry does not take it.
        StoreError: The package is in the local store only, and that cannot be written.
    """
    key = key_of(signer)
    if not found.remote:
        with session.store.lease():
            return attach_bundle(session.local(found.reference), found.descriptor, bundle, key)[0]
    place: Destination = session.remote(found.reference)
    carrier, _ = attach_bundle(place, found.descriptor, bundle, key)
    local = session.local(found.reference)
    with suppress(StoreError):  # that it cannot be kept here does not undo what is in the registry
        if local.exists(found.descriptor):
            with session.store.lease():
                attach_bundle(local, found.descriptor, bundle, key)
    return carrier


def attach_in_classic_form(found: Found, claims: Claims, signer: Signer, session: Session) -> Descriptor:
    """Sign a package in cosign's classic form, for those who know no other; registries only.

    Args:
        found: The package.
        claims: As in the bundle.
        signer: Whoever signs.
        session: Collaborators.

    Returns:
        The manifest under the tag ``sha256-<hex>.sig``.
    """
    place = f"{found.reference.registry}/{found.reference.repository}"
    payload = SimplePayload(place, found.descriptor.digest, annotations_of(claims))
    return attach_classic(session.remote(found.reference), payload, signer.sign(payload.to_bytes()))
