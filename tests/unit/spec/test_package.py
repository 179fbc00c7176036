"""A package read from its manifest; other tools' artifacts are sent to their own tool."""

from __future__ import annotations

from dataclasses import replace

import pytest

from installml.spec.canonical import canonical
from installml.spec.descriptor import Descriptor
from installml.spec.hardware import Accelerator, HardwareManifest, Profile
from installml.spec.manifest import Index, Manifest, parse_manifest
from installml.spec.media import (
    ANNOTATION_FILE_METADATA,
    ANNOTATION_FILEPATH,
    ANNOTATION_HARDWARE,
    ANNOTATION_RUNTIME,
    ANNOTATION_TITLE,
    DOCKER_MANIFEST,
    EMPTY,
    IMAGE_MANIFEST,
    MODEL_CONFIG,
    MODEL_MANIFEST,
    RUNTIME_PATH,
    Role,
    layer_media_type,
)
from installml.spec.package import NotAPackage, file_annotations, read_package
from installml.spec.runtime import RuntimeManifest
from installml.testing import package_bytes

CONFIG = Descriptor.of(b"{}", MODEL_CONFIG)


def layer(path: str, data: bytes = b"x", *, form: str = "raw", **more: str) -> Descriptor:
    annotations = file_annotations(path, len(data)) | more
    return Descriptor.of(data, layer_media_type(Role.WEIGHT, form), annotations=annotations)


def manifest_of(*layers: Descriptor, **annotations: str) -> Manifest:
    return Manifest(CONFIG, layers, MODEL_MANIFEST, annotations)


def refusal(manifest: Manifest | Index) -> NotAPackage:
    with pytest.raises(NotAPackage) as caught:
        read_package(manifest, "registry.example/x:1")
    assert caught.value.exit_code == 2
    assert caught.value.subject == "registry.example/x:1"
    return caught.value


def test_a_package_tells_name_version_files_engine_and_hardware() -> None:
    profiles = (Profile("gpu", Accelerator("nvidia", memory=20 << 30)), Profile("cpu"))
    packed = package_bytes(
        {"README.md": b"# x", "model.py": b"pass", "run.sh": b"#!", "weights.bin": b"w" * 10},
        name="acme/sentiment",
        version="1.4.0",
        executable={"run.sh"},
        runtime=RuntimeManifest("python", entrypoint="model.py:Model"),
        hardware=HardwareManifest(profiles),
    )
    package = read_package(parse_manifest(packed.manifest.to_bytes(), IMAGE_MANIFEST, "x"), "x")
    assert (package.name, package.version, package.engine) == ("acme/sentiment", "1.4.0", "python")
    assert package.profiles == profiles
    assert [(file.path, file.role, file.mode) for file in package.files][:4] == [
        ("README.md", Role.DOC, 0o644),
        ("model.py", Role.CODE, 0o644),
        ("run.sh", Role.WEIGHT, 0o755),
        ("weights.bin", Role.WEIGHT, 0o644),
    ]
    assert package.size == sum(file.descriptor.size for file in package.files)
    runtime = package.file(RUNTIME_PATH)
    assert runtime is not None
    assert runtime.role is Role.CONFIG
    assert package.file("absent") is None


def test_a_package_without_summaries_runs_anywhere_by_nothing() -> None:
    package = read_package(manifest_of(layer("a")), "x")
    assert (package.name, package.version, package.engine, package.profiles) == ("", "", "none", ())


def other(config: str, *layers: str, media_type: str = IMAGE_MANIFEST, artifact_type: str = "") -> Manifest:
    made = tuple(Descriptor.of(kind.encode(), kind) for kind in layers)
    return Manifest(Descriptor.of(b"{}", config), made, artifact_type, media_type=media_type)


DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"


@pytest.mark.parametrize(
    ("manifest", "hint"),
    [
        (other(OCI_CONFIG, "application/vnd.oci.image.layer.v1.tar+gzip"), "container image"),
        (
            other(DOCKER_CONFIG, "application/vnd.docker.image.rootfs.diff.tar.gzip", media_type=DOCKER_MANIFEST),
            "container image",
        ),
        (
            other("application/vnd.cncf.helm.config.v1+json", "application/vnd.cncf.helm.chart.content.v1.tar+gzip"),
            "helm",
        ),
        (
            other(
                DOCKER_CONFIG,
                "application/vnd.ollama.image.model",
                "application/vnd.ollama.image.template",
                media_type=DOCKER_MANIFEST,
            ),
            "ollama",
        ),
        (
            other(
                "application/vnd.kitops.modelkit.config.v1+json",
                "application/vnd.kitops.modelkit.model.v1.tar",
                artifact_type="application/vnd.kitops.modelkit.manifest.v1+json",
            ),
            "kit",
        ),
        (
            other("application/vnd.docker.ai.model.config.v0.1+json", "application/vnd.docker.ai.gguf.v3"),
            "docker model",
        ),
    ],
    ids=["oci image", "docker image", "helm", "ollama", "kitops", "docker model"],
)
def test_another_tools_artifact_names_the_tool(manifest: Manifest, hint: str) -> None:
    error = refusal(manifest)
    assert hint in error.hint
    assert "is not a model package but" in error.message


