"""``verify``: who vouches for a package or an installed folder, when, by which log, over what; nothing is changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from ..digest import Digest
from ..errors import InstallMLError, ReferenceInvalid, TrustError
from ..events import Phase
from ..reference import Reference
from ..signing.proof import Proofs
from ..spec.package import read_package
from ..store.installed import Record
from ..trust.decide import decide
from ..trust.errors import FilesDiffer, SignerUnknown
from ..trust.evidence import Evidence, KeySigner, Signed, Unproved
from ..trust.judging import Fault, Judge
from ..trust.keys import PublicKey
from ..trust.oms import SIGNATURE_FILE
from ..trust.patterns import IdentityIs, KeyIs
from ..trust.pins import Memory
from ..trust.policy import FirstUse, Place, Policy, Rule, Trusted
from ..trust.verdict import Outcome, Request, Step, Verdict, shown, signer_words, words
from .kept import certificates, gather
from .keys import key_ring
from .model_folder import HashedFiles, ModelSignature, hash_files, installed_in, read_signature
from .places import find, folder_of, is_folder
from .results import TrustStep, VerifiedSignature, VerifyResult
from .session import AMBIENT, Session
from .trust import known_keys, named_signer, policy_of

__all__ = ["verify"]

_STATES = {True: "met", False: "failed", None: "noted"}


@dataclass(frozen=True, slots=True)
class _Terms:
    """By what it is judged.

    Attributes:
        policy: What somebody wants.
        keys: Public keys that are known.
        named: Whether one signer was named on the way: then what is remembered does not matter.
    """

    policy: Policy
    keys: tuple[PublicKey, ...]
    named: bool

    def decide(self, evidence: Evidence, request: Request, session: Session) -> Verdict:
        """Return the verdict; nobody is asked and nothing is written down."""
        memory = Memory() if self.named or not request.reference.registry else session.trusted.memory(request.reference)
        verdict = decide(evidence, request, self.policy, memory, int(session.clock()))
        if self.named and isinstance(verdict.refusal, SignerUnknown):
            return _refused(verdict, self._by_somebody_else(verdict))
        return verdict

    def _by_somebody_else(self, verdict: Verdict) -> SignerUnknown:
        [named] = verdict.rule.signers
        return SignerUnknown(
            f"{verdict.request.name} is signed by {words(verdict.unknown)}, not by {named}",
            hint="Ask its publisher, by another way than the one that brought the package, which signer is theirs.",
            subject=str(verdict.request.reference),
        )


def _refused(verdict: Verdict, refusal: TrustError) -> Verdict:
    """Return a verdict with another refusal at its end."""
    steps = (step for step in verdict.steps if step.rule != "verdict")
    last = Step("verdict", False, f"{Outcome.REFUSED}: {refusal.message.partition(chr(10))[0]}")
    return replace(verdict, outcome=Outcome.REFUSED, steps=(*steps, last), signers=(), refusal=refusal)


def verify(
    target: str, *, key: str = "", identity: str = "", issuer: str = "", session: Session = AMBIENT
) -> VerifyResult:
    """Say who vouches for a package, or for the files of a folder with ``model.sig`` in it.

    Args:
        target: A reference (its registry's signatures; with ``--offline`` those that are kept here), or a folder, of
            which every file is hashed.
        key: The one signer who counts: public key file, name of a key of this machine, or fingerprint. The policy in
            force decides when nobody is named.
        identity: The one signer who counts: identity of a certificate; with ``issuer``.
        issuer: URL of who vouches for the identity.
        session: Collaborators.

    Returns:
        The evidence and the verdict; ``trusted`` tells.

    Raises:
        NotFound: Nobody has the package.
        RegistryError: The signatures could not be listed, which never means that there are none.
        EvidenceInvalid: ``model.sig`` is no signature over files.
        Unsigned: The folder has no ``model.sig``.
    """
    terms = _terms(key, identity, issuer, session)
    path = folder_of(target)
    if is_folder(target) or path.is_dir():
        return _folder(target, path, terms, session)
    session.on_event(Phase("resolving", target))
    found = find(target, session)
    session.on_event(Phase("verifying", str(found.reference)))
    evidence = gather(found, session, terms.keys)
    verdict = terms.decide(evidence, Request(found.reference, found.descriptor.digest), session)
    return replace(_result(target, verdict, evidence, terms, session), place=found.origin)


def _terms(key: str, identity: str, issuer: str, session: Session) -> _Terms:
    keys = known_keys(session)
    if not (key or identity or issuer):
        return _Terms(policy_of(session), keys, named=False)
    signer, public = named_signer(key, identity, issuer, session)
    pattern = KeyIs(signer.fingerprint) if isinstance(signer, KeySigner) else IdentityIs(signer.identity, signer.issuer)
    rule = Rule(Place(), signers=(Trusted(pattern),), first_use=FirstUse.NEVER, origin="the command line")
    return _Terms(Policy((rule,), origin=rule.origin), (*keys, *([public] if public else [])), named=True)


# What was found, as people and programs read it


def _result(target: str, verdict: Verdict, evidence: Evidence, terms: _Terms, session: Session) -> VerifyResult:
    judge = Judge(verdict.request, terms.policy, verdict.rule, int(session.clock()))
    names = {entry.public.fingerprint: entry.label for entry in key_ring(session).entries()}
    proved = [_signature(each, judge, names) for each in evidence.signed]
    trusted = verdict.outcome is Outcome.TRUSTED
    return VerifyResult(
        target=target,
        reference=verdict.request.reference if verdict.request.reference.registry else None,
        digest=verdict.request.digest,
        place="",
        trusted=trusted,
        verdict=verdict.outcome.value,
        policy=str(verdict.rule),
        signers=tuple(map(signer_words, verdict.signers)),
        signatures=(*proved, *map(_unproved, evidence.unproved)),
        steps=tuple(TrustStep(step.rule, _STATES[step.passed], step.sentence) for step in verdict.steps),
        message=verdict.message,
        reason=verdict.reference,
        hint="" if trusted else verdict.hint,
    )


def _signature(signed: Signed, judge: Judge, names: Mapping[str, str]) -> VerifiedSignature:
    judged = judge.judge(signed)
    return VerifiedSignature(
        form=signed.form.value,
        type=shown(signed.predicate_type),
        signer=signer_words(signed.signer),
        key=names.get(signed.signer.fingerprint, "") if isinstance(signed.signer, KeySigner) else "",
        counts=judged.fault is None,
        ref=shown(signed.claims.ref),
        made=_moment(signed.signed_at if signed.signed_at is not None else signed.claims.created),
        proved=signed.signed_at is not None,
        expires=_moment(signed.claims.expires),
        log=shown(signed.log),
        source=signed.source,
        reason=_about(signed, judge) if judged.fault is Fault.FOREIGN else shown(judged.sentence),
    )


def _about(signed: Signed, judge: Judge) -> str:
    """Return why something signed is no signature of the package, without alarm where it is a statement about it."""
    statement = signed.subjects == (judge.request.digest,)
    return "a statement, no signature" if statement else shown(judge.judge(signed).sentence)


def _unproved(one: Unproved) -> VerifiedSignature:
    hint = f" (it names the key {shown(one.hint)})" if one.hint else ""
    return VerifiedSignature("", "", "", "", False, "", "", False, "", "", one.source, f"{shown(one.reason)}{hint}")


def _moment(seconds: int | None) -> str:
    return "" if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


# Folders


def _folder(target: str, path: Path, terms: _Terms, session: Session) -> VerifyResult:
    record = installed_in(path, session)
    signature = read_signature(path, record)
    hashed = hash_files(path, signature.files, session)
    differences = tuple(map(shown, (*hashed.odd, *_differences(signature, hashed, record, session))))
    digest = record.descriptor.digest if record else signature.root
    # The list in the signature was compared with the files above; here it is only asked who made it.
    proofs = Proofs(digest, terms.keys, certificates(session), signature.files.files)
    found = proofs.bundle(signature.data, Digest.of(signature.data), {})
    request = _request(signature, found, path, record)
    evidence = Evidence(request.digest, *(((found,), ()) if isinstance(found, Signed) else ((), (found,))))
    verdict = _with_files(terms.decide(evidence, request, session), path, hashed, differences)
    return replace(
        _result(target, verdict, evidence, terms, session),
        place=str(path),
        files=len(hashed.digests),
        subset=bool(record and record.partial),
        differences=differences,
        hint=_folder_hint(verdict, target, record, terms),
    )


def _differences(signature: ModelSignature, hashed: HashedFiles, record: Record | None, session: Session) -> list[str]:
    subset = record is not None and bool(record.partial)
    found = signature.files.differences(hashed.digests, subset=subset)
    return found if record is None else [*found, *_not_the_package(signature, record, session)]


def _not_the_package(signature: ModelSignature, record: Record, session: Session) -> list[str]:
    """Return that the signature is about something else than what was installed, or that this cannot be told."""
    try:
        manifest = session.local(record.reference).manifest(record.descriptor)
        package = read_package(manifest, str(record.reference))
    except InstallMLError as error:
        return [f"{SIGNATURE_FILE} cannot be compared with the package: {error.message}"]
    named = {file.path: file.descriptor.digest for file in package.files}
    return [f"{SIGNATURE_FILE} is about other files than the package"] if signature.files.differences(named) else []


def _request(signature: ModelSignature, found: Signed | Unproved, path: Path, record: Record | None) -> Request:
    """Return what is asked; without a tag: what is installed may be older than what its tag names now.

    A folder that nothing was installed into has no name of its own, and goes by the one that it was signed for.
    """
    if record is not None:
        own = record.reference
        name = Reference(own.registry, own.repository, digest=record.descriptor.digest)
        return Request(name, record.descriptor.digest)
    name = Reference("", path.resolve().name, digest=signature.root)
    if isinstance(found, Signed) and found.claims.ref:
        with suppress(ReferenceInvalid):
            claimed = Reference.parse(found.claims.ref)
            name = Reference(claimed.registry, claimed.repository, digest=signature.root)
    return Request(name, signature.root)


def _with_files(verdict: Verdict, path: Path, hashed: HashedFiles, differences: tuple[str, ...]) -> Verdict:
    """Return the verdict about who signed, with what was found about the files."""
    count = len(hashed.digests)
    what = f"{len(differences)} differences in {count} files" if differences else f"{count} files hashed, as signed"
    steps = (Step("files", not differences, what), *_left_out(hashed), *verdict.steps)
    if not differences:
        return replace(verdict, steps=steps)
    return _refused(replace(verdict, steps=steps), FilesDiffer(str(path), differences))


def _left_out(hashed: HashedFiles) -> Iterator[Step]:
    """Yield what was not looked at because the signature says nothing about it: anything may stand there."""
    if names := hashed.left_out:
        shown_names = ", ".join(map(shown, names[:5])) + (", ..." if len(names) > 5 else "")
        yield Step("files", None, f"{len(names)} files are left out of the signature: {shown_names}")


def _folder_hint(verdict: Verdict, target: str, record: Record | None, terms: _Terms) -> str:
    if verdict.outcome is Outcome.TRUSTED:
        return ""
    if isinstance(verdict.refusal, FilesDiffer):
        return f"installml install {record.reference}" if record else "Get the files anew from whoever signed them."
    if record is None and not terms.named:
        return f"Say whose signature you expect: installml verify {target} --key FILE"
    return verdict.hint
