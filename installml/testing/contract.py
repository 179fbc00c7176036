"""The promises of ``store.protocol`` as tests: a place that inherits ``StoreContract`` proves that it keeps them.

Runs under pytest or any runner that calls ``test_*`` methods on a fresh instance; imports none.
"""
# ruff: noqa: S101 - assertions are what a test is made of

from __future__ import annotations

import contextlib
import hashlib
import io
from abc import ABC, abstractmethod
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from ..digest import CHUNK, Digest, Readable
from ..errors import InstallMLError, IntegrityError, NotFound, ReferenceInvalid
from ..spec.descriptor import Descriptor
from ..spec.extents import Extent
from ..spec.manifest import Index, Manifest
from ..spec.media import EMPTY, IMAGE_INDEX, IMAGE_MANIFEST
from ..store.protocol import Assembler, Assembly, Target
from ..store.verified import read_manifest, read_verified
from .packages import package_bytes

__all__ = ["AssemblerContract", "StoreContract"]

_BLOB = "application/octet-stream"
_NOTE = "application/vnd.example.note.v1+json"
_SCAN = "application/vnd.example.scan.v1+json"


class _Dribble:
    """A stream that gives a few bytes at a time, as sockets do."""

    def __init__(self, data: bytes) -> None:
        self._stream = io.BytesIO(data)

    def read(self, size: int = -1, /) -> bytes:
        return self._stream.read(min(size, 7) if size >= 0 else 7)


class _Torn:
    """A stream that breaks in the middle."""

    def __init__(self, data: bytes) -> None:
        self._stream = io.BytesIO(data)

    def read(self, size: int = -1, /) -> bytes:
        block = self._stream.read(size)
        if not block:
            raise _TornError("the line went dead")
        return block


class _TornError(InstallMLError):
    """What a source raises that loses its connection."""

    reference = "torn"


@contextlib.contextmanager
def _refused(kind: type[InstallMLError]) -> Iterator[None]:
    try:
        yield
    except kind:
        return
    raise AssertionError(f"{kind.__name__} was not raised")


def _blob(data: bytes, algorithm: str = "sha256") -> Descriptor:
    return Descriptor(_BLOB, Digest.of(data, algorithm), len(data))


def _note(subject: Descriptor, text: str, artifact_type: str = _NOTE) -> tuple[Descriptor, bytes]:
    empty = Descriptor.of(b"{}", EMPTY)
    data = Manifest(empty, (empty,), artifact_type, {"text": text}, subject).to_bytes()
    return Descriptor.of(data, IMAGE_MANIFEST), data


