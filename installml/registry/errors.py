"""What goes wrong between us and a registry: the network (TransportError) or the registry's own no (RegistryError).

::

    TransportError                 1  the network, or what stands in it
    ├── HostUnknown                   no address under that name
    ├── ConnectionRefused             nobody listens there
    ├── ConnectionLost                the other side hung up, before or within the answer
    │   └── MirrorWrong                  a mirror sent other bytes (mirrors)
    ├── TimedOut                      no answer in time
    ├── TLSFailed                     no trusted encrypted connection
    │   └── PlainServer                  https was spoken to a server that speaks plain http
    ├── ProxyFailed                   the proxy between us said no
    │   └── SocksMissing                 a SOCKS proxy is set, and what speaks to it is not installed
    ├── RedirectRefused               a redirect that must not be followed
    └── Offline                       the caller asked for no network
    RegistryError                  1  a registry answered, and its answer is no
    ├── Unauthorized                  it does not know us
    │   └── RealmRefused                 it wants the credentials sent to a place that they are not for
    ├── Denied                        it knows us and says no
    ├── NotFoundInRegistry            also errors.NotFound
    │   ├── NameUnknown                  no such repository
    │   ├── ManifestUnknown              no such tag or manifest
    │   └── BlobUnknown                  no such blob
    ├── RateLimited                   too many requests
    ├── TooLarge                      a limit of the registry or of a proxy before it
    ├── Refused                       it does not take this content
    │   └── DigestRefused                it computed another digest
    ├── Unsupported                   it cannot do that
    │   └── RangesUnsupported            it sends the whole where a part was asked for
    ├── ServerFailed                  5xx
    └── UnexpectedAnswer              an answer outside the specification

The codes are those of distribution-spec, "Error Codes". No message carries a query string or a credential.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import InstallMLError, NotFound

__all__ = [
    "BlobUnknown",
    "ConnectionLost",
    "ConnectionRefused",
    "CredentialsUnusable",
    "Denied",
    "DigestRefused",
    "HostUnknown",
    "ManifestUnknown",
    "NameUnknown",
    "NotFoundInRegistry",
    "Offline",
    "PlainServer",
    "ProxyFailed",
    "RangesUnsupported",
    "RateLimited",
    "RealmRefused",
    "RedirectRefused",
    "Refused",
    "RegistryError",
    "ServerFailed",
    "SocksMissing",
    "TLSFailed",
    "TimedOut",
    "TooLarge",
    "TransportError",
    "Unauthorized",
    "UnexpectedAnswer",
    "Unsupported",
]


class TransportError(InstallMLError):
    """The network, or something in it, kept us from an answer."""

    reference = "transport"
    default_hint = "Check that this machine reaches the registry; installml doctor says what it can see."


class HostUnknown(TransportError):
    """No address is known under the host's name."""

    reference = "host-unknown"
    default_hint = "Check the spelling of the registry's name, and this machine's DNS."


class ConnectionRefused(TransportError):
    """Nobody listens at that address and port."""

    reference = "connection-refused"
    default_hint = "Check the port, and that the registry is running."


class ConnectionLost(TransportError):
    """The other side hung up before the answer was complete."""

    reference = "connection-lost"
    default_hint = "Run the same command again; what has arrived whole is kept."


class TimedOut(TransportError):
    """No answer in time."""

    reference = "timed-out"
    default_hint = "Run the same command again; what has arrived whole is kept."


class TLSFailed(TransportError):
    """No trusted encrypted connection could be made."""

    reference = "tls-failed"
    default_hint = (
        "If the registry's certificate comes from a private authority, name its file as `ca` under "
        '[registries."HOST"] in the configuration, or in SSL_CERT_FILE.'
    )


class PlainServer(TLSFailed):
    """We spoke https, the server speaks plain http."""

    reference = "plain-http-server"
    default_hint = "If plain http is meant there, add --insecure."


class ProxyFailed(TransportError):
    """The proxy between us and the registry cannot be used."""

    reference = "proxy-failed"
    default_hint = "Check HTTPS_PROXY and HTTP_PROXY, or name the registry in NO_PROXY."


