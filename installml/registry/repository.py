"""A registry and its repositories as places: what ``transfer`` copies from and to, over distribution-spec.

Here: the requests of pull, push, content discovery and content management, and what their answers mean. Uploads of
blobs are in ``uploads``, lists of referrers in ``referrers``, requests and authorisation in ``endpoint`` and ``auth``,
the bytes in ``http``. Everything may be used from several threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from ..digest import CHUNK, Digest, DigestInvalid, Readable, VerifyingReader
from ..errors import DigestMismatch, NotFound, SizeMismatch
from ..reference import Reference, check_repository, check_tag
from ..spec.canonical import MAX_MANIFEST
from ..spec.descriptor import Descriptor
from ..spec.extents import Extent
from ..spec.manifest import as_referrer, parse_manifest
from ..spec.media import MANIFESTS
from .answers import failure
from .auth import CredentialSource, Fixed
from .downloads import Downloads, ReceivedSpan, check_encoding
from .endpoint import GONE, Endpoint, RepositoryEndpoint
from .errors import (
    BlobUnknown,
    DigestRefused,
    ManifestUnknown,
    NameUnknown,
    RateLimited,
    RegistryError,
    ServerFailed,
    TransportError,
    UnexpectedAnswer,
    Unsupported,
)
from .http import HttpClient, Response
from .leftovers import Leftovers
from .referrers import Referrers
from .sites import DOCKER_HUB
from .uploads import PUSH_HINTS, Uploads

__all__ = ["Registry", "Repository"]

_ACCEPT = {"Accept": ", ".join(MANIFESTS)}
_PAGE = 1000
_UNASKED = 256 << 10  # bytes of the largest blob that is sent on a mere supposition
_SURE = 8  # answers "not there" in a row after which the next blob is supposed not to be there either
_SAMPLE = 16  # one in so many is asked for all the same
_PUTS = 3  # times that a manifest is put when the registry does not find its parts


class Registry:
    """One registry.

    Args:
        host: Host and optional port.
        client: Sends the requests, and knows the host's settings (plain http, certificate authorities).
        credentials: Where credentials come from; None for anonymous use.
    """

    def __init__(self, host: str, client: HttpClient, credentials: CredentialSource | None = None) -> None:
        self._endpoint = Endpoint(host, client, credentials or Fixed())

    @property
    def host(self) -> str:
        """The name by which references and credentials know it."""
        return self._endpoint.host

    def repository(self, name: str) -> Repository:
        """Return the repository ``name`` of this registry; nothing is asked yet."""
        if self.host == DOCKER_HUB and "/" not in name:
            name = f"library/{name}"
        return Repository(RepositoryEndpoint(self._endpoint, check_repository(name)))

    def ping(self) -> None:
        """Check that a registry answers, and that it accepts our credentials if we have any.

        Raises:
            Unauthorized: It does not accept them, or needs some and none were found.
            UnexpectedAnswer: Something answers that is no registry.
        """
        with self._endpoint.send("GET", "/v2/", "", ()) as response:
            if response.status in GONE:
                raise UnexpectedAnswer(f"{self.host} has no /v2/: it is not an OCI registry", subject=self.host)
            if response.status != 200:
                raise failure(response, f"a first look at {self.host}")
            response.drain()

    def catalog(self) -> list[str]:
        """Return the names of all repositories that the registry lists, in ASCII order.

        Raises:
            Unsupported: The registry keeps the list to itself, as most that are shared do.
        """
        what = f"the catalog of {self.host}"
        names: set[str] = set()
        for page in self._endpoint.pages(f"/v2/_catalog?n={_PAGE}", "", ("registry:catalog:*",), what):
            if page is None:
                raise Unsupported(f"{self.host} does not list its repositories", subject=self.host)
            names.update(_texts(page, "repositories", self.host))
        return sorted(names)


class Repository:
    """One repository as a place; has every interface of ``store.protocol``. Made by ``Registry.repository``."""

    def __init__(self, at: RepositoryEndpoint) -> None:
        self._at = at
        self._downloads = Downloads(at)
        self._uploads = Uploads(at)
        self._referrers = Referrers(at)
        self._missing: set[Digest] = set()  # asked about and not there: push need not ask again
        self._present: set[Digest] = set()  # blobs that it has taken from us: nobody need ask for them
        self._absent_in_row = 0
        self._supposed = 0
        self._put_last: tuple[Digest, bytes] | None = None  # the manifest that it has taken last
        self._read_last: tuple[Descriptor, bytes] | None = None  # the manifest that was read last and proved right
        self._tagged_last: tuple[Digest, str] | None = None  # and the tag with which it came

    @property
    def reference(self) -> Reference:
        """Registry and repository, without tag or digest."""
        return Reference(self._at.registry.host, self._at.name)

    def __str__(self) -> str:
        return str(self._at)

    def _what(self, descriptor: Descriptor) -> str:
        return f"the {'manifest' if _is_manifest(descriptor) else 'blob'} {self}@{descriptor.digest}"

    def _spelled(self, pointer: str) -> str:
        return f"{self}{'@' if ':' in pointer else ':'}{pointer}"

    # -- pull ---------------------------------------------------------------------------------------------------

    @contextmanager
    def fetch(self, descriptor: Descriptor) -> Iterator[Readable]:
        """Open the content that ``descriptor`` names; its bytes are not verified yet.

        Raises:
            NotFound: It is not there.
            SizeMismatch: The registry announces another number of bytes.
        """
        if _is_manifest(descriptor):
            yield BytesIO(self._manifest_read(descriptor))
            return
        whole = Extent(0, descriptor.size)
        with self._downloads.open(descriptor, whole, self._what(descriptor), once=False) as span:
            yield span

    def fetch_range(self, descriptor: Descriptor, extent: Extent) -> ReceivedSpan:
        """Open the bytes ``extent`` of a blob; one attempt.

        Returns:
            The span, to be used as a context manager; ``abort`` cuts it off from another thread.

        Raises:
            RangesUnsupported: The registry sends the whole blob although ``extent`` does not begin at 0, or says that
                it has no such bytes; the connection is closed.
            NotFound: The blob is not there.
            SizeMismatch: The registry says that the blob has another size.
            UnexpectedAnswer: It sends other bytes than those asked for, or something on the way encodes them.
            RateLimited, ServerFailed: With ``retry_after``, if the registry names a time.
            TransportError: There was no answer.
        """
        return self._downloads.open(descriptor, extent, self._what(descriptor))

    def _manifest_read(self, descriptor: Descriptor) -> bytes:
        """Return the bytes that the registry has for a manifest; the last that proved right is not asked for again:
        whoever finds a package reads it, and whoever copies it reads it once more."""
        if self._read_last is not None and self._read_last[0] == descriptor.bare():
            return self._read_last[1]
        if descriptor.size > MAX_MANIFEST:
            raise _too_large(descriptor)
        with self._manifest(descriptor) as response:
            counted = _Counted(response, descriptor.size)
            data = b"".join(iter(lambda: counted.read(CHUNK), b""))
        if Digest.of(data, descriptor.digest.algorithm) == descriptor.digest:
            self._read_last = (descriptor.bare(), data)
        return data

    def _manifest(self, descriptor: Descriptor) -> Response:
        """Return the answer to the GET of a manifest, its head checked."""
        what = self._what(descriptor)
        response = self._at.send("GET", _path(descriptor), "pull", headers=_ACCEPT)
        if response.status != 200:
            raise failure(response, what)
        try:
            check_encoding(response, what)
            if response.length not in {None, descriptor.size}:
                raise SizeMismatch(descriptor.size, str(response.length), response.place)
            if response.media_type != descriptor.media_type:
                raise UnexpectedAnswer(
                    f"{response.place} sends {what} as {response.media_type!r}, "
                    f"which was named as {descriptor.media_type!r}",
                    subject=str(self),
                )
        except BaseException:
            response.close()
            raise
        return response

    def exists(self, descriptor: Descriptor) -> bool:
        """Return whether the content is there.

        A redirect means yes and is not followed: pre-signed URLs are made for GET (GHCR's answers 403 to HEAD).
        """
        if descriptor.digest in self._present:
            return True
        headers = _ACCEPT if _is_manifest(descriptor) else None
        with self._at.send("HEAD", _path(descriptor), "pull", headers=headers, follow=False) as response:
            if response.status in GONE:
                self._missing.add(descriptor.digest)
                self._absent_in_row += not _is_manifest(descriptor)
                return False
            if response.status == 200 or 300 < response.status < 400:
                self._absent_in_row = 0
                return True
            raise failure(response, self._what(descriptor))

    def supposes_missing(self, descriptor: Descriptor) -> bool:
        """Return whether the blob need not be asked for before it is pushed: it is small, and all of the last that
        were asked for were missing, as in a new repository.

        Now and then a blob is asked for nevertheless, so that a push that was cut off goes on where it was. To send
        what is there already is harmless. Threads that count at the same time may count wrong by one.
        """
        if descriptor.size > _UNASKED or self._absent_in_row < _SURE or descriptor.digest in self._present:
            return False
        self._supposed += 1
        if self._supposed % _SAMPLE == 0:
            return False
        self._missing.add(descriptor.digest)
        return True

    def complete(self, manifest: Descriptor) -> bool:
        """Return whether the manifest is there: a registry takes none whose parts it lacks (OCI distribution-spec,
        "Pushing Manifests"), so one question answers for the whole package."""
        return self.exists(manifest)

    def resolve(self, pointer: str) -> Descriptor:
        """Return the descriptor of the manifest under ``pointer``, a tag or a digest.

        Raises:
            NotFound: There is none.
            DigestMismatch: The registry's bytes, or its own word, are not what was asked for.
        """
        wanted = Digest.parse(pointer) if ":" in pointer else None
        path = f"manifests/{wanted or check_tag(pointer)}"
        with self._at.send("HEAD", path, "pull", headers=_ACCEPT) as response:
            if response.status in GONE:
                raise self._unknown(pointer, response.status)
            if response.status in {401, 403, 429}:
                raise failure(response, f"the manifest {self._spelled(pointer)}")
            found = _named(response) if response.status == 200 else None
        if found is None:  # HEAD is not there, or says too little
            return self._resolve_by_reading(path, pointer, wanted)
        if wanted and found.digest != wanted:
            raise DigestMismatch(str(wanted), str(found.digest), self.reference.registry)
        return found

    def resolve_by_reading(self, pointer: str) -> Descriptor:
        """As ``resolve``, by one question for the manifest itself, which whoever reads it next has already.

        For who has nothing of it yet; where it is here most likely, ``resolve`` asks for less.
        """
        wanted = Digest.parse(pointer) if ":" in pointer else None
        return self._resolve_by_reading(f"manifests/{wanted or check_tag(pointer)}", pointer, wanted)

    def _resolve_by_reading(self, path: str, pointer: str, wanted: Digest | None) -> Descriptor:
        spelled = self._spelled(pointer)
        with self._at.send("GET", path, "pull", headers=_ACCEPT) as response:
            if response.status in GONE:
                raise self._unknown(pointer, response.status)
            if response.status != 200:
                raise failure(response, f"the manifest {spelled}")
            claimed = _digest_header(response)
            media_type, data = response.media_type, response.body(MAX_MANIFEST)
        if media_type not in MANIFESTS:
            raise UnexpectedAnswer(f"{spelled} is of type {media_type!r}, which is no manifest", subject=spelled)
        parse_manifest(data, media_type, spelled)
        for named in filter(None, (wanted, claimed)):
            actual = Digest.of(data, named.algorithm)
            if actual != named:
                raise DigestMismatch(str(named), str(actual), self.reference.registry)
        found = Descriptor(media_type, wanted or claimed or Digest.of(data), len(data))
        self._read_last = (found, data)
        return found

    def _unknown(self, pointer: str, status: int) -> ManifestUnknown:
        spelled = self._spelled(pointer)
        hint = f"List what is there with: installml tags {self}"
        return ManifestUnknown(f"{self.reference.registry} has no {spelled}", hint=hint, subject=spelled, status=status)

    # -- push ---------------------------------------------------------------------------------------------------

    def push(self, descriptor: Descriptor, content: Readable) -> None:
        """Take the content that ``descriptor`` names; nothing is sent when it is there already.

        A blob whose ``content`` can ``seek`` is sent once more, from the start, after a failure that may pass.

        Raises:
            IntegrityError: ``content`` is not what ``descriptor`` names; nothing was kept.
        """
        if self._wanted(descriptor):
            if _is_manifest(descriptor):
                self._push_manifest(descriptor, _whole(descriptor, content))
            else:
                self._uploads.push(descriptor, content)
                self._present.add(descriptor.digest)

    def _wanted(self, descriptor: Descriptor) -> bool:
        """Return whether the registry lacks it, asking at most once."""
        if descriptor.digest not in self._missing and self.exists(descriptor):
            return False
        self._missing.discard(descriptor.digest)
        return True

    def push_file(
        self,
        descriptor: Descriptor,
        file: BinaryIO,
        report: Callable[[int], None],
        *,
        proved: bool = False,
        already: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Take a blob straight from its file, with as few copies on the way as the connection allows.

        Args:
            descriptor: The blob.
            file: A regular file, unbuffered, that holds exactly its bytes.
            report: Told how many more bytes have gone; what it raises ends the push.
            proved: The bytes were compared with the digest before, and the file has not been touched since; the
                registry's own comparison is then the only one.
            already: Told how many bytes an earlier attempt has brought, if it has.

        Raises:
            IntegrityError: The file holds something else; the registry got no complete blob.
        """
        if self._wanted(descriptor):
            self._uploads.push_file(descriptor, file, report, proved=proved, already=already)
            self._present.add(descriptor.digest)

    def stream_file(
        self,
        file: BinaryIO,
        size: int,
        digest: Callable[[Callable[[], None]], Digest],
        report: Callable[[int], None],
        already: Callable[[int], None] = lambda _: None,
    ) -> bool:
        """Take a file while it is still being hashed; see ``Uploads.stream_file``."""
        taken = self._uploads.stream_file(file, size, digest, report, already)
        if taken:
            self._present.add(digest(lambda: None))
        return taken

    def resume_from(self, folder: Path) -> None:
        """Remember uploads that are cut off in ``folder``, and go on with those that are remembered there."""
        self._uploads.leftovers = Leftovers(folder)

    def push_tagged(self, manifest: Descriptor, content: Readable, tag: str) -> None:
        """Take a manifest; where that is safe, under its tag at once, which says its digest as well and sends it once.

        It is safe where nothing between us and the registry can alter it: the tag would name what arrived, and only
        then would we see that it is something else. Whatever fails is done again in two steps, as ``push`` and ``tag``.

        Raises:
            IntegrityError: ``content`` is not what ``manifest`` names; nothing was sent.
        """
        data = _whole(manifest, content)
        if manifest.digest.algorithm == "sha256" and self._at.registry.unaltered:
            with suppress(TransportError, ServerFailed, RateLimited):
                self._push_manifest(manifest, data, check_tag(tag))
                self._tagged_last = (manifest.digest, tag)
                return
        self._push_manifest(manifest, data)

    def _push_manifest(self, descriptor: Descriptor, data: bytes, tag: str = "") -> None:
        manifest = parse_manifest(data, descriptor.media_type, self._what(descriptor))
        listed = self._put_manifest(descriptor, data, tag or str(descriptor.digest))
        self._put_last = (descriptor.digest, data)
        if manifest.subject is not None and not (listed and self._referrers.native(manifest.subject)):
            self._referrers.add(manifest.subject, as_referrer(descriptor, manifest))

    def _put_manifest(self, descriptor: Descriptor, data: bytes, pointer: str) -> bool:
        """Put a manifest; return whether the registry says that it keeps its subject (``OCI-Subject``).

        A registry that cannot find what it has, or finds other bytes, is asked again: distribution writes its link
        files in place, and who reads one at that moment sees an empty one. Putting the same bytes again is harmless.
        """
        for _ in range(_PUTS - 1):
            with suppress(DigestRefused, BlobUnknown):
                return self._put_manifest_once(descriptor, data, pointer)
        return self._put_manifest_once(descriptor, data, pointer)

    def _put_manifest_once(self, descriptor: Descriptor, data: bytes, pointer: str) -> bool:
        headers, again = {"Content-Type": descriptor.media_type}, ":" in pointer
        path = f"manifests/{pointer}"
        with self._at.send("PUT", path, "pull", "push", headers=headers, body=data, again=again) as response:
            if response.status not in {200, 201, 202}:
                raise failure(
                    response,
                    f"the manifest {self._spelled(pointer)}",
                    known=self._at.registry.quirks.hints + PUSH_HINTS,
                )
            claimed = _digest_header(response)
            response.drain()
        if claimed and claimed.algorithm == descriptor.digest.algorithm and claimed != descriptor.digest:
            raise DigestMismatch(str(descriptor.digest), str(claimed), self.reference.registry)
        return bool(response.headers.get("OCI-Subject"))

    def tag(self, descriptor: Descriptor, tag: str) -> None:
        """Let ``tag`` name the manifest ``descriptor``: its bytes are put once more, under the tag, if it does not yet.

        A digest in the tag's place changes nothing: registries keep manifests without tags.

        Raises:
            NotFound: The manifest is not there.
        """
        if ":" in tag:
            if not self.exists(descriptor):
                raise self._unknown(tag, 404)
            return
        check_tag(tag)
        tagged, self._tagged_last = self._tagged_last, None  # it counts only right after the push
        if tagged == (descriptor.digest, tag):
            return
        if self._put_last is not None and self._put_last[0] == descriptor.digest:  # new there: no tag can name it yet
            self._put_manifest(descriptor, self._put_last[1], tag)
            return
        with suppress(NotFound):
            if self.resolve(tag).digest == descriptor.digest:
                return
        self._put_manifest(descriptor, self._read(descriptor), tag)

    def _read(self, descriptor: Descriptor) -> bytes:
        with self.fetch(descriptor) as content:
            return _whole(descriptor, content)

    def mount(self, descriptor: Descriptor, origin: object) -> bool:
        """Link a blob from another repository of the same registry; return whether that worked.

        When the registry answers with an upload session instead, ``push`` of the same blob goes on with it.
        """
        if not isinstance(origin, Repository) or _is_manifest(descriptor):
            return False
        theirs, ours = origin.reference, self.reference
        if theirs.registry != ours.registry or theirs.repository == ours.repository:
            return False
        return self._uploads.mount(descriptor, theirs.repository)

    # -- content discovery --------------------------------------------------------------------------------------

    def tags(self) -> list[str]:
        """Return all tags, in ASCII order.

        Raises:
            NotFound: The registry has no such repository.
        """
        found: set[str] = set()
        host = self.reference.registry
        for page in self._at.pages(f"tags/list?n={_PAGE}", f"the tags of {self}"):
            if page is None:
                raise NameUnknown(f"{host} has no repository {self._at.name}", subject=str(self), status=404)
            found.update(_texts(page, "tags", host))
        return sorted(found)

    def referrers(self, descriptor: Descriptor, artifact_type: str = "") -> list[Descriptor]:
        """Return the manifests whose subject is ``descriptor``, filtered by ``artifact_type`` when given.

        Raises:
            RegistryError: They could not be listed, which is never the same as "none".
        """
        return self._referrers.find(descriptor, artifact_type)

    def lists_referrers(self, descriptor: Descriptor) -> bool:
        """Return whether the registry has the referrers API; where it has not, a tag stands for the list."""
        return self._referrers.native(descriptor)

    # -- content management -------------------------------------------------------------------------------------

    def untag(self, tag: str) -> None:
        """Remove ``tag``; the manifest stays.

        Raises:
            NotFound: There is no such tag.
            Unsupported: The registry removes no tags (distribution-spec, "Deleting tags": it may).
        """
        spelled = self._spelled(check_tag(tag))
        self._tagged_last = None
        with self._at.send("DELETE", f"manifests/{tag}", "delete", again=True) as response:
            if response.status in {400, 405, 501}:
                raise Unsupported(
                    f"{self.reference.registry} does not remove tags",
                    hint="Move the tag to another package, or remove the package by its digest.",
                    subject=spelled,
                    status=response.status,
                )
            _check_removed(response, spelled, lambda: self._unknown(tag, response.status))

    def delete(self, descriptor: Descriptor) -> None:
        """Remove a manifest and every tag on it, or a blob.

        Raises:
            NotFound: It is not there.
            Unsupported: The registry is set not to delete.
        """
        what = self._what(descriptor)
        subject = self._subject(descriptor)
        self._present.discard(descriptor.digest)
        self._put_last = self._tagged_last = self._read_last = None
        with self._at.send("DELETE", _path(descriptor), "delete", again=True) as response:
            if response.status in {405, 501}:
                raise Unsupported(
                    f"{self.reference.registry} is set not to delete {what}",
                    hint="Its owner can allow it (distribution: storage.delete.enabled).",
                    subject=what,
                    status=response.status,
                )
            _check_removed(response, what, lambda: failure(response, what))
        if subject is not None and not self._referrers.native(subject):
            self._referrers.remove(subject, descriptor)

    def _subject(self, descriptor: Descriptor) -> Descriptor | None:
        """Return whom a manifest refers to; its bytes are gone afterwards."""
        if not _is_manifest(descriptor):
            return None
        data = self._read(descriptor)
        return (
            parse_manifest(data, descriptor.media_type, self._what(descriptor)).subject
            if b'"subject"' in data
            else None
        )


class _Counted:
    """A body read at most one byte beyond the size that was named: enough to see that there is more."""

    def __init__(self, response: Response, size: int) -> None:
        self._response = response
        self._left = size + 1

    def read(self, size: int = -1, /) -> bytes:
        block = self._response.read(self._left if size < 0 else min(size, self._left))
        self._left -= len(block)
        return block


def _is_manifest(descriptor: Descriptor) -> bool:
    return descriptor.media_type in MANIFESTS


def _path(descriptor: Descriptor) -> str:
    return f"{'manifests' if _is_manifest(descriptor) else 'blobs'}/{descriptor.digest}"


def _whole(descriptor: Descriptor, content: Readable) -> bytes:
    """Return a manifest's bytes, checked against its descriptor."""
    if descriptor.size > MAX_MANIFEST:
        raise _too_large(descriptor)
    return VerifyingReader.over(content, descriptor.digest, descriptor.size, "the manifest's source").read()


def _too_large(manifest: Descriptor) -> SizeMismatch:
    return SizeMismatch(MAX_MANIFEST, f"{manifest.size}, more than any manifest may have,", str(manifest.digest))


def _digest_header(response: Response) -> Digest | None:
    try:
        return Digest.parse(response.headers.get("Docker-Content-Digest"))
    except DigestInvalid:
        return None


def _named(response: Response) -> Descriptor | None:
    """Return the descriptor that the head of an answer spells in full, or None."""
    digest, size, media_type = _digest_header(response), response.length, response.media_type
    if digest is None or not size or size > MAX_MANIFEST or media_type not in MANIFESTS:
        return None
    return Descriptor(media_type, digest, size)


def _texts(page: object, key: str, place: str) -> list[str]:
    listed = page.get(key) if isinstance(page, dict) else ()
    if listed is None:
        return []  # some registries write null for an empty list
    if not isinstance(listed, list) or not all(isinstance(entry, str) for entry in listed):
        raise UnexpectedAnswer(f"{place} sent something else where a list of {key} was expected", subject=place)
    return listed


def _check_removed(response: Response, what: str, missing: Callable[[], RegistryError]) -> None:
    if response.status in GONE:
        raise missing()
    if response.status not in {200, 202, 204}:
        raise failure(response, what)
    response.drain()
