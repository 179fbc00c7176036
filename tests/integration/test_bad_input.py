"""Everything that can be wrong around us: its error, exit code and words, and nothing lost or half there."""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

import installml
from installml.api.build import build
from installml.api.cache import cache_gc, cache_verify
from installml.api.info import info, list_
from installml.api.init import init
from installml.api.install import install
from installml.api.pull import pull
from installml.api.push import push
from installml.api.session import Session
from installml.api.tags import remove, tags
from installml.errors import DiskFull, InstallMLError, NotFound, RecipeInvalid, ReferenceInvalid, StoreUnusable
from installml.registry import errors as wrong
from installml.registry.http import HttpClient, Network
from installml.registry.repository import Registry
from installml.registry_server import Faults, RunningRegistry, start
from installml.registry_server.faults import Rule, Stall, Status
from installml.spec.canonical import canonical
from installml.spec.descriptor import Descriptor
from installml.spec.package import NotAPackage
from installml.testing import package_bytes
from tests.services.certificates import issue, make_ca
from tests.unit.api.kit import Asked, make_model, make_session, snapshot

WEIGHTS = random.Random(5).randbytes(2_000_000)
NAME = "acme/sentiment"
VERBS: dict[str, Callable[..., Any]] = {"pull": pull, "install": install, "info": info, "tags": tags}


@pytest.fixture
def session(tmp_path: Path) -> Session:
    return make_session(tmp_path / "home", tmp_path / "user")


@pytest.fixture
def kept(session: Session, tmp_path: Path) -> Session:
    """Return a session on a home in which something is built and installed, so that something could be lost."""
    build(make_model(tmp_path / "kept", "acme/kept"), session=session)
    install("acme/kept:1.0.0", session=session)
    return session


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[RunningRegistry]:
    with start(tmp_path / "registry") as running:
        yield running


@pytest.fixture
def big(tmp_path: Path) -> Path:
    """Return a model folder of two megabytes."""
    return make_model(tmp_path / "big", NAME, files={"weights.bin": WEIGHTS})


@pytest.fixture
def closed_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


class Caught:
    """The error of a ``refused`` block."""

    error: Any


@contextlib.contextmanager
def refused(kind: type[InstallMLError], code: int, *, home: Path) -> Iterator[Caught]:
    """Expect exactly this error, something to do about it, and a home that is as it was."""
    caught, before = Caught(), snapshot(home)
    with pytest.raises(kind) as raised:
        yield caught
    caught.error = raised.value
    assert (type(raised.value), raised.value.exit_code) == (kind, code)
    assert raised.value.message
    assert raised.value.hint
    assert snapshot(home) == before


# -- names ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(
    "reference",
    ["", " ", "Acme/Model", "acme//model", "acme/model:", "acme/model:-x", "acme/model@sha256:abc", "a.example:99999/x",
     "acme/model:^1.2", "../../etc/passwd", "acme/model:1 0", "https://ghcr.io/acme/model:1", "a\x1b[31m/x"],
)  # fmt: skip
def test_a_reference_outside_the_grammar(reference: str, verb: str, kept: Session) -> None:
    with refused(ReferenceInvalid, 2, home=kept.home) as caught:
        VERBS[verb](reference, session=kept)
    assert "\x1b" not in caught.error.message


@pytest.mark.parametrize("verb", VERBS)
def test_a_registry_whose_name_is_not_known(verb: str, kept: Session) -> None:
    with refused(wrong.HostUnknown, 1, home=kept.home) as caught:
        VERBS[verb]("something.invalid/acme/model:1", session=kept)
    assert caught.error.message == "no address is known for something.invalid"


@pytest.mark.parametrize("verb", VERBS)
def test_a_port_on_which_nobody_listens(verb: str, kept: Session, closed_port: int) -> None:
    with refused(wrong.ConnectionRefused, 1, home=kept.home) as caught:
        VERBS[verb](f"127.0.0.1:{closed_port}/acme/model:1", session=kept)
    assert caught.error.message == f"nobody listens at 127.0.0.1:{closed_port}"