class StoreContract(ABC):
    """What every place promises; see ``store.protocol``."""

    @abstractmethod
    def target(self) -> Target:
        """Return a new and empty place."""

    def settle(self, target: Target) -> None:  # noqa: B027 - most places have nothing to do here
        """Let ``target`` forget what was deleted, where that is a step of its own."""

    # -- content ------------------------------------------------------------------------------------------------

    def test_what_was_pushed_is_fetched(self) -> None:
        """Push, exists, fetch."""
        target, data = self.target(), b"weights" * 1000
        target.push(_blob(data), io.BytesIO(data))
        assert target.exists(_blob(data))
        assert read_verified(target, _blob(data)) == data

    def test_nothing_exists_before_it_is_pushed(self) -> None:
        """A blob and a manifest."""
        target = self.target()
        assert not target.exists(_blob(b"never"))
        assert not target.exists(package_bytes().descriptor)

    def test_fetching_what_is_absent_is_not_found(self) -> None:
        """Whether at opening or at the first read."""
        target = self.target()
        with _refused(NotFound):
            read_verified(target, _blob(b"never"))

    def test_pushing_what_is_there_is_no_error(self) -> None:
        """Twice, a blob and a whole package."""
        target, packed = self.target(), package_bytes()
        for _ in range(2):
            packed.push(target, "v1")
        assert target.resolve("v1") == packed.descriptor
        assert read_manifest(target, packed.descriptor) == packed.manifest

    def test_a_source_that_gives_few_bytes_at_a_time_is_read_to_its_end(self) -> None:
        """Sockets do."""
        target, data = self.target(), bytes(range(256)) * 40
        target.push(_blob(data), _Dribble(data))
        assert read_verified(target, _blob(data)) == data

    def test_too_few_bytes_leave_nothing(self) -> None:
        """One byte is missing."""
        self._leaves_nothing(b"0123456789", io.BytesIO(b"012345678"))

    def test_too_many_bytes_leave_nothing(self) -> None:
        """One byte too many."""
        self._leaves_nothing(b"0123456789", io.BytesIO(b"0123456789+"))

    def test_other_bytes_of_the_same_length_leave_nothing(self) -> None:
        """Only the digest can tell."""
        self._leaves_nothing(b"0123456789", io.BytesIO(b"0123456780"))

    def test_a_wrong_manifest_leaves_nothing(self) -> None:
        """Manifests go another way in registries."""
        packed = package_bytes()
        target = self.target()
        for descriptor, data in packed.content[:-1]:
            target.push(descriptor, io.BytesIO(data))
        data = packed.content[-1][1]
        with _refused(IntegrityError):
            target.push(packed.descriptor, io.BytesIO(data[:-1] + b" "))
        assert not target.exists(packed.descriptor)

    def test_a_source_that_breaks_leaves_nothing_and_says_why(self) -> None:
        """The source's own error comes through."""
        target, data = self.target(), b"x" * (2 * CHUNK)
        with _refused(_TornError):
            target.push(_blob(data), _Torn(data[:-1]))
        assert not target.exists(_blob(data))
        target.push(_blob(data), io.BytesIO(data))
        assert target.exists(_blob(data))

    def _leaves_nothing(self, named: bytes, sent: Readable) -> None:
        target = self.target()
        with _refused(IntegrityError):
            target.push(_blob(named), sent)
        assert not target.exists(_blob(named))
        with _refused(NotFound):
            read_verified(target, _blob(named))

    def test_an_empty_blob_is_a_blob(self) -> None:
        """Zero bytes."""
        target = self.target()
        target.push(_blob(b""), io.BytesIO())
        assert target.exists(_blob(b""))
        assert read_verified(target, _blob(b"")) == b""

    def test_a_blob_larger_than_a_chunk_is_whole(self) -> None:
        """5 MiB and a byte, of which no two chunks are equal."""
        target = self.target()
        data = b"".join(hashlib.sha256(bytes([i])).digest() * (CHUNK // 32) for i in range(5)) + b"!"
        target.push(_blob(data), io.BytesIO(data))
        assert read_verified(target, _blob(data)) == data

    def test_a_sha512_blob_lies_under_its_own_name(self) -> None:
        """Only under that."""
        target, data = self.target(), b"long digest"
        target.push(_blob(data, "sha512"), io.BytesIO(data))
        assert target.exists(_blob(data, "sha512"))
        assert read_verified(target, _blob(data, "sha512")) == data

    def test_eight_threads_push_the_same_blob(self) -> None:
        """All succeed, and it is whole."""
        target, data = self.target(), b"shared" * (CHUNK // 6)
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda _: target.push(_blob(data), io.BytesIO(data)), range(8)))
        assert read_verified(target, _blob(data)) == data

    # -- tags ---------------------------------------------------------------------------------------------------

    def test_a_manifest_is_resolved_by_tag_and_by_digest(self) -> None:
        """To media type, digest and size."""
        target, packed = self.target(), package_bytes()
        packed.push(target, "1.0.0")
        assert target.resolve("1.0.0") == packed.descriptor
        assert target.resolve(str(packed.descriptor.digest)) == packed.descriptor

    def test_an_index_is_resolved_as_an_index(self) -> None:
        """Its media type is its own."""
        target, packed = self.target(), package_bytes()
        packed.push(target)
        data = Index((packed.descriptor,)).to_bytes()
        index = Descriptor.of(data, IMAGE_INDEX)
        target.push(index, io.BytesIO(data))
        target.tag(index, "all")
        assert target.resolve("all") == index
        assert read_manifest(target, index).manifests == (packed.descriptor,)

    def test_absent_tags_and_digests_are_not_found(self) -> None:
        """Beside present ones."""
        target = self.target()
        package_bytes().push(target, "1.0.0")
        with _refused(NotFound):
            target.resolve("2.0.0")
        with _refused(NotFound):
            target.resolve(str(Digest.of(b"never")))

    def test_a_missing_manifest_cannot_be_tagged(self) -> None:
        """And no tag is left behind."""
        target, packed = self.target(), package_bytes()
        packed.push(target, "here")
        with _refused(NotFound):
            target.tag(package_bytes(version="9.9.9").descriptor, "there")
        assert list(target.tags()) == ["here"]

    def test_a_tag_moves(self) -> None:
        """And the old manifest stays."""
        target = self.target()
        first, second = package_bytes(version="1.0.0"), package_bytes(version="2.0.0")
        first.push(target, "latest")
        second.push(target, "latest")
        assert target.resolve("latest") == second.descriptor
        assert target.resolve(str(first.descriptor.digest)) == first.descriptor
        assert list(target.tags()) == ["latest"]

    def test_a_tag_outside_the_grammar_is_refused(self) -> None:
        """Each for its own reason."""
        target, packed = self.target(), package_bytes()
        packed.push(target)
        for tag in ("", ".hidden", "-dash", "a b", "../up", "a/b", "x" * 129):
            with _refused(ReferenceInvalid):
                target.tag(packed.descriptor, tag)

    def test_tags_are_listed_in_ascii_order(self) -> None:
        """Capitals before the underscore before small letters; as text, not as numbers."""
        target = self.target()
        wanted = ["10", "9", "A", "Z", "_", "a", "b", "b.1", "b_1", "v1.0"]
        package_bytes().push(target, *reversed(wanted))
        assert list(target.tags()) == wanted

    def test_tags_set_at_the_same_time_are_all_kept(self) -> None:
        """Eight threads, eight tags each on its own manifest."""
        target = self.target()
        packed = [package_bytes(version=f"1.0.{i}") for i in range(8)]
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda one: one.push(target, one.manifest.annotations[_VERSION]), packed))
        assert [target.resolve(tag) for tag in target.tags()] == [one.descriptor for one in packed]

    def test_a_removed_tag_is_gone_and_its_manifest_is_not(self) -> None:
        """Nor the other tags of the same manifest."""
        target, packed = self.target(), package_bytes()
        packed.push(target, "one", "two")
        target.untag("one")
        assert list(target.tags()) == ["two"]
        with _refused(NotFound):
            target.resolve("one")
        target.untag("two")
        assert target.resolve(str(packed.descriptor.digest)) == packed.descriptor

    def test_an_absent_tag_cannot_be_removed(self) -> None:
        """It is not found."""
        target = self.target()
        package_bytes().push(target, "here")
        with _refused(NotFound):
            target.untag("there")

    def test_a_deleted_manifest_takes_its_tags_with_it(self) -> None:
        """And nobody else's."""
        target = self.target()
        gone, kept = package_bytes(version="1.0.0"), package_bytes(version="2.0.0")
        gone.push(target, "1.0.0", "1.0")
        kept.push(target, "2.0.0")
        target.delete(gone.descriptor)
        self.settle(target)
        assert list(target.tags()) == ["2.0.0"]
        with _refused(NotFound):
            target.resolve(str(gone.descriptor.digest))
        assert target.resolve("2.0.0") == kept.descriptor
        assert read_manifest(target, kept.descriptor) == kept.manifest

    def test_a_deleted_manifest_comes_back_when_it_is_pushed_again(self) -> None:
        """Nothing remembers that it was deleted."""
        target, packed = self.target(), package_bytes()
        packed.push(target, "v1")
        target.delete(packed.descriptor)
        packed.push(target, "v1")
        assert target.resolve("v1") == packed.descriptor

    def test_an_absent_manifest_cannot_be_deleted(self) -> None:
        """It is not found."""
        target = self.target()
        package_bytes().push(target, "here")
        with _refused(NotFound):
            target.delete(package_bytes(version="9.9.9").descriptor)

    # -- referrers ----------------------------------------------------------------------------------------------

    def test_referrers_are_listed_with_type_and_annotations(self) -> None:
        """As image-spec and distribution-spec want it."""
        target, packed = self.target(), package_bytes()
        packed.push(target, "v1")
        self._refer(target, packed.descriptor)
        found = {entry.annotations["text"]: entry.artifact_type for entry in target.referrers(packed.descriptor)}
        assert found == {"first": _NOTE, "second": _NOTE, "clean": _SCAN}

    def test_referrers_are_filtered_by_type(self) -> None:
        """An unknown type lists nothing."""
        target, packed = self.target(), package_bytes()
        packed.push(target, "v1")
        self._refer(target, packed.descriptor)
        scans = list(target.referrers(packed.descriptor, _SCAN))
        assert [entry.annotations["text"] for entry in scans] == ["clean"]
        assert read_manifest(target, scans[0].bare()).subject == packed.descriptor
        assert list(target.referrers(packed.descriptor, "application/vnd.example.none")) == []

    def test_what_nobody_refers_to_has_no_referrers(self) -> None:
        """Nor does what is not there."""
        target, packed = self.target(), package_bytes()
        packed.push(target, "v1")
        assert list(target.referrers(packed.descriptor)) == []
        assert list(target.referrers(package_bytes(version="9.9.9").descriptor)) == []

    def test_a_deleted_referrer_is_not_listed(self) -> None:
        """The others are."""
        target, packed = self.target(), package_bytes()
        packed.push(target, "v1")
        first, *_ = self._refer(target, packed.descriptor)
        target.delete(first)
        self.settle(target)
        texts = sorted(entry.annotations["text"] for entry in target.referrers(packed.descriptor))
        assert texts == ["clean", "second"]

    @staticmethod
    def _refer(target: Target, subject: Descriptor) -> list[Descriptor]:
        target.push(Descriptor.of(b"{}", EMPTY), io.BytesIO(b"{}"))
        notes = [_note(subject, "first"), _note(subject, "second"), _note(subject, "clean", _SCAN)]
        for descriptor, data in notes:
            target.push(descriptor, io.BytesIO(data))
        return [descriptor for descriptor, _ in notes]


