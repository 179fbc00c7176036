"""Descriptors: a digest, a size and what to make of the bytes (image-spec, "OCI Content Descriptors")."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ..digest import Digest
from .node import Node

__all__ = ["Descriptor", "parse_descriptor", "read_annotations"]

_MEDIA_TYPE = r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}"
_KNOWN = ("mediaType", "digest", "size", "annotations", "artifactType", "platform", "urls", "data")
MAX_SIZE = 1 << 50  # one pebibyte: larger is a lie


@dataclass(frozen=True, slots=True)
class Descriptor:
    """What names a blob or manifest.

    Attributes:
        media_type: How to read the bytes.
        digest: What they hash to.
        size: How many there are.
        annotations: Free text by key.
        artifact_type: For manifests in an index or referrers list.
        platform: For manifests in an index: os, architecture, variant.
    """

    media_type: str
    digest: Digest
    size: int
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)
    artifact_type: str = ""
    platform: Mapping[str, str] = field(default_factory=dict, hash=False)

    @classmethod
    def of(cls, data: bytes, media_type: str, **more: Any) -> Descriptor:
        """Return the descriptor of ``data``."""
        return cls(media_type, Digest.of(data), len(data), **more)

    def bare(self) -> Descriptor:
        """Return only what identifies the content: two descriptors of the same bytes are equal."""
        return Descriptor(self.media_type, self.digest, self.size)

    def annotated(self, annotations: Mapping[str, str]) -> Descriptor:
        """Return the same content with these annotations."""
        return replace(self, annotations=dict(annotations))

    def to_json(self) -> dict[str, Any]:
        """Return the value that image-spec writes."""
        value: dict[str, Any] = {"mediaType": self.media_type, "digest": str(self.digest), "size": self.size}
        if self.artifact_type:
            value["artifactType"] = self.artifact_type
        if self.annotations:
            value["annotations"] = dict(self.annotations)
        if self.platform:
            value["platform"] = dict(self.platform)
        return value


def read_annotations(node: Node) -> dict[str, str]:
    """Return an annotations mapping: text by text."""
    return {key: child.string(most=1 << 20) for key, child in node.items()}


def parse_descriptor(node: Node) -> Descriptor | None:
    """Return the descriptor at ``node``, or None with the violations recorded.

    ``urls`` and ``data`` are read by nobody here: content comes from where it was asked for.
    """
    if not node:
        return None
    keys = node.mapping(_KNOWN, ("mediaType", "digest", "size"), open_=True)
    before = len(node.violations)
    digest = keys["digest"].parsed(Digest.parse)
    size = keys["size"].integer(most=MAX_SIZE)
    media_type = keys["mediaType"].string(pattern=_MEDIA_TYPE, noun="a media type")
    platform = {k: str(n.value) for k, n in keys["platform"].items() if isinstance(n.value, str)}
    if digest is None or not media_type or len(node.violations) > before:
        return None
    return Descriptor(
        media_type,
        digest,
        size,
        read_annotations(keys["annotations"]),
        keys["artifactType"].string(),
        platform,
    )
