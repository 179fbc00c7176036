"""Answers that no friendly registry gives, and quirks of those that are not at hand."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import parse_qs, urlsplit

import pytest

from installml.digest import Digest
from installml.errors import DigestMismatch, InstallMLError, IntegrityError, NotFound, ReferenceInvalid, SizeMismatch
from installml.registry.auth import Credentials, Fixed
from installml.registry.errors import (
    ConnectionLost,
    Denied,
    DigestRefused,
    ManifestUnknown,
    NameUnknown,
    RateLimited,
    RedirectRefused,
    RegistryError,
    ServerFailed,
    TooLarge,
    Unauthorized,
    UnexpectedAnswer,
    Unsupported,
)
from installml.registry.http import HostSettings
from installml.registry.repository import Registry, Repository
from installml.spec.descriptor import Descriptor
from installml.spec.manifest import Index, Manifest
from installml.spec.media import IMAGE_INDEX, IMAGE_MANIFEST, MODEL_CONFIG, MODEL_MANIFEST
from installml.store import protocol
from tests.unit.registry.serving import Answer, Asked, Site, client, name_everything, site

BLOB = Descriptor.of(b"weights", "application/octet-stream")
CONFIG = Descriptor.of(b"{}", MODEL_CONFIG)
DATA = Manifest(CONFIG, (BLOB,), MODEL_MANIFEST).to_bytes()
ROOT = Descriptor.of(DATA, IMAGE_MANIFEST)
NAMED = {"Content-Type": IMAGE_MANIFEST, "Docker-Content-Digest": str(ROOT.digest)}
SIGNATURE_DATA = Manifest(CONFIG, (), MODEL_MANIFEST, {}, ROOT).to_bytes()
SIGNATURE = Descriptor.of(SIGNATURE_DATA, IMAGE_MANIFEST)


class Script:
    """A registry that answers as a table says; ``/v2/`` is always fine and what is not in the table is not found."""

    def __init__(self, **table: Answer | Callable[[Asked], Answer]) -> None:
        self.table = {name.replace("_", " ", 1): answer for name, answer in table.items()}

    def __call__(self, asked: Asked) -> Answer:
        if asked.path == "/v2/":
            return Answer(body=b"{}")
        path = urlsplit(asked.path).path.removeprefix("/v2/acme/x/")
        kind = path.split("/", maxsplit=1)[0]
        answer = self.table.get(f"{asked.method} {path}") or self.table.get(f"{asked.method} {kind}") or Answer(404)
        return answer if isinstance(answer, Answer) else answer(asked)


@contextmanager
def place(answer: Callable[[Asked], Answer]) -> Iterator[tuple[Repository, Site]]:
    with site(answer) as here:
        yield Registry(here.address, client()).repository("acme/x"), here


def paths(here: Site, method: str) -> list[str]:
    return [asked.path for asked in here.asked if asked.method == method and asked.path != "/v2/"]


def index(*entries: Descriptor) -> Answer:
    return Answer(headers={"Content-Type": IMAGE_INDEX}, body=Index(entries).to_bytes())


def test_a_repository_has_every_interface_of_a_place() -> None:
    repository = Registry("registry.invalid", client()).repository("acme/x")
    target: protocol.Target = repository  # mypy checks the signatures
    methods = "fetch exists push resolve tag tags untag delete referrers mount"
    assert all(callable(getattr(target, name)) for name in methods.split())
    assert isinstance(repository, protocol.Mounter)
    assert str(repository.reference) == str(repository) == "registry.invalid/acme/x"


def test_docker_hubs_short_names_are_in_its_library() -> None:
    assert str(Registry("docker.io", client()).repository("x").reference) == "docker.io/library/x"
    assert str(Registry("index.docker.io", client()).repository("acme/x").reference) == "docker.io/acme/x"


def test_a_name_outside_the_grammar_is_never_sent() -> None:
    registry = Registry("registry.invalid", client())
    for name in ("../x", "Acme", "a//b", "a/../b", ""):
        with pytest.raises(ReferenceInvalid):
            registry.repository(name)
    for tag in ("../x", "a b", "a/b", ""):
        with pytest.raises((ReferenceInvalid, IntegrityError)):
            registry.repository("acme/x").resolve(tag)


# -- resolving --------------------------------------------------------------------------------------------------


def test_a_head_that_says_everything_is_enough() -> None:
    with place(Script(HEAD_manifests=Answer(headers={**NAMED, "Content-Length": str(len(DATA))}))) as (
        repository,
        here,
    ):
        assert repository.resolve("1.0") == ROOT
        assert paths(here, "GET") == []


@pytest.mark.parametrize(
    "head",
    [
        Answer(405),
        Answer(400),
        Answer(500),
        Answer(headers={"Content-Type": IMAGE_MANIFEST, "Content-Length": "12"}),
        Answer(headers={**NAMED, "Content-Length": "0"}),
        Answer(headers={**NAMED, "Content-Type": "text/plain", "Content-Length": "12"}),
        Answer(headers={**NAMED, "Docker-Content-Digest": "sha256:../../etc", "Content-Length": "12"}),
    ],
)
def test_a_head_that_says_too_little_is_followed_by_reading(head: Answer) -> None:
    with place(Script(HEAD_manifests=head, GET_manifests=Answer(headers=NAMED, body=DATA))) as (repository, _):
        assert repository.resolve("1.0") == ROOT


def test_a_digest_that_the_body_does_not_have_is_refused() -> None:
    lie = {**NAMED, "Docker-Content-Digest": str(Digest.of(b"other"))}
    with (
        place(Script(HEAD_manifests=Answer(405), GET_manifests=Answer(headers=lie, body=DATA))) as (repository, _),
        pytest.raises(DigestMismatch),
    ):
        repository.resolve("1.0")


def test_a_registry_that_names_another_digest_than_asked_is_refused() -> None:
    head = Answer(headers={**NAMED, "Content-Length": str(len(DATA))})
    with place(Script(HEAD_manifests=head)) as (repository, _), pytest.raises(DigestMismatch):
        repository.resolve(str(Digest.of(b"other")))
    get = Answer(headers={"Content-Type": IMAGE_MANIFEST}, body=DATA)
    with place(Script(HEAD_manifests=Answer(405), GET_manifests=get)) as (repository, _), pytest.raises(DigestMismatch):
        repository.resolve(str(Digest.of(b"other")))


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"Content-Type": "text/html"}, b"<html>"),
        ({"Content-Type": IMAGE_INDEX}, DATA),
        ({"Content-Type": IMAGE_MANIFEST}, b'{"schemaVersion": 2}'),
        ({"Content-Type": IMAGE_MANIFEST}, b"[]"),
        ({"Content-Type": IMAGE_MANIFEST}, b" " * ((4 << 20) + 1)),
    ],
)
def test_what_is_no_manifest_or_claims_to_be_another_kind_is_refused(headers: dict[str, str], body: bytes) -> None:
    script = Script(HEAD_manifests=Answer(405), GET_manifests=Answer(headers=headers, body=body))
    with place(script) as (repository, _), pytest.raises(InstallMLError):
        repository.resolve("1.0")


@pytest.mark.parametrize(
    ("status", "kind"), [(404, ManifestUnknown), (401, Unauthorized), (403, Denied), (429, RateLimited)]
)
def test_a_refused_resolve_says_whose_no_it_is(status: int, kind: type[RegistryError]) -> None:
    with (
        place(lambda a: Answer(200 if a.path == "/v2/" else status)) as (repository, here),
        pytest.raises(kind) as raised,
    ):
        repository.resolve("1.0")
    assert here.address in raised.value.message
    assert "acme/x:1.0" in raised.value.message


# -- fetching ---------------------------------------------------------------------------------------------------


def read(repository: Repository, descriptor: Descriptor) -> bytes:
    with repository.fetch(descriptor) as stream:
        return b"".join(iter(lambda: stream.read(1000), b""))


def test_an_announced_size_that_is_wrong_is_refused_before_reading() -> None:
    with place(Script(GET_blobs=Answer(body=b"weights and more"))) as (repository, _), pytest.raises(SizeMismatch):
        read(repository, BLOB)


def test_a_body_without_an_announced_size_is_read_one_byte_too_far_and_no_further() -> None:
    endless = Answer(headers={"Content-Length": "", "Connection": "close"}, body=b"x" * 10**6, cut=10**6)
    with place(Script(GET_blobs=endless)) as (repository, _), pytest.raises(SizeMismatch, match="more than 7"):
        read(repository, BLOB)


def test_a_manifest_that_comes_under_another_type_than_it_was_named_is_refused() -> None:
    get = Answer(headers={"Content-Type": IMAGE_INDEX}, body=DATA)
    with (
        place(Script(GET_manifests=get)) as (repository, _),
        pytest.raises(UnexpectedAnswer, match="sends the manifest"),
    ):
        read(repository, ROOT)


def test_a_cut_blob_is_a_lost_connection() -> None:
    with place(Script(GET_blobs=Answer(body=b"weights", cut=3))) as (repository, _), pytest.raises(ConnectionLost):
        read(repository, BLOB)


def test_existence_is_not_asked_of_the_storage_behind_a_redirect() -> None:
    """GHCR sends HEAD to a URL that was signed for GET, whose 403 says nothing."""
    with site(lambda _: Answer(403)) as storage:
        with place(Script(HEAD_blobs=Answer(307, {"Location": storage.url}))) as (repository, _):
            assert repository.exists(BLOB)
        assert storage.asked == []


def test_not_being_allowed_to_look_is_not_absence() -> None:
    for status, kind in ((403, Denied), (500, ServerFailed)):
        with place(Script(HEAD_blobs=Answer(status))) as (repository, _), pytest.raises(kind):
            repository.exists(BLOB)


def test_a_blob_behind_storage_that_refuses_names_the_storage_and_not_its_signature() -> None:
    with (
        site(lambda _: Answer(403, body=b"<Error>AccessDenied</Error>")) as storage,
        place(Script(GET_blobs=Answer(307, {"Location": f"{storage.url}/b?X-Signature=s3cret"}))) as (repository, _),
    ):
        with pytest.raises(Denied) as raised:
            read(repository, BLOB)
        assert storage.address in raised.value.message
        assert "s3cret" not in raised.value.message


# -- uploading --------------------------------------------------------------------------------------------------


class Upload:
    """An upload endpoint: opens sessions at ``location`` and plays ``puts`` in order."""

    def __init__(self, *puts: Answer, location: str = "/v2/acme/x/blobs/uploads/{n}?_state=a%2Bb") -> None:
        self.puts = iter(puts or (Answer(201),))
        self.location = location
        self.opened = 0
        self.base = ""

    def __call__(self, asked: Asked) -> Answer:
        if asked.path == "/v2/":
            return Answer(body=b"{}")
        if asked.method == "POST":
            self.opened += 1
            return Answer(202, {"Location": self.location.format(n=self.opened, base=self.base)})
        return next(self.puts) if asked.method == "PUT" else Answer(404)


@pytest.mark.parametrize(
    "location",
    [
        "/v2/acme/x/blobs/uploads/{n}?_state=a%2Bb",
        "{base}/v2/acme/x/blobs/uploads/{n}?_state=a%2Bb",
        "{n}?_state=a%2Bb",
        "?_state=a%2Bb",
        "/v2/acme/x/blobs/uploads/{n}",
    ],
)
def test_an_upload_goes_where_the_registry_says_with_its_query_kept(location: str) -> None:
    upload = Upload(location=location)
    with place(upload) as (repository, here):
        upload.base = here.url
        repository.push(BLOB, io.BytesIO(b"weights"))
        put = next(asked for asked in here.asked if asked.method == "PUT")
        parts = urlsplit(put.path)
        assert parts.path.startswith("/v2/acme/x/blobs/uploads/")
        state = {"_state": ["a+b"]} if "?" in location else {}
        assert parse_qs(parts.query) == {**state, "digest": [str(BLOB.digest)]}
        assert (put.body, put.headers["content-type"]) == (b"weights", "application/octet-stream")


def test_an_upload_on_another_host_goes_without_our_authorization() -> None:
    with site(lambda _: Answer(201)) as storage:
        upload = Upload(location=f"{storage.url}/up?sig=1")

        def guarded(asked: Asked) -> Answer:
            return upload(asked) if asked.authorization else Answer(401, {"WWW-Authenticate": "Basic"})

        with site(guarded) as here:
            repository = Registry(here.address, client(), Fixed(Credentials("ann", "pencil"))).repository("acme/x")
            repository.push(BLOB, io.BytesIO(b"weights"))
        assert [(a.method, a.authorization, a.body) for a in storage.asked] == [("PUT", "", b"weights")]


@pytest.mark.parametrize("location", ["", "ftp://a/b", "http://ann:pencil@a/b"])
def test_an_upload_that_leads_nowhere_is_refused(location: str) -> None:
    with place(Upload(location=location)) as (repository, _), pytest.raises((UnexpectedAnswer, RedirectRefused)):
        repository.push(BLOB, io.BytesIO(b"weights"))


class Once(io.RawIOBase):
    """A stream that can be read only once."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def read(self, size: int = -1, /) -> bytes:
        return self._data.read(size)