def test_a_push_to_a_port_on_which_nobody_listens(kept: Session, closed_port: int) -> None:
    with refused(wrong.ConnectionRefused, 1, home=kept.home):
        push("acme/kept:1.0.0", f"127.0.0.1:{closed_port}/acme/kept", session=kept)


# -- what a registry answers ----------------------------------------------------------------------------------------

ANSWERS = {
    401: (wrong.Unauthorized, "installml login"),
    403: (wrong.Denied, "installml login"),
    429: (wrong.RateLimited, "Wait"),
    500: (wrong.ServerFailed, "Try again later"),
    503: (wrong.ServerFailed, "Try again later"),
}


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("status", ANSWERS)
def test_a_registry_that_answers_no(status: int, verb: str, kept: Session, tmp_path: Path) -> None:
    kind, hint = ANSWERS[status]
    faults = Faults(Rule(Status(status), path="/v2/acme/"))
    with (
        start(tmp_path / "registry", faults=faults) as registry,
        Asked(registry) as asked,
        refused(kind, 1, home=kept.home) as caught,
    ):
        VERBS[verb](f"{registry.address}/acme/model:1", session=kept)
    assert registry.address in caught.error.message
    assert hint in caught.error.hint
    assert caught.error.status == status
    assert len(asked.requests) <= 14  # a question is asked six times at most, and a HEAD may become a GET


@pytest.mark.parametrize("verb", VERBS)
def test_a_package_that_a_registry_does_not_have(verb: str, kept: Session, registry: RunningRegistry) -> None:
    kind = wrong.NameUnknown if verb == "tags" else wrong.ManifestUnknown
    with refused(kind, 1, home=kept.home) as caught:
        VERBS[verb](f"{registry.address}/acme/model:1", session=kept)
    assert isinstance(caught.error, NotFound)
    assert registry.address in caught.error.message


@pytest.mark.parametrize(("retry_after", "waits"), [("7", [7.0] * 5), ("3600", [])])
def test_too_many_requests_are_waited_for_as_asked_and_not_for_ever(
    retry_after: str, waits: list[float], kept: Session, tmp_path: Path
) -> None:
    slept: list[float] = []
    client = HttpClient(Network(), sleep=slept.append)
    patient = replace(kept, open_registry_as=lambda host, source: Registry(host, client, source))
    faults = Faults(Rule(Status(429, {"Retry-After": retry_after}), path="/v2/acme/"))
    with (
        start(tmp_path / "registry", faults=faults) as registry,
        refused(wrong.RateLimited, 1, home=kept.home) as caught,
    ):
        pull(f"{registry.address}/acme/model:1", session=patient)
    assert [round(wait) for wait in slept[:5]] == waits or slept == waits
    assert caught.error.retry_after == float(retry_after)


def test_a_registry_that_recovers_while_it_is_asked_again(session: Session, big: Path, tmp_path: Path) -> None:
    faults = Faults(Rule(Status(503), method="GET", path="/manifests/", times=3))
    with start(tmp_path / "registry", faults=faults) as registry:
        push(big, tag=f"{registry.address}/{NAME}", session=session)
        assert pull(f"{registry.address}/{NAME}:1.0.0", session=session).moved > len(WEIGHTS)


def test_a_web_page_where_a_registry_should_be(kept: Session, tmp_path: Path) -> None:
    page = Faults(
        Rule(Status(200, {"Content-Type": "text/html"}, "<html>Sign in to the hotel</html>"), path="/v2/acme")
    )
    with (
        start(tmp_path / "registry", faults=page) as registry,
        refused(wrong.UnexpectedAnswer, 1, home=kept.home) as caught,
    ):
        pull(f"{registry.address}/acme/model:1", session=kept)
    assert "OCI registry" in caught.error.hint


# -- between us and a registry --------------------------------------------------------------------------------------


