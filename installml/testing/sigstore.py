"""A Sigstore in memory: certificate authority, certificate log, transparency log and timestamp authority.

``SimulatedSigstore.sign`` makes bundles that ``cosign``, ``sigstore`` and InstallML accept under its ``trusted_root``,
in milliseconds and without a network; with a ``Flaw`` it makes one that each of them must refuse, and that is right
in every other way. Nothing is sent anywhere, and nothing that it signs is worth anything outside of a test.

The formats: certificates as Fulcio gives them out ("certificate-specification.md"), signed certificate timestamps
(RFC 6962, 3.2), entries of Rekor 1 (``dsse`` 0.0.1, with a promise) and 2 (``hashedrekord`` 0.0.2), proofs of inclusion
(RFC 6962, 2.1.1), checkpoints (C2SP, "tlog-checkpoint.md") and timestamps (RFC 3161).
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ..signing.der import integer, octets, oid, sequence, tagged
from ..spec.canonical import canonical
from ..trust.bundle import Bundle, Certificates, InclusionProof, LogEntry
from ..trust.certificate import ISSUER, ISSUER_RAW
from ..trust.dsse import Envelope, encode64, pae

__all__ = [
    "IDENTITY",
    "ISSUER_URL",
    "Flaw",
    "Party",
    "SimulatedSigstore",
    "make_party",
    "signing_config",
    "trust_config",
    "trusted_root",
]

IDENTITY = "ann@example.org"
"""Who signs, unless told otherwise."""
ISSUER_URL = "https://login.example.org"
"""Who vouches for that, unless told otherwise."""

_ROOT = "application/vnd.dev.sigstore.trustedroot+json;version=0.1"
_SIGNING = "application/vnd.dev.sigstore.signingconfig.v0.2+json"
_CONFIG = "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json"
_MINUTES = 10  # that a certificate of Fulcio lives
_POISON_FREE = x509.ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")  # RFC 6962, 3.3: the list of timestamps
_KEY_DETAILS = "PKIX_ECDSA_P256_SHA_256"
_SHA256 = sequence(oid("2.16.840.1.101.3.4.2.1"))
_ECDSA_SHA256 = sequence(oid("1.2.840.10045.4.3.2"))
_SIGNED_DATA, _TST_INFO = "1.2.840.113549.1.7.2", "1.2.840.113549.1.9.16.1.4"
_SET, _IMPLICIT_0 = 0x31, 0xA0


class Flaw(StrEnum):
    """One thing that is wrong with a bundle."""

    EXPIRED = "signed after the certificate had run out"
    EARLY = "signed before the certificate counted"
    OTHER_AUTHORITY = "the certificate is of an authority that is not trusted"
    NO_CODE_SIGNING = "the certificate is not for signing code"
    NO_SCT = "the certificate is in no certificate log"
    OTHER_SCT = "the certificate is in a log that is not trusted"
    OTHER_KEY = "the envelope was signed with another key than the certificate's"
    PAYLOAD_CHANGED = "the payload was changed afterwards"
    OTHER_ENTRY = "what was logged is another signature"
    NOT_LOGGED = "there is no entry of a log"
    OTHER_LOG = "it is logged in a log that is not trusted"
    WRONG_PROOF = "the proof of inclusion is that of another entry"
    CHECKPOINT_CHANGED = "the log did not sign this root"
    NO_TIME = "nothing proves when it was signed"
    OTHER_TIME = "an authority that is not trusted says when it was signed"
    TIME_OF_ANOTHER = "the timestamp is that of another signature"


@dataclass(frozen=True, slots=True)
class Party:
    """Somebody who signs.

    Attributes:
        key: The key.
        certificate: Its certificate, if it has one.
        root: Who gave that out.
    """

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate | None = None
    root: x509.Certificate | None = None

    @property
    def spki(self) -> bytes:
        """DER SubjectPublicKeyInfo."""
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        return self.key.public_key().public_bytes(serialization.Encoding.DER, form)

    @property
    def identifier(self) -> bytes:
        """SHA-256 of that: what logs are called."""
        return hashlib.sha256(self.spki).digest()

    @property
    def chain(self) -> list[bytes]:
        """Certificates in DER, the root last."""
        return [_der(each) for each in (self.certificate, self.root) if each is not None]

    def sign(self, data: bytes) -> bytes:
        """Return a signature: ECDSA over SHA-256."""
        return self.key.sign(data, ec.ECDSA(hashes.SHA256()))


class SimulatedSigstore:
    """One instance, with keys of its own."""

    def __init__(self, now: datetime, *, rekor: int = 2, host: str = "sigstore.test") -> None:
        """Make the keys.

        Args:
            now: When things are signed.
            rekor: Version of the log, 1 or 2: the first promises entries and says when, the second needs timestamps.
            host: Where it would be.
        """
        self.now = now.astimezone(UTC).replace(microsecond=0)
        self.rekor, self.host = rekor, host
        self._authority, self._log, self._certificates, self._times = self._parties()
        self._others = self._parties()

    def _parties(self) -> tuple[Party, Party, Party, Party]:
        authority = make_party("authority", self.now, authority=True, purpose=ExtendedKeyUsageOID.CODE_SIGNING)
        times = make_party("timestamps", self.now, authority=False, purpose=ExtendedKeyUsageOID.TIME_STAMPING)
        return authority, Party(_key()), Party(_key()), times

    def trusted_root(
        self,
        *,
        log_until: datetime | None = None,
        certificate_log_until: datetime | None = None,
        authority_until: datetime | None = None,
    ) -> bytes:
        """Return the trusted root of this instance.

        Args:
            log_until: When its log was retired.
            certificate_log_until: When its log of certificates was.
            authority_until: When its certificate authority was.
        """
        start = self.now - timedelta(days=1)
        document = trusted_root(
            fulcio=(f"https://fulcio.{self.host}", self._authority.chain),
            rekor=(f"https://rekor.{self.host}", self._log.spki),
            ctlog=(f"https://ct.{self.host}", self._certificates.spki),
            tsa=(f"https://tsa.{self.host}", self._times.chain),
            start=start,
        )
        if log_until is not None:
            document["tlogs"][0]["publicKey"]["validFor"]["end"] = _rfc3339(log_until)
        if certificate_log_until is not None:
            document["ctlogs"][0]["publicKey"]["validFor"]["end"] = _rfc3339(certificate_log_until)
        if authority_until is not None:
            document["certificateAuthorities"][0]["validFor"]["end"] = _rfc3339(authority_until)
        return canonical(document)

    def sign(
        self,
        statement: bytes,
        identity: str = IDENTITY,
        issuer: str = ISSUER_URL,
        *,
        flaw: Flaw | None = None,
        index: int = 2,
    ) -> bytes:
        """Return a bundle over a statement.

        Args:
            statement: The payload.
            identity: Who signs: an e-mail address, or a URI.
            issuer: Who vouches for that.
            flaw: What is wrong with it.
            index: Which of the five entries of the log it is.

        Raises:
            ValueError: The flaw is one of timestamps, which Rekor 1 does not need.
        """
        if self.rekor == 1 and flaw in {Flaw.OTHER_TIME, Flaw.TIME_OF_ANOTHER}:
            raise ValueError(f"not with Rekor 1: {flaw}")
        key = _key()
        certificate = self._certificate(key, identity, issuer, flaw)
        signer = _key() if flaw is Flaw.OTHER_KEY else key
        envelope = Envelope.signed(statement, Party(signer).sign)
        signature = envelope.signatures[0].sig
        bundle = Bundle(
            envelope,
            Certificates((_der(certificate),)),
            () if flaw is Flaw.NOT_LOGGED else (self._entry(envelope, certificate, flaw, index),),
            self._timestamps(signature, flaw),
        )
        if flaw is Flaw.PAYLOAD_CHANGED:
            bundle = replace(bundle, content=replace(envelope, payload=statement + b" "))
        return bundle.to_bytes()

    def _signed_at(self, flaw: Flaw | None) -> datetime:
        late = {Flaw.EXPIRED: timedelta(minutes=_MINUTES + 1), Flaw.EARLY: timedelta(minutes=-1)}
        return self.now + (late.get(flaw, timedelta()) if flaw is not None else timedelta())

    def _certificate(
        self, key: ec.EllipticCurvePrivateKey, identity: str, issuer: str, flaw: Flaw | None
    ) -> x509.Certificate:
        authority = self._others[0] if flaw is Flaw.OTHER_AUTHORITY else self._authority
        log = self._others[2] if flaw is Flaw.OTHER_SCT else self._certificates
        purpose = ExtendedKeyUsageOID.SERVER_AUTH if flaw is Flaw.NO_CODE_SIGNING else ExtendedKeyUsageOID.CODE_SIGNING
        builder = _leaf(key, authority, identity, issuer, purpose, self.now)
        if flaw is not Flaw.NO_SCT:
            logged = builder.sign(authority.key, hashes.SHA256())
            value = _timestamp_list(logged, authority, log, self.now)
            builder = builder.add_extension(x509.UnrecognizedExtension(_POISON_FREE, value), critical=False)
        return builder.sign(authority.key, hashes.SHA256())

    def _entry(self, envelope: Envelope, certificate: x509.Certificate, flaw: Flaw | None, index: int) -> LogEntry:
        if flaw is Flaw.OTHER_ENTRY:
            envelope = Envelope.signed(envelope.payload, Party(_key()).sign)
        body = (_body_of_1 if self.rekor == 1 else _body_of_2)(envelope, certificate)
        log = self._others[1] if flaw is Flaw.OTHER_LOG else self._log
        leaves = [b"another", b"one more", b"and", b"so", b"on"]
        leaves[index] = body
        path = _path(leaves, (index + 1) % len(leaves) if flaw is Flaw.WRONG_PROOF else index)
        root = _tree(leaves)
        tree = " - 1193050959916656506" if self.rekor == 1 else ""  # Rekor 1 names the tree behind the host
        checkpoint = _checkpoint(f"rekor.{self.host}", tree, len(leaves), root, log)
        if flaw is Flaw.CHECKPOINT_CHANGED:
            checkpoint = checkpoint.replace("\n5\n", "\n6\n")
        proof = InclusionProof(index, root, len(leaves), tuple(path), checkpoint)
        kind, version = ("dsse", "0.0.1") if self.rekor == 1 else ("hashedrekord", "0.0.2")
        entry = LogEntry(index, log.identifier, kind, version, proof=proof, body=body)
        if self.rekor != 1 or flaw is Flaw.NO_TIME:
            return entry
        time = int(self._signed_at(flaw).timestamp())
        return replace(entry, integrated_time=time, promise=_promise(entry, time, log))

    def _timestamps(self, signature: bytes, flaw: Flaw | None) -> tuple[bytes, ...]:
        if self.rekor == 1 or flaw is Flaw.NO_TIME:
            return ()
        authority = self._others[3] if flaw is Flaw.OTHER_TIME else self._times
        about = b"another" if flaw is Flaw.TIME_OF_ANOTHER else signature
        return (_timestamp(about, authority, self._signed_at(flaw)),)


def trusted_root(
    *,
    fulcio: tuple[str, Sequence[bytes]],
    rekor: tuple[str, bytes],
    ctlog: tuple[str, bytes],
    tsa: tuple[str, Sequence[bytes]],
    start: datetime,
) -> dict[str, Any]:
    """Return a trusted root (protobuf-specs, "sigstore_trustroot.proto") of one instance whose keys are ECDSA P-256.

    Args:
        fulcio: Where the certificate authority is, and its chain in DER, the root last.
        rekor: Where the log is, and its key as DER SubjectPublicKeyInfo.
        ctlog: Where the certificate log is, and its key.
        tsa: Where the timestamp authority is, and its chain.
        start: Since when they count.
    """
    return {
        "mediaType": _ROOT,
        "tlogs": [_log_document(*rekor, start)],
        "ctlogs": [_log_document(*ctlog, start)],
        "certificateAuthorities": [_authority_document(*fulcio, start)],
        "timestampAuthorities": [_authority_document(*tsa, start)],
    }


def signing_config(*, fulcio: str, rekor: str, tsa: str, issuer: str, start: datetime) -> dict[str, Any]:
    """Return a signing config (protobuf-specs, "SigningConfig" 0.2): which services sign, Rekor being version 2."""

    def service(url: str, version: int = 1) -> dict[str, Any]:
        valid = {"start": _rfc3339(start)}
        return {"url": url, "majorApiVersion": version, "validFor": valid, "operator": "installml.test"}

    return {
        "mediaType": _SIGNING,
        "caUrls": [service(fulcio)],
        "oidcUrls": [service(issuer)],
        "rekorTlogUrls": [service(rekor, 2)],
        "rekorTlogConfig": {"selector": "ANY"},
        "tsaUrls": [service(tsa)],
        "tsaConfig": {"selector": "ANY"},
    }


def trust_config(root: dict[str, Any], signing: dict[str, Any]) -> dict[str, Any]:
    """Return both in one document, as ``sigstore`` and ``KeylessSigner`` take it."""
    return {"mediaType": _CONFIG, "trustedRoot": root, "signingConfig": signing}


def _log_document(url: str, spki: bytes, start: datetime) -> dict[str, Any]:
    valid = {"start": _rfc3339(start)}
    return {
        "baseUrl": url,
        "hashAlgorithm": "SHA2_256",
        "publicKey": {"rawBytes": encode64(spki), "keyDetails": _KEY_DETAILS, "validFor": valid},
        "logId": {"keyId": encode64(hashlib.sha256(spki).digest())},
    }


def _authority_document(url: str, chain: Sequence[bytes], start: datetime) -> dict[str, Any]:
    return {
        "subject": {"organization": "installml.test", "commonName": "test"},
        "uri": url,
        "certChain": {"certificates": [{"rawBytes": encode64(each)} for each in chain]},
        "validFor": {"start": _rfc3339(start)},
    }


def _rfc3339(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.DER)


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    names: tuple[str, ...] = (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
    )
    names += ("key_cert_sign", "crl_sign", "encipher_only", "decipher_only")
    wanted = {"key_cert_sign", "crl_sign"} if signs_certificates else {"digital_signature"}
    return x509.KeyUsage(**{name: name in wanted for name in names})


def _builder(subject: x509.Name, issuer: x509.Name, key: Any, now: datetime, days: int) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=days))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def make_party(noun: str, now: datetime, *, authority: bool, purpose: x509.ObjectIdentifier) -> Party:
    """Return a party below a root of its own.

    Args:
        noun: What it is called.
        now: Its certificates count twenty days around it.
        authority: Whether it gives out certificates (for ``purpose``), or signs something itself.
        purpose: Extended key usage.
    """
    root_key, key = _key(), _key()
    name = _name(f"{noun} root")
    root = (
        _builder(name, name, root_key.public_key(), now, 30)
        .add_extension(x509.BasicConstraints(ca=True, path_length=1), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .sign(root_key, hashes.SHA256())
    )
    certificate = (
        _builder(_name(noun), name, key.public_key(), now, 20)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=0 if authority else None), critical=True)
        .add_extension(_usage(signs_certificates=authority), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key()), critical=False)
        # RFC 3161, 2.3: of a timestamp authority the only purpose, and critical
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=not authority)
        .sign(root_key, hashes.SHA256())
    )
    return Party(key, certificate, root)


def _leaf(
    key: ec.EllipticCurvePrivateKey,
    authority: Party,
    identity: str,
    issuer: str,
    purpose: x509.ObjectIdentifier,
    now: datetime,
) -> x509.CertificateBuilder:
    name: x509.GeneralName = (
        x509.UniformResourceIdentifier(identity) if "://" in identity else x509.RFC822Name(identity)
    )
    above = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key())
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(_name("authority"))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + timedelta(minutes=_MINUTES))
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(above, critical=False)
        .add_extension(x509.SubjectAlternativeName([name]), critical=True)
        .add_extension(x509.UnrecognizedExtension(ISSUER_RAW, issuer.encode()), critical=False)
        .add_extension(x509.UnrecognizedExtension(ISSUER, tagged(0x0C, issuer.encode())), critical=False)
    )


def _timestamp_list(logged: x509.Certificate, authority: Party, log: Party, now: datetime) -> bytes:
    """Return the extension with one signed certificate timestamp (RFC 6962, 3.2 and 3.3)."""
    milliseconds = int(now.timestamp() * 1000)
    body = logged.tbs_certificate_bytes
    entry = authority.identifier + len(body).to_bytes(3) + body
    signature = log.sign(struct.pack("!BBQH", 0, 0, milliseconds, 1) + entry + b"\0\0")
    stamp = b"\0" + log.identifier + struct.pack("!QH", milliseconds, 0) + b"\4\3" + _sized(signature)
    return octets(_sized(_sized(stamp)))


def _sized(data: bytes) -> bytes:
    return len(data).to_bytes(2) + data


def _body_of_1(envelope: Envelope, certificate: x509.Certificate) -> bytes:
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    signatures = [{"signature": encode64(each.sig), "verifier": encode64(pem)} for each in envelope.signatures]
    spec = {
        "envelopeHash": _hash_document(canonical(envelope.document())),
        "payloadHash": _hash_document(envelope.payload),
        "signatures": signatures,
    }
    return canonical({"apiVersion": "0.0.1", "kind": "dsse", "spec": spec})


def _hash_document(data: bytes) -> dict[str, str]:
    return {"algorithm": "sha256", "value": hashlib.sha256(data).hexdigest()}


def _body_of_2(envelope: Envelope, certificate: x509.Certificate) -> bytes:
    digest = hashlib.sha256(pae(envelope.payload_type, envelope.payload)).digest()
    verifier = {"keyDetails": _KEY_DETAILS, "x509Certificate": {"rawBytes": encode64(_der(certificate))}}
    record = {
        "data": {"algorithm": "SHA2_256", "digest": encode64(digest)},
        "signature": {"content": encode64(envelope.signatures[0].sig), "verifier": verifier},
    }
    return canonical({"apiVersion": "0.0.2", "kind": "hashedrekord", "spec": {"hashedRekordV002": record}})


def _promise(entry: LogEntry, time: int, log: Party) -> bytes:
    promised = {
        "body": encode64(entry.body),
        "integratedTime": time,
        "logID": entry.log_id.hex(),
        "logIndex": entry.log_index,
    }
    return log.sign(canonical(promised))


def _tree(leaves: Sequence[bytes]) -> bytes:
    """Return the Merkle tree hash of leaves (RFC 6962, 2.1)."""
    if len(leaves) == 1:
        return hashlib.sha256(b"\0" + leaves[0]).digest()
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\1" + _tree(leaves[:split]) + _tree(leaves[split:])).digest()


def _path(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """Return the audit path of a leaf (RFC 6962, 2.1.1)."""
    if len(leaves) == 1:
        return []
    split = 1 << (len(leaves) - 1).bit_length() - 1
    if index < split:
        return [*_path(leaves[:split], index), _tree(leaves[split:])]
    return [*_path(leaves[split:], index - split), _tree(leaves[:split])]


def _checkpoint(host: str, tree: str, size: int, root: bytes, log: Party) -> str:
    note = f"{host}{tree}\n{size}\n{encode64(root)}\n"
    return f"{note}\n— {host} {encode64(log.identifier[:4] + log.sign(note.encode()))}\n"


def _timestamp(data: bytes, authority: Party, time: datetime) -> bytes:
    """Return a granted response about ``data`` (RFC 3161, 2.4.2, with the signer's certificate by RFC 5816)."""
    assert authority.certificate is not None  # noqa: S101
    imprint = sequence(_SHA256, octets(hashlib.sha256(data).digest()))
    told = tagged(0x18, time.astimezone(UTC).strftime("%Y%m%d%H%M%SZ").encode())
    info = sequence(integer(1), oid("1.3.6.1.4.1.57264.2"), imprint, integer(x509.random_serial_number()), told)
    certificate = _der(authority.certificate)
    reference = sequence(sequence(sequence(octets(hashlib.sha256(certificate).digest()))))
    attributes = sorted(
        (
            sequence(oid("1.2.840.113549.1.9.3"), tagged(_SET, oid(_TST_INFO))),
            sequence(oid("1.2.840.113549.1.9.4"), tagged(_SET, octets(hashlib.sha256(info).digest()))),
            sequence(oid("1.2.840.113549.1.9.16.2.47"), tagged(_SET, reference)),
        )
    )
    signed = b"".join(attributes)
    signer = sequence(
        integer(1),
        sequence(authority.certificate.issuer.public_bytes(), integer(authority.certificate.serial_number)),
        _SHA256,
        tagged(_IMPLICIT_0, signed),
        _ECDSA_SHA256,
        octets(authority.sign(tagged(_SET, signed))),  # RFC 5652, 5.4: signed as a SET, whatever its tag says
    )
    content = sequence(oid(_TST_INFO), tagged(_IMPLICIT_0, octets(info)))
    certificates = tagged(_IMPLICIT_0, certificate)
    data_signed = sequence(integer(3), tagged(_SET, _SHA256), content, certificates, tagged(_SET, signer))
    token = sequence(oid(_SIGNED_DATA), tagged(_IMPLICIT_0, data_signed))
    return sequence(sequence(integer(0)), token)
