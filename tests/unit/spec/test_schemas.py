"""The published JSON Schemas and our own reader say the same."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from importlib import resources
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from installml.errors import RecipeInvalid
from installml.spec.canonical import canonical
from installml.spec.hardware import HardwareManifest, parse_hardware
from installml.spec.recipe import parse_recipe
from installml.spec.runtime import RuntimeManifest, parse_runtime
from installml.testing.strategies import file_names, references, repositories

NAMES = ("recipe", "runtime", "hardware")


def schema(name: str) -> dict[str, Any]:
    return json.loads(resources.files("installml.spec").joinpath("schemas", f"{name}.schema.json").read_bytes())


VALIDATORS = {name: Draft202012Validator(schema(name)) for name in NAMES}
READERS: dict[str, Callable[[Any], object]] = {
    "recipe": lambda value: parse_recipe(value, "installml.yaml"),
    "runtime": lambda value: parse_runtime(canonical(value), "runtime.json"),
    "hardware": lambda value: parse_hardware(canonical(value), "hardware.json"),
}

SIGNATURE = {
    "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 64]}],
    "outputs": [{"name": "label", "datatype": "BYTES", "shape": []}],
}
PROFILES = [
    {
        "name": "gpu",
        "accelerator": {"vendor": "nvidia", "count": 2, "memory": "20GiB", "compute": ">=8.0", "driver": "535"},
        "cpu": {"cores": 4, "arch": ["amd64", "arm64"], "features": ["avx2", "sse4_1"]},
        "memory": 8589934592,
        "disk": "16.5 GB",
    },
    {"name": "anything"},
]
FULL: dict[str, dict[str, Any]] = {
    "recipe": {
        "name": "acme/sentiment",
        "version": "1.4.0-rc.1+build.5",
        "description": "Two\nlines",
        "license": "(Apache-2.0 OR MIT) AND GPL-2.0-only WITH Classpath-exception-2.0",
        "authors": ["A. Person <a@example.com>"],
        "source": "https://example.com/x",
        "revision": "abc",
        "usage": "none",
        "datasets": ["imdb"],
        "base": {"ref": "registry.example:5000/acme/base:1.0", "digest": "sha256:" + "0" * 64, "relation": "adapter"},
        "task": "text-classification",
        "family": "bert",
        "architecture": "transformer",
        "precision": "float16",
        "quantization": "q4",
        "format": "onnx",
        "parameters": "22.7M",
        "languages": ["en", "de"],
        "files": {"include": ["**"], "exclude": [".git/**", "*.tmp"], "roles": {"*.py": "code"}},
        "runtime": {
            "engine": "python",
            "model": "model.onnx",
            "entrypoint": "code/model.py:Model",
            "python": ">=3.11,<3.13",
            "requirements": "requirements.txt",
            "image": None,
            "signature": SIGNATURE,
            "example": "example.json",
            "expected": "expected.json",
            "tolerance": 0.001,
        },
        "hardware": PROFILES,
        "checkpoints": {"best": ["best/**"]},
    },
    "runtime": {
        "schemaVersion": 1,
        "engine": "onnxruntime",
        "model": "model.onnx",
        "entrypoint": "model.py:Model",
        "python": ">=3.11",
        "requirements": ["numpy>=2"],
        "lock": "sha512:" + "0" * 128,
        "image": "registry.example/x@sha256:" + "0" * 64,
        "signature": SIGNATURE,
        "example": "example.json",
        "expected": "expected.json",
        "tolerance": 1,
        "task": "x",
    },
    "hardware": {"schemaVersion": 1, "profiles": PROFILES},
}


def ours(name: str, value: Any) -> bool:
    try:
        READERS[name](value)
    except RecipeInvalid:
        return False
    return True


def theirs(name: str, value: Any) -> bool:
    return bool(VALIDATORS[name].is_valid(value))


def places(value: Any, at: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Yield the place of everything in a document, itself left out."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in entries:
        yield (*at, key)
        yield from places(child, (*at, key))


def changed(name: str, place: tuple[str | int, ...], value: Any) -> dict[str, Any]:
    """Return the full document with another value at ``place``; with none there when it is ``...``."""
    document = copy.deepcopy(FULL[name])
    parent: Any = document
    for step in place[:-1]:
        parent = parent[step]
    if value is ...:
        del parent[place[-1]]
    else:
        parent[place[-1]] = value
    return document


@pytest.mark.parametrize("name", NAMES)
def test_a_schema_is_one_of_draft_2020_12(name: str) -> None:
    Draft202012Validator.check_schema(schema(name))
    assert schema(name)["$schema"] == "https://json-schema.org/draft/2020-12/schema"


@pytest.mark.parametrize("name", NAMES)
def test_a_full_document_is_valid_for_both(name: str) -> None:
    assert [error.message for error in VALIDATORS[name].iter_errors(FULL[name])] == []
    READERS[name](FULL[name])


@pytest.mark.parametrize("name", NAMES)
def test_a_schema_knows_exactly_the_keys_that_are_read(name: str) -> None:
    assert set(schema(name)["properties"]) == set(FULL[name])


def test_what_we_write_is_valid() -> None:
    runtime = READERS["runtime"](FULL["runtime"])
    hardware = READERS["hardware"](FULL["hardware"])
    assert isinstance(runtime, RuntimeManifest)
    assert isinstance(hardware, HardwareManifest)
    assert theirs("runtime", runtime.to_json())
    assert theirs("runtime", RuntimeManifest("none").to_json())
    assert theirs("hardware", hardware.to_json())
    assert theirs("hardware", HardwareManifest().to_json())


BROKEN: list[tuple[str, tuple[str | int, ...], Any]] = [
    ("recipe", ("name",), ...),
    ("recipe", ("name",), None),
    ("recipe", ("name",), "Acme"),
    ("recipe", ("name",), "a//b"),
    ("recipe", ("name",), "a\n"),
    ("recipe", ("name",), "a" * 201),
    ("recipe", ("version",), ...),
    ("recipe", ("version",), "1.0"),
    ("recipe", ("version",), "01.0.0"),
    ("recipe", ("version",), "1.0.0-01"),
    ("recipe", ("version",), "1.٣.0"),
    ("recipe", ("version",), 1.5),
    ("recipe", ("nmae",), "typo"),
    ("recipe", ("license",), "Apache License"),
    ("recipe", ("license",), "MIT AND"),
    ("recipe", ("license",), ""),
    ("recipe", ("description",), "bell\x07"),
    ("recipe", ("description",), "x" * 4097),
    ("recipe", ("description",), ["a"]),
    ("recipe", ("authors",), "A. Person"),
    ("recipe", ("authors", 0), None),
    ("recipe", ("authors", 0), {"name": "A"}),
    ("recipe", ("base", "ref"), ...),
    ("recipe", ("base", "ref"), "Not A Ref"),
    ("recipe", ("base", "ref"), "a_b.c/x"),
    ("recipe", ("base", "digest"), "sha256:abc"),
    ("recipe", ("base", "relation"), "cousin"),
    ("recipe", ("base", "extra"), 1),
    ("recipe", ("parameters",), "many"),
    ("recipe", ("languages", 0), "eng"),
    ("recipe", ("languages", 0), "en\n"),
    ("recipe", ("files", "include", 0), "../**"),
    ("recipe", ("files", "include", 0), "/abs"),
    ("recipe", ("files", "include", 0), ""),
    ("recipe", ("files", "include", 0), None),
    ("recipe", ("files", "exclude", 0), "a\\b"),
    ("recipe", ("files", "roles", "*.py"), "script"),
    ("recipe", ("files", "rules"), {}),
    ("recipe", ("runtime", "engine"), "onnx"),
    ("recipe", ("runtime", "entrypoint"), ...),
    ("recipe", ("runtime", "entrypoint"), None),
    ("recipe", ("runtime", "entrypoint"), "model.py"),
    ("recipe", ("runtime", "entrypoint"), "../model.py:Model"),
    ("recipe", ("runtime", "entrypoint"), "/model.py:Model"),
    ("recipe", ("runtime", "entrypoint"), "a//model.py:Model"),
    ("recipe", ("runtime", "entrypoint"), "con.py:Model"),
    ("recipe", ("runtime", "python"), "three"),
    ("recipe", ("runtime", "model"), "../model.onnx"),
    ("recipe", ("runtime", "model"), "a/./b"),
    ("recipe", ("runtime", "model"), "NUL"),
    ("recipe", ("runtime", "model"), "com¹.txt"),
    ("recipe", ("runtime", "model"), "dir./x"),
    ("recipe", ("runtime", "model"), "x "),
    ("recipe", ("runtime", "model"), "a:b"),
    ("recipe", ("runtime", "model"), "a\n"),
    ("recipe", ("runtime", "tolerance"), -1),
    ("recipe", ("runtime", "tolerance"), True),
    ("recipe", ("runtime", "tolerance"), "small"),
    ("recipe", ("runtime", "signature", "inputs", 0), None),
    ("recipe", ("runtime", "signature", "inputs", 0, "datatype"), "FLOAT"),
    ("recipe", ("runtime", "signature", "inputs", 0, "shape"), ...),
    ("recipe", ("runtime", "signature", "inputs", 0, "shape", 0), -2),
    ("recipe", ("runtime", "signature", "inputs", 0, "shape", 0), "n"),
    ("recipe", ("runtime", "signature", "inputs", 0, "shape"), [1] * 33),
    ("recipe", ("runtime", "signature", "input"), []),
    ("recipe", ("hardware",), {"name": "gpu"}),
    ("recipe", ("hardware", 0), None),
    ("recipe", ("hardware", 0, "name"), "-x"),
    ("recipe", ("hardware", 0, "accelerator", "vendor"), ...),
    ("recipe", ("hardware", 0, "accelerator", "vendor"), "nvida"),
    ("recipe", ("hardware", 0, "accelerator", "count"), 0),
    ("recipe", ("hardware", 0, "accelerator", "memory"), "20 gigs"),
    ("recipe", ("hardware", 0, "accelerator", "memory"), "9" * 400 + ".5"),
    ("recipe", ("hardware", 0, "accelerator", "memory"), "9" * 4000),
    ("recipe", ("hardware", 0, "accelerator", "compute"), "~8"),
    ("recipe", ("hardware", 0, "accelerator", "compute"), "1." * 8 + "1"),
    ("recipe", ("hardware", 0, "cpu", "cores"), 4097),
    ("recipe", ("hardware", 0, "cpu", "arch", 0), "x86_64"),
    ("recipe", ("hardware", 0, "cpu", "features", 0), "AVX"),
    ("recipe", ("hardware", 0, "memory"), -1),
    ("recipe", ("hardware", 0, "memory"), 2**63),
    ("recipe", ("hardware", 0, "memory"), ""),
    ("recipe", ("hardware", 0, "disk"), False),
    ("recipe", ("hardware",), [{}] * 33),
    ("recipe", ("checkpoints", "best"), "best/**"),
    ("runtime", ("schemaVersion",), ...),
    ("runtime", ("schemaVersion",), 2),
    ("runtime", ("schemaVersion",), 0),
    ("runtime", ("lock",), "abc"),
    ("runtime", ("requirements",), "numpy"),
    ("runtime", ("entrypoint",), "../../x.py:M"),
    ("runtime", ("unknown",), 1),
    ("hardware", ("schemaVersion",), "1"),
    ("hardware", ("profiles", 0, "extra"), 1),
]


@pytest.mark.parametrize(("name", "place", "value"), BROKEN, ids=lambda part: str(part)[:40])
def test_each_kind_of_violation_is_refused_by_both(name: str, place: tuple[str | int, ...], value: Any) -> None:
    document = changed(name, place, value)
    assert not theirs(name, document)
    assert not ours(name, document)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_instead_of_something_is_the_same_as_leaving_it_out(name: str) -> None:
    for place in [place for place in places(FULL[name]) if isinstance(place[-1], str)]:
        verdicts = {ours(name, changed(name, place, None)), ours(name, changed(name, place, ...))}
        assert len(verdicts) == 1, place
        assert theirs(name, changed(name, place, None)) in verdicts, place


_TEXTS = st.one_of(
    st.sampled_from(
        ["", "a", "con", "CON.txt", "a/b", "../a", "*", "a*/**/b?", "1.0.0", "MIT", ">=8.0", "20GiB", "x.py:M", "en",
         "nvidia", "python", "FP32", " ", "a ", "a.", "\n", "é", "日本/語", "sha256:" + "0" * 64, "local/x", "COM1/x"]
    ),
    st.text(max_size=8).filter(lambda text: text.isprintable()),
    file_names(),
    repositories(),
    references().map(str),
)  # fmt: skip
_ODD = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 5000), st.sampled_from([0.5, -0.5, 2**63, -(2**70)]), _TEXTS,
    st.lists(_TEXTS, max_size=2), st.dictionaries(_TEXTS, _TEXTS, max_size=2),
    st.sampled_from([[None], [[]], {"a": {}}]),
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_both_agree_whatever_stands_where(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(NAMES))
    place = data.draw(st.sampled_from(sorted(places(FULL[name]), key=str)))
    document = changed(name, place, data.draw(_ODD))
    assert ours(name, document) == theirs(name, document)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_both_agree_on_documents_with_parts_left_out(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(NAMES))
    keys = data.draw(st.sets(st.sampled_from(sorted(FULL[name]))))
    document = {key: value for key, value in FULL[name].items() if key in keys}
    assert ours(name, document) == theirs(name, document)
