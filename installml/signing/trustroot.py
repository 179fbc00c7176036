"""When each log and authority of a trusted root was in force (protobuf-specs, "sigstore_trustroot.proto").

``sigstore`` reads the keys and certificates; it takes a log's key that was retired, and an authority that was, for
bundles of today. sigstore-go asks whether they were in force at the proved time, and so is done here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from ..spec.node import Node
from ..trust.bundle import Bundle
from ..trust.dsse import decode64
from ..trust.errors import SignatureInvalid
from .errors import TrustConfigInvalid

__all__ = ["TrustRoot", "Window"]

_MOST = 64
_CERTIFICATE = 64 << 10


@dataclass(frozen=True, slots=True)
class Window:
    """A time, both ends in it; open where an end is None."""

    start: datetime | None = None
    end: datetime | None = None

    def __contains__(self, time: datetime) -> bool:
        return (self.start is None or self.start <= time) and (self.end is None or time <= self.end)


@dataclass(frozen=True, slots=True)
class TrustRoot:
    """What a trusted root says about time.

    Attributes:
        logs: Key id of each log, where it is, and when it was in force.
        certificate_logs: The same of the logs that certificates are in.
        authorities: The certificate that signs for each certificate authority, and when it was in force.
    """

    logs: tuple[tuple[bytes, str, Window], ...]
    certificate_logs: tuple[tuple[bytes, str, Window], ...]
    authorities: tuple[tuple[x509.Certificate, Window], ...]

    @classmethod
    def parse(cls, document: Mapping[str, Any], origin: str) -> TrustRoot:
        """Return what a document says.

        Raises:
            TrustConfigInvalid: It is no trusted root, or names no log or no authority.
        """
        node, names = Node(document), ("tlogs", "ctlogs", "certificateAuthorities")
        fields = node.mapping(names, names, open_=True)
        logs, certificate_logs = (tuple(map(_log, fields[name].sequence(_MOST))) for name in names[:2])
        authorities = tuple(_authority(each) for each in fields["certificateAuthorities"].sequence(_MOST))
        if node.violations or not (logs and certificate_logs and authorities):
            why = "; ".join(node.violations[:5]) or "it names no log or no authority"
            raise TrustConfigInvalid(f"{origin}: {why}", subject=origin)
        return cls(logs, certificate_logs, tuple(each for each in authorities if each is not None))

    def check(self, bundle: Bundle, certificate: x509.Certificate, time: datetime, origin: str) -> None:
        """Return when whoever vouches for a bundle was in force at a proved time.

        Raises:
            SignatureInvalid: A log is not one of these or was not in force, or no authority that was gave out the
                certificate, or no log of certificates that was has it.
        """
        for log, at in _logged(certificate):
            if not any(log == identifier and at in window for identifier, _, window in self.certificate_logs):
                raise SignatureInvalid(
                    f"{origin}: no log of certificates that was trusted at {at:%Y-%m-%d} has its certificate",
                    subject=origin,
                )
        for entry in bundle.log_entries:
            if not any(entry.log_id == identifier and time in window for identifier, _, window in self.logs):
                raise SignatureInvalid(f"{origin}: no log that was trusted at {time:%Y-%m-%d} has it", subject=origin)
        if not any(time in window and _gave(authority, certificate) for authority, window in self.authorities):
            raise SignatureInvalid(
                f"{origin}: no authority that was trusted at {time:%Y-%m-%d} gave out its certificate", subject=origin
            )

    def where(self, bundle: Bundle) -> str:
        """Return where a bundle is logged, for people; empty where it is not."""
        for entry in bundle.log_entries:
            for identifier, url, _ in self.logs:
                if entry.log_id == identifier:
                    return f"{url} {entry.log_index}"
        return ""


def _logged(certificate: x509.Certificate) -> list[tuple[bytes, datetime]]:
    """Return which logs say that they have a certificate, and since when (RFC 6962, 3.2)."""
    stamps = certificate.extensions.get_extension_for_class(x509.PrecertificateSignedCertificateTimestamps).value
    return [(each.log_id, each.timestamp.replace(tzinfo=UTC)) for each in stamps]


def _gave(authority: x509.Certificate, certificate: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _log(node: Node) -> tuple[bytes, str, Window]:
    fields = node.mapping(("baseUrl", "publicKey", "logId"), ("publicKey", "logId"), open_=True)
    key = fields["publicKey"].mapping(("validFor",), open_=True)
    window, url = _window(key["validFor"]), fields["baseUrl"].string(most=2000)
    return decode64(fields["logId"].mapping(("keyId",))["keyId"], most=64), url, window


def _authority(node: Node) -> tuple[x509.Certificate, Window] | None:
    fields = node.mapping(("certChain", "validFor"), ("certChain",), open_=True)
    chain = fields["certChain"].mapping(("certificates",), ("certificates",))["certificates"]
    first = next(iter(chain.sequence(_MOST)), None)
    if first is None:
        chain.fail("must have at least one entry")
        return None
    raw = decode64(first.mapping(("rawBytes",), ("rawBytes",))["rawBytes"], most=_CERTIFICATE)
    window = _window(fields["validFor"])
    try:
        return x509.load_der_x509_certificate(raw), window
    except ValueError:
        first.fail("is not a certificate")
        return None


def _window(node: Node) -> Window:
    fields = node.mapping(("start", "end"))
    return Window(_time(fields["start"]), _time(fields["end"]))


def _time(node: Node) -> datetime | None:
    """Return a time as protobuf's JSON writes it (RFC 3339, UTC); its nanoseconds are cut to microseconds."""
    text = node.string(pattern=r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z", noun="a time in UTC")
    if not text:
        return None
    whole, _, fraction = text.rstrip("Z").partition(".")
    try:
        return datetime.fromisoformat(f"{whole}.{fraction[:6].ljust(6, '0')}+00:00")
    except ValueError:
        node.fail("must be a time")
        return None
