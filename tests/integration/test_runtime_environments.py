"""Real environments made by the real uv: against a small index of our own on loopback, and against the index of
this machine where there is one."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import hashlib
import io
import os
import signal
import socket
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from installml.events import Event
from installml.runtime.environment import STAGING, Environment, collect, ensure
from installml.runtime.errors import HashMismatch, IndexUnreachable, NoSolution, RuntimeFailed, WheelsMissing
from installml.runtime.index import Index
from installml.runtime.interpreter import installed, running
from installml.runtime.lock import ENGINE_REQUIREMENTS, lock, wheels


def make_wheel(folder: Path, name: str, version: str, *, requires: str = "", tag: str = "py3-none-any") -> Path:
    """Write a wheel whose one module says its version."""
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    metadata += f"Requires-Dist: {requires}\n" if requires else ""
    files = {
        f"{name}.py": f"VERSION = {version!r}\n\n\ndef fail():\n    raise ValueError(VERSION)\n",
        f"{info}/METADATA": metadata,
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {tag}\n",
        f"{info}/entry_points.txt": f"[console_scripts]\n{name}-cli = {name}:fail\n",
    }
    path = folder / f"{name}-{version}-{tag}.whl"
    with zipfile.ZipFile(path, "w") as archive:
        record = ""
        for file, text in files.items():
            archive.writestr(file, text)
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
            record += f"{file},sha256={digest},{len(text)}\n"
        archive.writestr(f"{info}/RECORD", f"{record}{info}/RECORD,,\n")
    return path


def make_source(folder: Path, name: str, marker: Path) -> Path:
    """Write a source distribution whose build script leaves a mark; it needs nothing else to be built."""
    files = {
        "pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n',
        "backend.py": f"from pathlib import Path\nPath({str(marker)!r}).touch()\n",
        "PKG-INFO": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0.0\n",
    }
    path = folder / f"{name}-1.0.0.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for file, text in files.items():
            member = tarfile.TarInfo(f"{name}-1.0.0/{file}")
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    return path


@dataclass
class LocalIndex:
    """A package index (PEP 503) over one folder, with switches for what may go wrong."""

    folder: Path
    url: str = ""
    status: int = 200
    login: str = ""
    hold: threading.Event | None = None
    asked: list[str] = field(default_factory=list)
    reached: threading.Event = field(default_factory=threading.Event)

    def answer(self, path: str) -> bytes | None:
        parts = path.split("?")[0].strip("/").split("/")
        if parts[0] == "files":
            return (self.folder / parts[1]).read_bytes()
        names = [p.name for p in sorted(self.folder.iterdir()) if p.name.split("-")[0] == parts[-1]]
        return "".join(f'<a href="../../files/{n}">{n}</a>\n' for n in names).encode() if names else None


@pytest.fixture
def index(tmp_path: Path) -> Iterator[LocalIndex]:
    folder = tmp_path / "index"
    folder.mkdir()
    make_wheel(folder, "numpy", "2.1.0")
    for version in ("1.0.0", "2.0.0"):
        make_wheel(folder, "alpha", version, requires="beta")
        make_wheel(folder, "beta", version)
    local = LocalIndex(folder)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            local.asked.append(self.path)
            expected = "Basic " + base64.b64encode(local.login.encode()).decode()
            if local.login and self.headers.get("Authorization") != expected:
                self.send_error(401)
                return
            if local.hold is not None and self.path.startswith("/files/"):
                local.reached.set()
                local.hold.wait(60)
            body = local.answer(self.path)
            if local.status != 200 or body is None:
                self.send_error(local.status if local.status != 200 else 404)
                return
            self.send_response(200)
            self.send_header("Content-Type", "text/html" if body.startswith(b"<") else "application/octet-stream")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        local.url = f"http://127.0.0.1:{server.server_port}/simple"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield local
        if local.hold is not None:
            local.hold.set()
        server.shutdown()
        thread.join()


def source(tmp_path: Path, url: str = "", **changes: object) -> Index:
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "UV_HTTP_RETRIES": "0"}
    return Index(**({"url": url, "cache": tmp_path / "cache", "environ": environ} | changes))


def closed_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}/simple"


def ask(environment: Environment, code: str) -> str:
    done = subprocess.run([environment.python, "-I", "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def entries(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# Locking


def test_a_lock_pins_the_whole_tree_with_hashes_and_always_numpy(tmp_path: Path, index: LocalIndex) -> None:
    data = lock(["alpha==1.0.0", "# a comment", ""], ">=3.11", source(tmp_path, index.url))

    digests = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in index.folder.glob("*.whl")}
    assert data.decode() == (
        f"alpha==1.0.0 \\\n    --hash=sha256:{digests['alpha-1.0.0-py3-none-any.whl']}\n"
        f"beta==2.0.0 \\\n    --hash=sha256:{digests['beta-2.0.0-py3-none-any.whl']}\n"
        f"numpy==2.1.0 \\\n    --hash=sha256:{digests['numpy-2.1.0-py3-none-any.whl']}\n"
    )


def test_a_lock_is_the_same_from_another_index_place_cache_and_order(tmp_path: Path, index: LocalIndex) -> None:
    (tmp_path / "other").mkdir()
    first = lock(["alpha", "beta<2"], ">=3.11", source(tmp_path, index.url))
    second = lock(["beta<2", "alpha"], ">=3.11", source(tmp_path / "other", index.url + "/"))
    folder = lock(["alpha", "beta<2"], ">=3.11", source(tmp_path / "other", wheels=index.folder))

    assert first == second == folder


def test_markers_are_kept_so_that_one_lock_serves_every_platform(tmp_path: Path, index: LocalIndex) -> None:
    data = lock(["alpha ; sys_platform == 'win32'", "beta"], ">=3.11", source(tmp_path, index.url))

    assert b'alpha==2.0.0 ; sys_platform == "win32"' in data
    assert wheels(data) == (("beta", "2.0.0"), ("numpy", "2.1.0"))


def test_wishes_that_contradict_each_other_are_told_in_words(tmp_path: Path, index: LocalIndex) -> None:
    with pytest.raises(NoSolution, match=r"beta<2 and beta>=2") as caught:
        lock(["beta<2", "beta>=2"], ">=3.11", source(tmp_path, index.url))

    assert caught.value.exit_code == 6


def test_a_name_that_the_index_does_not_have_is_told(tmp_path: Path, index: LocalIndex) -> None:
    with pytest.raises(NoSolution, match="gamma was not found"):
        lock(["gamma"], ">=3.11", source(tmp_path, index.url))


@pytest.mark.parametrize("status", [500, 403, 401])
def test_an_index_that_refuses_is_told_apart_so_that_building_can_go_on(
    tmp_path: Path, index: LocalIndex, status: int
) -> None:
    index.status = status

    with pytest.raises(IndexUnreachable, match=str(status)):
        lock(["alpha"], ">=3.11", source(tmp_path, index.url))


def test_an_index_that_is_not_there_is_told_without_its_password(tmp_path: Path) -> None:
    url = closed_port().replace("://", "://reader:s3cret@")

    with pytest.raises(IndexUnreachable) as caught:
        lock(["alpha"], ">=3.11", source(tmp_path, url))

    assert "s3cret" not in f"{caught.value} {caught.value.hint} {caught.value.subject}"


def test_an_index_behind_a_password_serves_who_has_it(tmp_path: Path, index: LocalIndex) -> None:
    index.login = "reader:s3cret"

    data = lock(["beta"], ">=3.11", source(tmp_path, index.url.replace("://", "://reader:s3cret@")))

    assert b"s3cret" not in data
    with pytest.raises(IndexUnreachable, match="401"):
        lock(["beta"], ">=3.11", source(tmp_path, index.url, cache=tmp_path / "other"))


def test_settings_that_lie_in_a_folder_above_do_not_count(
    tmp_path: Path, index: LocalIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    trap = tmp_path / "trap"
    (trap / "tmp").mkdir(parents=True)
    (trap / "uv.toml").write_text(f'index-url = "{closed_port()}"\n[pip]\nno-deps = true\n')
    monkeypatch.setattr("tempfile.tempdir", str(trap / "tmp"))

    data = lock(["alpha"], ">=3.11", source(tmp_path, index.url))
    environment = ensure(trap / "runtimes", data, "", source(tmp_path, index.url))

    assert b"beta==2.0.0" in data
    assert environment.created


# Making environments


@pytest.fixture
def alpha(tmp_path: Path, index: LocalIndex) -> bytes:
    return lock(["alpha==1.0.0"], ">=3.11", source(tmp_path, index.url))


def test_an_environment_has_what_the_lock_says_and_works_where_it_ended(
    tmp_path: Path, index: LocalIndex, alpha: bytes
) -> None:
    events: list[Event] = []
    runtimes = tmp_path / "a home" / "runtimes"

    made = ensure(runtimes, alpha, ">=3.11", source(tmp_path, index.url), events.append)

    assert made.created
    assert made.path == runtimes / made.key
    assert ask(made, "import alpha, beta, sys; print(alpha.VERSION, beta.VERSION, sys.prefix)") == (
        f"1.0.0 2.0.0 {made.path}"
    )
    assert [event.count for event in events] == [3]
    assert entries(runtimes) == [made.key]


def test_scripts_and_tracebacks_know_the_place_where_it_ended(tmp_path: Path, index: LocalIndex, alpha: bytes) -> None:
    made = ensure(tmp_path / "runtimes", alpha, "", source(tmp_path, index.url))

    done = subprocess.run([made.path / "bin" / "alpha-cli"], capture_output=True, text=True, check=False)

    assert "ValueError: 1.0.0" in done.stderr
    assert f'File "{made.path}/' in done.stderr
    assert STAGING not in done.stderr


def test_bytecode_is_compiled_and_files_are_not_stored_twice(tmp_path: Path, index: LocalIndex, alpha: bytes) -> None:
    made = ensure(tmp_path / "runtimes", alpha, "", source(tmp_path, index.url))

    assert list(made.path.glob("lib/python*/site-packages/__pycache__/alpha.*.pyc"))
    environ = {"UV_LINK_MODE": "hardlink", **source(tmp_path).environ}
    linked = ensure(tmp_path / "linked", alpha, "", source(tmp_path, index.url, environ=environ))
    (module,) = linked.path.glob("lib/python*/site-packages/alpha.py")
    assert module.stat().st_nlink > 1


def test_the_second_time_nothing_is_made_or_asked(tmp_path: Path, index: LocalIndex, alpha: bytes) -> None:
    made = ensure(tmp_path / "runtimes", alpha, "", source(tmp_path, index.url))
    index.asked.clear()
    events: list[Event] = []

    again = ensure(tmp_path / "runtimes", alpha, "", source(tmp_path, index.url), events.append)

    assert again == Environment(made.path, made.python, made.key, created=False)
    assert (index.asked, events) == ([], [])


def test_two_models_with_pins_that_contradict_live_side_by_side(tmp_path: Path, index: LocalIndex) -> None:
    where = source(tmp_path, index.url)
    old, new = (
        ensure(tmp_path / "runtimes", lock([f"alpha=={version}"], ">=3.11", where), "", where)
        for version in ("1.0.0", "2.0.0")
    )
    waiting = "import alpha; print(alpha.VERSION, flush=True); input()"

    workers = [
        subprocess.Popen([env.python, "-c", waiting], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for env in (old, new)
    ]
    versions = [worker.stdout.readline().strip() for worker in workers if worker.stdout]
    for worker in workers:
        worker.communicate("\n")

    assert versions == ["1.0.0", "2.0.0"]
    assert len(entries(tmp_path / "runtimes")) == 2


def test_without_a_network_the_cache_is_enough(tmp_path: Path, index: LocalIndex, alpha: bytes) -> None:
    ensure(tmp_path / "first", alpha, "", source(tmp_path, index.url))
    index.asked.clear()

    made = ensure(tmp_path / "second", alpha, "", source(tmp_path, index.url, offline=True))

    assert made.created
    assert ask(made, "import alpha; print(alpha.VERSION)") == "1.0.0"
    assert index.asked == []


def test_without_a_network_and_cache_the_wheels_are_named(tmp_path: Path, index: LocalIndex, alpha: bytes) -> None:
    with pytest.raises(WheelsMissing, match=r"alpha==1\.0\.0") as caught:
        ensure(tmp_path / "runtimes", alpha, "", source(tmp_path, index.url, offline=True, cache=tmp_path / "empty"))

    assert caught.value.exit_code == 7
    assert "pip download" in caught.value.hint
    assert entries(tmp_path / "runtimes") == []


def test_a_folder_of_wheels_is_enough_and_asks_nobody(tmp_path: Path, index: LocalIndex, alpha: bytes) -> None:
    index.asked.clear()

    made = ensure(tmp_path / "runtimes", alpha, "", source(tmp_path, wheels=index.folder, cache=tmp_path / "empty"))

    assert ask(made, "import alpha; print(alpha.VERSION)") == "1.0.0"
    assert index.asked == []


def test_a_folder_that_lacks_wheels_is_refused_with_all_their_names(
    tmp_path: Path, index: LocalIndex, alpha: bytes
) -> None:
    for name in ("alpha-1.0.0", "beta-2.0.0"):
        (index.folder / f"{name}-py3-none-any.whl").unlink()

    with pytest.raises(WheelsMissing, match=r"alpha==1\.0\.0, beta==2\.0\.0$"):
        ensure(tmp_path / "runtimes", alpha, "", source(tmp_path, wheels=index.folder))


def test_a_wheel_that_changed_on_the_index_is_refused(tmp_path: Path, index: LocalIndex, alpha: bytes) -> None:
    with zipfile.ZipFile(index.folder / "alpha-1.0.0-py3-none-any.whl", "a") as archive:
        archive.writestr("extra.py", "import os")

    with pytest.raises(HashMismatch, match=r"alpha==1\.0\.0") as caught:
        ensure(tmp_path / "runtimes", alpha, "", source(tmp_path, index.url, cache=tmp_path / "empty"))

    assert caught.value.exit_code == 3
    assert entries(tmp_path / "runtimes") == []


def test_a_wheel_that_changed_in_a_folder_is_refused(tmp_path: Path, index: LocalIndex, alpha: bytes) -> None:
    with zipfile.ZipFile(index.folder / "alpha-1.0.0-py3-none-any.whl", "a") as archive:
        archive.writestr("extra.py", "import os")

    with pytest.raises(HashMismatch, match=r"alpha==1\.0\.0"):
        ensure(tmp_path / "runtimes", alpha, "", source(tmp_path, wheels=index.folder, cache=tmp_path / "empty"))


def test_an_edited_lock_is_refused_even_when_the_wheel_is_cached(
    tmp_path: Path, index: LocalIndex, alpha: bytes
) -> None:
    ensure(tmp_path / "runtimes", alpha, "", source(tmp_path, index.url))
    digest = hashlib.sha256((index.folder / "beta-2.0.0-py3-none-any.whl").read_bytes()).hexdigest()

    edited = alpha.replace(digest.encode(), b"0" * 64)

    with pytest.raises(HashMismatch, match=r"beta==2\.0\.0") as caught:
        ensure(tmp_path / "runtimes", edited, "", source(tmp_path, index.url))

    assert caught.value.exit_code == 3


def test_a_locked_version_that_left_the_index_is_told(tmp_path: Path, index: LocalIndex, alpha: bytes) -> None:
    (index.folder / "alpha-1.0.0-py3-none-any.whl").unlink()

    with pytest.raises(NoSolution, match=r"alpha==1\.0\.0"):
        ensure(tmp_path / "runtimes", alpha, "", source(tmp_path, index.url, cache=tmp_path / "empty"))


def test_a_locked_version_without_a_wheel_for_this_machine_is_told(tmp_path: Path, index: LocalIndex) -> None:
    wheel = make_wheel(index.folder, "delta", "1.0.0", tag="cp311-cp311-win_amd64")
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()

    data = f"delta==1.0.0 --hash=sha256:{digest}\n".encode()

    with pytest.raises(NoSolution, match=r"delta"):
        ensure(tmp_path / "runtimes", data, "", source(tmp_path, index.url))


def test_nobodys_build_script_runs(tmp_path: Path, index: LocalIndex) -> None:
    marker = tmp_path / "somebody was here"
    archive = make_source(index.folder, "epsilon", marker)
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()

    with pytest.raises(NoSolution, match="epsilon"):
        lock(["epsilon"], ">=3.11", source(tmp_path, index.url))
    with pytest.raises(NoSolution, match="epsilon"):
        ensure(
            tmp_path / "runtimes", f"epsilon==1.0.0 --hash=sha256:{digest}\n".encode(), "", source(tmp_path, index.url)
        )

    assert not marker.exists()


def test_an_environment_whose_interpreter_is_gone_is_made_again(
    tmp_path: Path, index: LocalIndex, alpha: bytes
) -> None:
    made = ensure(tmp_path / "runtimes", alpha, "", source(tmp_path, index.url))
    made.python.unlink()
    made.python.symlink_to(tmp_path / "removed" / "python")

    again = ensure(tmp_path / "runtimes", alpha, "", source(tmp_path, index.url))

    assert again.created
    assert ask(again, "import alpha; print(alpha.VERSION)") == "1.0.0"
    assert entries(tmp_path / "runtimes") == [made.key]


def test_a_folder_that_cannot_be_written_is_told_as_such(tmp_path: Path, index: LocalIndex, alpha: bytes) -> None:
    (tmp_path / "runtimes").write_text("a file in the folder's place")

    with pytest.raises(Exception, match="runtimes") as caught:
        ensure(tmp_path / "runtimes", alpha, "", source(tmp_path, index.url))

    assert getattr(caught.value, "reference", "") == "store-unusable"


def test_another_installed_python_is_used_when_the_running_one_will_not_do(
    tmp_path: Path, index: LocalIndex, alpha: bytes
) -> None:
    where = source(tmp_path, index.url)
    other = next((found for found in installed(where) if found.version != running().version), None)
    if other is None:
        pytest.skip("only one Python is installed on this machine")

    made = ensure(tmp_path / "runtimes", alpha, f"=={other.version}", where)

    assert ask(made, "import platform, alpha; print(platform.python_version())") == other.version


# Several processes, and death

ENSURE = """
import sys
from pathlib import Path
from installml.runtime.environment import ensure
from installml.runtime.index import Index
runtimes, lock, url, cache = sys.argv[1:]
print("started", flush=True)
made = ensure(Path(runtimes), Path(lock).read_bytes(), "", Index(url, cache=Path(cache), environ={"PATH": "/bin"}))
print(made.key, made.created, flush=True)
"""


def start(tmp_path: Path, data: bytes, url: str, cache: str) -> subprocess.Popen[str]:
    (tmp_path / "the.lock").write_bytes(data)
    arguments = [tmp_path / "runtimes", tmp_path / "the.lock", url, tmp_path / cache]
    return subprocess.Popen(
        [sys.executable, "-c", ENSURE, *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
        start_new_session=True,
    )


def wait_for_release(folder: Path) -> None:
    """Wait until every process that held the lock is gone: a killed one closes its files a moment later."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
    finally:
        os.close(handle)


