"""The package format's documents: what is written is read, and nothing makes a reader stumble."""

from __future__ import annotations

import contextlib
import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from installml.errors import InstallMLError
from installml.spec.canonical import canonical, parse_json
from installml.spec.manifest import Index, Manifest, parse_manifest
from installml.spec.media import IMAGE_INDEX, IMAGE_MANIFEST, MANIFESTS
from installml.spec.package import NotAPackage, read_package
from installml.spec.paths import collisions, name_problem
from installml.spec.recipe import parse_recipe
from installml.spec.runtime import parse_runtime
from installml.testing import package_bytes
from installml.testing.strategies import file_names, indexes, manifests

SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
)  # fmt: skip
VALUES = st.recursive(
    SCALARS,
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=8), children, max_size=3),
    max_leaves=12,
)


@given(st.one_of(manifests(), indexes()))
def test_every_manifest_is_read_as_it_was_written(manifest: Manifest | Index) -> None:
    data = manifest.to_bytes()
    parsed = parse_manifest(data, manifest.media_type, "here")
    assert parsed == manifest
    assert parsed.to_bytes() == data


@given(VALUES)
def test_canonical_json_is_one_form_for_one_value(value: Any) -> None:
    data = canonical(value)
    assert canonical(json.loads(data)) == data


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), SCALARS, max_size=5))
def test_the_strict_reader_reads_what_the_writer_wrote(value: Any) -> None:
    assert canonical(parse_json(canonical(value), "here")) == canonical(value)


@given(st.binary(max_size=80))
def test_any_bytes_are_a_manifest_or_refused_by_an_error_of_ours(data: bytes) -> None:
    for media_type in (IMAGE_MANIFEST, IMAGE_INDEX):
        with contextlib.suppress(InstallMLError):
            parse_manifest(data, media_type, "here")


def _keyed(names: list[str]) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(st.sampled_from(names), VALUES, max_size=6)


MANIFEST_KEYS = [
    "schemaVersion",
    "mediaType",
    "artifactType",
    "config",
    "layers",
    "manifests",
    "subject",
    "annotations",
]
RECIPE_KEYS = ["name", "version", "license", "authors", "base", "files", "runtime", "hardware", "checkpoints", "task"]


@given(_keyed(MANIFEST_KEYS), st.sampled_from(MANIFESTS))
def test_any_json_is_a_manifest_or_refused_by_an_error_of_ours(value: dict[str, Any], media_type: str) -> None:
    full = package_bytes().manifest.to_json() | {"mediaType": media_type} | value
    with contextlib.suppress(InstallMLError):
        parsed = parse_manifest(canonical(full), media_type, "here")
        parsed.to_bytes()
        read_package(parsed, "here")


@given(_keyed(RECIPE_KEYS))
def test_any_mapping_is_a_recipe_or_refused_by_an_error_of_ours(value: dict[str, Any]) -> None:
    with contextlib.suppress(InstallMLError):
        parse_recipe({"name": "x", "version": "1.0.0"} | value, "installml.yaml")


@given(_keyed(["engine", "entrypoint", "requirements", "lock", "signature", "tolerance"]))
def test_any_json_is_a_runtime_manifest_or_refused_by_an_error_of_ours(value: dict[str, Any]) -> None:
    try:
        runtime = parse_runtime(canonical({"schemaVersion": 1} | value), "runtime.json")
    except InstallMLError:
        return
    assert parse_runtime(runtime.to_bytes(), "again").engine == runtime.engine


@settings(deadline=None)
@given(st.lists(file_names(), min_size=1, max_size=5, unique=True))
def test_a_package_of_any_good_names_has_those_files(names: list[str]) -> None:
    packed = package_bytes({name: name.encode() for name in names})
    try:
        package = read_package(packed.manifest, "here")
    except NotAPackage:
        assert collisions(names)
        return
    assert [file.path for file in package.files] == names


@given(st.text(max_size=30))
def test_a_name_without_a_problem_stays_below_its_folder(name: str) -> None:
    if not name_problem(name):
        parts = name.split("/")
        assert not set(parts) & {"", ".", ".."}
        assert not name.startswith("/")
        assert "\\" not in name