INVALID = Answer(400, body=json.dumps({"errors": [{"code": "DIGEST_INVALID", "message": "no"}]}).encode())


@pytest.mark.parametrize("first", [INVALID, Answer(500), Answer(hang_up=True), Answer(404), Answer(401)])
def test_a_blob_that_can_be_read_again_is_sent_again_from_a_fresh_session(first: Answer) -> None:
    upload = Upload(first, Answer(201))
    with place(upload) as (repository, here):
        stream = io.BytesIO(b"skip:weights")
        stream.seek(5)
        repository.push(BLOB, stream)
        assert upload.opened == 2
        assert [asked.body for asked in here.asked if asked.method == "PUT"] == [b"weights"] * 2


def test_it_is_sent_again_once_and_not_for_ever() -> None:
    upload = Upload(INVALID, INVALID)
    with place(upload) as (repository, _), pytest.raises(DigestRefused):
        repository.push(BLOB, io.BytesIO(b"weights"))
    assert upload.opened == 2


def test_a_stream_that_can_be_read_once_is_sent_once() -> None:
    upload = Upload(INVALID)
    with place(upload) as (repository, _), pytest.raises(DigestRefused):
        repository.push(BLOB, Once(b"weights"))
    assert upload.opened == 1


@pytest.mark.parametrize("status", [400, 403, 413])
def test_a_lasting_refusal_is_not_tried_again(status: int) -> None:
    upload = Upload(Answer(status))
    with place(upload) as (repository, _), pytest.raises(RegistryError):
        repository.push(BLOB, io.BytesIO(b"weights"))
    assert upload.opened == 1