def test_two_processes_that_make_the_same_environment_end_with_one(
    tmp_path: Path, index: LocalIndex, alpha: bytes
) -> None:
    index.hold = threading.Event()
    first, second = (start(tmp_path, alpha, index.url, cache) for cache in ("one", "two"))
    for process in (first, second):
        assert process.stdout
        assert process.stdout.readline() == "started\n"
    assert index.reached.wait(60)
    index.hold.set()

    answers = [process.communicate(timeout=120)[0].split() for process in (first, second)]

    assert [process.returncode for process in (first, second)] == [0, 0]
    assert answers[0][0] == answers[1][0]
    assert "True" in (answers[0][1], answers[1][1])
    assert entries(tmp_path / "runtimes") == [answers[0][0]]


def test_a_killed_process_leaves_only_a_staging_folder_that_can_be_collected(
    tmp_path: Path, index: LocalIndex, alpha: bytes
) -> None:
    index.hold = threading.Event()
    process = start(tmp_path, alpha, index.url, "one")
    assert index.reached.wait(60)

    staged = entries(tmp_path / "runtimes")
    while_alive = collect(tmp_path / "runtimes", set())
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    wait_for_release(tmp_path / "runtimes" / staged[0])
    left = entries(tmp_path / "runtimes")
    collected = collect(tmp_path / "runtimes", set())
    index.hold.set()

    assert len(staged) == 1
    assert staged[0].startswith(STAGING)
    assert while_alive == ()
    assert left == staged
    assert collected == tuple(staged)
    assert ensure(tmp_path / "runtimes", alpha, "", source(tmp_path, index.url)).created


