"""install, all or nothing: refused before a byte moves, interrupted anywhere, repeated, moved, raced and killed."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import installml
from installml.api import serve as verbs
from installml.api.build import build
from installml.api.cache import cache_gc, cache_verify
from installml.api.info import list_
from installml.api.install import find_installed, install, uninstall
from installml.api.pull import pull
from installml.api.push import push
from installml.api.session import Session
from installml.api.tags import remove
from installml.config import load
from installml.digest import Digest
from installml.errors import InstallMLError, IntegrityError, NotFound, RecipeInvalid, UsageError
from installml.machines.errors import HardwareUnfit
from installml.machines.machine import Gpu, Machine
from installml.registry.errors import ConnectionLost, ServerFailed
from installml.registry_server import Faults, RunningRegistry, start
from installml.registry_server.faults import Fault, Flip, Reset, Rule, Stall, Status, Truncate
from installml.runtime.errors import LockInvalid, NoSolution, WheelsMissing
from installml.spec.media import LOCK_PATH
from installml.spec.runtime import RuntimeManifest
from installml.testing import package_bytes
from installml.transfer.download import Tuning
from tests.unit.api.kit import Asked, make_model, make_session, snapshot
from tests.unsigned import UNSIGNED

OLD, NEW = (random.Random(seed).randbytes(200_000) for seed in (1, 2))
NAME = "acme/sentiment"
MACHINE = Machine("linux", "amd64", 4, frozenset({"avx2"}), 16 << 30, 100 << 30)


@pytest.fixture
def session(tmp_path: Path) -> Session:
    return make_session(tmp_path / "home", tmp_path / "user")


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[RunningRegistry]:
    with start(tmp_path / "registry") as running:
        yield running


@pytest.fixture
def publish(tmp_path: Path) -> Callable[..., str]:
    """Return a function that pushes a package of these weights, and nothing to this machine's store."""

    def publish(registry: RunningRegistry, weights: bytes = OLD, *, version: str = "1.0.0", more: str = "") -> str:
        reference = f"{registry.address}/{NAME}:{version}"
        folder = make_model(tmp_path / "model", NAME, version, more=more, files={"weights.bin": weights, "a/b": b"b"})
        push(folder, tag=reference, session=make_session(tmp_path / "elsewhere", tmp_path / "user"))
        return reference

    return publish


def weights_in_use(session: Session) -> bytes:
    return (find_installed(NAME, session).path / "weights.bin").read_bytes()


def trees(session: Session) -> list[Path]:
    return list(session.installed.folder.rglob("sha256-*"))


# -- refused before a byte moves ------------------------------------------------------------------------------------

GPU = "  accelerator: {vendor: nvidia, memory: 80GiB}"


@pytest.mark.parametrize(
    ("wish", "machine", "told"),
    [
        (GPU, MACHINE, "accelerator needs 1 from nvidia, this machine has none"),
        (GPU, replace(MACHINE, accelerators=(Gpu("nvidia", "T4", 16 << 30),)),
         "accelerator.memory needs 80 GiB, this machine has 16 GiB"),
        ("  memory: 900TiB", MACHINE, "memory needs 900 TiB, this machine has 16 GiB"),
        ("  cpu: {arch: [s390x]}", MACHINE, "cpu.arch needs s390x, this machine has amd64"),
        ("  cpu: {features: [avx9]}", MACHINE, "cpu.features needs avx9, this machine has no avx9"),
        ("  cpu: {cores: 64}", MACHINE, "cpu.cores needs 64, this machine has 4"),
        ("  disk: 500TiB", MACHINE, "disk needs 500 TiB, this machine has 100 GiB"),
    ],
)  # fmt: skip
def test_what_cannot_run_here_is_refused_and_only_its_manifest_was_read(
    wish: str, machine: Machine, told: str, registry: RunningRegistry, publish: Callable[..., str], session: Session
) -> None:
    reference = publish(registry, more=f"hardware:\n- name: only\n{wish}\n")
    with Asked(registry) as asked, pytest.raises(HardwareUnfit) as caught:
        install(reference, session=replace(session, probe=lambda _: machine))
    assert told in caught.value.message
    assert caught.value.exit_code == 5
    assert [line.split()[0] for line in asked.lines] == ["GET"]
    assert all("/manifests/" in request.path for request in asked.requests if request.path != "/v2/")
    assert not session.home.exists()