@pytest.mark.parametrize("data", [b"weight", b"weights!", b"weighty"])
def test_wrong_bytes_never_arrive_whole(data: bytes) -> None:
    with place(Upload()) as (repository, here):
        with pytest.raises(IntegrityError):
            repository.push(BLOB, Once(data))
        assert not any(asked.body == data for asked in here.asked)


def test_a_large_blob_is_streamed_in_blocks() -> None:
    class Zeros:
        size, asked = 64 << 20, 0

        def read(self, size: int = -1, /) -> bytes:
            assert 0 < size <= 1 << 20
            count = min(size, self.size - self.asked)
            self.asked += count
            return bytes(count)

    import hashlib

    digest = hashlib.sha256(bytes(64 << 20)).hexdigest()
    with place(Upload()) as (repository, here):
        repository.push(Descriptor("application/octet-stream", Digest("sha256", digest), 64 << 20), Zeros())
        assert [len(asked.body) for asked in here.asked if asked.method == "PUT"] == [64 << 20]


def test_a_body_limit_and_a_missing_repository_and_a_full_quota_say_what_to_do() -> None:
    def refused(answer: Answer) -> RegistryError:
        with place(Script(POST_blobs=answer)) as (repository, _), pytest.raises(RegistryError) as raised:
            repository.push(BLOB, io.BytesIO(b"weights"))
        return raised.value

    def says(status: int, code: str, message: str) -> Answer:
        return Answer(status, body=json.dumps({"errors": [{"code": code, "message": message}]}).encode())

    assert isinstance(refused(Answer(413)), TooLarge)
    ecr = "The repository with name 'acme/x' does not exist in the registry with id '1'"
    assert "aws ecr create-repository" in refused(says(404, "NAME_UNKNOWN", ecr)).hint
    assert "quota" in refused(says(403, "DENIED", "adding 1 GiB will exceed the configured quota")).hint


