"""Signing as somebody instead of with a key: Sigstore. The only door to the ``sigstore`` package.

A certificate authority (Fulcio) gives a key that lives for minutes a certificate for an identity that an OpenID
Connect provider vouches for; a log that everybody can read (Rekor) and perhaps a timestamp authority say when it
signed. What proves all that is in the bundle, so that it is verified without a network: against the roots of trust
that the ``sigstore`` package carries, or those of a file.

Who signed is read here, never compared: whether that identity may sign is for ``trust.decide``.

``sigstore`` takes 0.3 s to import, so that is done when the first certificate has to be checked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InstallMLError
from ..spec.canonical import JSONInvalid, canonical, parse_json
from ..store.files import disk_errors
from ..trust.bundle import Bundle, Certificates, parse_bundle
from ..trust.certificate import read_identity
from ..trust.dsse import MAX_ENVELOPE
from ..trust.errors import EvidenceInvalid, SignatureInvalid
from ..trust.evidence import IdentitySigner
from .authority import Authority
from .errors import IdentityMissing, SigningFailed, TrustConfigInvalid
from .proof import CertificateVerifier, Certified
from .secret import Secret
from .trustroot import TrustRoot

if TYPE_CHECKING:
    from cryptography.x509 import Certificate
    from sigstore.models import ClientTrustConfig, TrustedRoot
    from sigstore.sign import Signer
    from sigstore.verify import Verifier

__all__ = ["AUDIENCE", "MAX_TOKEN", "KeylessSigner", "open_verifier", "parse_token", "read_token"]

AUDIENCE = "sigstore"
"""For whom an identity token must be made out (Fulcio, "docs/oidc.md")."""

MAX_TOKEN = 64 << 10
"""Bytes of an identity token; those of CI jobs have two thousand."""
_TOKEN = re.compile(r"[\w-]+\.[\w-]+\.[\w-]+", re.ASCII)
_MOST_CONFIG = 4 << 20
_ROOT = "application/vnd.dev.sigstore.trustedroot+json;version=0.1"
_CONFIG = "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json"
_NOISE = re.compile(r" \[type=| \(encountered processing|: expected log_index=")
"""Where the sentences of pydantic, cryptography and sigstore end and their inner values begin."""
_TOKEN_TROUBLE = {
    "ExpiredSignatureError": "the token has expired",
    "ImmatureSignatureError": "the token does not count yet",
    "InvalidAudienceError": "the token is made out for somebody else",
}
"""What PyJWT calls it; its own sentences may quote the token."""
_PUBLIC_GOOD = "https%3A%2F%2Ftuf-repo-cdn.sigstore.dev"


def open_verifier(trust_config: Path | None = None, authority: Authority | None = None) -> CertificateVerifier:
    """Return what checks bundles with certificates; it uses no network.

    Args:
        trust_config: Roots of trust: a ``ClientTrustConfig`` or ``TrustedRoot`` of Sigstore, as JSON. None for those
            of the public good instance that came with the ``sigstore`` package.
        authority: A private authority, asked about bundles that are in no log and have no timestamp.

    Raises:
        TrustConfigInvalid: The file is neither.
        StoreError: It cannot be read.
    """
    return _Certificates(_Logged(_read_config(trust_config) if trust_config is not None else None), authority)


def read_token(path: Path) -> Secret:
    """Return the identity token in a file.

    Raises:
        IdentityMissing: It holds none.
        StoreError: It cannot be read.
    """
    with disk_errors(path), path.open("rb") as file:
        return parse_token(file.read(MAX_TOKEN + 1), str(path))


def parse_token(data: bytes, origin: str) -> Secret:
    """Return the identity token that ``data`` is (RFC 7519: three parts in base64url), white space around it aside.

    Raises:
        IdentityMissing: It is none.
    """
    token = data.decode("ascii", "replace").strip()
    if len(data) > MAX_TOKEN or not _TOKEN.fullmatch(token):
        raise IdentityMissing(f"{origin} holds no identity token", subject=origin)
    return Secret(token)


@dataclass(frozen=True)
class _Certificates:
    """Sends each bundle to whoever can judge it."""

    logged: _Logged
    authority: Authority | None = None

    def verify(self, data: bytes, origin: str) -> Certified:
        bundle = parse_bundle(data, origin)
        if bundle.log_entries or bundle.timestamps:
            return self.logged.verify(data, origin)
        if self.authority is not None:
            return self.authority.verify(bundle, origin)
        raise SignatureInvalid(
            f"{origin}: its certificate is in no log and has no timestamp",
            hint="If a private authority gave it out, name that one: signing.keyless.open_verifier(authority=...)",
            subject=origin,
        )


@dataclass(frozen=True)
class _Logged:
    """Checks what Sigstore signed.

    Attributes:
        config: Roots of trust as they came from a file; None for the public ones.
    """

    config: Mapping[str, Any] | None = field(default=None, repr=False)

    @cached_property
    def _root(self) -> Mapping[str, Any]:
        if self.config is None:
            return _embedded()
        return _trusted_root(self.config)

    @cached_property
    def _verifier(self) -> Verifier:
        from sigstore.verify import Verifier

        return Verifier(trusted_root=_root_of(self._root))

    @cached_property
    def _windows(self) -> TrustRoot:
        return TrustRoot.parse(self._root, "the trusted root")

    def verify(self, data: bytes, origin: str) -> Certified:
        """Return what a bundle proves, as ``CertificateVerifier`` says.

        sigstore checks (sigstore-python, ``Verifier.verify_dsse``): the chain to a root at the proved time, the signed
        certificate timestamp, the log's proof of inclusion, checkpoint and promise, that the logged entry is about this
        envelope, timestamps, and the signature. Checked here: that both readers of the document see the same envelope
        and certificate, and that log and authority were in force at that time (sigstore-go does, sigstore-python 4
        does not).
        """
        bundle = parse_bundle(data, origin)
        envelope, material = bundle.envelope, bundle.material
        if not isinstance(material, Certificates):
            raise EvidenceInvalid(f"{origin}: it was not signed with a certificate", subject=origin)
        with _judging(origin):
            certificate, signed, times = self._judged(_spelled_out(bundle), origin)
            if signed != (envelope.payload_type, envelope.payload) or _der(certificate) != material.chain[0]:
                raise EvidenceInvalid(f"{origin}: two readers of it see two things", subject=origin)
            signer = read_identity(certificate, origin)
            for time in times:
                self._windows.check(bundle, certificate, time, origin)
        return Certified(signer, min(int(each.timestamp()) for each in times), self._windows.where(bundle))

    def _judged(self, data: bytes, origin: str) -> tuple[Certificate, tuple[str, bytes], list[datetime]]:
        from sigstore.models import Bundle as Theirs

        theirs, policy = Theirs.from_json(data), _Named(origin)
        signed = self._verifier.verify_dsse(theirs, policy)
        # What proves the time is told nowhere in public; these are the times that verify_dsse has just relied upon.
        times = [each.time for each in self._verifier._establish_time(theirs)]
        return theirs.signing_certificate, signed, times


def _spelled_out(bundle: Bundle) -> bytes:
    """Return a bundle for sigstore's reader, which wants zeros written: Go leaves them out (a log's first entry)."""
    return canonical(
        {**parse_json(bundle.to_bytes(), "the bundle", cap=MAX_ENVELOPE * 2), "mediaType": bundle.media_type}
    )


@dataclass(frozen=True, slots=True)
class _Named:
    """The policy that sigstore asks about a certificate: it must name somebody; who that may be is decided later."""

    origin: str

    def verify(self, cert: Certificate) -> None:
        read_identity(cert, self.origin)


class KeylessSigner:
    """Signs statements as somebody. One login and one certificate serve all statements of one instance."""

    def __init__(
        self,
        trust_config: Path | None = None,
        *,
        token: Secret | None = None,
        browser: bool = False,
        audience: str = AUDIENCE,
    ) -> None:
        """Prepare to sign; nothing is asked of anybody yet.

        Args:
            trust_config: A ``ClientTrustConfig`` of Sigstore as JSON: which Fulcio, Rekor and timestamp authority sign,
                and their roots of trust. None for the public good instance.
            token: Identity token; None to take that of the CI job this runs in, or to ask in a browser.
            browser: Whether somebody is there who can log in with a browser.
            audience: For whom tokens are made out.

        Raises:
            TrustConfigInvalid: The file is none, or says nothing about who signs.
            StoreError: It cannot be read.
        """
        self._config = None if trust_config is None else _read_config(trust_config)
        if self._config is not None and not isinstance(self._config.get("signingConfig"), dict):
            raise TrustConfigInvalid(
                f"{trust_config} says whom to trust but not who signs (no signingConfig)", subject=str(trust_config)
            )
        self._token, self._browser, self._audience = token, browser, audience
        self._as: IdentitySigner | None = None

    @property
    def identity(self) -> IdentitySigner | None:
        """As whom it signed last: what the certificate says, not the token. None before."""
        return self._as

    def bundle(self, statement: bytes) -> Bundle:
        """Return a statement in an envelope, signed, logged and verified.

        Args:
            statement: ``Statement.to_bytes()``; signed as it is.

        Raises:
            IdentityMissing: There is no identity to sign as.
            SigningFailed: One of the services did not do its part, or what came back does not hold.
        """
        return self.sign(statement)[0]

    def sign(self, statement: bytes) -> tuple[Bundle, Certified]:
        """Return the bundle of a statement, and what it proves: as whom it was signed, and when.

        Raises:
            IdentityMissing: There is no identity to sign as.
            SigningFailed: One of the services did not do its part, or what came back does not hold.
        """
        with _signing():
            data = self._signer.sign_dsse(_verbatim(statement)).to_json().encode()
        try:
            # sigstore signs on without a timestamp when that authority does not answer
            proved = self._verifier.verify(data, "the new bundle")
            bundle = parse_bundle(data, "the new bundle")
        except (EvidenceInvalid, SignatureInvalid) as error:
            raise SigningFailed(f"what the services returned does not verify: {error.message}") from None
        if bundle.envelope.payload != statement:
            raise SigningFailed("something else was signed than the statement")
        self._as = proved.signer if isinstance(proved.signer, IdentitySigner) else None
        return bundle, proved

    @cached_property
    def _trust(self) -> ClientTrustConfig:
        from sigstore.models import ClientTrustConfig

        if self._config is None:
            return ClientTrustConfig.production()  # signing needs a network anyway: the newest roots are fetched
        with _reading("the trust config"):
            return ClientTrustConfig.from_json(canonical(dict(self._config)).decode())

    @cached_property
    def _verifier(self) -> _Logged:
        if self._config is not None:
            return _Logged(self._config)
        root: Mapping[str, Any] = parse_json(self._trust._inner.trusted_root.to_json().encode(), "the trusted root")
        return _Logged(root)

    @cached_property
    def _signer(self) -> Signer:
        from sigstore.sign import Signer, SigningContext

        context = SigningContext.from_trust_config(self._trust)
        return Signer(self._identity(), context, cache=True)

    def _identity(self) -> Any:
        """Return who signs: the token that was given, the CI job's, or whoever logs in."""
        from sigstore.oidc import ExpiredIdentity, IdentityError, IdentityToken, Issuer, IssuerError, detect_credential

        try:
            raw = self._token.reveal().decode() if self._token is not None else detect_credential(self._audience)
            if raw is not None:
                return IdentityToken(raw, self._audience)
            if self._browser:
                return Issuer(self._trust.signing_config.get_oidc_url()).identity_token(self._audience)
        except (IdentityError, IssuerError, ExpiredIdentity) as error:
            why = _TOKEN_TROUBLE.get(type(error.__cause__).__name__, _reason(error))
            raise IdentityMissing(f"the identity cannot be used: {why}") from None
        raise IdentityMissing("nobody says who signs: no token, no CI job that has one, and no browser to log in with")


