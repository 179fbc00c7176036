"""Statements about packages: signed, attached where the package is, and listed; and what is wrong is said."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from installml.api.attest import attest
from installml.api.build import build
from installml.api.info import info
from installml.api.keys import key_ring
from installml.api.push import push
from installml.api.sbom import sbom
from installml.api.session import Session
from installml.attesting.predicate import PredicateInvalid
from installml.errors import NotFound, UsageError
from installml.reference import Reference
from installml.registry_server import RunningRegistry
from installml.signing.errors import KeyNotFound
from installml.signing.keyfile import PrivateKey, write_pkcs8
from installml.spec.canonical import JSONInvalid
from installml.spec.descriptor import Descriptor
from installml.spec.manifest import Manifest
from installml.spec.media import IMAGE_MANIFEST
from installml.store.verified import read_manifest, read_verified
from installml.trust.statement import ML_BOM, SCAN
from tests.unit.api.kit import Asked

pytestmark = pytest.mark.signatures

EVALUATION = "https://example.com/evaluation/v1"


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    """Return a key that anybody who can read its file may use."""
    path = tmp_path / "ada.pem"
    path.touch(mode=0o600)
    path.write_bytes(write_pkcs8(PrivateKey.generate(), None))
    return path


@pytest.fixture
def pushed(registry: RunningRegistry, model: Path, session: Session) -> str:
    reference = f"{registry.address}/acme/sentiment:1.0.0"
    push(model, tag=reference, session=session)
    return reference


def listed(reference: str, session: Session) -> list[tuple[str, str]]:
    found = info(reference, attestations=True, session=session).attestations
    assert found is not None
    return [(one.type, one.state) for one in found]


def test_what_is_attached_is_listed_by_somebody_who_has_never_seen_the_key(
    pushed: str, session: Session, key_file: Path, open_session: Callable[..., Session]
) -> None:
    done = attest(pushed, predicate={"accuracy": 0.93}, type_=EVALUATION, key=str(key_file), session=session)
    [told] = info(pushed, attestations=True, session=open_session("elsewhere")).attestations or ()
    assert (told.type, told.state, told.key) == (EVALUATION, "holds", "")
    assert told.signer == f"key {done.signer}"
    assert told.source == done.attestation


def test_the_time_is_the_sessions(pushed: str, key_file: Path, open_session: Callable[..., Session]) -> None:
    session = open_session(clock=lambda: 1_790_000_000.5)
    attest(pushed, predicate={}, type_=EVALUATION, key=str(key_file), session=session)
    [told] = info(pushed, attestations=True, session=session).attestations or ()
    assert told.made == "2026-09-21T14:13:20Z"


def test_a_bill_of_materials_is_attested_and_summed_up(
    pushed: str, session: Session, key_file: Path, tmp_path: Path
) -> None:
    path = tmp_path / "bom.json"
    sbom(pushed, output=str(path), session=session)
    attest(pushed, predicate=path, type_="sbom", key=str(key_file), session=session)
    [told] = info(pushed, attestations=True, session=session).attestations or ()
    assert told.type == ML_BOM
    assert told.summary.startswith("CycloneDX 1.6, ")


def test_several_statements_stand_side_by_side(pushed: str, session: Session, key_file: Path) -> None:
    for kind in (EVALUATION, "scan", "sbom"):
        attest(pushed, predicate={}, type_=kind, key=str(key_file), session=session)
    assert listed(pushed, session) == [(ML_BOM, "holds"), (EVALUATION, "holds"), (SCAN, "holds")]


def test_a_package_on_this_machine_is_attested_here(model: Path, session: Session, key_file: Path) -> None:
    build(model, session=session)
    done = attest("acme/sentiment:1.0.0", predicate={}, type_="scan", key=str(key_file), session=session)
    assert done.place == "local store"
    assert listed("acme/sentiment:1.0.0", session) == [(SCAN, "holds")]


def test_the_only_key_here_needs_no_name(pushed: str, session: Session) -> None:
    key = PrivateKey.generate()
    key_ring(session).add("ada", key.public_key, {"private.pem": write_pkcs8(key, None)})
    attest(pushed, predicate={}, type_="scan", session=session)
    [told] = info(pushed, attestations=True, session=session).attestations or ()
    assert told.key == "ada"


def test_nothing_attached_is_an_empty_list_and_not_asked_for_is_none(pushed: str, session: Session) -> None:
    assert info(pushed, attestations=True, session=session).attestations == ()
    assert info(pushed, session=session).attestations is None


def test_without_the_flag_nobody_asks_for_referrers(
    pushed: str, registry: RunningRegistry, open_session: Callable[..., Session]
) -> None:
    with Asked(registry) as asked:
        info(pushed, session=open_session("elsewhere"))
    assert not [request for request in asked.requests if "referrers" in request.path]


def test_without_a_key_nothing_is_attached_and_the_hint_makes_one(pushed: str, session: Session) -> None:
    with pytest.raises(KeyNotFound) as caught:
        attest(pushed, predicate={}, type_="scan", session=session)
    assert "installml keys generate" in caught.value.hint
    assert listed(pushed, session) == []


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("{", JSONInvalid), ("[]", PredicateInvalid), ('{"a": 1, "a": 2}', JSONInvalid),
        ('{"predicateType": "x"}', PredicateInvalid),
    ],
)  # fmt: skip
def test_a_file_that_is_no_predicate_is_refused_before_anything_is_asked(
    text: str, error: type[Exception], session: Session, tmp_path: Path
) -> None:
    path = tmp_path / "predicate.json"
    path.write_text(text)
    with pytest.raises(error):
        attest("localhost:1/acme/sentiment:1", predicate=path, type_="scan", session=session)


def test_a_file_that_is_not_there_is_named(session: Session, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nothing\.json cannot be read"):
        attest("acme/x", predicate=tmp_path / "nothing.json", type_="scan", session=session)


def test_a_type_that_is_none_is_refused(session: Session) -> None:
    with pytest.raises(PredicateInvalid):
        attest("acme/x", predicate={}, type_="a scan", session=session)


def test_a_package_that_nobody_has_is_not_found(session: Session, key_file: Path) -> None:
    with pytest.raises(NotFound):
        attest("acme/nothing", predicate={}, type_="scan", key=str(key_file), session=session)


def test_a_statement_about_another_package_does_not_pass_for_one_about_this(
    pushed: str, registry: RunningRegistry, session: Session, key_file: Path, write_model: Callable[..., Path]
) -> None:
    """Somebody copies the carrier's bundle under another manifest."""
    attest(pushed, predicate={}, type_="scan", key=str(key_file), session=session)
    other = f"{registry.address}/acme/sentiment:2.0.0"
    push(write_model(version="2.0.0", files={"weights.bin": b"evil"}), tag=other, session=session)
    place = session.remote(Reference.parse(pushed))
    victim = place.resolve("2.0.0")
    [carrier] = [one for one in place.referrers(place.resolve("1.0.0")) if "bundle" in one.artifact_type]
    manifest = read_manifest(place, carrier.bare())
    assert isinstance(manifest, Manifest)
    replayed = Manifest(manifest.config, manifest.layers, manifest.artifact_type, manifest.annotations, victim.bare())
    data = replayed.to_bytes()
    place.push(Descriptor.of(data, IMAGE_MANIFEST), io.BytesIO(data))
    assert listed(other, session) == [(SCAN, "about-another")]