def test_a_refused_config_type_says_who_can_allow_it() -> None:
    message = "manifest media type not in allowed list"
    refusal = Answer(415, body=json.dumps({"errors": [{"code": "MANIFEST_INVALID", "message": message}]}).encode())
    with place(Script(PUT_manifests=refusal)) as (repository, _), pytest.raises(RegistryError) as raised:
        repository.push(ROOT, io.BytesIO(DATA))
    assert "owner allows" in raised.value.hint


def test_a_registry_that_stored_another_manifest_is_found_out() -> None:
    put = Answer(201, {"Docker-Content-Digest": str(Digest.of(b"other"))})
    with place(Script(PUT_manifests=put)) as (repository, _), pytest.raises(DigestMismatch):
        repository.push(ROOT, io.BytesIO(DATA))


def test_a_tag_that_came_with_its_manifest_is_set_again_only_when_something_happened_between() -> None:
    with place(Script(PUT_manifests=Answer(201))) as (repository, here):
        repository.push_tagged(ROOT, io.BytesIO(DATA), "1")
        repository.tag(ROOT, "1")
        assert paths(here, "PUT") == ["/v2/acme/x/manifests/1"]
        repository.tag(ROOT, "1")  # somebody else may have moved it
        assert len(paths(here, "PUT")) == 2