def test_what_nobody_knows_is_refused_without_a_guess() -> None:
    error = refusal(other(EMPTY, "text/plain", artifact_type="application/vnd.example.unknown"))
    assert "application/vnd.example.unknown" in error.message
    assert error.hint == ""


def test_an_index_is_not_one_package() -> None:
    assert "an index of several artifacts" in refusal(Index(())).message


def test_a_model_config_is_enough_for_a_package_of_another_tool() -> None:
    assert read_package(Manifest(CONFIG, (layer("a"),)), "x").files[0].path == "a"


@pytest.mark.parametrize("path", ["../up", "/abs", "a/../../b", "con", "a\\b", "", "a\x1b[2J"])
def test_a_name_that_could_leave_the_folder_is_refused(path: str) -> None:
    bad = replace(layer("x"), annotations={ANNOTATION_FILEPATH: path, ANNOTATION_TITLE: path})
    assert "the file name" in refusal(manifest_of(bad)).message


@pytest.mark.parametrize("paths", [("README", "readme"), ("caf\u00e9", "cafe\u0301"), ("a", "a/b"), ("same", "same")])
def test_names_that_collide_on_some_system_are_refused(paths: tuple[str, str]) -> None:
    message = refusal(manifest_of(*(layer(path) for path in paths))).message
    assert all(repr(path) in message for path in paths)


def test_all_problems_are_told_at_once() -> None:
    unknown = Descriptor.of(b"x", "application/octet-stream")
    error = refusal(manifest_of(unknown, layer("../a"), layer("b"), layer("B"), layer("c"), layer("c")))
    assert error.message.count("\n  - ") == 4


def test_many_layers_of_one_name_cost_little() -> None:
    assert "stands twice" in refusal(manifest_of(*[layer("same")] * 10_000)).message


@pytest.mark.parametrize(
    ("metadata", "mode"),
    [
        ("", 0o644),
        ('{"mode":493}', 0o755),
        ('{"mode":2541}', 0o755),
        ('{"mode":420}', 0o644),
        ('{"mode":-1}', 0o755),
        ('{"mode":"493"}', 0o644),
        ("[]", 0o644),
        ("{}", 0o644),
    ],
)
def test_only_the_executable_bit_is_taken_from_a_manifest(metadata: str, mode: int) -> None:
    file = read_package(manifest_of(layer("a", **{ANNOTATION_FILE_METADATA: metadata})), "x").files[0]
    assert file.mode == mode


@pytest.mark.parametrize("metadata", ["{", '{"mode":1,"mode":2}', "[" * 100_000, '{"a":"' + "x" * 70_000 + '"}'])
def test_metadata_that_is_no_json_is_a_problem_of_the_package(metadata: str) -> None:
    assert "metadata of layer" in refusal(manifest_of(layer("a", **{ANNOTATION_FILE_METADATA: metadata}))).message


@pytest.mark.parametrize("summary", ['{"engine":1}', "[]", '"x"', "{}"])
def test_a_strange_runtime_summary_is_no_engine(summary: str) -> None:
    assert read_package(manifest_of(layer("a"), **{ANNOTATION_RUNTIME: summary}), "x").engine == "none"


def test_a_strange_hardware_summary_is_refused() -> None:
    summary = canonical([{"accelerator": {"vendor": "acme"}}]).decode()
    assert (
        "dev.installml.hardware[0].accelerator.vendor"
        in refusal(manifest_of(layer("a"), **{ANNOTATION_HARDWARE: summary})).message
    )


def test_archive_layers_may_share_a_name_with_nothing_but_are_no_files_yet() -> None:
    package = read_package(manifest_of(layer("code", form="tar"), layer("code/x")), "x")
    assert [file.form for file in package.files] == ["tar", "raw"]