def test_a_package_larger_than_the_disk_is_refused_although_it_asks_for_nothing(
    registry: RunningRegistry, publish: Callable[..., str], session: Session
) -> None:
    reference = publish(registry)
    small = replace(session, probe=lambda _: replace(MACHINE, disk_free=100_000))
    with Asked(registry) as asked, pytest.raises(HardwareUnfit, match="disk needs"):
        install(reference, session=small)
    assert asked.blobs == []
    install(reference, session=session)
    assert install(reference, session=small).unchanged  # nothing more has to be written


def test_this_very_machine_is_looked_at(
    registry: RunningRegistry, publish: Callable[..., str], session: Session
) -> None:
    foreign = "amd64" if session.machine().arch == "s390x" else "s390x"
    reference = publish(registry, more=f"hardware:\n- name: only\n  cpu: {{arch: [{foreign}]}}\n  memory: 1000TiB\n")
    with Asked(registry) as asked, pytest.raises(HardwareUnfit) as caught:
        install(reference, session=session)
    assert caught.value.message.count("this machine has") == 2
    assert asked.blobs == []


def test_the_first_profile_that_fits_is_chosen_and_remembered(
    registry: RunningRegistry, publish: Callable[..., str], session: Session
) -> None:
    reference = publish(registry, more=f"hardware:\n- name: gpu\n{GPU}\n- name: cpu\n  memory: 1GiB\n")
    result = install(reference, session=replace(session, probe=lambda _: MACHINE))
    assert result.variant == find_installed(NAME, session).variant == "cpu"


# -- repeated and moved ---------------------------------------------------------------------------------------------


def test_the_second_time_nothing_moves_and_nothing_changes(
    registry: RunningRegistry, publish: Callable[..., str], session: Session
) -> None:
    reference = publish(registry)
    first = install(reference, session=session)
    before = snapshot(Path(first.path))
    with Asked(registry) as asked:
        second = install(reference, session=session)
    assert (second.moved, second.unchanged) == (0, True)
    assert asked.blobs == []
    assert (second.path, second.digest) == (first.path, first.digest)
    assert snapshot(Path(first.path)) == before
    assert len(trees(session)) == 1


def test_a_moved_tag_puts_the_new_package_in_use_and_the_old_tree_goes(
    registry: RunningRegistry, publish: Callable[..., str], session: Session
) -> None:
    first = install(publish(registry, OLD), session=session)
    second = install(publish(registry, NEW), session=session)
    assert first.digest != second.digest
    assert not second.unchanged
    assert weights_in_use(session) == NEW
    assert trees(session) == [Path(second.path)]
    assert cache_gc(session=session).freed >= len(OLD)
    assert cache_verify(session=session).damaged == ()


def test_another_version_leaves_the_first_in_use_under_its_own_name(
    registry: RunningRegistry, publish: Callable[..., str], session: Session
) -> None:
    install(publish(registry, OLD), session=session)
    install(publish(registry, NEW, version="2.0.0"), session=session)
    assert (find_installed(f"{NAME}:1.0.0", session).path / "weights.bin").read_bytes() == OLD
    assert (find_installed(f"{NAME}:2.0.0", session).path / "weights.bin").read_bytes() == NEW
    uninstall(f"{NAME}:2.0.0", session=session)
    cache_gc(session=session)
    assert weights_in_use(session) == OLD


def test_there_is_one_copy_of_the_bytes_and_nobody_may_write_to_it(
    registry: RunningRegistry, publish: Callable[..., str], session: Session
) -> None:
    result = install(publish(registry), session=session)
    file, blob = Path(result.path) / "weights.bin", session.store.blobs.path(Digest.of(OLD))
    if result.linked == "hardlink":
        assert (file.stat().st_ino, file.stat().st_nlink) == (blob.stat().st_ino, 2)
    else:  # what this file system has instead of links between files
        assert result.linked in {"reflink", "symlink", "copy"}
    for path in (Path(result.path), *Path(result.path).rglob("*")):
        assert path.stat().st_mode & 0o222 == 0