def test_a_manifest_that_may_be_altered_on_its_way_is_put_under_its_digest_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name_everything(monkeypatch, "127.0.0.1")
    with site(Script(PUT_manifests=Answer(201))) as here:
        host = here.address.replace("127.0.0.1", "registry.example")
        plain = client(settings={host: HostSettings(insecure=True)})
        repository = Registry(host, plain).repository("acme/x")
        repository.push_tagged(ROOT, io.BytesIO(DATA), "1")
        repository.tag(ROOT, "1")
        assert paths(here, "PUT") == [f"/v2/acme/x/manifests/{ROOT.digest}", "/v2/acme/x/manifests/1"]


def test_asking_first_saves_asking_again() -> None:
    with place(Upload()) as (repository, here):
        assert not repository.exists(BLOB)
        repository.push(BLOB, io.BytesIO(b"weights"))
        assert len(paths(here, "HEAD")) == 1


# -- mounting ---------------------------------------------------------------------------------------------------


def test_a_session_offered_instead_of_a_mount_is_used() -> None:
    upload = Upload()
    with place(upload) as (repository, here):
        neighbour = Registry(here.address, client()).repository("acme/base")
        assert not repository.mount(BLOB, neighbour)
        asked = parse_qs(urlsplit(paths(here, "POST")[0]).query)
        assert asked == {"mount": [str(BLOB.digest)], "from": ["acme/base"]}
        repository.push(BLOB, io.BytesIO(b"weights"))
        assert upload.opened == 1


def test_only_a_neighbour_of_the_same_registry_is_mounted_from() -> None:
    with place(Script(POST_blobs=Answer(201))) as (repository, here):
        stranger = Registry("registry.invalid", client()).repository("acme/base")
        assert not repository.mount(BLOB, stranger)
        assert not repository.mount(BLOB, repository)
        assert not repository.mount(BLOB, "a folder")
        assert not repository.mount(ROOT, Registry(here.address, client()).repository("acme/base"))
        assert here.asked == []
        assert repository.mount(BLOB, Registry(here.address, client()).repository("acme/base"))


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 500])
def test_a_registry_that_will_not_mount_is_no_failure(status: int) -> None:
    with place(Script(POST_blobs=Answer(status))) as (repository, here):
        assert not repository.mount(BLOB, Registry(here.address, client()).repository("acme/base"))


# -- lists ------------------------------------------------------------------------------------------------------


def test_tags_are_followed_through_their_pages() -> None:
    def tags(asked: Asked) -> Answer:
        query = parse_qs(urlsplit(asked.path).query)
        last = query.get("last", [""])[0]
        pages = {"": (["b", "a"], "b"), "b": (["d", "c"], "d"), "d": (None, "")}
        found, following = pages[last]
        link = {"Link": f'</v2/acme/x/tags/list?n=1000&last={following}>; rel="next"'} if following else {}
        return Answer(headers=link, body=json.dumps({"name": "acme/x", "tags": found}).encode())

    with place(Script(GET_tags=tags)) as (repository, here):
        assert repository.tags() == ["a", "b", "c", "d"]
        assert len(paths(here, "GET")) == 3


