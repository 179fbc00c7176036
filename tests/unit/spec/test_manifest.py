"""Manifests and indexes: every rule, all at once, and never one for the other."""

from __future__ import annotations

import json
from typing import Any

import pytest

from installml.errors import UsageError
from installml.spec.canonical import JSONInvalid, canonical
from installml.spec.manifest import MAX_LAYERS, Index, Manifest, ManifestInvalid, parse_manifest
from installml.spec.media import DOCKER_LIST, DOCKER_MANIFEST, EMPTY, IMAGE_INDEX, IMAGE_MANIFEST, MODEL_MANIFEST
from installml.spec.node import MAX_VIOLATIONS
from installml.testing import package_bytes

PACKED = package_bytes()
VALUE: dict[str, Any] = PACKED.manifest.to_json()
LAYER: dict[str, Any] = VALUE["layers"][0]


def violations(value: Any, media_type: str = IMAGE_MANIFEST) -> tuple[str, ...]:
    with pytest.raises(ManifestInvalid) as caught:
        parse_manifest(canonical(value), media_type, "here")
    assert all(violation in caught.value.message for violation in caught.value.violations)
    return caught.value.violations


def test_what_is_written_is_read() -> None:
    assert parse_manifest(PACKED.manifest.to_bytes(), IMAGE_MANIFEST, "here") == PACKED.manifest
    index = Index((PACKED.descriptor,), MODEL_MANIFEST, {"a": "b"}, PACKED.descriptor)
    assert parse_manifest(index.to_bytes(), IMAGE_INDEX, "here") == index


def test_unknown_fields_of_later_versions_are_let_pass() -> None:
    layer = LAYER | {"urls": ["https://example.com"], "data": "aGk=", "new": 1}
    value = VALUE | {"new": {"field": 1}, "layers": [layer]}
    parsed = parse_manifest(canonical(value), IMAGE_MANIFEST, "here")
    assert isinstance(parsed, Manifest)
    assert [d.digest for d in parsed.layers] == [PACKED.manifest.layers[0].digest]


def test_all_violations_are_told_at_once() -> None:
    value = {
        "schemaVersion": 1,
        "mediaType": IMAGE_MANIFEST,
        "config": {"mediaType": "no media type", "digest": "sha256:abc", "size": -1},
        "layers": [{"mediaType": "a/b"}, LAYER | {"size": 2**60}, None, 7],
        "annotations": {"a": 1},
        "subject": [],
    }
    found = violations(value)
    for expected in (
        "schemaVersion must be 2",
        "config.digest: 'sha256:abc' is not a sha256 or sha512 digest",
        "config.size: -1 is not between",
        "config.mediaType: 'no media type' is not a media type",
        "layers[0]: 'digest' is missing",
        "layers[0]: 'size' is missing",
        "layers[1].size: 1152921504606846976 is not between",
        "layers[2]: is empty",
        "layers[3]: must be a mapping, not a whole number",
        "annotations['a']: must be text",
        "subject: must be a mapping",
    ):
        assert any(violation.startswith(expected) for violation in found), (expected, found)


@pytest.mark.parametrize("field", ["config", "layers", "schemaVersion"])
def test_what_a_manifest_must_have(field: str) -> None:
    value = {key: item for key, item in VALUE.items() if key != field}
    assert any(field in violation for violation in violations(value))


def test_an_index_must_have_manifests() -> None:
    assert any("manifests" in v for v in violations({"schemaVersion": 2, "mediaType": IMAGE_INDEX}, IMAGE_INDEX))


@pytest.mark.parametrize(
    ("value", "media_type"),
    [
        (VALUE, IMAGE_INDEX),
        (VALUE, DOCKER_MANIFEST),
        (VALUE | {"manifests": []}, IMAGE_MANIFEST),
        (Index((PACKED.descriptor,)).to_json(), IMAGE_MANIFEST),
        (Index(()).to_json() | {"layers": []}, IMAGE_INDEX),
        (Index(()).to_json() | {"config": VALUE["config"]}, IMAGE_INDEX),
        (VALUE, "application/json"),
        (VALUE, ""),
    ],
)
def test_one_document_is_never_two_things(value: Any, media_type: str) -> None:
    """CVE-2021-41190."""
    assert violations(value, media_type)


def test_a_manifest_without_a_media_type_is_what_it_came_as() -> None:
    value = {key: item for key, item in VALUE.items() if key != "mediaType"}
    parsed = parse_manifest(canonical(value), IMAGE_MANIFEST, "here")
    assert parsed == PACKED.manifest


@pytest.mark.parametrize("media_type", [DOCKER_MANIFEST, DOCKER_LIST])
def test_dockers_documents_are_read(media_type: str) -> None:
    value = (VALUE if media_type == DOCKER_MANIFEST else Index(()).to_json()) | {"mediaType": media_type}
    assert parse_manifest(canonical(value), media_type, "here").media_type == media_type


def test_an_empty_config_needs_an_artifact_type() -> None:
    value = {key: item for key, item in VALUE.items() if key != "artifactType"}
    value["config"] = value["config"] | {"mediaType": EMPTY}
    assert violations(value) == ("artifactType: must be given when the config is empty",)


def test_the_config_says_what_an_artifact_is_when_nothing_else_does() -> None:
    manifest = Manifest(PACKED.manifest.config, ())
    assert manifest.kind == PACKED.manifest.config.media_type
    assert PACKED.manifest.kind == MODEL_MANIFEST


def test_a_blob_that_stands_twice_is_one_blob() -> None:
    layer = PACKED.manifest.layers[0]
    manifest = Manifest(PACKED.manifest.config, (layer, layer))
    assert manifest.blobs == (PACKED.manifest.config, layer)
    assert manifest.size == PACKED.manifest.config.size + layer.size


def test_more_layers_than_the_cap_are_refused() -> None:
    found = violations(VALUE | {"layers": [{}] * (MAX_LAYERS + 1)})
    assert "layers: has 10001 entries, at most 10000 are allowed" in found
    assert len(found) == MAX_VIOLATIONS


@pytest.mark.parametrize("data", [b"[]", b"1", b'"x"', b"null", b"{}", b"[[]]"])
def test_what_is_no_mapping_is_refused_in_words(data: bytes) -> None:
    with pytest.raises(UsageError):
        parse_manifest(data, IMAGE_MANIFEST, "here")


def test_bad_json_is_refused_before_anything_else() -> None:
    with pytest.raises(JSONInvalid):
        parse_manifest(b'{"schemaVersion":2,"schemaVersion":2}', IMAGE_MANIFEST, "here")


def test_annotations_keep_the_line_ends_of_other_systems() -> None:
    value = VALUE | {"annotations": {"text": "one\r\ntwo\ttabbed"}}
    assert parse_manifest(json.dumps(value).encode(), IMAGE_MANIFEST, "here").annotations == value["annotations"]


def test_annotations_that_could_move_a_terminals_cursor_are_refused() -> None:
    assert violations(VALUE | {"annotations": {"text": "\x1b[2J"}}) == (
        "annotations['text']: contains control characters",
    )