def test_what_is_here_installs_without_a_network(
    registry: RunningRegistry, publish: Callable[..., str], session: Session
) -> None:
    reference = publish(registry)
    pull(reference, session=session)
    registry.stop()
    offline = replace(session, offline=True)
    result = install(reference, session=offline)
    assert (result.moved, result.source) == (0, "local store")
    assert weights_in_use(session) == OLD
    with pytest.raises(NotFound) as caught:
        install(reference.replace("1.0.0", "2.0.0"), session=offline)
    assert caught.value.hint == "Run it again without --offline."


# -- interrupted ----------------------------------------------------------------------------------------------------

WEIGHTS = f"/blobs/{Digest.of(NEW)}$"
PASSING = {"cut": Truncate(1000), "reset": Reset(100_000), "refused": Status(500), "silent": Stall(1000)}
LASTING: dict[str, tuple[Fault, type[InstallMLError], int]] = {
    "flipped": (Flip(1000), IntegrityError, 3),
    "cut": (Truncate(1000), ConnectionLost, 1),
    "reset": (Reset(100_000), ConnectionLost, 1),
    "refused": (Status(500), ServerFailed, 1),
    "silent": (Stall(1000), ConnectionLost, 1),
}


def impatient(session: Session) -> Session:
    """The same session, which soon gives up."""
    return replace(session, tuning=Tuning(patience=0.2, stall=0.1))


@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING.keys())
def test_what_breaks_on_the_way_and_passes_is_not_noticed(
    fault: Fault, publish: Callable[..., str], session: Session, tmp_path: Path
) -> None:
    with start(tmp_path / "registry", faults=Faults(Rule(fault, method="GET", path=WEIGHTS, times=2))) as registry:
        assert install(publish(registry, NEW), session=replace(session, tuning=Tuning(stall=0.1))).unchanged is False
    assert weights_in_use(session) == NEW
    assert list((session.home / "ingest").iterdir()) == []


@pytest.mark.parametrize(("fault", "error", "code"), LASTING.values(), ids=LASTING.keys())
def test_what_breaks_on_the_way_and_lasts_leaves_the_previous_version_in_use_until_it_has_passed(
    fault: Fault, error: type[InstallMLError], code: int, publish: Callable[..., str], session: Session,
    tmp_path: Path,
) -> None:  # fmt: skip
    with start(tmp_path / "registry", faults=Faults(Rule(fault, method="GET", path=WEIGHTS))) as registry:
        install(publish(registry, OLD), session=session)
        before = list(session.installed.records()), snapshot(session.installed.folder)
        reference = publish(registry, NEW)
        with pytest.raises(error) as caught:
            install(reference, session=impatient(session))
        assert (caught.value.exit_code, bool(caught.value.hint)) == (code, True)
        assert (list(session.installed.records()), snapshot(session.installed.folder)) == before
        assert not session.store.blobs.path(Digest.of(NEW)).exists()
        assert cache_verify(session=session).damaged == ()
        port = registry.port
    with start(tmp_path / "registry", port=port):
        assert install(reference, session=session).unchanged is False
        assert weights_in_use(session) == NEW
        assert list((session.home / "ingest").iterdir()) == []


@pytest.mark.parametrize("change", [lambda data: data[:-1], lambda data: data + b"x", lambda data: b"x" + data[1:]])
def test_a_registry_whose_storage_is_damaged_installs_nothing(
    change: Callable[[bytes], bytes], registry: RunningRegistry, publish: Callable[..., str], session: Session
) -> None:
    install(publish(registry, OLD), session=session)
    before = snapshot(session.installed.folder)
    reference = publish(registry, NEW)
    stored = [path for path in registry.root.rglob("*") if path.is_file() and path.read_bytes() == NEW]
    assert stored
    for path in stored:
        path.chmod(0o644)
        path.write_bytes(change(NEW))
    with pytest.raises(IntegrityError) as caught:
        install(reference, session=session)
    assert caught.value.exit_code == 3
    assert registry.address in caught.value.message
    assert snapshot(session.installed.folder) == before
    assert not session.store.blobs.path(Digest.of(NEW)).exists()


LOCK = f"numpy==9.9.9 --hash=sha256:{'0' * 64}\n".encode()