@pytest.mark.parametrize(
    ("link", "error"),
    [
        ('<http://evil.example/v2/acme/x/tags/list>; rel="next"', UnexpectedAnswer),
        ('<//evil.example/v2/>; rel="next"', UnexpectedAnswer),
        ('<file:///etc/passwd>; rel="next"', RedirectRefused),
        ('</v2/acme/x/tags/list?n=1000>; rel="next"', UnexpectedAnswer),
    ],
)
def test_a_next_page_elsewhere_or_in_a_circle_is_not_followed(link: str, error: type[InstallMLError]) -> None:
    with place(Script(GET_tags=Answer(headers={"Link": link}, body=b'{"tags": ["a"]}'))) as (repository, here):
        with pytest.raises(error):
            repository.tags()
        assert len(paths(here, "GET")) == 1


@pytest.mark.parametrize("body", [b"[]", b'{"tags": "a"}', b'{"tags": [1]}', b'{"tags": {"a": 1}}'])
def test_a_list_of_something_else_is_refused(body: bytes) -> None:
    with place(Script(GET_tags=Answer(body=body))) as (repository, _), pytest.raises(UnexpectedAnswer):
        repository.tags()


def test_a_repository_and_a_catalog_that_are_not_there_are_said_so() -> None:
    with place(Script()) as (repository, here):
        with pytest.raises(NameUnknown):
            repository.tags()
        with pytest.raises(Unsupported, match="does not list"):
            Registry(here.address, client()).catalog()


def test_a_web_page_is_no_registry() -> None:
    with site(lambda _: Answer(404)) as here, pytest.raises(UnexpectedAnswer, match="not an OCI registry"):
        Registry(here.address, client()).ping()
    with site(lambda _: Answer()) as here:
        Registry(here.address, client()).ping()


# -- referrers --------------------------------------------------------------------------------------------------

TAG = f"{ROOT.digest.algorithm}-{ROOT.digest.hex}"
GOOD = Descriptor(IMAGE_MANIFEST, Digest.of(b"good"), 4, artifact_type="application/vnd.good")
OTHER = Descriptor(IMAGE_MANIFEST, Digest.of(b"other"), 5, artifact_type="application/vnd.other")


def test_the_api_is_used_where_it_is_and_filtered_again_here() -> None:
    with place(Script(GET_referrers=index(GOOD, OTHER, GOOD))) as (repository, here):
        assert repository.referrers(ROOT) == [GOOD, OTHER]
        assert repository.referrers(ROOT, "application/vnd.good") == [GOOD]
        assert paths(here, "GET")[-1].endswith("?artifactType=application%2Fvnd.good")


@pytest.mark.parametrize("answer", [Answer(404), Answer(405), Answer(501), Answer(body=b"<html>"), Answer(400)])
def test_the_tag_is_read_where_there_is_no_api(answer: Answer) -> None:
    script = Script(GET_referrers=answer)
    script.table[f"GET manifests/{TAG}"] = index(GOOD, OTHER)
    with place(script) as (repository, _):
        assert repository.referrers(ROOT, "application/vnd.other") == [OTHER]


@pytest.mark.parametrize("status", [401, 403, 429, 500, 503])
def test_not_being_able_to_list_is_never_taken_for_none(status: int) -> None:
    with place(Script(GET_referrers=Answer(status))) as (repository, _), pytest.raises(RegistryError):
        repository.referrers(ROOT)
    script = Script()
    script.table[f"GET manifests/{TAG}"] = Answer(status)
    with place(script) as (repository, _), pytest.raises(RegistryError):
        repository.referrers(ROOT)


def test_referrers_come_in_pages_too() -> None:
    def pages(asked: Asked) -> Answer:
        if "page=2" in asked.path:
            return index(OTHER)
        first = index(GOOD)
        return Answer(headers={**first.headers, "Link": f'<{asked.path}?page=2>; rel="next"'}, body=first.body)

    with place(Script(GET_referrers=pages)) as (repository, _):
        assert repository.referrers(ROOT) == [GOOD, OTHER]


class Tagged:
    """A registry without the API: keeps manifests, and lets ``between`` act after each write of the tag."""

    def __init__(self, *, subject: bool = False, between: Callable[[Tagged], None] = lambda _: None) -> None:
        self.kept: dict[str, tuple[str, bytes]] = {}
        self.subject = subject
        self.between = between

    def __call__(self, asked: Asked) -> Answer:
        if asked.path == "/v2/":
            return Answer(body=b"{}")
        name = asked.path.rpartition("/")[2]
        if asked.method == "PUT":
            self.kept[name] = (asked.headers["content-type"], asked.body)
            if name == TAG:
                self.between(self)
            return Answer(201, {"OCI-Subject": "sha256:0"} if self.subject else {})
        if asked.method == "DELETE":
            return Answer(202 if self.kept.pop(name, None) else 404)
        if "/manifests/" not in asked.path or name not in self.kept:
            return Answer(404)
        media_type, data = self.kept[name]
        return Answer(headers={"Content-Type": media_type}, body=data)

    def listed(self) -> list[Digest]:
        entries = json.loads(self.kept[TAG][1])["manifests"]
        return [Digest.parse(entry["digest"]) for entry in entries]


