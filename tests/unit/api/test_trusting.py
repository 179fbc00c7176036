"""The one function that says whether a package may be used: what it asks of whom, and what follows from its answer."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest

from installml.api.cache import cache_gc
from installml.api.index import release_of
from installml.api.keys import key_ring, keys_export, keys_generate
from installml.api.places import Found, find
from installml.api.pull import pull
from installml.api.push import push
from installml.api.session import Session
from installml.api.sign import sign
from installml.api.trust import trust_add
from installml.api.trusting import judge, model_signature, remember, trusted_indexes
from installml.reference import Reference
from installml.registry_server import RunningRegistry
from installml.spec.chunks import ANNOTATION_BLOB, CHUNK_INDEX, CHUNK_INDEX_LAYER
from installml.spec.descriptor import Descriptor
from installml.spec.manifest import Manifest
from installml.spec.media import EMPTY, IMAGE_MANIFEST
from installml.store.protocol import Fetcher
from installml.store.verified import read_manifest
from installml.trust.errors import SignerUnknown, Unsigned
from installml.trust.evidence import KeySigner
from installml.trust.verdict import Outcome
from tests.unit.api.kit import Asked

pytestmark = pytest.mark.signatures

LARGE = {"weights.bin": bytes(range(256)) * (9 << 12)}  # 9 MiB: it has a chunk index


@pytest.fixture
def publisher(open_session: Callable[..., Session]) -> Session:
    made = open_session("publisher")
    keys_generate("ada", no_passphrase=True, session=made)
    return made


@pytest.fixture
def pushed(registry: RunningRegistry, model: Path, publisher: Session) -> str:
    reference = f"{registry.address}/acme/sentiment:1.0.0"
    push(model, tag=reference, session=publisher)
    return reference


@pytest.fixture
def signed(pushed: str, publisher: Session) -> str:
    sign(pushed, session=publisher)
    return pushed


@pytest.fixture
def trusting(pushed: str, publisher: Session, session: Session, tmp_path: Path) -> Session:
    """Return a session that trusts the publisher."""
    path = tmp_path / "ada.pub"
    path.write_text(keys_export("ada", session=publisher).text)
    trust_add(pushed.rpartition(":")[0], key=str(path), session=session)
    return session


def ada(publisher: Session) -> KeySigner:
    return KeySigner(key_ring(publisher).find("ada").public.fingerprint)


def test_a_known_signer_is_trusted_and_no_layer_is_asked_for(
    signed: str, registry: RunningRegistry, trusting: Session, publisher: Session
) -> None:
    found = find(signed, trusting)
    layers = {str(blob.digest) for blob in found.package().manifest.layers}
    with Asked(registry) as asked:
        verdict = judge(found, trusting)
    assert (verdict.outcome, verdict.signers) == (Outcome.TRUSTED, (ada(publisher),))
    assert not layers.intersection(asked.blobs)


def test_the_registry_is_asked_once_and_then_never_again(
    signed: str, registry: RunningRegistry, trusting: Session
) -> None:
    found = find(signed, trusting)
    judge(found, trusting)
    with Asked(registry) as asked:
        assert judge(found, trusting).outcome is Outcome.TRUSTED
    assert asked.requests == []


def test_who_says_yes_costs_no_request_either(
    signed: str, registry: RunningRegistry, session: Session, publisher: Session
) -> None:
    found = find(signed, session)
    asking = judge(found, session, interactive=True)
    assert (asking.outcome, asking.unknown) == (Outcome.ASK, (ada(publisher),))
    with Asked(registry) as asked:
        assert judge(found, session, interactive=True, accepted=asking.unknown).outcome is Outcome.PINNED
    assert asked.requests == []


def test_who_was_accepted_is_known_the_next_time(signed: str, session: Session, publisher: Session) -> None:
    found = find(signed, session)
    remember(judge(found, session, interactive=True, accepted=[ada(publisher)]), session)
    assert judge(found, session).outcome is Outcome.TRUSTED


def test_without_anybody_to_ask_an_unknown_signer_is_refused(signed: str, session: Session) -> None:
    with pytest.raises(SignerUnknown):
        judge(find(signed, session), session).check()


def test_a_signature_made_later_is_found_although_the_package_was_judged_before(
    pushed: str, trusting: Session, publisher: Session
) -> None:
    found = find(pushed, trusting)
    with pytest.raises(Unsigned):
        judge(found, trusting).check()
    sign(pushed, session=publisher)
    assert judge(found, trusting).outcome is Outcome.TRUSTED


def test_where_the_policy_does_not_look_nothing_is_asked(
    signed: str, registry: RunningRegistry, session: Session
) -> None:
    session.trusted.root.mkdir(parents=True, exist_ok=True)
    session.trusted.policy_file.write_text('[[rules]]\nprefix = "*"\nlevel = "off"\n')
    found = find(signed, session)
    with Asked(registry) as asked:
        assert judge(found, session).outcome is Outcome.OFF
    assert asked.requests == []


def test_a_lock_that_names_another_signer_refuses(signed: str, trusting: Session) -> None:
    other = KeySigner("sha256:" + "a" * 64)
    assert judge(find(signed, trusting), trusting, locked=[other]).outcome is Outcome.REFUSED


def test_a_damaged_copy_of_a_signature_is_fetched_again(signed: str, trusting: Session) -> None:
    found = find(signed, trusting)
    judge(found, trusting)
    local = trusting.local(found.reference)
    for referrer in local.referrers(found.descriptor):
        for blob in local.manifest(referrer.bare()).blobs:
            path = trusting.store.blobs.path(blob.digest)
            path.chmod(0o644)
            path.write_bytes(b"x" * blob.size)
    assert judge(found, trusting).outcome is Outcome.TRUSTED


# What follows from a verdict


@pytest.fixture
def large(registry: RunningRegistry, write_model: Callable[..., Path], publisher: Session) -> str:
    reference = f"{registry.address}/acme/sentiment:2.0.0"
    push(write_model(version="2.0.0", files=LARGE), tag=reference, sign=True, session=publisher)
    return reference


def vouched(found: Found, session: Session) -> frozenset[object]:
    layers = trusted_indexes(judge(found, session), session.remote(found.reference), release_of(found))
    return frozenset(layer.digest for layer in layers.values())


def test_the_chunk_index_that_was_signed_is_trusted(large: str, trusting: Session) -> None:
    found = find(large, trusting)
    [listed] = trusting.remote(found.reference).referrers(found.descriptor, CHUNK_INDEX)
    [layer] = layers_of(trusting.remote(found.reference), listed)
    assert vouched(found, trusting) == {layer.digest}


def layers_of(place: Fetcher, listed: Descriptor) -> tuple[Descriptor, ...]:
    manifest = read_manifest(place, listed.bare())
    assert isinstance(manifest, Manifest)
    return manifest.layers


def test_a_chunk_index_that_somebody_put_in_its_place_is_not(large: str, trusting: Session) -> None:
    found = find(large, trusting)
    place = trusting.remote(found.reference)
    place.delete(place.referrers(found.descriptor, CHUNK_INDEX)[0].bare())
    [blob] = release_of(found).large
    lie = Descriptor.of(b"lie", CHUNK_INDEX_LAYER, annotations={ANNOTATION_BLOB: str(blob.digest)})
    manifest = Manifest(Descriptor.of(b"{}", EMPTY), (lie,), CHUNK_INDEX, subject=found.descriptor.bare()).to_bytes()
    for each, content in ((lie, b"lie"), (Descriptor.of(manifest, IMAGE_MANIFEST), manifest)):
        place.push(each, io.BytesIO(content))
    assert vouched(found, trusting) == frozenset()


def test_without_a_signature_that_counts_no_chunk_index_is_trusted_and_nothing_is_asked(
    large: str, registry: RunningRegistry, session: Session
) -> None:
    found = find(large, session)
    verdict = judge(found, session, allow_unsigned=True)
    with Asked(registry) as asked:
        assert not trusted_indexes(verdict, session.remote(found.reference), release_of(found))
    assert asked.requests == []


def test_the_signature_over_the_files_is_given_out_only_when_its_signer_counts(
    signed: str, trusting: Session, open_session: Callable[..., Session]
) -> None:
    found = find(signed, trusting)
    assert model_signature(found, judge(found, trusting), trusting) is not None
    stranger = open_session("stranger")
    found = find(signed, stranger)
    verdict = judge(found, stranger, allow_unsigned=True)
    assert verdict.passes
    assert model_signature(found, verdict, stranger) is None


def test_a_package_with_such_a_file_keeps_its_own(
    registry: RunningRegistry, write_model: Callable[..., Path], publisher: Session, trusting: Session
) -> None:
    reference = f"{registry.address}/acme/sentiment:3.0.0"
    folder = write_model(version="3.0.0", files={"model.sig": b"my own", "weights.bin": b"w"})
    push(folder, tag=reference, sign=True, session=publisher)
    found = find(reference, trusting)
    assert model_signature(found, judge(found, trusting), trusting) is None


def test_what_is_kept_goes_with_the_package(signed: str, trusting: Session) -> None:
    """A collection keeps the signatures of what stays, and those of nothing else."""
    pull(signed, session=trusting)
    cache_gc(session=trusting)
    local = trusting.local(Reference.parse(signed))
    assert len(local.referrers(local.resolve("1.0.0"))) == 2