@pytest.mark.parametrize(
    ("files", "runtime"),
    [
        ({LOCK_PATH: LOCK}, RuntimeManifest("python", entrypoint="model.py:Model", lock=Digest.of(LOCK))),
        ({}, RuntimeManifest("python", entrypoint="model.py:Model", requirements=("numpy==9.9.9",))),
    ],
    ids=["locked", "wishes"],
)
def test_an_environment_that_cannot_be_made_leaves_the_previous_version_in_use(
    files: dict[str, bytes], runtime: RuntimeManifest, registry: RunningRegistry, publish: Callable[..., str],
    tmp_path: Path, session: Session,
) -> None:  # fmt: skip
    (tmp_path / "wheels").mkdir()
    session = replace(session, index=replace(session.index, wheels=tmp_path / "wheels"))
    reference = publish(registry, OLD)
    install(reference, session=session)
    before = list(session.installed.records()), snapshot(session.installed.folder)
    packed = package_bytes({"model.py": b"", **files}, name=NAME, runtime=runtime)
    packed.push(session.remote(session.qualify(reference)), "1.0.0")
    with pytest.raises((WheelsMissing, NoSolution)) as caught:
        install(reference, session=session)
    assert caught.value.exit_code in {6, 7}
    assert caught.value.hint
    assert (list(session.installed.records()), snapshot(session.installed.folder)) == before
    assert not session.runtimes.exists() or list(session.runtimes.iterdir()) == []
    without = install(reference, runtime=False, session=session)
    assert (without.digest, without.runtime, without.unchanged) == (packed.descriptor.digest, "", False)


def test_a_lock_with_an_option_in_it_is_refused_and_nothing_is_put_in_use(
    registry: RunningRegistry, session: Session
) -> None:
    evil = b"--index-url=http://127.0.0.1:9/simple\nnumpy==2.1.3\n"
    packed = package_bytes(
        {LOCK_PATH: evil, "model.py": b""},
        runtime=RuntimeManifest("python", entrypoint="model.py:Model", lock=Digest.of(evil)),
    )
    reference = f"{registry.address}/{NAME}:1.0.0"
    packed.push(session.remote(session.qualify(reference)), "1.0.0")
    with pytest.raises(LockInvalid) as caught:
        install(reference, session=session)
    assert caught.value.exit_code == 3
    assert list(session.installed.records()) == []
    assert trees(session) == []


# -- at once, and killed --------------------------------------------------------------------------------------------

CHILD = """\
import os, sys, threading
from pathlib import Path
import installml.api.install
from installml.config import load

home, user, reference, watch, policy = sys.argv[1:]
session = load({"home": home, "policy": policy}, {"HOME": user}, folder=Path(user)).session()
root = Path(installml.api.install.__file__).parents[1]
watched = tuple(str(root / name) for name in ("api/install.py", "api/pull.py", "store/", "transfer/"))

def trace(frame, event, argument):
    if not frame.f_code.co_filename.startswith(watched):
        return None
    if event == "line":
        os.write(1, b".")
    return trace

sys.stdin.read(1)  # begin
if watch == "yes":
    threading.settrace(trace)
    sys.settrace(trace)
result = installml.api.install.install(reference, session=session)
sys.settrace(None)
os.write(1, b"!")
"""


def child(session: Session, reference: str, *, watched: bool) -> subprocess.Popen[bytes]:
    """Start a process that will install as soon as it reads a byte; watched, it writes a dot for each line it runs."""
    user = session.home.parent / "user"
    user.mkdir(exist_ok=True)
    words = [str(session.home), str(user), reference, "yes" if watched else "no", UNSIGNED]
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(installml.__file__).parents[1])}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([sys.executable, "-c", CHILD, *words], env=environ, bufsize=0, **pipes)  # type: ignore[call-overload,no-any-return]


