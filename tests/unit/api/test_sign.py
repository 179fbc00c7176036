"""Packages are signed where they are, by the digests that the manifest names; and nothing false is vouched for."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest

from installml.api.build import build
from installml.api.info import info
from installml.api.keys import key_ring, keys_generate
from installml.api.places import find
from installml.api.pull import pull
from installml.api.push import push
from installml.api.session import Session
from installml.api.sign import sign
from installml.errors import UsageError
from installml.reference import Reference
from installml.registry_server import RunningRegistry
from installml.scanning.errors import ScanBlocked
from installml.signing.collect import collect
from installml.signing.errors import KeyNotFound, PassphraseMissing
from installml.signing.proof import Proofs
from installml.signing.secret import Secret
from installml.spec.chunks import (
    ANNOTATION_BLOB,
    CHUNK_INDEX,
    CHUNK_INDEX_LAYER,
    ChunkIndex,
    chunks_digest,
    parse_chunk_index,
)
from installml.spec.descriptor import Descriptor
from installml.spec.manifest import Manifest
from installml.spec.media import EMPTY, IMAGE_MANIFEST
from installml.spec.units import QuantityInvalid
from installml.store.verified import read_manifest
from installml.trust.evidence import Evidence, Form
from installml.trust.simple import classic_tag
from installml.trust.statement import COSIGN_SIGN, ML_BOM, OMS, PROVENANCE, SCAN
from tests.unit.api.kit import Asked, Heard

pytestmark = pytest.mark.signatures

NOW = 1_790_000_000
LARGE = {"weights.bin": bytes(range(256)) * (9 << 12), "notes.txt": b"nothing"}  # 9 MiB: it has a chunk index


@pytest.fixture
def session(open_session: Callable[..., Session]) -> Session:
    made = open_session(clock=lambda: float(NOW))
    keys_generate("ada", no_passphrase=True, session=made)
    return made


@pytest.fixture
def pushed(registry: RunningRegistry, model: Path, session: Session) -> str:
    reference = f"{registry.address}/acme/sentiment:1.0.0"
    push(model, tag=reference, session=session)
    return reference


def gathered(reference: str, session: Session) -> Evidence:
    """Return what anybody finds in the registry who knows the key."""
    found = find(reference, session)
    keys = tuple(entry.public for entry in key_ring(session).entries())
    files = {file.path: file.descriptor.digest for file in found.package().files}
    proofs = Proofs(found.descriptor.digest, keys, files=files)
    return collect(session.remote(found.reference), found.descriptor, proofs)


def forms(reference: str, session: Session) -> list[Form]:
    return sorted(signed.form for signed in gathered(reference, session).signed)


def test_the_manifest_and_the_files_are_signed(pushed: str, session: Session) -> None:
    done = sign(pushed, session=session)
    assert [one.type for one in done.signatures] == [COSIGN_SIGN, OMS]
    assert forms(pushed, session) == [Form.BUNDLE, Form.OMS]
    assert {signed.subjects for signed in gathered(pushed, session).signed} == {(done.digest,)}


def test_both_signatures_claim_name_version_and_times(pushed: str, session: Session) -> None:
    sign(pushed, expires="90d", session=session)
    for signed in gathered(pushed, session).signed:
        assert signed.claims.ref == pushed
        assert signed.claims.version == "1.0.0"
        assert signed.claims.created == NOW
        assert signed.claims.expires == NOW + 90 * 86_400


def test_no_layer_is_read_to_sign(pushed: str, registry: RunningRegistry, session: Session) -> None:
    layers = {str(blob.digest) for blob in find(pushed, session).package().manifest.layers}
    with Asked(registry) as asked:
        sign(pushed, session=session)
    assert not layers.intersection(asked.blobs)


def test_a_name_without_a_tag_is_signed_for_the_repository(pushed: str, session: Session) -> None:
    repository = pushed.rpartition(":")[0]
    done = sign(f"{repository}@{find(pushed, session).descriptor.digest}", session=session)
    assert done.ref == repository


def test_a_package_that_no_registry_has_is_signed_here_without_a_name(model: Path, session: Session) -> None:
    build(model, session=session)
    done = sign("acme/sentiment:1.0.0", session=session)
    assert (done.ref, done.place) == ("", "local store")
    told = info("acme/sentiment:1.0.0", attestations=True, session=session).attestations or ()
    assert {(one.type, one.state) for one in told} == {(COSIGN_SIGN, "holds"), (OMS, "holds")}


def test_what_was_signed_in_a_registry_is_kept_here_too(
    registry: RunningRegistry, model: Path, session: Session
) -> None:
    build(model, tag=f"{registry.address}/acme/sentiment:1.0.0", session=session)
    reference = f"{registry.address}/acme/sentiment:1.0.0"
    push(reference, session=session)
    sign(reference, session=session)
    local = session.local(Reference.parse(reference))
    assert len(local.referrers(local.resolve("1.0.0"))) == 2


@pytest.mark.parametrize(("way", "there"), [("auto", False), ("on", True)])
def test_the_classic_form_is_written_where_it_is_asked_for_and_not_where_referrers_are_listed(
    way: str, there: bool, pushed: str, session: Session
) -> None:
    sign(pushed, cosign_classic=way, session=session)
    tags = session.remote(Reference.parse(pushed)).tags()
    assert (classic_tag(find(pushed, session).descriptor.digest) in tags) is there


def test_the_classic_form_alone_proves_the_same_claims(pushed: str, session: Session) -> None:
    done = sign(pushed, cosign_classic="on", session=session)
    place = session.remote(Reference.parse(pushed))
    for one in done.signatures:
        if one.over != "classic":
            place.delete(Descriptor(IMAGE_MANIFEST, one.carrier, place.resolve(str(one.carrier)).size))
    [signed] = gathered(pushed, session).signed
    assert (signed.form, signed.claims.ref, signed.claims.created) == (Form.CLASSIC, pushed, NOW)


def test_statements_are_made_signed_and_attached(pushed: str, session: Session) -> None:
    sign(pushed, sbom=True, provenance=True, scan=True, session=session)
    types = [signed.predicate_type for signed in gathered(pushed, session).signed]
    assert sorted(types) == sorted([COSIGN_SIGN, OMS, ML_BOM, PROVENANCE, SCAN])


def test_nothing_is_signed_when_the_scan_finds_danger(
    registry: RunningRegistry, write_model: Callable[..., Path], session: Session
) -> None:
    reference = f"{registry.address}/acme/evil:1.0.0"
    evil = b"\x80\x04cposix\nsystem\n\x8c\x02id\x85R."
    push(write_model("acme/evil", files={"model.pkl": evil}), tag=reference, session=session)
    with pytest.raises(ScanBlocked, match=r"model\.pkl"):
        sign(reference, scan=True, session=session)
    assert gathered(reference, session) == Evidence(find(reference, session).descriptor.digest)


def test_without_a_key_nothing_is_signed(pushed: str, open_session: Callable[..., Session]) -> None:
    with pytest.raises(KeyNotFound) as caught:
        sign(pushed, session=open_session("elsewhere"))
    assert "installml keys generate" in caught.value.hint


@pytest.mark.parametrize(
    ("flags", "error"), [({"cosign_classic": "perhaps"}, UsageError), ({"expires": "soon"}, QuantityInvalid)]
)
def test_a_word_that_means_nothing_is_refused_before_anything_is_asked(
    flags: dict[str, str], error: type[Exception], session: Session
) -> None:
    with pytest.raises(error):
        sign("localhost:1/acme/sentiment:1", session=session, **flags)  # type: ignore[arg-type]


# Chunk indexes: a signature makes the truth of them


@pytest.fixture
def large(registry: RunningRegistry, write_model: Callable[..., Path], session: Session) -> str:
    reference = f"{registry.address}/acme/large:1.0.0"
    push(write_model("acme/large", files=LARGE), tag=reference, session=session)
    pull(reference, allow_unsigned=True, session=session)
    return reference


def carrier_of_indexes(reference: str, session: Session) -> Manifest:
    place = session.remote(Reference.parse(reference))
    [listed] = place.referrers(place.resolve("1.0.0"), CHUNK_INDEX)
    manifest = read_manifest(place, listed.bare())
    assert isinstance(manifest, Manifest)
    return manifest


def test_chunk_indexes_that_were_compared_are_vouched_for(large: str, session: Session) -> None:
    assert sign(large, session=session).chunks == chunks_digest(carrier_of_indexes(large, session).layers)


def test_chunk_indexes_of_files_that_are_not_here_are_not_vouched_for(
    large: str, open_session: Callable[..., Session], session: Session
) -> None:
    heard = Heard()
    elsewhere = open_session("elsewhere", on_event=heard)
    keys_generate("bob", no_passphrase=True, session=elsewhere)
    assert sign(large, session=elsewhere).chunks is None
    assert any("chunk indexes are not vouched for" in notice for notice in heard.notices)


def test_a_forged_chunk_index_is_never_vouched_for(large: str, session: Session) -> None:
    """Somebody attaches the index of other bytes under the name of this package's file."""
    place = session.remote(Reference.parse(large))
    root, true = place.resolve("1.0.0"), carrier_of_indexes(large, session)
    [layer] = true.layers
    with place.fetch(layer) as stream:
        data = bytearray(stream.read())
    blob = next(each for each in find(large, session).package().manifest.layers if each.size > 8 << 20)
    index = parse_chunk_index(bytes(data), blob.digest, blob.size, "here")
    forged = ChunkIndex(index.blob, index.bounds, bytes(32) + index.digests[32:]).to_bytes()
    place.delete(place.referrers(root, CHUNK_INDEX)[0].bare())
    lie = Descriptor.of(forged, CHUNK_INDEX_LAYER, annotations={ANNOTATION_BLOB: str(blob.digest)})
    manifest = Manifest(Descriptor.of(b"{}", EMPTY), (lie,), CHUNK_INDEX, subject=root.bare()).to_bytes()
    for each, content in ((lie, forged), (Descriptor.of(manifest, IMAGE_MANIFEST), manifest)):
        place.push(each, io.BytesIO(content))
    assert sign(large, session=session).chunks is None


