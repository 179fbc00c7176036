"""Every place passes one suite."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from installml.digest import Readable
from installml.errors import InstallMLError, StoreUnusable
from installml.registry.http import HostSettings, HttpClient, Network
from installml.registry.repository import Registry
from installml.spec.descriptor import Descriptor
from installml.store.disk import DiskRepository, DiskStore
from installml.store.gc import collect
from installml.store.layout import LayoutStore
from installml.store.protocol import Target
from installml.testing import AssemblerContract, MemoryStore, StoreContract, start


class TestMemoryStore(StoreContract):
    def target(self) -> Target:
        return MemoryStore()


class TestDiskRepository(StoreContract):
    @pytest.fixture(autouse=True)
    def _in_folder(self, tmp_path: Path) -> None:
        self.folder = tmp_path

    def target(self) -> Target:
        return DiskStore(self.folder / "store").repository("localhost:5000", "acme/sentiment")

    def settle(self, target: Target) -> None:
        assert isinstance(target, DiskRepository)
        collect(DiskStore(target.store.root, clock=lambda: time.time() + 10))


class TestDiskAssembler(AssemblerContract):
    @pytest.fixture(autouse=True)
    def _in_folder(self, tmp_path: Path) -> None:
        self.folder = tmp_path

    def target(self) -> Target:
        return DiskStore(self.folder / "store").repository("localhost:5000", "acme/sentiment")


class TestLayoutStore(StoreContract):
    @pytest.fixture(autouse=True)
    def _in_folder(self, tmp_path: Path) -> None:
        self.names = (tmp_path / f"layout-{i}" for i in itertools.count())

    def target(self) -> Target:
        return LayoutStore(next(self.names))


@pytest.fixture(scope="module")
def registry() -> Iterator[Registry]:
    client = HttpClient(Network(), lambda _: HostSettings(insecure=True))
    with start() as running, contextlib.closing(client):
        yield Registry(running.address, client)


class TestRegistryRepository(StoreContract):
    """The client against the embedded registry, over real HTTP."""

    names = (f"acme/sentiment-{i}" for i in itertools.count())

    @pytest.fixture(autouse=True)
    def _at(self, registry: Registry) -> None:
        self.registry = registry

    def target(self) -> Target:
        return self.registry.repository(next(self.names))


class Gullible(MemoryStore):
    def push(self, descriptor: Descriptor, content: Readable) -> None:
        self._content[descriptor.digest] = (descriptor.bare(), content.read())


class Hasty(MemoryStore):
    def tag(self, descriptor: Descriptor, tag: str) -> None:
        self._tags[tag] = descriptor.bare()


class Unsorted(MemoryStore):
    def tags(self) -> list[str]:
        return list(self._tags)


class Clinging(MemoryStore):
    def delete(self, descriptor: Descriptor) -> None:
        self._content.pop(descriptor.digest, None)


class Talkative(MemoryStore):
    def referrers(self, descriptor: Descriptor, artifact_type: str = "") -> list[Descriptor]:
        return super().referrers(descriptor)


class Stubborn(MemoryStore):
    def push(self, descriptor: Descriptor, content: Readable) -> None:
        if self.exists(descriptor):
            raise StoreUnusable("it is there already")
        super().push(descriptor, content)


@pytest.mark.parametrize(
    ("place", "caught_by"),
    [
        (Gullible, "test_too_few_bytes_leave_nothing"),
        (Gullible, "test_too_many_bytes_leave_nothing"),
        (Gullible, "test_other_bytes_of_the_same_length_leave_nothing"),
        (Gullible, "test_a_wrong_manifest_leaves_nothing"),
        (Hasty, "test_a_missing_manifest_cannot_be_tagged"),
        (Hasty, "test_a_tag_outside_the_grammar_is_refused"),
        (Unsorted, "test_tags_are_listed_in_ascii_order"),
        (Clinging, "test_a_deleted_manifest_takes_its_tags_with_it"),
        (Clinging, "test_an_absent_manifest_cannot_be_deleted"),
        (Talkative, "test_referrers_are_filtered_by_type"),
        (Stubborn, "test_pushing_what_is_there_is_no_error"),
    ],
)
def test_the_contract_catches_a_place_that_breaks_its_promise(place: type[MemoryStore], caught_by: str) -> None:
    class Broken(StoreContract):
        def target(self) -> Target:
            return place()

    with pytest.raises((AssertionError, InstallMLError)):
        getattr(Broken(), caught_by)()
