"""What is particular to the place in memory."""

from __future__ import annotations

import pytest

from installml.digest import Digest
from installml.errors import NotFound
from installml.spec.descriptor import Descriptor
from installml.testing import MemoryStore, package_bytes, small_package


def test_content_of_another_size_is_not_the_same_content() -> None:
    store = MemoryStore()
    descriptor = small_package(store)
    assert store.exists(descriptor)
    assert not store.exists(Descriptor(descriptor.media_type, descriptor.digest, descriptor.size + 1))


def test_a_blob_is_not_resolved_as_a_manifest() -> None:
    store, packed = MemoryStore(), package_bytes()
    packed.push(store)
    with pytest.raises(NotFound):
        store.resolve(str(packed.manifest.config.digest))


def test_a_digest_as_a_tag_changes_nothing() -> None:
    store = MemoryStore()
    descriptor = small_package(store)
    store.tag(descriptor, str(descriptor.digest))
    assert store.tags() == []
    with pytest.raises(NotFound):
        store.tag(package_bytes(version="9.9.9").descriptor, str(Digest.of(b"never")))
