"""A model package read from its manifest: name, version, files, runtime and hardware summary, no blob needed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import UsageError
from .canonical import JSONInvalid, canonical, parse_json
from .descriptor import Descriptor
from .hardware import Profile, parse_profiles
from .manifest import Index, Manifest
from .media import (
    ANNOTATION_FILE_METADATA,
    ANNOTATION_FILEPATH,
    ANNOTATION_HARDWARE,
    ANNOTATION_RUNTIME,
    ANNOTATION_TITLE,
    METADATA_ANNOTATIONS,
    MODEL_CONFIGS,
    MODEL_MANIFESTS,
    PATH_ANNOTATIONS,
    Role,
    role_of,
)
from .node import Node
from .paths import collisions, name_problem

__all__ = ["NotAPackage", "Package", "PackagedFile", "file_annotations", "read_package"]

EPOCH = "1970-01-01T00:00:00Z"
_HINTS = (
    ("application/vnd.cncf.helm", "This is a Helm chart. Install it with helm."),
    ("application/vnd.ollama", "This is an Ollama model. Run it with ollama."),
    ("application/vnd.kitops", "This is a KitOps ModelKit. Unpack it with kit, then: installml init DIR."),
    ("application/vnd.docker.ai", "This is a model of Docker Model Runner. Run it with docker model."),
    ("application/vnd.docker.", "This is a container image. Run it with a container engine."),
    ("application/vnd.oci.image.config", "This is a container image. Run it with a container engine."),
)
"""Looked for in the artifact type and the layers, in this order: an Ollama model calls itself a container image."""


class NotAPackage(UsageError):
    """A manifest of another tool, or one that breaks the package format."""

    reference = "not-a-model-package"


@dataclass(frozen=True, slots=True)
class PackagedFile:
    """One file of a package.

    Attributes:
        path: Package-relative POSIX path; for tar layers the layer's own name.
        role: What it is for.
        form: ``raw``, ``tar``, ``tar+gzip`` or ``tar+zstd``.
        descriptor: Of the blob.
        mode: Permission bits: 0o644 or 0o755; nothing else is taken from a manifest.
    """

    path: str
    role: Role
    form: str
    descriptor: Descriptor
    mode: int = 0o644


@dataclass(frozen=True, slots=True)
class Package:
    """What the manifest alone tells.

    Attributes:
        name: Title annotation, or empty.
        version: Version annotation, or empty.
        files: All layers, in order.
        engine: From the runtime summary; ``none`` when there is none.
        profiles: From the hardware summary.
        annotations: Of the manifest.
        manifest: The manifest itself.
    """

    name: str
    version: str
    files: tuple[PackagedFile, ...]
    engine: str
    profiles: tuple[Profile, ...]
    manifest: Manifest
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.descriptor.size for file in self.files)

    def file(self, path: str) -> PackagedFile | None:
        """Return the file at ``path``, or None."""
        return next((file for file in self.files if file.path == path), None)


def file_annotations(path: str, size: int, *, executable: bool = False) -> dict[str, str]:
    """Return a raw layer's annotations: its path twice, and constant metadata: same bytes, same digest.

    ``typeflag`` 48 is tar's regular file; names and numbers are those of ModelPack's FileMetadata.
    """
    metadata = {
        "name": path.rpartition("/")[2],
        "mode": 0o755 if executable else 0o644,
        "uid": 0,
        "gid": 0,
        "size": size,
        "mtime": EPOCH,
        "typeflag": 48,
    }
    return {
        ANNOTATION_FILEPATH: path,
        ANNOTATION_TITLE: path,
        ANNOTATION_FILE_METADATA: canonical(metadata).decode(),
    }


def read_package(manifest: Manifest | Index, origin: str) -> Package:
    """Return the package that ``manifest`` describes.

    Args:
        manifest: A parsed manifest; ModelPack artifacts of any tool are accepted.
        origin: The reference, for errors.

    Raises:
        NotAPackage: Another tool's artifact, or names that could leave the folder or collide.
    """
    if isinstance(manifest, Index):
        raise NotAPackage(f"{origin} is an index of several artifacts, not one model package", subject=origin)
    if manifest.artifact_type not in MODEL_MANIFESTS and manifest.config.media_type not in MODEL_CONFIGS:
        kinds = (manifest.kind, *(layer.media_type for layer in manifest.layers))
        hint = next((hint for prefix, hint in _HINTS if any(kind.startswith(prefix) for kind in kinds)), "")
        raise NotAPackage(f"{origin} is not a model package but {manifest.kind}", hint=hint, subject=origin)
    problems: list[str] = []
    files = tuple(file for layer in manifest.layers if (file := _file(layer, problems)))
    raw = [file.path for file in files if file.form == "raw"]
    problems += [f"{first!r} and {second!r} are the same file on some systems" for first, second in collisions(raw)]
    problems += [f"{path!r} stands twice" for path in sorted(p for p, times in Counter(raw).items() if times > 1)]
    summary = _summary(manifest, problems)
    if problems:
        listing = "".join(f"\n  - {problem}" for problem in problems[:50])
        raise NotAPackage(f"{origin} breaks the package format:{listing}", subject=origin)
    annotations = manifest.annotations
    return Package(
        name=annotations.get(ANNOTATION_TITLE, ""),
        version=annotations.get("org.opencontainers.image.version", ""),
        files=files,
        engine=summary[0],
        profiles=summary[1],
        manifest=manifest,
        annotations=annotations,
    )


def _file(layer: Descriptor, problems: list[str]) -> PackagedFile | None:
    known = role_of(layer.media_type)
    path = _first(layer, PATH_ANNOTATIONS)
    if known is None:
        problems.append(f"layer {layer.digest.short} has the unknown media type {layer.media_type}")
        return None
    problem = name_problem(path)
    if problem:
        problems.append(f"the file name {path[:120]!r} {problem}")
        return None
    role, form = known
    return PackagedFile(path, role, form, layer.bare(), _mode(layer, problems))


def _first(layer: Descriptor, keys: Iterable[str]) -> str:
    return next((text for key in keys if (text := layer.annotations.get(key))), "")


def _mode(layer: Descriptor, problems: list[str]) -> int:
    text = _first(layer, METADATA_ANNOTATIONS)
    if not text:
        return 0o644
    try:
        value = parse_json(text.encode(), f"metadata of layer {layer.digest.short}", cap=64 << 10)
    except JSONInvalid as error:
        problems.append(error.message)
        return 0o644
    mode = value.get("mode") if isinstance(value, dict) else None
    return 0o755 if isinstance(mode, int) and mode & 0o100 else 0o644


def _summary(manifest: Manifest, problems: list[str]) -> tuple[str, tuple[Profile, ...]]:
    runtime = _json_annotation(manifest, ANNOTATION_RUNTIME)
    hardware = Node(_json_annotation(manifest, ANNOTATION_HARDWARE), ANNOTATION_HARDWARE, problems)
    engine = runtime.get("engine", "none") if isinstance(runtime, dict) else "none"
    return (engine if isinstance(engine, str) else "none"), parse_profiles(hardware)


def _json_annotation(manifest: Manifest, key: str) -> Any:
    text = manifest.annotations.get(key)
    return parse_json(text.encode(), f"annotation {key}", cap=64 << 10) if text else None
