"""``push --patch-from``: offer the difference to a version that others have, beside the package itself."""

from __future__ import annotations

import io
from collections.abc import Iterator

from ..digest import Digest
from ..errors import NotFound
from ..events import Phase
from ..reference import LOCAL
from ..spec.descriptor import Descriptor
from ..spec.media import EMPTY, IMAGE_MANIFEST
from ..spec.package import Package, read_package
from ..spec.patch import Patch, patch_manifest
from ..spec.units import format_size
from ..store.protocol import Destination, FileSource
from ..store.verified import read_manifest
from ..transfer.patches import made_patches
from .places import full
from .session import Session
from .subset import require_whole

__all__ = ["Base", "find_base", "offer_patches"]


class Base:
    """The package that patches are made from, in the local store.

    Attributes:
        name: As the caller wrote it.
        package: The package.
        files: Where its files are.
    """

    def __init__(self, name: str, package: Package, files: FileSource) -> None:
        self.name = name
        self.package = package
        self.files = files


def find_base(text: str, session: Session) -> Base:
    """Return the package ``text`` of the local store; asked before anything is sent.

    Raises:
        NotFound: It is not there.
    """
    reference = full(text, session)
    local = session.local(reference)
    try:
        descriptor = local.resolve(reference.pointer)
    except NotFound as error:
        if reference.registry == LOCAL:
            hint = f"Name the registry it came from: --patch-from REGISTRY/{text}; what is here: installml list"
        else:
            hint = f"Fetch it first: installml pull {reference}"
        raise NotFound(f"{text}, which patches shall be made from, is not here", hint=hint, subject=text) from error
    require_whole(local, descriptor, reference)
    return Base(text, read_package(read_manifest(local, descriptor), str(reference)), local)


def offer_patches(
    base: Base, package: Package, root: Descriptor, files: FileSource, remote: Destination, session: Session
) -> tuple[str, ...]:
    """Make the patches from ``base`` that pay and attach them to the package ``root``, which is in ``remote`` already.

    Returns:
        A sentence about each file, for people.

    Raises:
        InstallMLError: The registry does not take them; the package itself is complete there.
    """
    session.on_event(Phase("comparing", base.name))
    patches, told = [], []
    session.store.prepare()
    for patch, path, content in made_patches(base.package, base.files, package, files, session.store.blobs.staging):
        remote.push(patch.layer, content)
        patches.append(patch)
        target = next(file.descriptor.size for file in package.files if file.path == path)
        told.append(f"{path}: a patch of {format_size(patch.layer.size)} instead of {format_size(target)}")
    if not patches:
        return (f"no file is enough like the one of {base.name} for a patch to pay",)
    for descriptor, data in _referrer(root, tuple(patches)):
        remote.push(descriptor, io.BytesIO(data))
    return tuple(told)


def _referrer(root: Descriptor, patches: tuple[Patch, ...]) -> Iterator[tuple[Descriptor, bytes]]:
    """Yield the empty config and the manifest, in the order in which a registry takes them."""
    config = Descriptor(EMPTY, Digest.of(b"{}"), 2)
    yield config, b"{}"
    data = patch_manifest(root, config, patches).to_bytes()
    yield Descriptor(IMAGE_MANIFEST, Digest.of(data), len(data)), data