@pytest.mark.parametrize("subject", [False, True])
def test_a_signature_is_listed_in_the_tag_even_where_the_registry_claims_to_do_it(subject: bool) -> None:
    """Docker Hub answers with OCI-Subject and has no referrers API."""
    registry = Tagged(subject=subject)
    registry.kept[TAG] = (IMAGE_INDEX, Index((GOOD,)).to_bytes())
    with place(registry) as (repository, _):
        repository.push(SIGNATURE, io.BytesIO(SIGNATURE_DATA))
        assert registry.listed() == [GOOD.digest, SIGNATURE.digest]
        assert repository.referrers(ROOT, MODEL_MANIFEST)[0].digest == SIGNATURE.digest
        repository.delete(SIGNATURE)
        assert registry.listed() == [GOOD.digest]


def test_no_tag_is_written_where_the_registry_lists_for_itself() -> None:
    script = Script(PUT_manifests=Answer(201, {"OCI-Subject": str(ROOT.digest)}), GET_referrers=index(SIGNATURE))
    with place(script) as (repository, here):
        repository.push(SIGNATURE, io.BytesIO(SIGNATURE_DATA))
        assert paths(here, "PUT") == [f"/v2/acme/x/manifests/{SIGNATURE.digest}"]


def test_a_list_that_somebody_overwrites_is_written_again_with_both() -> None:
    def overwrite(registry: Tagged) -> None:
        registry.kept[TAG] = (IMAGE_INDEX, Index((GOOD,)).to_bytes())
        registry.between = lambda _: None

    registry = Tagged(between=overwrite)
    with place(registry) as (repository, _):
        repository.push(SIGNATURE, io.BytesIO(SIGNATURE_DATA))
    assert registry.listed() == [GOOD.digest, SIGNATURE.digest]


def test_a_list_that_is_overwritten_for_ever_is_a_failure_and_not_a_loop() -> None:
    def overwrite(registry: Tagged) -> None:
        registry.kept[TAG] = (IMAGE_INDEX, Index((GOOD,)).to_bytes())

    with place(Tagged(between=overwrite)) as (repository, _), pytest.raises(ServerFailed, match="overwritten"):
        repository.push(SIGNATURE, io.BytesIO(SIGNATURE_DATA))


def test_a_tag_that_is_no_list_stands_for_no_referrers() -> None:
    registry = Tagged()
    registry.kept[TAG] = (IMAGE_MANIFEST, DATA)
    with place(registry) as (repository, _):
        assert repository.referrers(ROOT) == []


# -- removing ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 405, 501])
def test_a_registry_that_removes_no_tags_says_so(status: int) -> None:
    with place(Script(DELETE_manifests=Answer(status))) as (repository, _), pytest.raises(Unsupported) as raised:
        repository.untag("1.0")
    assert "does not remove tags" in raised.value.message


def test_tags_and_manifests_and_blobs_are_removed_and_absent_ones_not_found() -> None:
    with place(Script(DELETE_manifests=Answer(202), DELETE_blobs=Answer(202))) as (repository, here):
        repository.untag("1.0")
        repository.delete(BLOB)
        assert paths(here, "DELETE") == ["/v2/acme/x/manifests/1.0", f"/v2/acme/x/blobs/{BLOB.digest}"]
    with place(Script()) as (repository, _):
        for remove in (
            lambda: repository.untag("1.0"),
            lambda: repository.delete(BLOB),
            lambda: repository.delete(ROOT),
        ):
            with pytest.raises(NotFound):
                remove()


def test_a_registry_that_does_not_delete_says_who_can_allow_it() -> None:
    script = Script(DELETE_manifests=Answer(405), GET_manifests=Answer(headers=NAMED, body=DATA))
    with place(script) as (repository, _), pytest.raises(Unsupported) as raised:
        repository.delete(ROOT)
    assert "storage.delete.enabled" in raised.value.hint