def test_a_certificate_that_nobody_trusts(kept: Session, tmp_path: Path) -> None:
    files = issue(make_ca(tmp_path), "127.0.0.1", tmp_path)
    with start(tmp_path / "registry", tls=(files.cert, files.key)) as registry:
        reference = f"{registry.address}/{NAME}:1.0.0"
        with refused(wrong.TLSFailed, 1, home=kept.home) as caught:
            pull(reference, session=kept)
        assert registry.address in caught.error.message
        assert "SSL_CERT_FILE" in caught.error.hint
        trusting = make_session(kept.home, tmp_path / "user", environ={"SSL_CERT_FILE": str(files.ca)})
        push("acme/kept:1.0.0", reference, session=trusting)
        assert pull(reference, session=trusting).moved == 0


def test_a_certificate_for_another_host(kept: Session, tmp_path: Path) -> None:
    files = issue(make_ca(tmp_path), "other.example", tmp_path)
    trusting = make_session(kept.home, tmp_path / "user", environ={"SSL_CERT_FILE": str(files.ca)})
    with (
        start(tmp_path / "registry", tls=(files.cert, files.key)) as registry,
        refused(wrong.TLSFailed, 1, home=kept.home),
    ):
        pull(f"{registry.address}/{NAME}:1.0.0", session=trusting)


@pytest.mark.parametrize(("variable", "insecure"), [("HTTPS_PROXY", ""), ("ALL_PROXY", "registry.invalid")])
def test_a_proxy_that_is_not_there(
    variable: str, insecure: str, kept: Session, closed_port: int, tmp_path: Path
) -> None:
    around = {variable: f"http://me:hunter2@127.0.0.1:{closed_port}", "INSTALLML_INSECURE": insecure}
    behind = make_session(kept.home, tmp_path / "user", environ=around)
    with refused(wrong.ProxyFailed, 1, home=kept.home) as caught:
        pull("registry.invalid/acme/model:1", session=behind)
    assert caught.error.message == "the proxy for registry.invalid cannot be used"
    assert "NO_PROXY" in caught.error.hint
    assert "hunter2" not in f"{caught.error.message} {caught.error.hint}"