class AssemblerContract(ABC):
    """What every place promises that takes blobs in pieces; see ``store.protocol.Assembler``."""

    @abstractmethod
    def target(self) -> Target:
        """Return a new and empty place that is an ``Assembler`` as well."""

    @contextlib.contextmanager
    def _assembly(self, target: Target, data: bytes) -> Iterator[Assembly]:
        assert isinstance(target, Assembler)
        with target.assemble(_blob(data), stopped=lambda: False, on_wait=lambda reason: None) as assembly:
            assert assembly is not None
            yield assembly

    def test_pieces_in_any_order_become_the_blob(self) -> None:
        """The last one first."""
        target, data = self.target(), bytes(range(256)) * 40
        with self._assembly(target, data) as assembly:
            for start in (9000, 3000, 0, 6000):
                assembly.write(start, data[start : start + 3000])
            assert assembly.missing() == []
            assembly.publish()
        assert read_verified(target, _blob(data)) == data

    def test_nothing_exists_before_it_is_published(self) -> None:
        """All bytes are there."""
        target, data = self.target(), b"weights" * 100
        with self._assembly(target, data) as assembly:
            assembly.write(0, data)
            assert not target.exists(_blob(data))
        assert not target.exists(_blob(data))

    def test_what_was_kept_is_there_for_the_next_attempt(self) -> None:
        """The rest is missing."""
        target, data = self.target(), b"weights" * 100
        with self._assembly(target, data) as assembly:
            assembly.write(100, data[100:300])
            assembly.keep(Extent(100, 300))
        with self._assembly(target, data) as assembly:
            assert assembly.missing() == [Extent(0, 100), Extent(300, 700)]

    def test_new_bytes_are_counted_once(self) -> None:
        """However they came."""
        with self._assembly(self.target(), b"0123456789") as assembly:
            assert assembly.write(0, b"0123") == 4
            assert assembly.write(2, b"2345") == 2
            assert assembly.written(Extent(0, 8)) == 2
            assert assembly.front() == 8

    def test_what_is_forgotten_is_missing(self) -> None:
        """And counts as new when it comes again."""
        with self._assembly(self.target(), b"0123456789") as assembly:
            assembly.write(0, b"0123456789")
            assembly.forget(Extent(3, 5))
            assert assembly.missing() == [Extent(3, 5)]
            assert assembly.front() == 3
            assert assembly.write(3, b"34") == 2

    def test_what_is_thrown_away_is_not_there_for_the_next_attempt(self) -> None:
        """Nor what was kept."""
        target = self.target()
        with self._assembly(target, b"0123456789") as assembly:
            assembly.write(0, b"0123456789")
            assembly.keep(Extent(0, 10))
            assembly.discard()
        with self._assembly(target, b"0123456789") as assembly:
            assert assembly.missing() == [Extent(0, 10)]

    def test_bytes_come_through_the_file_as_well(self) -> None:
        """And are read back."""
        with self._assembly(self.target(), b"0123456789") as assembly:
            file = assembly.file()
            file.seek(4)
            file.write(b"4567")
            assembly.written(Extent(4, 8))
            buffer = bytearray(4)
            assert assembly.read(4, memoryview(buffer)) == 4
            assert buffer == b"4567"

    def test_what_is_there_is_not_assembled(self) -> None:
        """Whoever brought it."""
        target, data = self.target(), b"0123456789"
        target.push(_blob(data), io.BytesIO(data))
        assert isinstance(target, Assembler)
        with target.assemble(_blob(data), stopped=lambda: False, on_wait=lambda reason: None) as assembly:
            assert assembly is None


_VERSION = "org.opencontainers.image.version"
