"""cache, doctor, hardware, login: this machine, its store and what it may use."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from installml.api.cache import CacheDamaged, cache_df, cache_gc, cache_path, cache_verify
from installml.api.demo import BRING_WHEELS
from installml.api.doctor import doctor
from installml.api.hardware import hardware
from installml.api.install import install, uninstall
from installml.api.login import login, logout
from installml.api.pull import pull
from installml.api.push import push
from installml.api.session import Session
from installml.api.tags import remove
from installml.digest import Digest
from installml.errors import NotFound, ReferenceInvalid, UsageError
from installml.machines.machine import Gpu, Machine
from installml.registry.errors import Offline, Unauthorized
from installml.registry_server import RunningRegistry, start
from installml.registry_server.passwords import hash_password
from tests.unit.api.kit import Asked

KEY = "ab" * 32


@pytest.fixture
def there(registry: RunningRegistry, model: Path, open_session: Callable[..., Session]) -> str:
    """Return the reference of a package that only the registry has."""
    reference = f"{registry.address}/acme/sentiment:1.0.0"
    push(model, tag=reference, session=open_session("elsewhere"))
    return reference


def damage(session: Session) -> Digest:
    """Flip a bit of the weights in the store."""
    digest = Digest.of(bytes(range(256)) * 64)
    path = session.store.blobs.path(digest)
    path.chmod(0o644)
    path.write_bytes(b"\x01" + path.read_bytes()[1:])
    path.chmod(0o444)
    return digest


def runtime(session: Session, name: str = KEY) -> Path:
    """Make what looks like an environment."""
    folder = session.runtimes / name
    folder.mkdir(parents=True)
    (folder / "ready.json").write_bytes(b"{}")
    return folder


# -- cache ----------------------------------------------------------------------------------------------------------


def test_an_empty_home_takes_nothing_and_stays_absent(session: Session) -> None:
    used = cache_df(session=session)
    assert (used.packages, used.reclaimable, used.installed, used.runtimes, used.staging) == (0, 0, 0, 0, 0)
    assert used.free > 0
    assert cache_verify(session=session).checked == 0
    assert cache_path(session=session) == session.home
    assert not session.home.exists()


def test_usage_counts_what_is_there_and_what_could_go(there: str, session: Session) -> None:
    moved = pull(there, session=session).moved
    assert (cache_df(session=session).packages, cache_df(session=session).reclaimable) == (moved, 0)
    remove(there, local=True, session=session)
    assert cache_df(session=session).reclaimable == moved
    planned = cache_gc(dry_run=True, session=session)
    assert (planned.freed, planned.dry_run) == (moved, True)
    assert cache_df(session=session).packages == moved
    assert cache_gc(session=session).freed == moved
    assert cache_df(session=session).packages == 0


def test_what_is_installed_stays_through_a_collection_although_no_reference_names_it(
    there: str, session: Session
) -> None:
    tree = Path(install(there, session=session).path)
    remove(there, local=True, session=session)
    assert cache_gc(session=session).blobs == 0
    assert (tree / "weights.bin").read_bytes() == bytes(range(256)) * 64


def test_an_environment_that_nothing_uses_goes_and_a_dry_run_says_so(session: Session) -> None:
    folder = runtime(session)
    planned = cache_gc(dry_run=True, session=session)
    assert (planned.runtimes, planned.freed) == (1, 2)
    assert folder.exists()
    assert cache_gc(session=session) == type(planned)(0, 0, 1, 2, False)
    assert not folder.exists()


def test_an_environment_stays_while_an_installation_is_under_way(session: Session) -> None:
    folder = runtime(session)
    with session.store.lease():
        assert cache_gc(session=session).runtimes == 0
        assert cache_gc(dry_run=True, session=session).runtimes == 0
    assert folder.exists()


def test_a_sound_store_is_verified(there: str, session: Session) -> None:
    blobs = sum(pull(there, session=session).blobs.values())
    result = cache_verify(session=session)
    assert (result.checked, result.damaged) == (blobs, ())


@pytest.mark.parametrize("verb", [pull, install])
def test_a_damaged_blob_is_named_with_its_owner_and_the_cure_cures(
    verb: Callable[..., object], there: str, session: Session
) -> None:
    verb(there, session=session)
    digest = damage(session)
    with pytest.raises(CacheDamaged, match=str(digest)) as caught:
        cache_verify(session=session)
    assert caught.value.exit_code == 3
    assert caught.value.verification.damaged[0].needed_by == (there,)
    steps = [f"installml remove --local {there}"] + [f"installml uninstall {there}"] * (verb is install)
    assert caught.value.hint.startswith(f"{'; '.join(steps)}; installml cache gc; ")
    remove(there, local=True, session=session)
    if verb is install:
        uninstall(there, session=session)
    cache_gc(session=session)
    verb(there, session=session)
    assert cache_verify(session=session).damaged == ()


def test_a_damaged_blob_of_an_installation_without_a_reference_is_not_called_unneeded(
    there: str, session: Session
) -> None:
    install(there, session=session)
    damage(session)
    remove(there, local=True, session=session)
    with pytest.raises(CacheDamaged) as caught:
        cache_verify(session=session)
    assert caught.value.hint.startswith(f"installml uninstall {there}; installml cache gc; ")


def test_a_damaged_blob_that_nothing_needs_goes_with_a_collection(there: str, session: Session) -> None:
    pull(there, session=session)
    damage(session)
    remove(there, local=True, session=session)
    with pytest.raises(CacheDamaged) as caught:
        cache_verify(session=session)
    assert "installml cache gc" in caught.value.hint
    cache_gc(session=session)
    assert cache_verify(session=session).checked == 0


# -- doctor ---------------------------------------------------------------------------------------------------------


def test_a_machine_without_problems_gets_one_finding_a_check(session: Session, registry: RunningRegistry) -> None:
    session.home.mkdir()
    report = doctor(session=replace(session, default_registry=registry.address))
    states = {finding.check: finding.state for finding in report.findings}
    assert "problem" not in states.values()
    assert {"python", "store", "links", "runtimes", "hardware", "default registry", "clock"} <= set(states)
    assert list(session.home.iterdir()) == []


def test_a_home_that_is_a_file_and_a_registry_that_is_gone_are_problems_in_words(
    open_session: Callable[..., Session], closed_port: int
) -> None:
    session = open_session(default_registry=f"127.0.0.1:{closed_port}", clock=lambda: 0.0)
    session.home.write_text("in the way")
    report = {finding.check: finding for finding in doctor(session=session).findings}
    problems = {name for name, finding in report.items() if finding.state == "problem"}
    assert {"store", "links", "registry", "clock"} <= problems
    assert "nobody listens" in report["registry"].message
    assert report["store"].hint
    assert session.home.read_text() == "in the way"


# -- hardware -------------------------------------------------------------------------------------------------------

MACHINE = Machine("linux", "amd64", 8, frozenset({"avx2"}), 16 << 30, 100 << 30, (Gpu("nvidia", "H200", 140 << 30),))


def test_the_machine_is_told_in_plain_values(open_session: Callable[..., Session]) -> None:
    report = hardware(session=open_session(probe=lambda _: MACHINE))
    assert json.loads(json.dumps(report.machine))["accelerators"][0]["name"] == "H200"
    assert report.machine["features"] == ["avx2"]
    assert (report.fits, report.reference) == (None, "")


@pytest.mark.parametrize(("memory", "fits"), [("8GiB", True), ("64GiB", False)])
def test_whether_a_package_fits_is_told_from_its_manifest_alone(
    memory: str, fits: bool, open_session: Callable[..., Session], write_model: Callable[..., Path],
    registry: RunningRegistry,
) -> None:  # fmt: skip
    reference = f"{registry.address}/acme/sentiment:1.0.0"
    model = write_model(more=f"hardware:\n  - name: big\n    memory: {memory}\n")
    push(model, tag=reference, session=open_session("elsewhere"))
    with Asked(registry) as asked:
        report = hardware(check=reference, session=open_session(probe=lambda _: MACHINE))
    assert asked.blobs == []
    assert report.fits is fits
    assert report.variant == ("big" if fits else "")
    assert report.shortfalls == (() if fits else ("big: memory needs 64 GiB, this machine has 16 GiB",))


# -- login ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def guarded(tmp_path: Path) -> RunningRegistry:
    users = tmp_path / "htpasswd"
    users.write_text(f"ann:{hash_password('right')}\n")
    return start(tmp_path / "guarded", htpasswd=users)


def test_credentials_are_proved_then_kept_then_used_then_forgotten(
    guarded: RunningRegistry, session: Session, model: Path
) -> None:
    with guarded:
        with pytest.raises(Unauthorized) as caught:
            login(guarded.address, username="ann", password="wrong", session=session)
        assert "wrong" not in f"{caught.value} {caught.value.hint}"
        assert "Check the user name" in caught.value.hint
        with pytest.raises(Unauthorized):
            push(model, tag=f"{guarded.address}/acme/sentiment", session=session)
        done = login(f"http://{guarded.address}/acme", username="ann", password="right", session=session)
        assert (done.registry, done.username) == (guarded.address, "ann")
        assert b"right" not in Path(done.stored).read_bytes()  # encoded, as docker does
        push(model, tag=f"{guarded.address}/acme/sentiment", session=session)
        logout(guarded.address, session=session)
        with pytest.raises(Unauthorized):
            push(model, tag=f"{guarded.address}/acme/sentiment", session=session)
        with pytest.raises(NotFound):
            logout(guarded.address, session=session)


@pytest.mark.parametrize(("username", "password"), [("", "x"), ("x", "")])
def test_half_a_credential_is_refused_before_anybody_is_asked(
    username: str, password: str, registry: RunningRegistry, session: Session
) -> None:
    with Asked(registry) as asked, pytest.raises(UsageError) as caught:
        login(registry.address, username=username, password=password, session=session)
    assert asked.requests == []
    assert "--password-stdin" in caught.value.hint


@pytest.mark.parametrize("registry_name", ["acme", "", "https://", "a b.example"])
def test_a_host_that_is_none_is_refused(registry_name: str, session: Session) -> None:
    with pytest.raises(ReferenceInvalid, match="is not a registry host"):
        login(registry_name, username="ann", password="right", session=session)


def test_a_demo_without_wheels_says_how_to_bring_them_and_nothing_else(tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path), "UV_CACHE_DIR": str(tmp_path / "empty"), "PATH": os.environ["PATH"]}
    done = subprocess.run(
        [sys.executable, "-m", "installml", "demo", "--offline"],
        env=environ, cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 7
    hints = [line for line in done.stderr.splitlines() if line.startswith("hint:")]
    assert hints == [f"hint: {BRING_WHEELS}"]


def test_doctor_looks_at_a_registry_and_writes_only_when_told(session: Session) -> None:
    with start() as server:
        looked = {finding.check for finding in doctor(f"{server.address}/acme/x", session=session).findings}
        assert {r.method for r in server.requests} <= {"GET", "HEAD"}
        wrote = {f.check: f for f in doctor(f"{server.address}/acme/x", write=True, session=session).findings}
    assert "family" in looked
    assert (wrote["push"].state, wrote["deletion"].state) == ("ok", "ok")


def test_doctor_writes_only_into_a_repository_that_is_named(session: Session) -> None:
    with pytest.raises(UsageError, match="needs a repository"):
        doctor("registry.example.com", write=True, session=session)


def test_doctor_does_not_leave_this_machine_when_offline(session: Session) -> None:
    with pytest.raises(Offline):
        doctor("registry.example.com", session=replace(session, offline=True))