# -- the disk -------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a file system of four megabytes."""
    place = tmp_path / "small"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m,mode=755", "tmpfs", str(place)]
    done = subprocess.run(command, capture_output=True, text=True, check=False) if shutil.which("mount") else None
    if done is None or done.returncode:
        pytest.skip(f"no small file system can be mounted: {done.stderr.strip() if done else 'there is no mount'}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def fill(disk: Path) -> Path:
    """Leave no free byte; return the file that takes them."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(4096)):
            pass
    return ballast


def on(disk: Path, session: Session) -> Session:
    """Return a session whose home is on ``disk``, and which believes that there is room for everything."""
    roomy = replace(session.machine(), disk_free=1 << 50)
    return replace(session, home=disk / "home", probe=lambda _: roomy)


def whole(session: Session) -> None:
    assert cache_verify(session=session).damaged == ()
    assert list((session.home / "ingest").iterdir()) == []


@pytest.mark.parametrize("verb", ["pull", "install", "build"])
def test_a_disk_that_fills_up_loses_nothing_and_the_next_attempt_works(
    verb: str, small_disk: Path, session: Session, big: Path, registry: RunningRegistry, tmp_path: Path
) -> None:
    reference = f"{registry.address}/{NAME}:1.0.0"
    push(big, tag=reference, session=session)
    mine = on(small_disk, session)
    build(make_model(tmp_path / "kept", "acme/kept"), session=mine)
    installed = install("acme/kept:1.0.0", session=mine)
    before = snapshot(mine.home)
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(3 << 20))
    works: dict[str, Callable[[], object]] = {
        "pull": lambda: pull(reference, session=mine),
        "install": lambda: install(reference, session=mine),
        "build": lambda: build(big, session=mine),
    }
    with pytest.raises(DiskFull) as caught:
        works[verb]()
    assert caught.value.exit_code == 1
    assert "installml cache gc" in caught.value.hint
    # Small blobs may have arrived before; nothing refers to them, and nothing that was there is gone.
    after = snapshot(mine.home)
    assert {name: after.get(name) for name in before} == before
    assert all(name.startswith("blobs/") for name in set(after) - set(before))
    whole(mine)
    assert [str(entry.reference) for entry in list_(session=mine).packages] == ["local/acme/kept:1.0.0"]
    ballast.unlink()
    works[verb]()
    whole(mine)
    assert len(list_(session=mine).packages) == 2
    assert Path(installed.path).is_dir()


@pytest.mark.parametrize("verb", ["pull", "install", "build"])
def test_a_disk_without_a_free_byte(
    verb: str, small_disk: Path, session: Session, big: Path, registry: RunningRegistry, tmp_path: Path
) -> None:
    reference = f"{registry.address}/{NAME}:1.0.0"
    push(big, tag=reference, session=session)
    mine = on(small_disk, session)
    build(make_model(tmp_path / "kept", "acme/kept"), session=mine)
    pull(reference, session=mine)
    remove(reference, local=True, session=mine)
    ballast = fill(small_disk)
    works: dict[str, Callable[[], object]] = {
        "pull": lambda: pull(reference, session=mine),
        "install": lambda: install("acme/kept:1.0.0", session=mine),
        "build": lambda: build(make_model(tmp_path / "new", "acme/new"), session=mine),
    }
    with refused(DiskFull, 1, home=mine.home):
        works[verb]()
    assert cache_gc(session=mine).freed > len(WEIGHTS)  # what the hint says works on a full disk
    ballast.unlink()
    works[verb]()
    whole(mine)


def test_a_push_needs_no_free_byte(
    small_disk: Path, session: Session, registry: RunningRegistry, tmp_path: Path
) -> None:
    mine = on(small_disk, session)
    build(make_model(tmp_path / "kept", "acme/kept"), session=mine)
    fill(small_disk)
    push("acme/kept:1.0.0", f"{registry.address}/acme/kept", session=mine)
    assert tags(f"{registry.address}/acme/kept", session=session).tags == ("1.0.0",)
    whole(mine)


def test_a_package_that_cannot_fit_is_refused_before_it_fills_the_disk(
    small_disk: Path, session: Session, registry: RunningRegistry, tmp_path: Path
) -> None:
    reference = f"{registry.address}/acme/huge:1.0.0"
    push(make_model(tmp_path / "m", "acme/huge", files={"w.bin": bytes(5 << 20)}), tag=reference, session=session)
    with Asked(registry) as asked, pytest.raises(InstallMLError, match="disk needs") as caught:
        install(reference, session=replace(session, home=small_disk / "home"))
    assert caught.value.exit_code == 5
    assert asked.blobs == []


# -- other people's permissions -------------------------------------------------------------------------------------

ORDINARY = """\
import ctypes, os, sys
if os.geteuid() == 0:  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH (capabilities(7)): permissions count for root too
    drop = ctypes.CDLL(None, use_errno=True).prctl
    if any(drop(24, capability, 0, 0, 0) for capability in (1, 2)):
        sys.exit(99)
os.execv(sys.argv[1], sys.argv[1:])
"""


@dataclass(frozen=True)
class Ended:
    """How a command line ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """The one document on standard output."""
        value: dict[str, Any] = json.loads(self.out)
        return value


def command_line(user: Path, *words: object, ordinary: bool = False) -> tuple[list[str], dict[str, str]]:
    """Return command and environment of ``installml WORDS``; ``ordinary`` takes root's way around permissions."""
    command = [sys.executable, "-m", "installml", *map(str, words)]
    user.mkdir(exist_ok=True)
    environ = {"PATH": os.environ["PATH"], "HOME": str(user), "PYTHONPATH": str(Path(installml.__file__).parents[1])}
    environ["PYTHONDONTWRITEBYTECODE"] = "1"
    return ([sys.executable, "-c", ORDINARY, *command] if ordinary else command), environ


def as_anybody(user: Path, *words: object) -> Ended:
    """Run a command line without root's privileges."""
    command, environ = command_line(user, *words, ordinary=True)
    done = subprocess.run(command, env=environ, cwd=user, capture_output=True, text=True, check=False)
    if done.returncode == 99:
        pytest.skip("root's privileges cannot be dropped here")
    return Ended(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def locked() -> Iterator[Callable[[Path], None]]:
    """Return a function that takes the right to write a folder and all below it away until the test ends."""
    paths: list[tuple[Path, int]] = []

    def lock(folder: Path) -> None:
        for path in [*folder.rglob("*"), folder]:
            if path.is_dir():
                paths.append((path, path.stat().st_mode & 0o777))
                path.chmod(0o555)

    yield lock
    for path, mode in reversed(paths):
        path.chmod(mode)


@pytest.mark.parametrize("verb", ["pull", "install", "build", "remove"])
def test_a_home_that_cannot_be_written(
    verb: str, kept: Session, big: Path, registry: RunningRegistry, locked: Callable[[Path], None], tmp_path: Path
) -> None:
    reference = f"{registry.address}/{NAME}:1.0.0"
    push(big, tag=reference, session=kept)
    words: dict[str, list[object]] = {
        "pull": [reference],
        "install": [reference],
        "build": [big],
        "remove": ["--local", "acme/kept:1.0.0"],
    }
    before = snapshot(kept.home)
    locked(kept.home)
    ended = as_anybody(tmp_path / "user", verb, *words[verb], "--home", kept.home, "--format", "json")
    assert ended.code == 1, ended
    assert (ended.json["kind"], ended.json["reference"]) == ("Error", "store-unusable")
    assert "permission denied" in ended.json["message"].lower()
    assert "--home" in ended.json["hint"]
    assert "Traceback" not in ended.err
    assert snapshot(kept.home) == before


@pytest.mark.parametrize("words", [("list",), ("info", "acme/kept:1.0.0"), ("cache", "df"), ("cache", "verify")])
def test_reading_needs_no_right_to_write(
    words: tuple[str, ...], kept: Session, locked: Callable[[Path], None], tmp_path: Path
) -> None:
    locked(kept.home)
    ended = as_anybody(tmp_path / "user", *words, "--home", kept.home, "--format", "json")
    assert ended.code == 0, ended


def test_a_copy_between_registries_and_a_folder_pushed_need_no_home_that_can_be_written(
    kept: Session, big: Path, registry: RunningRegistry, locked: Callable[[Path], None], tmp_path: Path
) -> None:
    there = f"{registry.address}/{NAME}:1.0.0"
    locked(kept.home)
    for words in (("push", big, "-t", there), ("copy", there, f"{registry.address}/other:1")):
        ended = as_anybody(tmp_path / "user", *words, "--home", kept.home)
        assert ended.code == 0, ended


def test_doctor_says_that_a_home_cannot_be_written(
    kept: Session, locked: Callable[[Path], None], tmp_path: Path
) -> None:
    locked(kept.home)
    ended = as_anybody(tmp_path / "user", "doctor", "--home", kept.home, "--format", "json")
    assert ended.code == 1, ended
    states = {finding["check"]: finding["state"] for finding in ended.json["findings"]}
    assert states["store"] == "problem"


@pytest.mark.parametrize("verb", ["build", "push", "init"])
def test_a_file_that_may_not_be_read(
    verb: str, kept: Session, big: Path, registry: RunningRegistry, tmp_path: Path
) -> None:
    (big / "secret.safetensors").write_bytes(b"x")
    (big / "secret.safetensors").chmod(0)
    words: dict[str, list[object]] = {
        "build": [big],
        "push": [big, "-t", f"{registry.address}/x"],
        "init": [big, "--force"],
    }
    before = snapshot(kept.home)
    ended = as_anybody(tmp_path / "user", verb, *words[verb], "--home", kept.home, "--format", "json")
    assert ended.code in {1, 2}, ended
    assert ended.json["kind"] == "Error"
    assert "secret.safetensors" in ended.json["message"]
    assert "Traceback" not in ended.err
    after = snapshot(kept.home)
    assert {name: after.get(name) for name in before} == before
    assert all(name.startswith("blobs/") for name in set(after) - set(before))  # refs and records name none of them


def test_a_home_below_a_file(session: Session, big: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    below = replace(session, home=tmp_path / "file" / "home")
    assert list_(session=below).packages == ()
    with pytest.raises(StoreUnusable) as caught:
        build(big, session=below)
    assert (caught.value.exit_code, (tmp_path / "file").read_text()) == (1, "in the way")


# -- recipes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("name: a\nversion: 1.0.0\ncolour: red\nruntime: {enigne: none}\n", ["colour", "enigne"]),
        ("name: A\nversion: one\nlicense: '?'\n", ["name", "version", "license"]),
        ("name: a\n", ["version"]),
        ("- name: a\n", ["mapping"]),
        ("name: [\n", ["YAML"]),
        ("name: a\nname: b\nversion: 1.0.0\n", ["twice"]),
        ("name: &a x\nversion: *a\n", ["alias"]),
        ("name: a\nversion: 1.0.0\nfiles: {include: [../../etc/*]}\n", ["files.include"]),
        ("", ["mapping"]),
    ],
)
def test_a_recipe_that_breaks_its_schema_is_told_whole(
    text: str, told: list[str], kept: Session, big: Path, registry: RunningRegistry
) -> None:
    (big / "installml.yaml").write_text(text)
    works: list[Callable[[], object]] = [
        lambda: build(big, session=kept), lambda: push(big, tag=f"{registry.address}/x", session=kept),
    ]  # fmt: skip
    for work in works:
        before = snapshot(kept.home)
        with Asked(registry) as asked, pytest.raises(RecipeInvalid) as caught:
            work()
        assert caught.value.exit_code == 2
        assert str(big) in caught.value.message
        assert all(word in caught.value.message for word in told)
        assert (snapshot(kept.home), asked.requests) == (before, [])


def test_init_leaves_a_folder_alone_that_has_a_recipe(big: Path) -> None:
    before = snapshot(big)
    with pytest.raises(InstallMLError, match="exists already") as caught:
        init(big)
    assert (caught.value.exit_code, snapshot(big)) == (2, before)
    assert "--force" in caught.value.hint


# -- other tools' artifacts -----------------------------------------------------------------------------------------

OCI, DOCKER = "application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json"
FOREIGN = {
    "docker image": (
        DOCKER, "application/vnd.docker.container.image.v1+json", "application/vnd.docker.image.rootfs.diff.tar.gzip",
        "container image",
    ),
    "OCI image": (
        OCI, "application/vnd.oci.image.config.v1+json", "application/vnd.oci.image.layer.v1.tar+gzip",
        "container image",
    ),
    "Helm chart": (
        OCI, "application/vnd.cncf.helm.config.v1+json", "application/vnd.cncf.helm.chart.content.v1.tar+gzip",
        "with helm",
    ),
    "Ollama model": (
        DOCKER, "application/vnd.docker.container.image.v1+json", "application/vnd.ollama.image.model", "with ollama",
    ),
    "KitOps ModelKit": (
        OCI, "application/vnd.kitops.modelkit.config.v1+json", "application/vnd.kitops.modelkit.model.v1.tar",
        "installml init",
    ),
}  # fmt: skip


def foreign(registry: RunningRegistry, session: Session, kind: str) -> str:
    """Put another tool's artifact into the registry, byte by byte as that tool's format has it."""
    manifest_type, config_type, layer_type, _ = FOREIGN[kind]
    place = session.remote(session.qualify(f"{registry.address}/other/tool"))
    blobs = {config_type: b"{}", layer_type: b"content"}
    described = {media_type: Descriptor.of(data, media_type) for media_type, data in blobs.items()}
    for media_type, data in blobs.items():
        place.push(described[media_type], io.BytesIO(data))
    entries = {media_type: {"mediaType": media_type, "digest": str(d.digest), "size": d.size}
               for media_type, d in described.items()}  # fmt: skip
    data = canonical({"schemaVersion": 2, "mediaType": manifest_type, "config": entries[config_type],
                      "layers": [entries[layer_type]]})  # fmt: skip
    root = Descriptor.of(data, manifest_type)
    place.push(root, io.BytesIO(data))
    place.tag(root, "1")
    return f"{registry.address}/other/tool:1"


@pytest.mark.parametrize("verb", ["install", "pull", "info"])
@pytest.mark.parametrize("kind", FOREIGN)
def test_what_another_tool_made_is_named_and_left_alone(
    kind: str, verb: str, kept: Session, registry: RunningRegistry
) -> None:
    reference = foreign(registry, kept, kind)
    with Asked(registry) as asked, refused(NotAPackage, 2, home=kept.home) as caught:
        VERBS[verb](reference, session=kept)
    assert reference in caught.error.message
    assert FOREIGN[kind][3] in caught.error.hint
    assert asked.blobs == []


def test_an_index_of_several_packages_is_not_one(kept: Session, registry: RunningRegistry) -> None:
    place = kept.remote(kept.qualify(f"{registry.address}/many"))
    child = package_bytes().push(place)
    entry = {"mediaType": child.media_type, "digest": str(child.digest), "size": child.size}
    data = canonical({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [entry]})
    root = Descriptor.of(data, "application/vnd.oci.image.index.v1+json")
    place.push(root, io.BytesIO(data))
    place.tag(root, "1")
    with Asked(registry) as asked, pytest.raises(NotAPackage, match="index of several"):
        install(f"{registry.address}/many:1", session=kept)
    assert asked.blobs == []


# -- names inside packages ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "names",
    [("Model.bin", "model.bin"), ("a", "a/b"), ("caf\u00e9", "cafe\u0301"), ("../escape",), ("/etc/passwd",),
     ("a/../../b",), ("a\\b",), ("x/./y",)],
    ids=lambda names: ascii(names),
)  # fmt: skip
def test_a_package_with_names_that_collide_or_leave_the_folder(
    names: tuple[str, ...], kept: Session, registry: RunningRegistry
) -> None:
    packed = package_bytes({name: name.encode() for name in names})
    place = kept.remote(kept.qualify(f"{registry.address}/x"))
    packed.push(place, "1")
    before = snapshot(kept.home)
    with Asked(registry) as asked, pytest.raises(NotAPackage) as caught:
        install(f"{registry.address}/x:1", session=kept)
    assert caught.value.exit_code == 2
    assert (snapshot(kept.home), asked.blobs) == (before, [])


