"""The verbs that move packages, on every registry, with and without authorisation and TLS.

One registry is started for each combination; each test uses a repository of its own in it. The registries' clients
for other people are in tests/interop, the client's own corner cases in test_client_registries.py.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from installml import config
from installml.api.build import build
from installml.api.copy import copy, export
from installml.api.info import info, list_
from installml.api.login import login, logout
from installml.api.pull import pull
from installml.api.push import push
from installml.api.results import BuildResult
from installml.api.session import Session
from installml.api.tags import remove, tag, tags
from installml.errors import NotFound, UsageError
from installml.registry.errors import TLSFailed, Unauthorized, Unsupported
from installml.registry_server import start
from tests.services.certificates import TLS, issue, make_ca
from tests.services.servers import GUARDED, SERVERS
from tests.services.tokens import TokenAuth, User
from tests.services.tools import need, tool
from tests.unsigned import UNSIGNED

pytestmark = pytest.mark.integration

USER, PASSWORD = "cat", "open sesame"
HTPASSWD = "cat:$2y$05$installmlinstallmltes.S2b9TSJmV04zka9ljokmgTi92Mk7Og6\n"
FILES = {
    "installml.yaml": b"name: acme/moved\nversion: 1.0.0\nlicense: Apache-2.0\nruntime: {engine: none}\n",
    "README.md": b"# Moved about\n",
    "weights/model.safetensors": bytes(range(256)) * 1024,
}
BLOBS = len(FILES) + 3  # runtime.json, hardware.json, the configuration
NUMBERS = itertools.count()


@dataclass(frozen=True, slots=True)
class Combination:
    """A registry and how it is reached."""

    kind: str
    token: bool = False
    https: bool = False

    def __str__(self) -> str:
        return f"{self.kind}-{'token' if self.token else 'open'}-{'https' if self.https else 'http'}"


EVERY = [
    Combination(kind, token, https)
    for kind in (*SERVERS, "embedded")
    for token, https in itertools.product((False, True), repeat=2)
    # go-containerregistry's can do neither; zot is told of once where it is missing
    if not (token or https) or (kind != "ggcr" and (kind != "zot" or tool("zot")))
]


@dataclass(frozen=True, slots=True)
class Place:
    """A running registry.

    Attributes:
        how: What it is.
        address: Host and port.
        tls: Its certificates, or None for plain http.
    """

    how: Combination
    address: str
    tls: TLS | None

    def name(self) -> str:
        """Return the name of a repository that nobody has used."""
        return f"{self.address}/acme/moved-{next(NUMBERS)}"


@contextmanager
def started(how: Combination, folder: Path) -> Iterator[Place]:
    """Run the registry. A guarded one is called ``localhost``, like its realm (tests/services/servers.py)."""
    with ExitStack() as stack:
        host = "localhost" if how.token else "127.0.0.1"
        tls = issue(make_ca(folder), host, folder) if how.https else None
        if how.kind == "embedded":
            htpasswd = folder / "htpasswd"
            htpasswd.write_text(HTPASSWD)
            users = htpasswd if how.token else None
            pair = (tls.cert, tls.key) if tls else None
            running = stack.enter_context(start(htpasswd=users, token=how.token, tls=pair))
            yield Place(how, f"{host}:{running.port}", tls)
        elif how.kind not in GUARDED:
            yield Place(how, stack.enter_context(SERVERS[how.kind]()).address, None)
        else:
            auth = stack.enter_context(TokenAuth({USER: User(PASSWORD)}, tls=tls)) if how.token else None
            yield Place(how, stack.enter_context(GUARDED[how.kind](tls=tls, auth=auth)).address, tls)


@pytest.fixture(scope="module", params=EVERY, ids=str)
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with started(request.param, tmp_path_factory.mktemp("place")) as running:
        yield running


@dataclass(frozen=True, slots=True)
class Machine:
    """A user's machine: a home folder, settings that trust the registry's authority, and stores.

    Attributes:
        home: The user's home folder.
        place: The registry.
        environ: What every program of this user sees.
    """

    home: Path
    place: Place
    environ: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        environ = {"HOME": str(self.home), "DOCKER_CONFIG": str(self.home / "docker"), "PATH": os.environ["PATH"]}
        if self.place.tls:
            settings = self.home / "config.toml"
            settings.write_text(f'[registries."{self.place.address}"]\nca = "{self.place.tls.ca}"\n')
            environ["INSTALLML_CONFIG"] = str(settings)
        object.__setattr__(self, "environ", environ)

    @property
    def docker_config(self) -> Path:
        """Where docker keeps credentials."""
        return self.home / "docker" / "config.json"

    def session(self, store: str = "store") -> Session:
        """Return collaborators with one of this user's stores."""
        return config.load(
            {"home": str(self.home / store), "policy": UNSIGNED}, self.environ, folder=self.home
        ).session()

    def login(self) -> None:
        """Log in where that is needed."""
        if self.place.how.token:
            login(self.place.address, username=USER, password=PASSWORD, session=self.session())

    def built(self, session: Session) -> BuildResult:
        """Build the package under its own name."""
        for name, data in FILES.items():
            path = self.home / "model" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        return build(self.home / "model", session=session)

    def pushed(self, name: str) -> BuildResult:
        """Build the package and push it as version 1.0.0 of ``name``."""
        session = self.session()
        result = self.built(session)
        push("acme/moved:1.0.0", f"{name}:1.0.0", session=session)
        return result

    def crane(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run crane as this user, trusting what this user trusts."""
        trusted = {"SSL_CERT_FILE": str(self.place.tls.ca)} if self.place.tls else {}
        command = [str(need("crane")), *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, env={**self.environ, **trusted}, timeout=60, check=False
        )


@pytest.fixture
def stranger(place: Place, tmp_path: Path) -> Machine:
    """Somebody who is not logged in."""
    return Machine(tmp_path, place)


@pytest.fixture
def machine(stranger: Machine) -> Machine:
    """Somebody who may do everything."""
    stranger.login()
    return stranger


def test_a_package_is_pushed_once_and_pulled_whole(machine: Machine) -> None:
    name, session = machine.place.name(), machine.session()
    built = machine.built(session)
    first = push("acme/moved:1.0.0", f"{name}:1.0.0", session=session)
    assert (first.digest, first.blobs) == (built.digest, {"copied": BLOBS + 1})
    again = push("acme/moved:1.0.0", f"{name}:1.0.0", session=session)
    assert (again.digest, again.moved, "copied" in again.blobs) == (built.digest, 0, False)
    there = machine.session("another")
    pulled = pull(f"{name}:1.0.0", session=there)
    assert (pulled.digest, pulled.size) == (built.digest, built.size)
    assert [(e.digest, e.installed) for e in list_(session=there).packages] == [(built.digest, False)]
    assert pull(f"{name}:1.0.0", session=there).moved == 0


def test_a_folder_is_pushed_without_a_copy_in_the_store(machine: Machine) -> None:
    name, digest = machine.place.name(), machine.built(machine.session("elsewhere")).digest
    session = machine.session()
    assert push(machine.home / "model", tag=f"{name}:2.0.0", session=session).digest == digest
    assert build(machine.home / "model", to=f"{name}:3.0.0", session=session).digest == digest
    assert tags(name, session=session).tags == ("2.0.0", "3.0.0")
    assert list_(session=session).packages == ()


def test_info_tells_the_same_from_the_registry_as_from_the_store(machine: Machine) -> None:
    name = machine.place.name()
    machine.pushed(name)
    near = info("acme/moved:1.0.0", session=machine.session())
    far = info(f"{name}:1.0.0", session=machine.session("another"))
    assert far.place == machine.place.address
    assert near.place == "local store"
    assert (far.digest, far.files, far.annotations, far.size) == (near.digest, near.files, near.annotations, near.size)


def test_tags_are_set_listed_and_moved(machine: Machine) -> None:
    name, session = machine.place.name(), machine.session()
    digest = machine.pushed(name).digest
    assert tag(f"{name}:1.0.0", "latest", session=session).digest == digest
    assert tag(f"{name}@{digest}", "1.0", session=session).digest == digest
    assert tags(name, session=session).tags == ("1.0", "1.0.0", "latest")
    (machine.home / "model" / "README.md").write_bytes(b"# Changed\n")
    changed = push(machine.home / "model", tag=f"{name}:latest", session=session).digest
    assert changed != digest
    assert pull(f"{name}:latest", session=session).digest == changed
    assert pull(f"{name}:1.0.0", session=session).digest == digest


def test_copies_between_repositories_and_layouts_keep_the_digest(machine: Machine) -> None:
    name, target, session = machine.place.name(), machine.place.name(), machine.session("another")
    digest = machine.pushed(name).digest
    layout = machine.home / "layout"
    assert copy(f"{name}:1.0.0", f"{target}:1.0.0", session=session).digest == digest
    assert copy(f"{name}@{digest}", machine.place.name(), session=session).digest == digest
    assert export(f"{target}:1.0.0", f"oci-layout:{layout}:1.0.0", session=session).digest == digest
    back = machine.place.name()
    assert copy(f"oci-layout:{layout}", back, session=session).digest == digest
    assert tags(back, session=session).tags == ("1.0.0",)
    assert pull(f"{back}:1.0.0", session=session).digest == digest


def test_a_name_with_another_digest_takes_nothing(machine: Machine) -> None:
    name, session = machine.place.name(), machine.session()
    machine.built(session)
    wrong = f"{name}@sha256:{'0' * 64}"
    for verb in (push, copy):
        with pytest.raises(UsageError, match="not what"):
            verb("acme/moved:1.0.0", wrong, session=session)
    with pytest.raises(NotFound):
        tags(name, session=session)


KEEPS_TAGS = {"distribution2"}
"""Registries that remove no tags (distribution-spec, "Deleting tags": they may)."""
LEAVES_TAGS_BEHIND = {"ggcr"}
"""Registries where the tags of a removed manifest stay."""


def test_remove_takes_away_a_tag_and_nothing_else_or_says_that_the_registry_cannot(machine: Machine) -> None:
    name, session = machine.place.name(), machine.session()
    digest = machine.pushed(name).digest
    tag(f"{name}:1.0.0", "extra", session=session)
    assert remove(f"{name}:extra", dry_run=True, session=session).place == machine.place.address
    if machine.place.how.kind in KEEPS_TAGS:
        with pytest.raises(Unsupported, match="does not remove tags") as refused:
            remove(f"{name}:extra", session=session)
        assert (refused.value.exit_code, "by its digest" in refused.value.hint) == (1, True)
        assert tags(name, session=session).tags == ("1.0.0", "extra")
    else:
        remove(f"{name}:extra", session=session)
        assert tags(name, session=session).tags == ("1.0.0",)
    assert pull(f"{name}:1.0.0", session=session).digest == digest


def test_remove_by_digest_takes_the_package_away(machine: Machine) -> None:
    name, session = machine.place.name(), machine.session()
    digest = machine.pushed(name).digest
    remove(f"{name}@{digest}", session=session)
    with pytest.raises(NotFound):
        info(f"{name}@{digest}", session=machine.session("another"))
    if machine.place.how.kind not in LEAVES_TAGS_BEHIND:
        with pytest.raises(NotFound):
            info(f"{name}:1.0.0", session=machine.session("another"))
    with pytest.raises(NotFound):
        remove(f"{name}@{digest}", session=session)


@pytest.mark.parametrize("place", [how for how in EVERY if how.https], ids=str, indirect=True)
def test_a_registry_with_a_private_authority_is_not_spoken_to_before_that_is_named(machine: Machine) -> None:
    del machine.environ["INSTALLML_CONFIG"]
    with pytest.raises(TLSFailed, match="not trusted") as refused:
        tags(machine.place.name(), session=machine.session())
    assert refused.value.exit_code == 1


# -- authorisation ----------------------------------------------------------------------------------------------

guarded = pytest.mark.parametrize("place", [how for how in EVERY if how.token], ids=str, indirect=True)


@guarded
def test_a_stranger_is_told_to_log_in(stranger: Machine) -> None:
    name, session = stranger.place.name(), stranger.session()
    stranger.built(session)
    for attempt in (
        lambda: push("acme/moved:1.0.0", f"{name}:1.0.0", session=session),
        lambda: pull(f"{name}:1.0.0", session=session),
        lambda: tags(name, session=session),
    ):
        with pytest.raises(Unauthorized) as refused:
            attempt()
        assert refused.value.exit_code == 1
        assert f"installml login {stranger.place.address}" in refused.value.hint


@guarded
@pytest.mark.parametrize(("user", "password"), [(USER, "open barley"), ("dog", PASSWORD)])
def test_a_wrong_login_is_refused_and_nothing_is_kept(user: str, password: str, stranger: Machine) -> None:
    with pytest.raises(Unauthorized) as refused:
        login(stranger.place.address, username=user, password=password, session=stranger.session())
    assert refused.value.exit_code == 1
    assert password not in f"{refused.value} {refused.value.hint}"
    assert not stranger.docker_config.exists()


@guarded
def test_a_login_serves_other_tools_until_logout(stranger: Machine) -> None:
    name, session = stranger.place.name(), stranger.session()
    result = login(stranger.place.address, username=USER, password=PASSWORD, session=session)
    assert (result.registry, result.stored) == (stranger.place.address, str(stranger.docker_config))
    assert stranger.docker_config.stat().st_mode & 0o077 == 0
    digest = stranger.pushed(name).digest
    seen = stranger.crane("digest", f"{name}:1.0.0")
    assert (seen.returncode, seen.stdout.strip()) == (0, str(digest)), seen.stderr
    logout(stranger.place.address, session=session)
    assert stranger.place.address not in stranger.docker_config.read_text()
    assert stranger.crane("digest", f"{name}:1.0.0").returncode
    with pytest.raises(Unauthorized):
        pull(f"{name}:1.0.0", session=stranger.session("another"))
    with pytest.raises(NotFound, match="no credentials"):
        logout(stranger.place.address, session=session)


# -- the same by the command line -------------------------------------------------------------------------------


def typed(machine: Machine, *words: str, told: str = "", code: int = 0) -> dict[str, Any]:
    """Type a command and return its JSON document."""
    done = subprocess.run(
        [sys.executable, "-m", "installml", *words, "--home", str(machine.home / "store"), "--format", "json"],
        input=told,
        capture_output=True,
        text=True,
        cwd=machine.home,
        env=machine.environ,
        timeout=60,
        check=False,
    )
    assert done.returncode == code, f"{words}: {done.stdout} {done.stderr}"
    assert PASSWORD not in done.stdout + done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


@pytest.mark.parametrize(
    "place",
    [Combination("distribution3", token=True, https=True), Combination("embedded")],
    ids=str,
    indirect=True,
)
def test_every_moving_verb_works_from_the_command_line(stranger: Machine) -> None:
    machine, name, copied = stranger, stranger.place.name(), stranger.place.name()
    address = machine.place.address
    machine.built(machine.session("elsewhere"))
    if machine.place.how.token:
        typed(machine, "push", "model", "-t", f"{name}:1.0.0", code=1)
        typed(machine, "login", address, "-u", USER, "--password-stdin", told="barley\n", code=1)
        typed(machine, "login", address, "--username", USER, "--password-stdin", told=f"{PASSWORD}\n")
    digest = typed(machine, "build", "model")["digest"]
    assert typed(machine, "push", "acme/moved:1.0.0", f"{name}:1.0.0")["digest"] == digest
    assert typed(machine, "push", "acme/moved:1.0.0", f"{name}:1.0.0")["moved"] == 0
    assert typed(machine, "tag", f"{name}:1.0.0", "latest")["digest"] == digest
    assert typed(machine, "tags", name)["tags"] == ["1.0.0", "latest"]
    assert typed(machine, "info", name)["digest"] == digest
    assert typed(machine, "pull", name)["digest"] == digest
    assert {entry["digest"] for entry in typed(machine, "list")["packages"]} == {digest}
    assert typed(machine, "copy", f"{name}:1.0.0", f"{copied}:1.0.0")["digest"] == digest
    assert typed(machine, "export", copied + ":1.0.0", "layout")["digest"] == digest
    typed(machine, "remove", f"{name}:latest", "--yes")
    assert typed(machine, "tags", name)["tags"] == ["1.0.0"]
    typed(machine, "remove", f"{name}@{digest}", "--yes")
    assert typed(machine, "info", f"{name}:1.0.0", code=1)["reference"] == "manifest-unknown"
    if machine.place.how.token:
        typed(machine, "logout", address)
        assert typed(machine, "tags", copied, code=1)["reference"] == "unauthorized"