# push --sign


def test_push_signs_what_it_sent(registry: RunningRegistry, write_model: Callable[..., Path], session: Session) -> None:
    reference = f"{registry.address}/acme/large:1.0.0"
    done = push(write_model("acme/large", files=LARGE), tag=reference, sign=True, session=session)
    [signed] = [each for each in gathered(reference, session).signed if each.form is Form.BUNDLE]
    assert done.signers == (str(signed.signer),)
    assert signed.claims.ref == reference
    assert signed.claims.chunks == chunks_digest(carrier_of_indexes(reference, session).layers)


def test_push_of_a_built_package_signs_it_as_well(registry: RunningRegistry, model: Path, session: Session) -> None:
    build(model, session=session)
    reference = f"{registry.address}/acme/sentiment:1.0.0"
    push("acme/sentiment:1.0.0", reference, sign=True, key="ada", session=session)
    assert forms(reference, session) == [Form.BUNDLE, Form.OMS]


def test_a_missing_passphrase_is_told_before_anything_is_sent(
    registry: RunningRegistry, model: Path, session: Session, open_session: Callable[..., Session]
) -> None:
    locked = open_session("locked", ask=lambda _: Secret("correct horse"))
    keys_generate("bob", session=locked)
    with Asked(registry) as asked, pytest.raises(PassphraseMissing):
        push(model, tag=f"{registry.address}/acme/x:1", sign=True, session=open_session("locked"))
    assert asked.requests == []


def test_a_key_without_sign_is_a_mistake(model: Path, session: Session) -> None:
    with pytest.raises(UsageError, match="nothing is to be signed"):
        push(model, tag="localhost:1/acme/x:1", key="ada", session=session)
