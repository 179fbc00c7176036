"""XOR patches: how a package's referrer names what a patch makes of which base.

A patch is one zstd stream. What it holds, block by block (``BLOCK`` bytes of the target; the last may be shorter),
is ``target XOR base`` with the bytes of each ``width``-byte number sorted by significance: first all lowest bytes, then
all second bytes, and so on. The bytes behind the last whole number of a block follow as they are. Where the base is
shorter than the target, zeros stand in its place; where it is longer, the rest is not looked at. Neighbouring weights
of a fine-tune differ in their low bytes only, so the planes of high bytes are nearly empty
(docs/adr/0007-xor-patches.md).

All patches of a package are layers of one referrer whose subject is the package's manifest. Nothing here is trusted:
what a patch makes is compared with the digest of the layer that it claims to be.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..digest import Digest, DigestInvalid
from .descriptor import Descriptor
from .manifest import Manifest

__all__ = ["BLOCK", "MAX_SHARE", "PATCH", "PATCH_LAYER", "WIDTHS", "Patch", "patch_manifest", "read_patches"]

PATCH = "application/vnd.installml.patch.v1"
PATCH_LAYER = "application/vnd.installml.xorpatch.v1+zstd"
BLOCK = 4 << 20
"""Bytes of the target that are sorted together; a multiple of every width."""
WIDTHS = (1, 2, 4, 8)
"""Bytes of a number."""
MAX_SHARE = 0.6
"""A patch that is not smaller than this share of its target is not worth its trouble."""

_TARGET = "dev.installml.patch.target"
_BASE = "dev.installml.patch.base"
_WIDTH = "dev.installml.patch.width"


@dataclass(frozen=True, slots=True)
class Patch:
    """One file's patch.

    Attributes:
        target: Digest of what it makes.
        base: Digest of what it makes it from.
        width: Bytes of a number, one of ``WIDTHS``.
        layer: Descriptor of the patch itself.
    """

    target: Digest
    base: Digest
    width: int
    layer: Descriptor

    def to_layer(self) -> Descriptor:
        """Return the layer as the referrer's manifest lists it."""
        notes = {_TARGET: str(self.target), _BASE: str(self.base), _WIDTH: str(self.width)}
        return Descriptor(PATCH_LAYER, self.layer.digest, self.layer.size, notes)


def patch_manifest(subject: Descriptor, config: Descriptor, patches: tuple[Patch, ...]) -> Manifest:
    """Return the referrer that offers ``patches`` for the package ``subject``; the same patches, the same bytes."""
    layers = tuple(patch.to_layer() for patch in sorted(patches, key=lambda patch: (patch.target, patch.base)))
    return Manifest(config, layers, PATCH, subject=subject.bare())


def read_patches(manifest: Manifest) -> Iterator[Patch]:
    """Yield the patches that a referrer offers; what is outside the format is no patch and passed over."""
    for layer in manifest.layers:
        width = layer.annotations.get(_WIDTH, "")
        if layer.media_type != PATCH_LAYER or width not in map(str, WIDTHS):
            continue
        try:
            target, base = (Digest.parse(layer.annotations.get(name)) for name in (_TARGET, _BASE))
        except DigestInvalid:
            continue
        yield Patch(target, base, int(width), layer.bare())