def test_a_bundle_whose_payload_was_changed_does_not_hold(
    pushed: str, session: Session, key_file: Path, registry: RunningRegistry
) -> None:
    attest(pushed, predicate={"worst": "critical", "findings": []}, type_="scan", key=str(key_file), session=session)
    place = session.remote(Reference.parse(pushed))
    root = place.resolve("1.0.0")
    [carrier] = [one for one in place.referrers(root) if "bundle" in one.artifact_type]
    manifest = read_manifest(place, carrier.bare())
    assert isinstance(manifest, Manifest)
    bundle: dict[str, Any] = json.loads(read_verified(place, manifest.layers[0]))
    payload = base64.b64decode(bundle["dsseEnvelope"]["payload"]).replace(b'"critical"', b'"none"')
    bundle["dsseEnvelope"]["payload"] = base64.b64encode(payload).decode()
    data = json.dumps(bundle).encode()
    layer = Descriptor.of(data, manifest.layers[0].media_type)
    place.push(layer, io.BytesIO(data))
    forged = Manifest(manifest.config, (layer,), manifest.artifact_type, manifest.annotations, root.bare()).to_bytes()
    place.push(Descriptor.of(forged, IMAGE_MANIFEST), io.BytesIO(forged))
    assert sorted(listed(pushed, session)) == [("", "invalid"), (SCAN, "holds")]