def let_go(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    process.stdin.write(b"x")


def killed_after(process: subprocess.Popen[bytes], dots: float) -> int:
    """Kill the process after so many dots, or wait for its end; return how many came."""
    assert process.stdout is not None
    let_go(process)
    count = 0
    with process:
        while count < dots and (block := process.stdout.read(int(min(4096, dots - count)))):
            count += block.count(b".")
            if b"!" in block:
                break
        if count >= dots:
            process.send_signal(signal.SIGKILL)
        _, errors = process.communicate()
    assert process.returncode in (0, -signal.SIGKILL), errors.decode()
    return count


def test_two_installs_at_once_both_succeed_and_leave_one_tree(
    registry: RunningRegistry, publish: Callable[..., str], session: Session
) -> None:
    for number in range(4):
        reference = publish(registry, random.Random(number).randbytes(300_000), version=f"1.0.{number}")
        rivals = [child(session, reference, watched=False) for _ in range(2)]
        for process in rivals:
            let_go(process)
        ends = [(process.communicate(), process.returncode) for process in rivals]
        assert [code for _, code in ends] == [0, 0], ends
        [tree] = session.installed.place(session.qualify(reference), f"1.0.{number}").glob("sha256-*")
        assert find_installed(reference, session).path == tree
    assert list((session.home / "ingest").iterdir()) == []
    assert cache_verify(session=session).damaged == ()


def test_killed_at_twenty_moments_the_previous_version_or_the_new_one_is_in_use_never_half(
    registry: RunningRegistry, publish: Callable[..., str], session: Session, tmp_path: Path
) -> None:
    chance = random.Random(20240301)
    expected: dict[bytes, dict[str, tuple[str, bytes]]] = {}
    for weights in (OLD, NEW):
        reference = publish(registry, weights)
        done = install(reference, session=replace(session, home=tmp_path / f"like-{len(expected)}"))
        expected[weights] = snapshot(Path(done.path))
    length: float = float("inf")  # the first run measures
    killed = []
    for number in range(21):
        mine = replace(session, home=tmp_path / f"home-{number}")
        publish(registry, OLD)
        install(reference, session=mine)
        publish(registry, NEW)
        process = child(mine, reference, watched=True)
        dots = killed_after(process, chance.randint(1, int(length)) if number else length)
        length = length if number else dots
        killed.append(process.returncode != 0)
        assert snapshot(find_installed(NAME, mine).path) in expected.values()
        assert cache_verify(session=mine).damaged == ()
        install(reference, session=mine)
        assert snapshot(find_installed(NAME, mine).path) == expected[NEW]
        cache_gc(session=replace(mine, clock=lambda: time.time() + 10))
        assert list((mine.home / "ingest").iterdir()) == []
        assert len(trees(mine)) == 1
    assert sum(killed) > 15  # the moments were inside the work


# -- environments and answers ---------------------------------------------------------------------------------------

CODE = b'''\
"""Answers with the version of its numpy and the double of its input."""

import numpy


class Model:
    def load(self, path):
        return self

    def predict(self, inputs):
        version = [int(part) for part in numpy.__version__.split(".")]
        return {"version": numpy.array(version, dtype="int64"), "y": inputs["x"] * 2}
'''
RUNTIME = """\
runtime:
  engine: python
  entrypoint: model.py:Model
  requirements: requirements.txt
  example: example.json
  signature:
    inputs: [{name: x, datatype: FP32, shape: [-1]}]
    outputs: [{name: version, datatype: INT64, shape: [3]}, {name: y, datatype: FP32, shape: [-1]}]
"""
EXAMPLE = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [2], "data": [1.0, 2.0]}]}


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    """Return a session that makes real environments: with this user's index and cache, and an own home."""
    folder = tmp_path_factory.mktemp("machine")
    (folder / "config.toml").touch()
    environ = {name: value for name, value in os.environ.items() if not name.startswith("INSTALLML_")}
    environ |= {"INSTALLML_CONFIG": str(folder / "config.toml"), "DOCKER_CONFIG": str(folder)}
    environ |= {"REGISTRY_AUTH_FILE": str(folder / "none.json")}
    session = load({"home": str(folder / "home"), "policy": UNSIGNED}, environ, folder=folder).session()
    yield session
    if verbs.ps(session=session).servers:
        verbs.stop(all=True, session=session)


def versioned(folder: Path, name: str, numpy: str) -> Path:
    files = {"model.py": CODE, "requirements.txt": f"numpy=={numpy}\n".encode(), "example.json": b""}
    return make_model(folder, name, more=RUNTIME, files=files | {"example.json": json.dumps(EXAMPLE).encode()})


