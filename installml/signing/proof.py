"""Which signatures hold: bytes that somebody stored become ``Signed``, or ``Unproved`` with the reason. No I/O.

Only cryptography and form are judged here; who may sign, for what and until when is for ``trust.decide``.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from ..digest import Digest
from ..errors import InstallMLError
from ..trust.bundle import Bundle, Certificates, KeyHint, parse_bundle
from ..trust.claims import read_claims
from ..trust.dsse import Envelope, parse_envelope
from ..trust.errors import EvidenceInvalid, KeyInvalid, SignatureInvalid
from ..trust.evidence import Claims, Form, KeySigner, Signed, Signer, Unproved, UnprovedKind
from ..trust.keys import MAX_SIGNATURE, PublicKey
from ..trust.oms import read as read_files
from ..trust.simple import ANNOTATION_CERTIFICATE, ANNOTATION_SIGNATURE, parse_simple
from ..trust.statement import COSIGN_SIGN, OMS, Statement, statement_of

__all__ = ["ANNOTATION_KEY", "CertificateVerifier", "Certified", "Proofs"]

ANNOTATION_KEY = "dev.installml.publickey"
"""On the manifest that carries a bundle: the PEM of its signer's key, so that somebody who does not know the signer yet
can be shown who it is. It proves only what the bundle itself proves: its digest must be the one that the bundle names,
and the signature must hold."""


@dataclass(frozen=True, slots=True)
class Certified:
    """What a certificate, its log and its timestamps prove.

    Attributes:
        signer: Whom the certificate was given to: an identity, or the key of a private authority.
        signed_at: Seconds since the epoch that a log or timestamp authority proves; None where none does.
        log: Where it was logged, or empty.
    """

    signer: Signer
    signed_at: int | None = None
    log: str = ""


class CertificateVerifier(Protocol):
    """It checks bundles that were signed with a certificate; ``signing.keyless`` has the real one."""

    def verify(self, data: bytes, origin: str) -> Certified:
        """Return what the bundle proves; the envelope in it has then been signed by that signer.

        Args:
            data: The bundle as it came.
            origin: Where it came from, for the error's sentence.

        Raises:
            EvidenceInvalid: It is not such a bundle.
            SignatureInvalid: Certificate, log, timestamp or signature do not hold.
        """
        ...


@dataclass(frozen=True, slots=True)
class Proofs:
    """Proves the signatures of one manifest.

    Attributes:
        subject: The manifest's digest: the claims are read that are made about it.
        keys: The keys that are known here.
        certificates: Checks bundles with certificates; None where nothing can.
        files: Path to digest of the files that the manifest names, for signatures over files; empty for none.
    """

    subject: Digest
    keys: tuple[PublicKey, ...] = ()
    certificates: CertificateVerifier | None = None
    files: Mapping[str, Digest] = field(default_factory=dict)

    def bundle(self, data: bytes, source: Digest, annotations: Mapping[str, str]) -> Signed | Unproved:
        """Return what a bundle proves.

        Args:
            data: The bundle.
            source: Digest of the manifest that carries it.
            annotations: Of that manifest.
        """
        origin = f"the bundle in {source}"
        try:
            bundle = parse_bundle(data, origin)
        except InstallMLError as error:
            return Unproved(source, UnprovedKind.UNREADABLE, error.message)
        try:
            found = self._certified(bundle, data, origin) or self._by_key(bundle, annotations)
            if isinstance(found, Certified):
                return self._signed(statement_of(bundle.envelope, origin), found, source, origin)
        except SignatureInvalid as error:
            return Unproved(source, UnprovedKind.INVALID, error.message, _hint(bundle))
        except InstallMLError as error:
            return Unproved(source, UnprovedKind.UNREADABLE, error.message, _hint(bundle))
        return Unproved(source, found, _REASONS[found], _hint(bundle))

    def _certified(self, bundle: Bundle, data: bytes, origin: str) -> Certified | UnprovedKind | None:
        if not isinstance(bundle.material, Certificates):
            return None
        if self.certificates is None:
            return UnprovedKind.UNSUPPORTED
        return self.certificates.verify(data, origin)

    def _by_key(self, bundle: Bundle, annotations: Mapping[str, str]) -> Certified | UnprovedKind:
        """Try the keys that the bundle's hint means; without a hint every key that is known."""
        hint = bundle.material.hint if isinstance(bundle.material, KeyHint) else ""
        candidates = [key for key in self.keys if not hint or key.answers_to(hint)]
        if not candidates and hint:
            candidates = [key for key in _told(annotations) if key.answers_to(hint)]
        failure: SignatureInvalid | None = None
        for key in candidates:
            try:
                bundle.verify(key)
            except SignatureInvalid as error:
                failure = error
            else:
                return Certified(KeySigner(key.fingerprint))
        if failure is not None and hint:
            raise failure
        return UnprovedKind.UNKNOWN_KEY

    def _signed(self, statement: Statement, proved: Certified, source: Digest, origin: str) -> Signed:
        form, subjects = Form.BUNDLE, statement.digests
        if statement.predicate_type == OMS:
            form, subjects = Form.OMS, self._files_signed(statement, origin)
        return Signed(
            proved.signer,
            form,
            statement.predicate_type,
            subjects,
            self._claims(statement, subjects, origin),
            statement.predicate,
            proved.signed_at,
            proved.log,
            source,
        )

    def _claims(self, statement: Statement, subjects: tuple[Digest, ...], origin: str) -> Claims:
        about = [subject for subject in statement.subjects if self.subject in subject.digests]
        if statement.predicate_type == OMS and subjects == (self.subject,):
            about = list(statement.subjects)  # one: the files, whose list was found to be the manifest's
        if len(about) > 1:
            raise EvidenceInvalid(f"{origin}: two of its subjects are {self.subject}", subject=origin)
        return read_claims(about[0].annotations, origin) if about else Claims()

    def _files_signed(self, statement: Statement, origin: str) -> tuple[Digest, ...]:
        """Return what a signature over files is about: the manifest, if it names exactly these files."""
        signed = read_files(statement, origin)
        if not self.files or signed.differences(self.files) or not all(map(signed.covers, self.files)):
            return statement.digests
        return (self.subject,)

    def classic(self, payload: bytes, source: Digest, annotations: Mapping[str, str]) -> Signed | Unproved:
        """Return what a classic signature proves: one layer of the manifest under the tag ``sha256-<hex>.sig``.

        Args:
            payload: The layer.
            source: Digest of the manifest that carries it.
            annotations: Of the layer.
        """
        origin = f"the signature in {source}"
        if annotations.get(ANNOTATION_CERTIFICATE):
            return Unproved(source, UnprovedKind.UNSUPPORTED, "it was made with a certificate, in the classic form")
        try:
            signature = _decoded(annotations.get(ANNOTATION_SIGNATURE, ""), origin)
            signer = next((key for key in self.keys if _signed_by(key, signature, payload)), None)
            if signer is None:
                return Unproved(source, UnprovedKind.UNKNOWN_KEY, _REASONS[UnprovedKind.UNKNOWN_KEY])
            said = parse_simple(payload, origin)
            claims = read_claims(said.optional, origin)
        except InstallMLError as error:
            return Unproved(source, UnprovedKind.UNREADABLE, error.message)
        return Signed(
            KeySigner(signer.fingerprint), Form.CLASSIC, COSIGN_SIGN, (said.digest,), claims, source=source
        )  # fmt: skip

    def classic_attestation(self, data: bytes, source: Digest, annotations: Mapping[str, str]) -> Signed | Unproved:
        """Return what a classic attestation proves: one layer of the manifest under the tag ``sha256-<hex>.att``.

        Args:
            data: The layer: an envelope.
            source: Digest of the manifest that carries it.
            annotations: Of the layer.
        """
        origin = f"the attestation in {source}"
        if annotations.get(ANNOTATION_CERTIFICATE):
            return Unproved(source, UnprovedKind.UNSUPPORTED, "it was made with a certificate, in the classic form")
        try:
            envelope = parse_envelope(data, origin)
            signer = next((key for key in self.keys if _enveloped_by(key, envelope)), None)
            if signer is None:
                return Unproved(source, UnprovedKind.UNKNOWN_KEY, _REASONS[UnprovedKind.UNKNOWN_KEY])
            proved = Certified(KeySigner(signer.fingerprint))
            return replace(self._signed(statement_of(envelope, origin), proved, source, origin), form=Form.CLASSIC)
        except InstallMLError as error:
            return Unproved(source, UnprovedKind.UNREADABLE, error.message)