def test_the_folder_of_a_killed_process_is_kept_while_its_child_still_writes(
    tmp_path: Path, index: LocalIndex, alpha: bytes
) -> None:
    index.hold = threading.Event()
    process = start(tmp_path, alpha, index.url, "one")
    assert index.reached.wait(60)

    process.kill()
    process.wait()
    kept = collect(tmp_path / "runtimes", set())
    os.killpg(process.pid, signal.SIGKILL)
    assert process.stdout
    process.stdout.read()

    assert kept == ()


# The index of this machine


@pytest.fixture
def real() -> Index:
    index = Index(environ=os.environ)
    try:
        lock([], ">=3.11", index)
    except (IndexUnreachable, NoSolution, RuntimeFailed) as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(f"no package index can be reached: {type(error).__name__}")
    return index


@pytest.mark.integration
def test_real_packages_are_locked_and_installed(tmp_path: Path, real: Index) -> None:
    data = lock(["six==1.17.0"], ">=3.11", real)

    made = ensure(tmp_path / "runtimes", data, ">=3.11", real)

    assert ask(made, "import numpy, six; print(six.__version__, int(numpy.arange(4).sum()))") == "1.17.0 6"
    assert dict(wheels(data))["six"] == "1.17.0"


@pytest.mark.integration
def test_real_packages_come_from_the_cache_when_the_network_is_cut(tmp_path: Path, real: Index) -> None:
    data = lock(["six==1.17.0"], ">=3.11", real)
    ensure(tmp_path / "first", data, ">=3.11", real)

    cut = Index(offline=True, environ={**os.environ, "HTTPS_PROXY": closed_port(), "HTTP_PROXY": closed_port()})
    made = ensure(tmp_path / "second", data, ">=3.11", cut)

    assert made.created
    assert ask(made, "import six; print(six.__version__)") == "1.17.0"


@pytest.mark.integration
def test_the_locks_of_engines_that_name_nothing_can_be_made(real: Index) -> None:
    for engine in ("onnxruntime", "sklearn", "xgboost", "lightgbm"):
        needed = {name for name, _ in wheels(lock(ENGINE_REQUIREMENTS[engine], ">=3.11,<3.13", real))}
        assert set(ENGINE_REQUIREMENTS[engine]) <= needed