class SocksMissing(ProxyFailed):
    """A SOCKS proxy is set, and the optional package that speaks to one is not installed."""

    reference = "socks-missing"
    default_hint = "pip install 'installml[socks]'"


class RedirectRefused(TransportError):
    """A redirect that would leave encryption, never end, or lead nowhere sensible."""

    reference = "redirect-refused"
    default_hint = "Nothing was sent there. Ask the registry's owner about its redirects."


class Offline(TransportError):
    """The network is needed and the caller asked for none."""

    reference = "offline"
    default_hint = "Run it again without --offline."


class CredentialsUnusable(InstallMLError):
    """A credentials file or helper cannot be read or written."""

    reference = "credentials-unusable"
    default_hint = "Log in again with: installml login HOST"


class RegistryError(InstallMLError):
    """A registry answered, and its answer is no.

    Args:
        message: What failed, naming the host that answered.
        hint: As InstallMLError.
        subject: As InstallMLError.
        status: HTTP status of the answer; 0 when there is none to name.
        codes: The registry's own error codes, in its order.
        detail: The registry's own ``detail`` fields as JSON text, cut to a bearable length.
        retry_after: Seconds that the registry asked to wait, or None.
    """

    reference = "registry"

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        subject: str = "",
        status: int = 0,
        codes: Sequence[str] = (),
        detail: str = "",
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, hint=hint, subject=subject)
        self.status = status
        self.codes = tuple(codes)
        self.detail = detail
        self.retry_after = retry_after


class Unauthorized(RegistryError):
    """The registry does not know us, or not well enough."""

    reference = "unauthorized"
    default_hint = "Log in with: installml login HOST"


class RealmRefused(Unauthorized):
    """The registry asks for the credentials to be sent to a place that they are not for."""

    reference = "realm-refused"
    default_hint = (
        "Nothing was sent. If that token server is right, add it to `token_hosts` of the registry's settings."
    )


class Denied(RegistryError):
    """The registry knows who asks and refuses."""

    reference = "denied"
    default_hint = "Ask the repository's owner for access, or log in as somebody else with: installml login HOST"


class NotFoundInRegistry(RegistryError, NotFound):
    """The registry has nothing under that name."""

    reference = "not-found-in-registry"


class NameUnknown(NotFoundInRegistry):
    """The registry has no such repository."""

    reference = "name-unknown"
    default_hint = "Check the spelling; private repositories also look like this until you are logged in."


class ManifestUnknown(NotFoundInRegistry):
    """The repository has no such tag or manifest."""

    reference = "manifest-unknown"
    default_hint = "List what is there with: installml tags REPOSITORY"


class BlobUnknown(NotFoundInRegistry):
    """The repository has no such blob."""

    reference = "blob-unknown"
    default_hint = "The package is incomplete in this registry; push it again from where it was built."


class RateLimited(RegistryError):
    """Too many requests."""

    reference = "rate-limited"
    default_hint = "Wait and try again; logged-in users often have a higher limit."


class TooLarge(RegistryError):
    """A limit of the registry, or of a proxy in front of it."""

    reference = "too-large"
    default_hint = "Ask the registry's owner to raise the limit on upload bodies (proxies in front often cap them)."


class Refused(RegistryError):
    """The registry does not take this content."""

    reference = "refused"


class DigestRefused(Refused):
    """The registry computed another digest than the one named."""

    reference = "digest-refused"
    default_hint = "The bytes were damaged on the way; run the same command again."


class Unsupported(RegistryError):
    """The registry cannot do that, or is set not to."""

    reference = "unsupported"


class RangesUnsupported(Unsupported):
    """The registry, or something in front of it, sends the whole blob where a later part was asked for."""

    reference = "ranges-unsupported"


class ServerFailed(RegistryError):
    """The registry failed on its own side."""

    reference = "server-failed"
    default_hint = "Try again later; the fault is on the registry's side."


class UnexpectedAnswer(RegistryError):
    """An answer outside distribution-spec."""

    reference = "unexpected-answer"
    default_hint = "Check that the host is an OCI registry, not a web page in front of one."