_REASONS: Mapping[UnprovedKind, str] = {
    UnprovedKind.UNKNOWN_KEY: "it was made with a key that is not known here",
    UnprovedKind.UNSUPPORTED: "it was made with a certificate, and nothing here can check certificates",
}


def _hint(bundle: Bundle) -> str:
    return bundle.material.hint if isinstance(bundle.material, KeyHint) else ""


def _told(annotations: Mapping[str, str]) -> Iterable[PublicKey]:
    """Yield the key that a carrier of bundles names, if it can be read."""
    if pem := annotations.get(ANNOTATION_KEY, ""):
        try:
            yield PublicKey.parse(pem, ANNOTATION_KEY)
        except KeyInvalid:
            return


def _decoded(text: str, origin: str) -> bytes:
    try:
        signature = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        signature = b""
    if not 0 < len(signature) <= MAX_SIGNATURE:
        raise EvidenceInvalid(f"{origin}: {ANNOTATION_SIGNATURE} is not a signature in base64", subject=origin)
    return signature


def _signed_by(key: PublicKey, signature: bytes, payload: bytes) -> bool:
    try:
        key.verify(signature, payload)
    except SignatureInvalid:
        return False
    return True


def _enveloped_by(key: PublicKey, envelope: Envelope) -> bool:
    try:
        envelope.verify(key)
    except SignatureInvalid:
        return False
    return True
