"""Evidence that is kept: what a registry's signatures were read from lies in the local store too, and is read there.

So whoever has a package can see again, without a network, who vouched for it; and what is here is not fetched twice.
Nothing is decided here, and nothing that is kept is believed without being proved again.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from ..digest import Digest, Readable
from ..errors import InstallMLError, IntegrityError, NotFound, StoreError
from ..signing.collect import EvidencePlace, collect
from ..signing.proof import CertificateVerifier, Certified, Proofs
from ..spec.descriptor import Descriptor
from ..spec.manifest import Manifest
from ..spec.media import EMPTY, MANIFESTS
from ..store.disk import DiskRepository
from ..store.verified import read_manifest, read_verified
from ..trust.dsse import MAX_ENVELOPE
from ..trust.evidence import Evidence, Signed, UnprovedKind
from ..trust.judging import made_at
from ..trust.keys import PublicKey
from ..trust.simple import CLASSIC_ATTESTATION, SIMPLE_SIGNING, attestation_tag, classic_tag
from ..trust.statement import COSIGN_SIGN, OMS
from .places import Found
from .session import Session

__all__ = ["Here", "Through", "certificates", "files_named", "gather", "proofs_of"]

_EMPTY = Descriptor.of(b"{}", EMPTY)
_WORTH = frozenset({UnprovedKind.UNKNOWN_KEY, UnprovedKind.UNSUPPORTED})
"""What proves nothing today and may when its key is known, or when certificates can be checked."""


class Here:
    """The local store as a place of evidence about one manifest.

    Args:
        local: The repository in the store.
        subject: The manifest.
    """

    def __init__(self, local: DiskRepository, subject: Descriptor) -> None:
        self.local = local
        self._subject = subject

    def __str__(self) -> str:
        return str(self.local)

    @contextmanager
    def fetch(self, descriptor: Descriptor) -> Iterator[Readable]:
        """Open what is kept."""
        with self.local.fetch(descriptor) as stream:
            yield stream

    def referrers(self, descriptor: Descriptor, artifact_type: str = "") -> Iterable[Descriptor]:
        """Return what is kept that refers to a manifest."""
        return self.local.referrers(descriptor, artifact_type)

    def resolve(self, pointer: str) -> Descriptor:
        """Return the manifest under a tag; those of the classic form are none here."""
        digest = self._subject.digest
        kinds = {classic_tag(digest): SIMPLE_SIGNING, attestation_tag(digest): CLASSIC_ATTESTATION}
        if pointer not in kinds:
            return self.local.resolve(pointer)
        found = self.local.beside(digest, kinds[pointer])
        if found is None:
            raise NotFound(f"nothing in the classic form about {digest} is here", subject=pointer)
        return found


class Through:
    """A registry as a place of evidence: what is in the local store is not fetched, and what is read is remembered.

    Args:
        remote: Where the signatures are.
        local: The repository in the store.
    """

    def __init__(self, remote: EvidencePlace, local: DiskRepository) -> None:
        self._remote = remote
        self._local = local
        self._read: dict[Digest, bytes] = {_EMPTY.digest: b"{}"}
        self._manifests: dict[Digest, Descriptor] = {}

    def __str__(self) -> str:
        return str(self._remote)

    @contextmanager
    def fetch(self, descriptor: Descriptor) -> Iterator[Readable]:
        """Open what is here, or else what the registry has; it has been compared with its digest either way."""
        yield io.BytesIO(self.content(descriptor))

    def content(self, descriptor: Descriptor) -> bytes:
        """Return small content whole, proved.

        Raises:
            NotFound: Nobody has it.
            IntegrityError: It is something else, or larger than a signature.
        """
        data = self._read.get(descriptor.digest)
        if data is None or len(data) != descriptor.size:
            data = self._stored(descriptor)
            data = read_verified(self._remote, descriptor, cap=MAX_ENVELOPE) if data is None else data
            self._read[descriptor.digest] = data
        if descriptor.media_type in MANIFESTS:
            self._manifests[descriptor.digest] = descriptor.bare()
        return data

    def _stored(self, descriptor: Descriptor) -> bytes | None:
        with suppress(InstallMLError):  # not here, or damaged
            return read_verified(self._local, descriptor, cap=MAX_ENVELOPE)
        return None

    def known(self, manifest: Digest) -> Descriptor:
        """Return the descriptor of a manifest that was read.

        Raises:
            NotFound: None of that digest was.
        """
        if manifest not in self._manifests:
            raise NotFound(f"{manifest} was not read", subject=str(manifest))
        return self._manifests[manifest]

    def resolve(self, pointer: str) -> Descriptor:
        """Ask the registry what a tag names."""
        return self._remote.resolve(pointer)

    def referrers(self, descriptor: Descriptor, artifact_type: str = "") -> Iterable[Descriptor]:
        """Ask the registry what refers to a manifest."""
        return self._remote.referrers(descriptor, artifact_type)


def files_named(found: Found) -> dict[str, Digest]:
    """Return path and digest of the files that a manifest names; none where a layer is not one file as it is.

    Signatures over files count for a manifest only when they cover all that it names, and what is inside a tar is not
    named.
    """
    if not isinstance(found.manifest, Manifest):
        return {}
    files = found.package().files
    return {file.path: file.descriptor.digest for file in files} if all(file.form == "raw" for file in files) else {}


def certificates(session: Session) -> CertificateVerifier:
    """Return what checks bundles with certificates, by the roots of trust of the session."""
    return _Certificates(session.trust_config)


class _Certificates:
    """Loads what checks certificates when the first one has to be: most packages are signed with keys."""

    def __init__(self, trust_config: Path | None) -> None:
        self._trust_config = trust_config

    def verify(self, data: bytes, origin: str) -> Certified:
        return self._verifier.verify(data, origin)

    @cached_property
    def _verifier(self) -> CertificateVerifier:
        from ..signing.keyless import open_verifier

        return open_verifier(self._trust_config)


def proofs_of(found: Found, keys: tuple[PublicKey, ...], session: Session) -> Proofs:
    """Return what proves the signatures of a package.

    Args:
        found: The package.
        keys: Public keys that are known.
        session: Collaborators.
    """
    return Proofs(found.descriptor.digest, keys, certificates(session), files_named(found))


def gather(
    found: Found,
    session: Session,
    keys: tuple[PublicKey, ...],
    *,
    only: frozenset[str] = frozenset(),
    keep: bool | None = None,
    offline: bool = False,
) -> Evidence:
    """Return everything that vouches for a package: from its registry, or from the local store where that has it.

    Args:
        found: The package.
        session: Collaborators.
        keys: Public keys that are known.
        only: Predicate types that matter; all when empty.
        keep: Whether what the registry gave is kept in the local store; None to do so when the package is there.
        offline: Read what is kept, whatever the place where the package was found.

    Raises:
        RegistryError: The signatures could not be listed, which never means that there are none.
    """
    local, proofs = session.local(found.reference), proofs_of(found, keys, session)
    if offline or not found.remote:
        return _in_order(collect(Here(local, found.descriptor), found.descriptor, proofs, only=only))
    place = Through(session.remote(found.reference), local)
    evidence = collect(place, found.descriptor, proofs, only=only)
    if keep if keep is not None else local.exists(found.descriptor):
        _keep_all(place, local, evidence, session)
    return _in_order(evidence)


def _in_order(evidence: Evidence) -> Evidence:
    """Return evidence as people read it: signatures first, by age; the order of digests is no order to them."""
    return replace(evidence, signed=tuple(sorted(evidence.signed, key=_rank)))


def _rank(signed: Signed) -> tuple[bool, bool, str, int, str, str]:
    kind = signed.predicate_type
    return kind != COSIGN_SIGN, kind != OMS, kind, made_at(signed), str(signed.signer), str(signed.source)


def _keep_all(place: Through, local: DiskRepository, evidence: Evidence, session: Session) -> None:
    """Write what ``evidence`` was read from into the local store.

    A store that cannot be written, or that is damaged, keeps nothing, and nothing else is wrong: the registry can be
    asked again.
    """
    sources = {each.source for each in evidence.signed if each.source is not None}
    sources |= {each.source for each in evidence.unproved if each.kind in _WORTH}
    if not sources:
        return
    with suppress(StoreError), session.store.lease():
        for source in sorted(sources):
            with suppress(NotFound, IntegrityError):
                _keep(place, local, source, evidence.subject)


def _keep(place: Through, local: DiskRepository, source: Digest, subject: Digest) -> None:
    descriptor = place.known(source)
    manifest = read_manifest(place, descriptor)
    if not isinstance(manifest, Manifest) or (manifest.subject is not None and local.exists(descriptor)):
        return
    for each in (*manifest.layers, manifest.config):
        if not local.exists(each):
            local.push(each, io.BytesIO(place.content(each)))
    local.push(descriptor, io.BytesIO(place.content(descriptor)))
    if manifest.subject is None:
        local.keep_beside(subject, descriptor)
