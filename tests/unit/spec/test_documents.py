"""runtime.json, hardware.json and the quantities in them."""

from __future__ import annotations

import pytest

from installml.digest import Digest
from installml.errors import RecipeInvalid
from installml.spec.canonical import JSONInvalid, canonical
from installml.spec.hardware import Accelerator, Cpu, HardwareManifest, Profile, parse_hardware
from installml.spec.recipe import parse_recipe
from installml.spec.runtime import RuntimeManifest, Signature, TensorSpec, parse_runtime
from installml.spec.units import QuantityInvalid, format_size, parse_bound, parse_size, version_key

RUNTIME = RuntimeManifest(
    "onnxruntime", "model.onnx", "model.py:Model", ">=3.11", ("numpy>=2",), Digest.of(b"lock"), "x@sha256:abc",
    Signature((TensorSpec("x", "FP32", (-1, 64)),), (TensorSpec("y", "INT64", (-1,)),)), "example.json",
    "expected.json", 0.01, "classification",
)  # fmt: skip
HARDWARE = HardwareManifest(
    (
        Profile("gpu", Accelerator("nvidia", 2, 20 << 30, ">=8.0", ">=535"), Cpu(4, ("amd64",), ("avx2",)), 1, 2),
        Profile("cpu"),
    )
)


@pytest.mark.parametrize("runtime", [RUNTIME, RuntimeManifest("none"), RuntimeManifest("python", expected="e.json")])
def test_a_runtime_manifest_comes_back_as_it_was_written(runtime: RuntimeManifest) -> None:
    assert parse_runtime(runtime.to_bytes(), "runtime.json") == runtime


@pytest.mark.parametrize("hardware", [HARDWARE, HardwareManifest()])
def test_a_hardware_manifest_comes_back_as_it_was_written(hardware: HardwareManifest) -> None:
    assert parse_hardware(hardware.to_bytes(), "hardware.json") == hardware


def test_unset_values_are_left_out() -> None:
    assert RuntimeManifest("none").to_json() == {"schemaVersion": 1, "engine": "none"}


def test_a_newer_schema_says_what_to_do() -> None:
    with pytest.raises(RecipeInvalid, match="schemaVersion 2 is newer") as caught:
        parse_runtime(b'{"schemaVersion":2,"brandNew":true}', "runtime.json")
    assert caught.value.hint == "pip install --upgrade installml"
    assert len(caught.value.violations) == 1


@pytest.mark.parametrize("version", [0, -1, "1", None, True, [], 1.5])
def test_another_schema_version_is_refused(version: object) -> None:
    with pytest.raises(RecipeInvalid, match="schemaVersion"):
        parse_hardware(canonical({"schemaVersion": version}), "hardware.json")


@pytest.mark.parametrize("data", [b"[]", b"null", b"7", b'"x"'])
def test_what_is_no_mapping_is_refused(data: bytes) -> None:
    with pytest.raises(RecipeInvalid):
        parse_runtime(data, "runtime.json")


def test_bad_json_is_refused() -> None:
    with pytest.raises(JSONInvalid):
        parse_runtime(b'{"schemaVersion":1,"schemaVersion":1}', "runtime.json")


def test_a_recipes_hardware_is_in_bytes_afterwards() -> None:
    recipe = parse_recipe(
        {"name": "x", "version": "1.0.0", "hardware": [{"memory": "1.5 GiB", "disk": "2kB"}]}, "installml.yaml"
    )
    assert recipe.hardware == (Profile("profile-1", memory=3 << 29, disk=2000),)


@pytest.mark.parametrize(
    ("text", "size"),
    [("0", 0), ("4096", 4096), ("1B", 1), ("1kB", 1000), ("1KB", 1000), ("1KiB", 1024), ("1.5 GB", 1_500_000_000),
     ("20GiB", 20 << 30), ("1PiB", 1 << 50), ("2  TB", 2 * 10**12), ("9" * 18, 10**18 - 1)],
)  # fmt: skip
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text", ["", "GB", "-1", "1 gb", "1EiB", "1,5GB", "1..5", "1e9", "٣", "1GB ", "9" * 19, "9" * 400 + ".5", "1\n"]
)
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(QuantityInvalid) as caught:
        parse_size(text)
    assert "20GiB" in caught.value.hint


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "0.977 KiB"),
        (1024, "1 KiB"),
        (1536 << 20, "1.5 GiB"),
        (5 << 50, "5.12e+03 TiB"),
    ],
)
def test_sizes_for_people(size: int, text: str) -> None:
    assert format_size(size) == text


@pytest.mark.parametrize(
    ("text", "bound"),
    [
        (">=8.0", (">=", (8,))),
        ("8", (">=", (8,))),
        ("<535.129.3", ("<", (535, 129, 3))),
        ("== 1.0.1", ("==", (1, 0, 1))),
    ],
)
def test_bounds(text: str, bound: tuple[str, tuple[int, ...]]) -> None:
    assert parse_bound(text) == bound


@pytest.mark.parametrize("text", ["", ">=", "~8", ">=8.", ">=8.x", "!=8", "٣", "1" * 10, "1." * 8 + "1", ">=8\n"])
def test_what_is_no_bound(text: str) -> None:
    with pytest.raises(QuantityInvalid):
        parse_bound(text)


def test_versions_compare_by_number() -> None:
    assert version_key("8.10") > version_key("8.9")
    assert version_key("8.0.0") == version_key("8")
    assert version_key("535.129.03") == (535, 129, 3)