@pytest.mark.integration
def test_two_models_whose_pins_contradict_serve_at_the_same_time(machine: Session, tmp_path: Path) -> None:
    folders = [versioned(tmp_path / name, f"acme/{name}", pin) for name, pin in (("one", "2.1.3"), ("two", "2.2.6"))]
    with (
        verbs.serve(folders[0], session=machine) as one,
        verbs.serve(folders[1], session=machine) as two,
    ):
        for server, version in ((one, [2, 1, 3]), (two, [2, 2, 6]), (one, [2, 1, 3])):
            answer = server.predict({"x": [1.5]})
            assert answer["version"].tolist() == version
            assert answer["y"].tolist() == [3.0]
        assert {server.name for server in verbs.ps(session=machine).servers} == {"one", "two"}
        asked = verbs.predict("acme/two", {"x": [1.0]}, session=machine)
        assert (asked.served, asked.outputs[1]["data"]) == (two.url, [2.0])
        stranger = versioned(tmp_path / "stranger", "other/one", "2.1.3")
        build(stranger, session=machine)
        by_itself = verbs.predict("other/one:1.0.0", {"x": [1.0]}, session=machine)
        assert by_itself.served == ""  # "one" is another model
    assert verbs.ps(session=machine).servers == ()
    runtimes = {record.runtime for record in machine.installed.records()}
    assert len(runtimes) == 2  # the stranger shares its environment


@pytest.mark.integration
def test_an_environment_that_was_lost_is_made_again_when_it_is_needed(machine: Session, tmp_path: Path) -> None:
    folder = versioned(tmp_path / "lost", "acme/lost", "2.1.3")
    build(folder, session=machine)
    install("acme/lost:1.0.0", runtime=False, session=machine)
    assert verbs.predict("acme/lost", {"x": [1.0]}, session=machine).outputs[0]["data"] == [2, 1, 3]
    record = find_installed("acme/lost", machine)
    install("acme/lost:1.0.0", runtime=False, session=machine)
    assert find_installed("acme/lost", machine).runtime == record.runtime  # not making one is no reason to forget it
    Path(record.python).unlink()
    offline = replace(machine, offline=True, index=replace(machine.index, offline=True))
    assert verbs.predict("acme/lost", {"x": [1.0]}, session=offline).outputs[0]["data"] == [2, 1, 3]
    uninstall("acme/lost", session=machine)
    remove("acme/lost:1.0.0", local=True, session=machine)
    uninstalled = cache_gc(session=machine)
    assert uninstalled.freed > 0


@pytest.mark.integration
def test_a_model_is_tested_against_its_recorded_answer(machine: Session, tmp_path: Path) -> None:
    folder = versioned(tmp_path / "m", "acme/tested", "2.1.3")
    first = verbs.test(folder, session=machine)
    assert (first.passed, first.compared) == (True, False)
    recorded = verbs.test(folder, record=True, session=machine)
    assert recorded.recorded == str(folder / "expected.json")
    assert json.loads((folder / "expected.json").read_bytes())["outputs"][1]["data"] == [2.0, 4.0]
    again = verbs.test(folder, session=machine)
    assert (again.passed, again.compared, again.differences) == (True, True, ())
    (folder / "model.py").write_bytes(CODE.replace(b"* 2", b"* 2.5"))
    failed = verbs.test(folder, session=machine)
    assert not failed.passed
    assert failed.differences == (
        "output 'y'[0] is 2.5, recorded is 2.0", "output 'y'[1] is 5.0, recorded is 4.0",
    )  # fmt: skip
    assert verbs.test(folder, tolerance=1.0, session=machine).passed


def test_an_answer_is_recorded_in_a_folder_and_nowhere_else(session: Session) -> None:
    with pytest.raises(UsageError) as caught:
        verbs.test("acme/x:1.0.0", record=True, session=session)
    assert caught.value.hint == "installml test DIR --record"
    assert not session.home.exists()


def test_an_expected_answer_that_is_not_there_yet_is_told_with_how_to_record_it(
    session: Session, tmp_path: Path
) -> None:
    more = "runtime:\n  engine: none\n  expected: expected.json\n"
    with pytest.raises(RecipeInvalid) as caught:
        build(make_model(tmp_path / "m", more=more), session=session)
    assert f"installml test {tmp_path / 'm'} --record" in caught.value.hint


def test_a_name_that_nobody_has_is_not_served(session: Session) -> None:
    with pytest.raises(NotFound):
        verbs.serve("acme/none:1.0.0", session=session)
    assert list_(session=session).packages == ()
