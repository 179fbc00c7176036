"""Image manifests and indexes (image-spec, "Image Manifest" and "Image Index"), parsed with every rule checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from ..errors import UsageError
from .canonical import JSONInvalid, canonical, parse_json
from .descriptor import Descriptor, parse_descriptor, read_annotations
from .media import DOCKER_LIST, EMPTY, IMAGE_INDEX, IMAGE_MANIFEST, MANIFESTS
from .node import Node

__all__ = ["MAX_LAYERS", "Index", "Manifest", "ManifestInvalid", "as_referrer", "parse_manifest"]

MAX_LAYERS = 10_000
_INDEXES = {IMAGE_INDEX, DOCKER_LIST}


class ManifestInvalid(UsageError):
    """A manifest breaks image-spec, or claims to be two things at once; lists every violation."""

    reference = "manifest-invalid"
    default_hint = "The registry holds something that is not a valid OCI manifest under this reference."

    def __init__(self, origin: str, violations: list[str]) -> None:
        self.violations = tuple(violations)
        super().__init__(
            f"{origin} is not a valid manifest:" + "".join(f"\n  - {v}" for v in violations), subject=origin
        )


@dataclass(frozen=True, slots=True)
class Manifest:
    """An image manifest: a config and layers.

    Attributes:
        config: Descriptor of the configuration blob.
        layers: Descriptors of the layers, in order.
        artifact_type: What the whole is; the config's media type when it was not given (image-spec).
        annotations: About the whole.
        subject: The manifest that this one refers to, or None.
        media_type: Of the manifest itself.
    """

    config: Descriptor
    layers: tuple[Descriptor, ...]
    artifact_type: str = ""
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)
    subject: Descriptor | None = None
    media_type: str = IMAGE_MANIFEST

    @property
    def kind(self) -> str:
        """The artifact type that referrers are listed under."""
        return self.artifact_type or self.config.media_type

    @property
    def blobs(self) -> tuple[Descriptor, ...]:
        """Every blob once, config first."""
        return tuple({d.digest: d for d in (self.config, *self.layers)}.values())

    @property
    def manifests(self) -> tuple[Descriptor, ...]:
        """Manifests below this one: none."""
        return ()

    @property
    def size(self) -> int:
        """Bytes of all blobs, each once."""
        return sum(blob.size for blob in self.blobs)

    def to_json(self) -> dict[str, Any]:
        """Return the value that image-spec writes."""
        value: dict[str, Any] = {"schemaVersion": 2, "mediaType": self.media_type}
        if self.artifact_type:
            value["artifactType"] = self.artifact_type
        value["config"] = self.config.to_json()
        value["layers"] = [layer.to_json() for layer in self.layers]
        if self.subject is not None:
            value["subject"] = self.subject.to_json()
        if self.annotations:
            value["annotations"] = dict(self.annotations)
        return value

    def to_bytes(self) -> bytes:
        """Return the canonical bytes."""
        return canonical(self.to_json())


@dataclass(frozen=True, slots=True)
class Index:
    """An image index: manifests to choose from."""

    manifests: tuple[Descriptor, ...]
    artifact_type: str = ""
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)
    subject: Descriptor | None = None
    media_type: str = IMAGE_INDEX

    @property
    def kind(self) -> str:
        """The artifact type that referrers are listed under."""
        return self.artifact_type

    @property
    def blobs(self) -> tuple[Descriptor, ...]:
        """Blobs directly below: none."""
        return ()

    def to_json(self) -> dict[str, Any]:
        """Return the value that image-spec writes."""
        value: dict[str, Any] = {"schemaVersion": 2, "mediaType": self.media_type}
        if self.artifact_type:
            value["artifactType"] = self.artifact_type
        value["manifests"] = [entry.to_json() for entry in self.manifests]
        if self.subject is not None:
            value["subject"] = self.subject.to_json()
        if self.annotations:
            value["annotations"] = dict(self.annotations)
        return value

    def to_bytes(self) -> bytes:
        """Return the canonical bytes."""
        return canonical(self.to_json())


def as_referrer(descriptor: Descriptor, manifest: Manifest | Index) -> Descriptor:
    """Return a manifest's descriptor as lists of referrers show it: with the manifest's type and annotations.

    The type is the config's when the manifest names none (distribution-spec, "Listing Referrers").
    """
    return replace(descriptor.bare(), artifact_type=manifest.kind, annotations=manifest.annotations)


_KNOWN = (
    "schemaVersion",
    "mediaType",
    "artifactType",
    "config",
    "layers",
    "manifests",
    "subject",
    "annotations",
)


def parse_manifest(data: bytes, media_type: str, origin: str) -> Manifest | Index:
    """Return the manifest or index that ``data`` spells.

    Args:
        data: The bytes; their digest has been checked by whoever fetched them.
        media_type: The Content-Type or descriptor under which they came; the document must agree with it
            (image-spec: manifest and index must not be confusable, CVE-2021-41190).
        origin: Where they came from, for errors.

    Raises:
        JSONInvalid: Not acceptable JSON.
        ManifestInvalid: Every rule that is broken, at once.
    """
    try:
        result, violations = _parsed(data, media_type)
    except JSONInvalid:
        parse_json(data, origin)  # the same complaint, about its origin
        raise
    if violations or result is None:
        raise ManifestInvalid(origin, list(violations) or ["it is empty"])
    return result


@lru_cache(maxsize=4)
def _parsed(data: bytes, media_type: str) -> tuple[Manifest | Index | None, list[str]]:
    """Return what ``data`` spell, and the rules that they break; a command looks at the same manifest several times,
    and one of a thousand layers takes as long as fetching fifty of them."""
    root = Node(parse_json(data, "it"))
    keys = root.mapping(_KNOWN, ("schemaVersion",), open_=True)
    if not isinstance(root.value, dict):
        root.fail("must be a mapping")
    _check_frame(root, keys, media_type)
    is_index = media_type in _INDEXES
    result = _index(keys, media_type) if is_index else _manifest(keys, media_type)
    return result, root.violations


def _check_frame(root: Node, keys: dict[str, Node], media_type: str) -> None:
    if keys["schemaVersion"].integer() != 2:
        root.fail("schemaVersion must be 2")
    if media_type not in MANIFESTS:
        root.fail(f"{media_type!r} is not a manifest's media type")
    declared = keys["mediaType"].string()
    if declared and declared != media_type:
        root.fail(f"it says that it is {declared!r} but came as {media_type!r}")
    if keys["manifests"] and (keys["layers"] or keys["config"]):
        root.fail("it has the fields of a manifest and of an index")


def _descriptors(node: Node) -> tuple[Descriptor, ...]:
    return tuple(d for n in node.sequence(MAX_LAYERS) if (d := parse_descriptor(n)))


def _manifest(keys: dict[str, Node], media_type: str) -> Manifest | None:
    if not keys["config"]:
        keys["config"].fail("is missing")
    if not isinstance(keys["layers"].value, list):
        keys["layers"].fail("is missing")
    config = parse_descriptor(keys["config"])
    artifact_type = keys["artifactType"].string()
    if media_type == IMAGE_MANIFEST and config and config.media_type == EMPTY and not artifact_type:
        keys["artifactType"].fail("must be given when the config is empty")  # image-spec, "artifactType"
    layers = _descriptors(keys["layers"])
    subject = parse_descriptor(keys["subject"])
    annotations = read_annotations(keys["annotations"])
    if config is None:
        return None
    return Manifest(config, layers, artifact_type, annotations, subject, media_type)


def _index(keys: dict[str, Node], media_type: str) -> Index:
    if not isinstance(keys["manifests"].value, list):
        keys["manifests"].fail("is missing")
    return Index(
        _descriptors(keys["manifests"]),
        keys["artifactType"].string(),
        read_annotations(keys["annotations"]),
        parse_descriptor(keys["subject"]),
        media_type,
    )