def test_a_folder_with_names_that_collide_elsewhere_is_not_built(kept: Session, big: Path) -> None:
    (big / "Weights.bin").write_bytes(b"x")
    if (big / "weights.bin").read_bytes() == b"x":
        pytest.skip("this file system takes both names for one")
    with pytest.raises(InstallMLError, match=r"eights\.bin") as caught:
        build(big, session=kept)
    assert caught.value.exit_code == 2


# -- Ctrl-C ---------------------------------------------------------------------------------------------------------


class Reached:
    """A fault that tells when it is met."""

    def __init__(self, fault: Stall) -> None:
        self._fault = fault
        self.met = threading.Event()

    async def misbehave(self, inner: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        self.met.set()
        await self._fault.misbehave(inner, scope, receive, send)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("verb", ["pull", "install"])
def test_an_interruption_in_the_middle_of_a_download(
    verb: str, number: signal.Signals, kept: Session, big: Path, tmp_path: Path
) -> None:
    stalled = Reached(Stall(after=100_000))
    faults = Faults(Rule(stalled, method="GET", path="/blobs/", skip=2, times=1))
    with start(tmp_path / "registry", faults=faults) as registry:
        reference = f"{registry.address}/{NAME}:1.0.0"
        push(big, tag=reference, session=kept)
        before = {name: held for name, held in snapshot(kept.home).items() if not name.startswith("blobs/")}
        words = (verb, reference, "--home", kept.home, "--format", "json", "--jobs", 1)
        command, environ = command_line(tmp_path / "user", *words)
        with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
            try:
                assert stalled.met.wait(60)
                child.send_signal(number)
                out, err = child.communicate(timeout=60)
            finally:
                child.kill()
        assert child.returncode == 130, (out, err)
        assert json.loads(out)["reference"] == "interrupted"
        assert "Traceback" not in err
        cache_gc(session=kept)
        after = {name: held for name, held in snapshot(kept.home).items() if not name.startswith("blobs/")}
        assert after == before
        whole(kept)
        assert VERBS[verb](reference, session=kept).digest
        whole(kept)
