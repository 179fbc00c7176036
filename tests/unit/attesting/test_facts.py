"""What is gathered about a package, and what becomes of documents that are wrong, hostile or not there."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from installml.attesting.cyclonedx import bom
from installml.attesting.facts import MAX_README, MAX_TEXT, Facts, Metric, gather
from installml.attesting.spdx import document
from installml.digest import Digest
from installml.errors import DigestMismatch, InstallMLError, SizeMismatch
from installml.spec.canonical import canonical
from installml.spec.descriptor import Descriptor
from installml.spec.package import read_package
from tests.unit.attesting.kit import (
    ANNOTATIONS,
    BARE,
    CONFIG,
    FILES,
    HASH_B,
    RUNTIME,
    WHERE,
    bare,
    cyclonedx_errors,
    facts,
    packed,
    spdx_error,
)

DEEP = b"[" * 100_000


def cyclonedx_error(about: Facts) -> str:
    return " ".join(cyclonedx_errors(bom(about, tool="0.1.0", timestamp=0)))


def spdx_fault(about: Facts) -> str:
    return spdx_error(document(about, tool="0.1.0", timestamp=0))


def test_manifest_config_recipe_runtime_lock_and_card_are_put_together() -> None:
    about = facts()
    assert (about.name, about.version, about.license) == ("acme/sentiment", "1.4.0", "Apache-2.0")
    assert (about.task, about.family, about.architecture) == ("text-classification", "bert", "transformer")
    assert about.usage == "Not for decisions about people."
    assert about.created == 1767323045
    assert about.languages == ("en", "de")
    assert [pin.name for pin in about.libraries] == ["numpy", "torch"]
    assert about.metrics == (Metric("accuracy", "0.931", "IMDB test"), Metric("f1", "0.93", "IMDB test"))
    assert about.gaps == ()


def test_the_manifests_base_wins_over_the_recipes() -> None:
    base = facts().base
    assert base is not None
    assert (base.ref, base.relation, base.digest) == ("ghcr.io/acme/base:2.0", "finetune", Digest("sha256", HASH_B))


def test_without_an_annotation_the_base_is_the_recipes() -> None:
    base = facts(annotations={}).base
    assert base is not None
    assert (base.ref, base.relation) == ("ghcr.io/acme/base", "adapter")


def test_a_package_that_says_nothing_has_a_name_and_files() -> None:
    about = bare()
    assert about.name == "sentiment"
    assert [file.path for file in about.files] == ["weights/model.bin"]
    assert about.gaps == ()


def test_the_datasets_of_the_card_stand_in_for_those_of_the_config() -> None:
    assert facts(config={}).datasets == ("imdb",)


@pytest.mark.parametrize(
    ("path", "data"),
    [
        (".installml/runtime.json", b"{"),
        (".installml/runtime.json", b'{"schemaVersion": 99, "engine": "x"}'),
        (".installml/runtime.json", DEEP),
        (".installml/requirements.lock", b"numpy>=2\n"),
        (".installml/requirements.lock", b"\xff\xfe"),
        ("installml.yaml", b"name: [\n"),
        ("installml.yaml", b"a: &a [x]\nb: [*a, *a]\n"),
        ("README.md", b"---\na: &a [x]\nb: [*a]\n---\n"),
        ("README.md", b"---\n" + DEEP + b"\n---\n"),
        ("README.md", b" " * (MAX_README + 1)),
    ],
)
def test_a_document_that_cannot_be_used_is_a_gap_and_the_rest_is_told(path: str, data: bytes) -> None:
    about = facts({**FILES, path: data})
    assert len(about.gaps) == 1
    assert path in about.gaps[0]
    assert len(about.gaps[0]) <= 500
    assert about.architecture == "transformer"


@pytest.mark.parametrize("config", [b"{", b"[]", DEEP, b'{"descriptor": 7}', b'{"config": {"format": ["x"]}}'])
def test_a_config_that_cannot_be_used_is_a_gap(config: bytes) -> None:
    about = facts(config=config)
    assert about.gaps
    assert about.task == "text-classification"


@pytest.mark.parametrize("base", ["{", "[]", '{"ref": "NOT A REF"}', '{"ref": "a/b", "digest": "sha256:x"}'])
def test_a_base_that_cannot_be_read_is_a_gap(base: str) -> None:
    assert facts(annotations={**ANNOTATIONS, "dev.installml.base": base}).gaps


def test_a_file_that_a_partial_package_lacks_is_a_gap() -> None:
    assert facts(absent=("README.md",)).gaps == ("README.md is not here",)


@pytest.mark.parametrize("error", [DigestMismatch, SizeMismatch])
def test_a_document_that_is_not_what_the_manifest_says_is_an_error(error: type[InstallMLError]) -> None:
    store, manifest, root = packed()
    lock = next(layer for layer in manifest.layers if "lock" in str(layer.annotations))
    lying = _Lying(store, lock.digest, b"x" * (lock.size if error is DigestMismatch else 1))
    with pytest.raises(error):
        gather(read_package(manifest, "test"), root.digest, lying, WHERE)  # type: ignore[arg-type]


class _Lying:
    """A place that gives other bytes for one blob."""

    def __init__(self, store: object, digest: Digest, data: bytes) -> None:
        self._store, self._digest, self._data = store, digest, data

    def fetch(self, descriptor: Descriptor) -> object:
        from contextlib import nullcontext

        if descriptor.digest == self._digest:
            return nullcontext(io.BytesIO(self._data))
        return self._store.fetch(descriptor)  # type: ignore[attr-defined]


def test_text_for_terminals_and_too_much_of_it_is_taken_out() -> None:
    about = facts(config={**CONFIG, "descriptor": {"description": "x" * 4096}}, annotations={
        "org.opencontainers.image.description": "\x1b[31m" + "x" * 100_000,
    })  # fmt: skip
    assert len(about.description) == MAX_TEXT
    assert "\x1b" not in about.description


_NOTHING = "\x7f\u200b "


def test_names_that_nobody_can_see_are_no_names() -> None:
    about = facts(
        {**FILES, "README.md": b"# card"},
        config={"descriptor": {"name": _NOTHING, "authors": [_NOTHING, "Ada"], "datasetsURL": [_NOTHING]}},
        annotations={"org.opencontainers.image.title": _NOTHING},
    )
    assert (about.name, about.authors, about.datasets) == ("acme/sentiment", ("Ada",), ())


@pytest.mark.parametrize("fault", [cyclonedx_error, spdx_fault], ids=["cyclonedx", "spdx"])
@pytest.mark.parametrize("image", ["@", f"@sha256:{HASH_B}", "x@@@", " "])
def test_an_image_with_half_a_name_makes_no_wrong_document(image: str, fault: Callable[[Facts], str]) -> None:
    about = facts({**FILES, ".installml/runtime.json": canonical({**RUNTIME, "image": image})})
    assert about.gaps == ()
    assert fault(about) == ""


@pytest.mark.parametrize("when", ["yesterday", "2026-13-01T00:00:00Z", "2026-01-01", "9999999-01-01T00:00:00Z"])
def test_a_time_that_is_none_is_left_out(when: str) -> None:
    assert facts(config={}, annotations={"org.opencontainers.image.created": when}).created is None


def test_several_licences_of_another_tool_hold_together() -> None:
    assert facts(config={"descriptor": {"licenses": ["MIT", "Apache-2.0"]}}).license == "(MIT) AND (Apache-2.0)"


def test_a_card_with_thousands_of_metrics_is_cut() -> None:
    metrics = "".join(f"    - {{type: a, value: {n}}}\n" for n in range(3000))
    card = f"---\nmodel-index:\n- results:\n  - metrics:\n{metrics}---\n".encode()
    assert len(facts({**BARE, "README.md": card}).metrics) == 200


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from([path for path in FILES if "weights" not in path]),
    st.integers(0, 400),
    st.binary(min_size=1, max_size=4),
)
def test_a_mutated_document_raises_nothing_or_one_of_our_errors(path: str, at: int, noise: bytes) -> None:
    data = FILES[path]
    broken = data[: at % len(data)] + noise + data[at % len(data) + 1 :]
    try:
        facts({**FILES, path: broken})
    except InstallMLError as error:
        pytest.fail(f"{error!r} although only one document is wrong")
