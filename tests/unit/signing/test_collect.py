"""Signatures are attached to a manifest and read back: what holds is told apart from what only looks like one."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from installml.digest import Digest, Readable
from installml.registry.errors import RegistryError
from installml.signing.attach import ANNOTATION_KEY, attach_bundle, attach_classic
from installml.signing.collect import collect
from installml.signing.proof import Certified, Proofs
from installml.spec.canonical import canonical
from installml.spec.descriptor import Descriptor
from installml.spec.manifest import Manifest
from installml.spec.media import EMPTY, IMAGE_MANIFEST
from installml.testing import MemoryStore, package_bytes
from installml.trust.bundle import BUNDLE, Bundle, Certificates, KeyHint
from installml.trust.claims import annotations_of
from installml.trust.dsse import Envelope
from installml.trust.errors import EvidenceInvalid, SignatureInvalid
from installml.trust.evidence import Claims, Evidence, Form, IdentitySigner, KeySigner, Signed, UnprovedKind
from installml.trust.keys import PublicKey
from installml.trust.oms import build
from installml.trust.simple import CLASSIC_ATTESTATION, SIMPLE_SIGNING, SimplePayload, attestation_tag, classic_tag
from installml.trust.statement import COSIGN_SIGN, SCAN, Statement, Subject

PACKED = package_bytes()
CLAIMS = Claims("localhost/acme/sentiment:1.0.0", "1.0.0", 1_790_000_000, 1_800_000_000, Digest.of(b"chunks"))
FILES = {"README.md": Digest.of(b"# sentiment\n"), "model.bin": Digest.of(bytes(range(256)) * 8)}


class Key:
    """A key pair that lives as long as a test."""

    def __init__(self) -> None:
        self._private = ec.generate_private_key(ec.SECP256R1())
        self.public = PublicKey.of_key(self._private.public_key())
        self.signer = KeySigner(self.public.fingerprint)

    def sign(self, data: bytes) -> bytes:
        return self._private.sign(data, ec.ECDSA(hashes.SHA256()))

    def bundle(self, statement: Statement, hint: str | None = None) -> Bundle:
        material = KeyHint(self.public.hint if hint is None else hint)
        return Bundle(Envelope.signed(statement.to_bytes(), self.sign), material)


def about(digest: Digest = PACKED.descriptor.digest, kind: str = COSIGN_SIGN, claims: Claims = CLAIMS) -> Statement:
    return Statement((Subject("", (digest,), annotations_of(claims)),), kind)


@pytest.fixture
def place() -> MemoryStore:
    made = MemoryStore()
    PACKED.push(made, "1.0.0")
    return made


@pytest.fixture
def key() -> Key:
    return Key()


def gathered(place: MemoryStore, *keys: Key, **more: object) -> Evidence:
    known = tuple(key.public for key in keys)
    return collect(place, PACKED.descriptor, Proofs(PACKED.descriptor.digest, known, **more))  # type: ignore[arg-type]


def test_nothing_attached_is_no_evidence(place: MemoryStore, key: Key) -> None:
    assert gathered(place, key) == Evidence(PACKED.descriptor.digest)


def test_a_bundle_by_a_known_key_is_proved_with_everything_it_claims(place: MemoryStore, key: Key) -> None:
    carrier, new = attach_bundle(place, PACKED.descriptor, key.bundle(about()))
    assert new
    assert gathered(place, key).signed == (
        Signed(key.signer, Form.BUNDLE, COSIGN_SIGN, (PACKED.descriptor.digest,), CLAIMS, source=carrier.digest),
    )


def test_attaching_the_same_bundle_twice_changes_nothing(place: MemoryStore, key: Key) -> None:
    bundle = key.bundle(about())
    first, _ = attach_bundle(place, PACKED.descriptor, bundle)
    assert attach_bundle(place, PACKED.descriptor, bundle) == (first, False)


def test_a_key_that_is_not_known_is_shown_when_the_carrier_tells_it(place: MemoryStore, key: Key) -> None:
    attach_bundle(place, PACKED.descriptor, key.bundle(about()), key.public)
    assert [each.signer for each in gathered(place).signed] == [key.signer]


def test_a_key_that_the_carrier_does_not_tell_stays_unknown(place: MemoryStore, key: Key) -> None:
    attach_bundle(place, PACKED.descriptor, key.bundle(about()))
    found = gathered(place, Key())
    assert (found.signed, [each.kind for each in found.unproved]) == ((), [UnprovedKind.UNKNOWN_KEY])
    assert found.unproved[0].hint == key.public.hint


def test_a_carrier_cannot_tell_another_key_than_the_bundle_names(place: MemoryStore, key: Key) -> None:
    attach_bundle(place, PACKED.descriptor, key.bundle(about()), Key().public)
    assert [each.kind for each in gathered(place).unproved] == [UnprovedKind.UNKNOWN_KEY]


def test_a_signature_of_another_key_under_a_known_hint_is_invalid(place: MemoryStore, key: Key) -> None:
    attach_bundle(place, PACKED.descriptor, Key().bundle(about(), key.public.hint))
    assert [each.kind for each in gathered(place, key).unproved] == [UnprovedKind.INVALID]


def test_a_bundle_without_a_hint_is_tried_with_every_known_key(place: MemoryStore, key: Key) -> None:
    attach_bundle(place, PACKED.descriptor, key.bundle(about(), ""))
    assert [each.signer for each in gathered(place, Key(), key).signed] == [key.signer]
    assert [each.kind for each in gathered(place, Key()).unproved] == [UnprovedKind.UNKNOWN_KEY]


def test_what_was_signed_for_another_manifest_keeps_that_subject_and_claims_nothing_here(
    place: MemoryStore, key: Key
) -> None:
    other = Digest.of(b"another manifest")
    attach_bundle(place, PACKED.descriptor, key.bundle(about(other)))
    (found,) = gathered(place, key).signed
    assert (found.subjects, found.claims) == ((other,), Claims())


def test_a_scan_attestation_keeps_its_type_and_predicate(place: MemoryStore, key: Key) -> None:
    statement = Statement((Subject("", (PACKED.descriptor.digest,)),), SCAN, {"findings": []})
    attach_bundle(place, PACKED.descriptor, key.bundle(statement))
    (found,) = gathered(place, key).signed
    assert (found.predicate_type, dict(found.predicate)) == (SCAN, {"findings": []})


def test_only_the_announced_types_that_matter_are_read(place: MemoryStore, key: Key) -> None:
    attach_bundle(place, PACKED.descriptor, key.bundle(about()))
    attach_bundle(place, PACKED.descriptor, key.bundle(about(kind=SCAN)))
    proofs = Proofs(PACKED.descriptor.digest, (key.public,))
    found = collect(place, PACKED.descriptor, proofs, only=frozenset({COSIGN_SIGN}))
    assert [each.predicate_type for each in found.signed] == [COSIGN_SIGN]


@pytest.mark.parametrize(
    ("annotation", "value"),
    [("created", "yesterday"), ("expires", "2026-02-30T00:00:00Z"), ("chunks", "sha256:1"), ("until", "2030")],
)
def test_a_claim_that_cannot_be_understood_spoils_its_signature(
    place: MemoryStore, key: Key, annotation: str, value: str
) -> None:
    subject = Subject("", (PACKED.descriptor.digest,), {f"dev.installml.{annotation}": value})
    attach_bundle(place, PACKED.descriptor, key.bundle(Statement((subject,), COSIGN_SIGN)))
    assert [each.kind for each in gathered(place, key).unproved] == [UnprovedKind.UNREADABLE]


def test_two_subjects_with_the_same_digest_are_refused(place: MemoryStore, key: Key) -> None:
    twice = Statement((Subject("a", (PACKED.descriptor.digest,)), Subject("b", (PACKED.descriptor.digest,))), SCAN)
    attach_bundle(place, PACKED.descriptor, key.bundle(twice))
    assert [each.kind for each in gathered(place, key).unproved] == [UnprovedKind.UNREADABLE]


def test_what_is_no_bundle_is_told_as_unreadable(place: MemoryStore, key: Key) -> None:
    refer(place, b"{}")
    assert [each.kind for each in gathered(place, key).unproved] == [UnprovedKind.UNREADABLE]


def test_a_carrier_that_refers_to_another_manifest_is_no_evidence(key: Key) -> None:
    class Liar(MemoryStore):
        """It lists everything it has as a referrer of everything."""

        def referrers(self, descriptor: Descriptor, artifact_type: str = "") -> Iterator[Descriptor]:
            yield from super().referrers(elsewhere.descriptor, artifact_type)

    liar, elsewhere = Liar(), package_bytes(version="2.0.0")
    PACKED.push(liar, "1.0.0")
    elsewhere.push(liar, "2.0.0")
    attach_bundle(liar, elsewhere.descriptor, key.bundle(about()))
    assert gathered(liar, key) == Evidence(PACKED.descriptor.digest)


def test_what_is_listed_and_is_no_manifest_is_told_as_unreadable(key: Key) -> None:
    class Litter(MemoryStore):
        """Its list names what is not there, and what is no manifest."""

        def referrers(self, descriptor: Descriptor, artifact_type: str = "") -> Iterator[Descriptor]:
            yield Descriptor.of(b"gone", IMAGE_MANIFEST)
            yield Descriptor.of(b"{}", IMAGE_MANIFEST)

        def fetch(self, descriptor: Descriptor) -> AbstractContextManager[Readable]:
            return nullcontext(io.BytesIO(b"{}")) if descriptor.size == 2 else super().fetch(descriptor)

    found = gathered(Litter(), key)
    assert [each.kind for each in found.unproved] == [UnprovedKind.UNREADABLE] * 2


def test_signatures_that_cannot_be_listed_are_an_error(key: Key) -> None:
    class Silent(MemoryStore):
        """It does not answer."""

        def referrers(self, descriptor: Descriptor, artifact_type: str = "") -> Iterator[Descriptor]:
            raise RegistryError("it does not answer")

    with pytest.raises(RegistryError, match="it does not answer"):
        gathered(Silent(), key)


def test_a_signature_over_the_files_counts_for_the_manifest_that_names_exactly_these(
    place: MemoryStore, key: Key
) -> None:
    attach_bundle(place, PACKED.descriptor, key.bundle(build("sentiment", FILES.items())))
    (found,) = gathered(place, key, files=FILES).signed
    assert (found.form, found.subjects) == (Form.OMS, (PACKED.descriptor.digest,))


@pytest.mark.parametrize(
    "files",
    [{}, {**FILES, "extra.py": Digest.of(b"evil")}, {**FILES, "model.bin": Digest.of(b"evil")},
     {**FILES, ".github/run.py": Digest.of(b"left out by every signer")}],
)  # fmt: skip
def test_a_signature_over_other_files_does_not_count_for_the_manifest(
    place: MemoryStore, key: Key, files: dict[str, Digest]
) -> None:
    attach_bundle(place, PACKED.descriptor, key.bundle(build("sentiment", FILES.items())))
    (found,) = gathered(place, key, files=files).signed
    assert PACKED.descriptor.digest not in found.subjects


class Authority:
    """Stands for the checks of certificates, which have tests of their own."""

    def __init__(self, answer: Callable[[], Certified]) -> None:
        self._answer = answer

    def verify(self, data: bytes, origin: str) -> Certified:
        return self._answer()


def certified(key: Key) -> Bundle:
    return Bundle(key.bundle(about()).content, Certificates((b"a certificate",)))


def test_what_a_certificate_proves_is_taken_over(place: MemoryStore, key: Key) -> None:
    somebody = IdentitySigner("a@example.com", "https://issuer.example.com")
    attach_bundle(place, PACKED.descriptor, certified(key))
    (found,) = gathered(place, certificates=Authority(lambda: Certified(somebody, 7, "log"))).signed
    assert (found.signer, found.signed_at, found.log) == (somebody, 7, "log")


def test_a_certificate_that_does_not_hold_is_invalid(place: MemoryStore, key: Key) -> None:
    def refuse() -> Certified:
        raise SignatureInvalid("expired before it was logged")

    attach_bundle(place, PACKED.descriptor, certified(key))
    (found,) = gathered(place, certificates=Authority(refuse)).unproved
    assert (found.kind, found.reason) == (UnprovedKind.INVALID, "expired before it was logged")


def test_without_anything_to_check_certificates_they_prove_nothing(place: MemoryStore, key: Key) -> None:
    attach_bundle(place, PACKED.descriptor, certified(key))
    assert [each.kind for each in gathered(place, key).unproved] == [UnprovedKind.UNSUPPORTED]


def payload(optional: dict[str, str] | None = None) -> SimplePayload:
    return SimplePayload("localhost/acme/sentiment", PACKED.descriptor.digest, optional or {})


def test_a_classic_signature_by_a_known_key_is_proved(place: MemoryStore, key: Key) -> None:
    said = payload(annotations_of(CLAIMS))
    carrier = attach_classic(place, said, key.sign(said.to_bytes()))
    assert gathered(place, Key(), key).signed == (
        Signed(key.signer, Form.CLASSIC, COSIGN_SIGN, (PACKED.descriptor.digest,), CLAIMS, source=carrier.digest),
    )


def test_classic_signatures_of_several_stand_beside_each_other(place: MemoryStore, key: Key) -> None:
    other = Key()
    for each in (key, other, key):
        signature = each.sign(payload().to_bytes())
        attach_classic(place, payload(), signature)
    assert {each.signer for each in gathered(place, key, other).signed} == {key.signer, other.signer}


def test_the_same_classic_signature_is_not_added_twice(place: MemoryStore, key: Key) -> None:
    signature = key.sign(payload().to_bytes())
    assert attach_classic(place, payload(), signature) == attach_classic(place, payload(), signature)


def test_a_bundle_by_somebody_unknown_does_not_hide_a_classic_signature(place: MemoryStore, key: Key) -> None:
    stranger = Key()
    attach_bundle(place, PACKED.descriptor, stranger.bundle(about()), stranger.public)
    attach_classic(place, payload(), key.sign(payload().to_bytes()))
    assert {each.signer for each in gathered(place, key).signed} == {stranger.signer, key.signer}


def test_a_classic_signature_by_an_unknown_key_is_told(place: MemoryStore, key: Key) -> None:
    attach_classic(place, payload(), Key().sign(payload().to_bytes()))
    assert [each.kind for each in gathered(place, key).unproved] == [UnprovedKind.UNKNOWN_KEY]


def attested(place: MemoryStore, *layers: tuple[bytes, dict[str, str]]) -> None:
    """Put layers under the tag of classic attestations, as ``cosign attest --new-bundle-format=false`` does."""
    config = Descriptor.of(b"{}", "application/vnd.oci.image.config.v1+json")
    listed = [(Descriptor.of(data, CLASSIC_ATTESTATION, annotations=notes), data) for data, notes in layers]
    manifest = Manifest(config, tuple(layer for layer, _ in listed)).to_bytes()
    descriptor = Descriptor.of(manifest, IMAGE_MANIFEST)
    for each, content in (*listed, (config, b"{}"), (descriptor, manifest)):
        place.push(each, io.BytesIO(content))
    place.tag(descriptor, attestation_tag(PACKED.descriptor.digest))


def enveloped(key: Key, statement: Statement) -> bytes:
    return canonical(Envelope.signed(statement.to_bytes(), key.sign).document())


def test_a_classic_attestation_by_a_known_key_is_proved(place: MemoryStore, key: Key) -> None:
    attested(place, (enveloped(key, about(kind=SCAN)), {}))
    (found,) = gathered(place, key).signed
    assert (found.form, found.predicate_type, found.signer) == (Form.CLASSIC, SCAN, key.signer)


@pytest.mark.parametrize(
    ("layer", "kind"),
    [
        (lambda key: (enveloped(Key(), about(kind=SCAN)), {}), UnprovedKind.UNKNOWN_KEY),
        (lambda key: (b"{}", {}), UnprovedKind.UNREADABLE),
        (lambda key: (enveloped(key, about(kind=SCAN))[:-9], {}), UnprovedKind.UNREADABLE),
        (lambda key: (enveloped(key, about()), {"dev.sigstore.cosign/certificate": "PEM"}), UnprovedKind.UNSUPPORTED),
    ],
    ids=["another key", "no envelope", "truncated", "a certificate"],
)
def test_a_classic_attestation_that_proves_nothing_is_told(
    layer: Callable[[Key], tuple[bytes, dict[str, str]]], kind: UnprovedKind, place: MemoryStore, key: Key
) -> None:
    attested(place, layer(key))
    found = gathered(place, key)
    assert (found.signed, [each.kind for each in found.unproved]) == ((), [kind])


def test_classic_attestations_are_asked_for_only_where_one_is_wanted_and_lacks(key: Key) -> None:
    class Listening(MemoryStore):
        """It notes which tags it is asked for."""

        def resolve(self, pointer: str) -> Descriptor:
            asked.append(pointer)
            return super().resolve(pointer)

    asked: list[str] = []
    listening, tag = Listening(), attestation_tag(PACKED.descriptor.digest)
    PACKED.push(listening, "1.0.0")
    attach_bundle(listening, PACKED.descriptor, key.bundle(about(kind=SCAN)))
    proofs = Proofs(PACKED.descriptor.digest, (key.public,))
    for only, wanted in (({COSIGN_SIGN}, False), ({COSIGN_SIGN, SCAN}, False), ({COSIGN_SIGN, "urn:x"}, True)):
        asked.clear()
        collect(listening, PACKED.descriptor, proofs, only=frozenset(only))
        assert (tag in asked) is wanted


def test_a_signature_over_the_files_claims_what_the_one_over_the_manifest_does(place: MemoryStore, key: Key) -> None:
    """Else it would count for ever and under any name."""
    attach_bundle(place, PACKED.descriptor, key.bundle(build("sentiment", FILES.items(), annotations_of(CLAIMS))))
    (found,) = gathered(place, key, files=FILES).signed
    assert (found.form, found.claims) == (Form.OMS, CLAIMS)


def test_a_tag_that_names_no_list_of_signatures_is_left_alone(place: MemoryStore, key: Key) -> None:
    index = b'{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}'
    descriptor = Descriptor.of(index, "application/vnd.oci.image.index.v1+json")
    place.push(descriptor, io.BytesIO(index))
    place.tag(descriptor, classic_tag(PACKED.descriptor.digest))
    with pytest.raises(EvidenceInvalid, match="names no list of signatures"):
        attach_classic(place, payload(), b"signature")
    assert gathered(place, key) == Evidence(PACKED.descriptor.digest)


def test_a_classic_layer_without_a_signature_is_unreadable(place: MemoryStore, key: Key) -> None:
    data = payload().to_bytes()
    layer, config = (
        Descriptor.of(data, SIMPLE_SIGNING),
        Descriptor.of(b"{}", "application/vnd.oci.image.config.v1+json"),
    )
    manifest = Manifest(config, (layer,)).to_bytes()
    descriptor = Descriptor.of(manifest, IMAGE_MANIFEST)
    for each, content in ((layer, data), (config, b"{}"), (descriptor, manifest)):
        place.push(each, io.BytesIO(content))
    place.tag(descriptor, classic_tag(PACKED.descriptor.digest))
    assert [each.kind for each in gathered(place, key).unproved] == [UnprovedKind.UNREADABLE]


def refer(place: MemoryStore, data: bytes) -> None:
    """Let ``data`` refer to the package as if it were a bundle."""
    layer, config = Descriptor.of(data, BUNDLE), Descriptor.of(b"{}", EMPTY)
    manifest = Manifest(config, (layer,), BUNDLE, {ANNOTATION_KEY: "no key"}, PACKED.descriptor.bare()).to_bytes()
    for each, content in ((layer, data), (config, b"{}"), (Descriptor.of(manifest, IMAGE_MANIFEST), manifest)):
        place.push(each, io.BytesIO(content))
