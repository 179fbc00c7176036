"""``sign``: somebody vouches for a package, and everybody can check it: cosign, model_signing and we ourselves."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime

from blake3 import blake3

from ..attesting.predicate import statement_about
from ..digest import Digest, Readable
from ..errors import InstallMLError, IntegrityError, UsageError
from ..events import Notice, Phase
from ..reference import LOCAL
from ..scanning.errors import ScanBlocked
from ..spec.chunks import MAX_CHUNK, ChunkIndex, chunks_digest
from ..spec.descriptor import Descriptor
from ..spec.subset import EVERYTHING
from ..store.protocol import Fetcher
from ..store.verified import open_verified
from ..transfer.delta import IndexSource, read_published
from ..trust import oms
from ..trust.claims import annotations_of
from ..trust.evidence import Claims
from ..trust.policy_document import parse_duration
from ..trust.statement import COSIGN_SIGN, OMS
from .attaching import attach, attach_in_classic_form, signed
from .attest import attach_statement
from .index import release_of
from .kept import files_named
from .keys import key_ring
from .places import Found, find
from .pull import bring
from .results import SignatureInfo, SignResult
from .scan import examine, gate_of
from .session import AMBIENT, Session
from .statements import Said, provenance_statement, sbom_statement, scan_statement
from .subset import part_of, require_here
from .trusting import index_layers
from .vouchers import Keyless, Login, Voucher, key_of, name_of, voucher_of

__all__ = ["Wishes", "sign", "sign_found"]

CLASSIC = ("auto", "on", "off")
_CLASSIC_FORM = "classic"


@dataclass(frozen=True, slots=True)
class Wishes:
    """What is signed besides the manifest and its files.

    Attributes:
        classic: Whether to sign in cosign's classic form too: ``auto`` where the registry has no referrers API, ``on``,
            ``off``.
        expires: Seconds for which the signature counts; None for ever.
        sbom: Also the bill of materials.
        provenance: Also how it was built.
        scan: Also what a scan finds.
    """

    classic: str = "auto"
    expires: int | None = None
    sbom: bool = False
    provenance: bool = False
    scan: bool = False


def sign(
    reference: str,
    *,
    key: str = "",
    login: Login | None = None,
    cosign_classic: str = "auto",
    expires: str = "",
    sbom: bool = False,
    provenance: bool = False,
    scan: bool = False,
    session: Session = AMBIENT,
) -> SignResult:
    """Sign a package where it is: its manifest, and its files in the form of OpenSSF Model Signing.

    Args:
        reference: The package: the registry's, else the local store's.
        key: Whose signature it is: name of a key of this machine, a key file, or the URI of a device or service; the
            only key here when left out.
        login: How somebody shows who they are, to sign as that instead of with a key; logged in public.
        cosign_classic: Whether to sign in cosign's classic form as well: ``auto`` where the registry has no referrers
            API, ``on``, ``off``.
        expires: How long the signature counts, such as ``90d``; for ever when left out.
        sbom: Also sign and attach the bill of materials.
        provenance: Also sign and attach how it was built.
        scan: Also scan it, and sign and attach what was found.
        session: Collaborators; its ``ask`` is asked for the key's passphrase.

    Returns:
        What was signed by whom.

    Raises:
        KeyNotFound: There is no such key, or several to choose from.
        IdentityMissing: Nobody says who signs.
        NotFound: Nobody has the package.
        ScanBlocked: The scan found something that should not be vouched for; nothing was signed.
        RegistryError: The registry does not take the signatures.
    """
    wishes = Wishes(_classic(cosign_classic), parse_duration(expires) if expires else None, sbom, provenance, scan)
    if login is not None and wishes.classic == "on":
        raise UsageError("the classic form is signed with a key", hint="Name one with --key, or leave out the form.")
    session.on_event(Phase("resolving", reference))
    found = find(reference, session)
    found.package()
    return sign_found(found, voucher_of(key, login, session), wishes, session)


def _classic(word: str) -> str:
    if word not in CLASSIC:
        raise UsageError(f"{word!r} is no way to sign", hint=f"One of: {', '.join(CLASSIC)}", subject=word)
    return word


def sign_found(
    found: Found, signer: Voucher, wishes: Wishes, session: Session, *, content: Fetcher | None = None
) -> SignResult:
    """Sign a package that was found.

    Args:
        found: The package.
        signer: Whoever signs.
        wishes: What is signed besides.
        session: Collaborators.
        content: Where the package's own bytes are, to compare chunk indexes with them; the local store when left out.
    """
    more = _statements(found, wishes, session)  # what may be refused comes before anything is attached
    chunks = _checked_chunks(found, content or session.local(found.reference), session)
    session.on_event(Phase("signing", str(found.reference)))
    claims = _claims(found, chunks, wishes, session)
    vouched = statement_about(found.descriptor.digest, "", COSIGN_SIGN, {}, claims)
    carrier = attach(found, signed(vouched, signer), signer, session)
    made = [SignatureInfo(COSIGN_SIGN, "manifest", carrier.digest)]
    made += _over_files(found, signer, claims, session)
    if not isinstance(signer, Keyless) and _wants_classic(found, wishes, session):
        carrier = attach_in_classic_form(found, claims, signer, session)
        made.append(SignatureInfo(COSIGN_SIGN, _CLASSIC_FORM, carrier.digest))
    for said in more:
        done = attach_statement(found, said.type, said.predicate, signer, session)
        made.append(SignatureInfo(said.type, "statement", done.attestation))
    return _result(found, signer, claims, made, session)


def _claims(found: Found, chunks: Digest | None, wishes: Wishes, session: Session) -> Claims:
    """Return what the signature says beyond the digest.

    A package that no registry has yet is signed without a name: under the one of this machine it would count nowhere.
    """
    now = int(session.clock())
    named = replace(found.reference, digest=None)
    expires = None if wishes.expires is None else now + wishes.expires
    return Claims(
        str(named) if found.reference.registry != LOCAL else "", found.package().version, now, expires, chunks
    )


def _over_files(found: Found, signer: Voucher, claims: Claims, session: Session) -> list[SignatureInfo]:
    """Sign the files by the digests that the manifest names; none of them is read."""
    files = files_named(found)
    if not files or any(digest.algorithm != "sha256" for digest in files.values()):
        session.on_event(Notice("the files are not signed one by one: some layers are not files with a sha256 digest"))
        return []
    statement = oms.build(found.package().name or found.reference.name, files.items(), annotations_of(claims))
    carrier = attach(found, signed(statement, signer), signer, session)
    return [SignatureInfo(OMS, "files", carrier.digest)]


def _wants_classic(found: Found, wishes: Wishes, session: Session) -> bool:
    if not found.remote or wishes.classic == "off":
        return False
    return wishes.classic == "on" or not session.remote(found.reference).lists_referrers(found.descriptor)


def _checked_chunks(found: Found, content: Fetcher, session: Session) -> Digest | None:
    """Return what stands for the package's chunk indexes, after comparing each chunk with the package's own bytes.

    Anybody who may push can attach an index that says something else, and a signature would make it the truth. So what
    cannot be compared here is not vouched for, and those who fetch compare whole files.
    """
    release = release_of(found)
    place: IndexSource = session.remote(found.reference) if found.remote else session.local(found.reference)
    layers = index_layers(place, release) if release.large else []
    if not layers:
        return None
    session.on_event(Phase("comparing", count=len(layers), size=sum(blob.size for blob in release.large)))
    try:
        for blob, layer in zip(release.large, layers, strict=True):
            _compare(read_published(place, layer, blob), blob, content)
    except IntegrityError:
        raise
    except InstallMLError as error:
        session.on_event(Notice(f"chunk indexes are not vouched for: {error.message}"))
        return None
    return chunks_digest(layers)


def _compare(index: ChunkIndex, blob: Descriptor, content: Fetcher) -> None:
    """Return when every chunk of a blob is what ``index`` says.

    Raises:
        NotFound: The blob is not here.
        DigestMismatch: What is here is not the blob.
        UsageError: The index is of something else.
    """
    with open_verified(content, blob) as stream:
        for number in range(len(index)):
            if blake3(_exactly(stream, index.extent(number).size)).digest() != index.digest(number):
                raise UsageError(f"the chunk index of {blob.digest} is wrong", subject=str(blob.digest))
        stream.read(1)  # behind the last byte is where the blob's own digest is compared


def _exactly(stream: Readable, size: int) -> bytes:
    parts, left = [], min(size, MAX_CHUNK)
    while left and (block := stream.read(left)):
        parts.append(block)
        left -= len(block)
    return b"".join(parts)


def _statements(found: Found, wishes: Wishes, session: Session) -> list[Said]:
    said = []
    if wishes.scan:
        said.append(_scanned(found, session))
    if wishes.sbom:
        said.append(sbom_statement(found, session))
    if wishes.provenance:
        said.append(provenance_statement(found, session))
    return said


def _scanned(found: Found, session: Session) -> Said:
    package = found.package()
    everything = part_of(package, EVERYTHING, str(found.reference))
    if found.remote:
        bring(found, everything, session)
    else:
        require_here(found, everything, session)
    session.on_event(Phase("scanning", str(found.reference)))
    report, outcome = examine(package, session, gate_of("high"))
    if outcome.blocked:
        worst = outcome.too_bad[0]
        raise ScanBlocked(
            f"{found.reference} is not signed: {worst.path}: {worst.rule.title}",
            hint=f"See all of it with: installml scan {found.reference}",
            subject=str(found.reference),
        )
    return scan_statement(report, outcome, session)


def _result(found: Found, signer: Voucher, claims: Claims, made: list[SignatureInfo], session: Session) -> SignResult:
    key = key_of(signer)
    fingerprint = "" if key is None else key.fingerprint
    somebody = signer.identity if isinstance(signer, Keyless) else None
    names = {entry.public.fingerprint: entry.label for entry in key_ring(session).entries()}
    return SignResult(
        reference=found.reference,
        digest=found.descriptor.digest,
        place=found.origin,
        signer=name_of(signer),
        key=names.get(fingerprint, ""),
        fingerprint=fingerprint,
        ref=claims.ref,
        created=_moment(claims.created),
        expires=_moment(claims.expires),
        chunks=claims.chunks,
        files=len(found.package().files),
        signatures=tuple(made),
        identity=somebody.identity if somebody else "",
        issuer=somebody.issuer if somebody else "",
    )


def _moment(seconds: int | None) -> str:
    return "" if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