def _verbatim(statement: bytes) -> Any:
    """Return a statement that sigstore signs as it is.

    Its own reader insists on a name for each subject, which in-toto does not ask for and cosign's signatures lack.
    """
    from sigstore.dsse import Statement

    class Verbatim(Statement):
        def __init__(self, contents: bytes) -> None:
            self._contents = contents

    return Verbatim(statement)


def _read_config(path: Path) -> Mapping[str, Any]:
    with disk_errors(path), path.open("rb") as file:
        data = file.read(_MOST_CONFIG + 1)
    try:
        document = parse_json(data, str(path), cap=_MOST_CONFIG)
    except JSONInvalid as error:
        raise TrustConfigInvalid(error.message, subject=str(path)) from None
    kind = document.get("mediaType") if isinstance(document, dict) else None
    if kind == _ROOT or (kind == _CONFIG and isinstance(document.get("trustedRoot"), dict)):
        TrustRoot.parse(_trusted_root(document), str(path))
        return dict(document)
    raise TrustConfigInvalid(f"{path} is neither a trust config nor a trusted root of Sigstore", subject=str(path))


def _trusted_root(config: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = config if config["mediaType"] == _ROOT else config["trustedRoot"]
    return found


def _embedded() -> Mapping[str, Any]:
    """Return the public root that the package carries; its cache of newer ones is a folder that others may write."""
    from importlib.resources import files

    data = files("sigstore._store").joinpath(_PUBLIC_GOOD, "trusted_root.json").read_bytes()
    found: Mapping[str, Any] = parse_json(data, "the trusted root of the sigstore package")
    return found


def _root_of(document: Mapping[str, Any]) -> TrustedRoot:
    from sigstore.models import TrustedRoot
    from sigstore_models.trustroot import v1

    with _reading("the trusted root"):
        return TrustedRoot(v1.TrustedRoot.from_json(canonical(dict(document))))


def _der(certificate: Certificate) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    return certificate.public_bytes(Encoding.DER)


@contextmanager
def _judging(origin: str) -> Iterator[None]:
    """Translate whatever sigstore raises about a bundle. It parses what an enemy wrote: anything may come."""
    from sigstore.errors import VerificationError

    try:
        yield
    except InstallMLError:
        raise
    except VerificationError as error:
        raise SignatureInvalid(f"{origin}: {_reason(error)}", subject=origin) from None
    except Exception as error:
        raise EvidenceInvalid(f"{origin}: {_reason(error)}", subject=origin) from None


@contextmanager
def _reading(origin: str) -> Iterator[None]:
    try:
        yield
    except InstallMLError:
        raise
    except Exception as error:
        raise TrustConfigInvalid(f"{origin} cannot be used: {_reason(error)}", subject=origin) from None


@contextmanager
def _signing() -> Iterator[None]:
    try:
        yield
    except InstallMLError:
        raise
    except Exception as error:
        raise SigningFailed(
            f"it could not be signed: {_reason(error if str(error) or error.__cause__ is None else error.__cause__)}",
            hint="Nothing was attached. Is the identity token fresh, and are the services of the trust config up?",
        ) from None


def _reason(error: BaseException) -> str:
    """Return one line of an error of sigstore's, without what a stranger may have put into it."""
    text = _NOISE.split(" ".join(str(error).split()), maxsplit=1)[0][:300]
    shown = "".join(char for char in text if char.isprintable())
    return shown or type(error).__name__
