"""Servers as processes: they come up or say why not, survive their model's crashes, drain, and leave nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from installml.errors import UsageError
from installml.machines.processes import birth_of
from installml.serving import local, records
from installml.serving.client import Client
from installml.serving.errors import (
    ModelFailed,
    ModelUnavailable,
    RequestInvalid,
    ServerFailed,
    ServerNotFound,
    WorkerFailed,
)
from installml.serving.once import infer_once
from installml.serving.plan import SILENCED, Limits, ServePlan
from tests.unit.serving.doubles import DOUBLE, DOUBLER, ECHO, ask, eventually, package, rows

READY = "/v2/health/ready"
INFER = "/v2/models/double/infer"


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


def doubler(tmp_path: Path, **wishes: Any) -> ServePlan:
    return package(tmp_path / "package", DOUBLER, DOUBLE, **wishes)


@contextlib.contextmanager
def gate(plan: ServePlan) -> Iterator[threading.Event]:
    """Let requests whose row begins with 97 wait in the model until the event is set."""
    path = Path(plan.path) / "gate"
    os.mkfifo(path)
    opened = threading.Event()

    def keep_open() -> None:
        opened.wait()
        while not closing.is_set():
            with contextlib.suppress(OSError):  # nobody waits at the moment
                os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))

    closing = threading.Event()
    keeper = threading.Thread(target=keep_open)
    keeper.start()
    try:
        yield opened
    finally:
        opened.set()
        closing.set()
        keeper.join()


def worker_facts(server: local.Server) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads(server.predict({"world": [1]})["facts"][0])
    return facts


# Coming up


def test_a_server_answers_arrays_with_arrays_and_is_listed_until_it_is_stopped(tmp_path: Path, state: Path) -> None:
    with local.start(doubler(tmp_path), state=state) as server:
        assert server.predict({"x": [[1, 2.5]]})["y"].tolist() == [[2.0, 5.0]]
        (record,) = records.servers(state)
        assert (record.id, record.url, record.pid, record.name) == (server.record.id, server.url, server.pid, "double")
        assert record.version == "1.2.0"
    assert records.servers(state) == []
    assert [path.suffix for path in state.iterdir()] == [".log"]


def test_two_servers_of_one_model_have_ids_of_their_own_and_stop_by_id_or_together(tmp_path: Path, state: Path) -> None:
    plan = doubler(tmp_path)
    first, second, third = (local.start(plan, state=state) for _ in range(3))
    assert [record.id for record in records.stop(state, first.record.id)] == [first.record.id]
    assert {record.id for record in records.stop(state, "double")} == {second.record.id, third.record.id}
    assert records.servers(state) == []
    for server in (first, second, third):
        server.stop()  # once more is fine, and reaps the child


LOADS = {
    "no such file": ("", {"entrypoint": "other.py:Model"}, "double does not load: the package has no other.py"),
    "no such class": ("x = 1", {}, "double does not load: model.py has no class Model"),
    "no load": ("class Model:\n    def predict(self, x): ...", {}, "Model of model.py has no method load"),
    "a syntax error": ("class Model(:", {}, "double does not load: SyntaxError"),
    "an exception": ("raise OSError('no licence')", {}, "double does not load: OSError: no licence"),
    "a missing library": ("import nobody_has_this", {}, "lacks the module nobody_has_this"),
    "a missing model file": ("", {"model": "weights.bin"}, "the package has no weights.bin"),
    "an exit": ("import os; os._exit(5)", {}, "the process of double ended with exit code 5"),
    "a signal": ("import os; os.kill(os.getpid(), 9)", {}, "ended by signal 9"),
    "a polite exit": ("raise SystemExit(4)", {}, "the process of double ended with exit code 4"),
}


@pytest.mark.parametrize("reason", LOADS)
def test_a_model_that_does_not_load_says_why_and_leaves_no_server(reason: str, tmp_path: Path, state: Path) -> None:
    code, changes, message = LOADS[reason]
    plan = package(tmp_path / "package", code)
    plan = replace(plan, runtime=replace(plan.runtime, **changes))
    with pytest.raises(ServerFailed) as caught:
        local.start(plan, state=state)
    assert message in caught.value.message
    assert caught.value.exit_code == 7
    assert records.servers(state) == []


def test_a_failed_start_shows_the_log_s_last_lines(tmp_path: Path, state: Path) -> None:
    code = "print('looking for the weights', flush=True)\nraise KeyError('layer3')"
    with pytest.raises(ServerFailed, match="looking for the weights"):
        local.start(package(tmp_path / "package", code), state=state)


def test_a_model_that_loads_too_slowly_is_ended(tmp_path: Path, state: Path) -> None:
    os.mkfifo(tmp_path / "never")
    plan = package(tmp_path / "package", f"open({str(tmp_path / 'never')!r})", limits=Limits(load_timeout_s=0.5))
    with pytest.raises(ServerFailed, match=r"double did not load within 0\.5 s"):
        local.start(plan, state=state)


def test_an_interpreter_that_is_not_there_is_named(tmp_path: Path, state: Path) -> None:
    with pytest.raises(ServerFailed, match="No such file or directory: /no/python"):
        local.start(doubler(tmp_path, python="/no/python"), state=state)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_the_listener_names_its_protocol_or_asyncio_would_let_answers_wait(host: str, tmp_path: Path) -> None:
    with local.bound(doubler(tmp_path, host=host)) as listener:
        assert listener.proto == socket.IPPROTO_TCP


def test_a_port_in_use_is_named_with_the_cure(tmp_path: Path, state: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ServerFailed, match=f"cannot listen on 127.0.0.1 port {port}") as caught:
            local.start(doubler(tmp_path, port=port), state=state)
    assert "--port 0" in caught.value.hint


def test_the_folder_of_the_caller_is_not_imported_from(
    tmp_path: Path, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trap = tmp_path / "here"
    trap.mkdir()
    for name in ("uvicorn", "numpy", "json"):
        (trap / f"{name}.py").write_text("raise SystemExit('imported from the current folder')")
    monkeypatch.chdir(trap)
    with local.start(doubler(tmp_path), state=state) as server:
        assert server.predict({"x": [[1, 1]]})["y"].tolist() == [[2.0, 2.0]]


# What a model sees and what the world sees


def test_a_model_sees_the_allowed_variables_a_folder_of_its_own_and_nothing_of_ours(
    tmp_path: Path, state: Path
) -> None:
    environment = {"PATH": os.environ["PATH"], "SECRET": "s3cret"}
    with local.start(package(tmp_path / "package", ECHO, environment=environment), state=state) as server:
        facts = worker_facts(server)
        folder = Path(facts["cwd"])
        assert folder.is_dir()
    assert set(facts["env"]) - {"LC_CTYPE"} == {"PATH", *SILENCED}  # Python itself coerces the C locale (PEP 538)
    assert facts["entries"] == []
    assert str(tmp_path / "package") in facts["path"]
    assert not [entry for entry in facts["path"] if "installml/serve" in entry]
    assert not folder.exists()


def test_the_package_s_folder_is_left_as_it_was(tmp_path: Path, state: Path) -> None:
    plan = package(tmp_path / "package", ECHO)
    with local.start(plan, state=state) as server:
        server.predict({"world": [1]})
    assert [path.name for path in Path(plan.path).iterdir()] == ["model.py"]


def test_payloads_are_in_no_log(tmp_path: Path, state: Path) -> None:
    with local.start(doubler(tmp_path), state=state) as server:
        for row in ([1.2345678, 0], [99, 1.2345678], [100, 1.2345678]):
            ask(server.url, "POST", INFER, rows(row))
        ask(server.url, "POST", INFER, b'{"inputs": 1.2345678')
        log = Path(server.record.log).read_text()
    assert "1.2345" not in log
    assert "ValueError in" in log


def test_a_token_is_asked_for_everywhere_but_by_probes_and_shown_nowhere(tmp_path: Path, state: Path) -> None:
    with local.start(doubler(tmp_path, token="s3cret-token"), state=state) as server:
        assert server.predict({"x": [[1, 1]]})["y"].tolist() == [[2.0, 2.0]]
        for path in ("/v2", "/v2/models/double", "/metrics", "/nowhere"):
            for given in ({}, {"Authorization": "Bearer other"}, {"Authorization": "Basic s3cret-token"}):
                reply = ask(server.url, "GET", path, headers=given)
                assert (reply.status, reply.headers["WWW-Authenticate"]) == (401, "Bearer")
        assert ask(server.url, "POST", INFER, rows([1, 2])).status == 401
        assert ask(server.url, "GET", READY).status == 200
        record_file = state / f"{server.record.id}.json"
        assert stat.S_IMODE(record_file.stat().st_mode) == 0o600
        command = subprocess.run(
            ["ps", "-o", "args=", "-p", str(server.pid)], capture_output=True, text=True, check=True
        )
        assert "s3cret" not in command.stdout + repr(server.record) + json.dumps(server.record.shown())
        assert "s3cret" not in Path(server.record.log).read_text()


def test_tls_is_served_and_a_stranger_s_certificate_is_refused(tmp_path: Path, state: Path) -> None:
    from tests.services.certificates import issue, make_ca

    authority = make_ca(tmp_path)
    tls = issue(authority, "127.0.0.1", tmp_path)
    with local.start(doubler(tmp_path, tls_cert=str(tls.cert), tls_key=str(tls.key)), state=state) as server:
        assert server.url.startswith("https://127.0.0.1:")
        trusting = Client(server.url, ca=str(authority.cert))
        assert trusting.predict("double", {"x": [[1, 1]]})["y"].tolist() == [[2.0, 2.0]]
        with pytest.raises(ServerFailed, match="certificate"):
            Client(server.url).get("/v2")


# Overload, crashes, ends


def test_one_request_too_many_is_503_with_retry_after_and_the_waiting_ones_are_answered(
    tmp_path: Path, state: Path
) -> None:
    plan = doubler(tmp_path, limits=Limits(max_in_flight=1, max_queue=1))
    with local.start(plan, state=state) as server, gate(plan) as opened, ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(ask, server.url, "POST", INFER, rows([97, 1])) for _ in range(2)]
        full = b'installml_requests_in_flight{model_name="double"} 2.0'
        eventually(lambda: full in ask(server.url, "GET", "/metrics").body, "two requests in flight")
        refused = ask(server.url, "POST", INFER, rows([1, 2]))
        opened.set()
        assert [reply.result().status for reply in waiting] == [200, 200]
        assert (refused.status, refused.headers["Retry-After"]) == (503, "1")
        assert refused.error == "2 requests are waiting already"


def test_a_crash_costs_its_own_request_and_the_model_is_back_soon(tmp_path: Path, state: Path) -> None:
    with local.start(doubler(tmp_path, limits=Limits(restart_delay_s=0.01)), state=state) as server:
        lost = ask(server.url, "POST", INFER, rows([98, 0]))
        assert (lost.status, lost.headers["Retry-After"]) == (503, "1")
        eventually(lambda: ask(server.url, "GET", READY).status == 200, "ready again")
        assert ask(server.url, "POST", INFER, rows([1, 2])).status == 200
        assert "the model's process ended with exit code 3" in Path(server.record.log).read_text()


def test_while_the_model_is_being_restarted_the_server_is_live_not_ready_and_says_so(
    tmp_path: Path, state: Path
) -> None:
    with local.start(doubler(tmp_path, limits=Limits(restart_delay_s=30)), state=state) as server:
        ask(server.url, "POST", INFER, rows([98, 0]))
        eventually(lambda: ask(server.url, "GET", READY).status == 503, "not ready")
        assert ask(server.url, "GET", "/v2/health/live").status == 200
        assert ask(server.url, "GET", "/v2/models/double/ready").json == {"name": "double", "ready": False}
        reply = ask(server.url, "POST", INFER, rows([1, 2]))
        assert (reply.status, reply.headers["Retry-After"], reply.error) == (503, "1", "the model is restarting")
        with pytest.raises(ModelUnavailable, match="the model is restarting"):
            server.infer(rows([1, 2]))


def test_a_model_that_never_comes_back_is_given_up_with_its_reason(tmp_path: Path, state: Path) -> None:
    plan = doubler(tmp_path, limits=Limits(restart_delay_s=0.01, restarts=2))
    with local.start(plan, state=state) as server:
        (Path(plan.path) / "broken").touch()
        ask(server.url, "POST", INFER, rows([98, 0]))
        reply = eventually(
            lambda: (r := ask(server.url, "POST", INFER, rows([1, 2]))).error.startswith("the model has failed") and r,
            "given up",
        )
        assert reply.status == 503
        assert ask(server.url, "GET", READY).status == 503
        log = Path(server.record.log).read_text()
    assert "RuntimeError: the weights are gone" in log
    assert (Path(plan.path) / "loads").read_text() == "3"


def test_a_server_told_to_stop_answers_what_it_has_and_takes_no_more(tmp_path: Path, state: Path) -> None:
    plan = doubler(tmp_path)
    with local.start(plan, state=state) as server, gate(plan) as opened, ThreadPoolExecutor(1) as pool:
        running = pool.submit(ask, server.url, "POST", INFER, rows([97, 1]))
        busy = b'installml_requests_in_flight{model_name="double"} 1.0'
        eventually(lambda: busy in ask(server.url, "GET", "/metrics").body, "the request in flight")
        os.kill(server.pid, signal.SIGTERM)
        eventually(lambda: refuses(server.url), "no more connections")
        opened.set()
        assert running.result().json["outputs"][0]["data"] == [194.0, 2.0]
        eventually(lambda: not records.servers(state), "ended")


def refuses(url: str) -> bool:
    try:
        socket.create_connection((urlsplit(url).hostname, urlsplit(url).port), timeout=5).close()
    except ConnectionError:
        return True
    return False


def test_a_model_s_process_does_not_outlive_a_killed_server(tmp_path: Path, state: Path) -> None:
    with local.start(package(tmp_path / "package", ECHO), state=state) as server:
        facts = worker_facts(server)
        assert birth_of(facts["pid"])
        os.kill(server.pid, signal.SIGKILL)
        eventually(lambda: not birth_of(facts["pid"]), "the worker ended")
        assert not Path(facts["cwd"]).exists()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_in_the_foreground_sigterm_ends_with_0_and_ctrl_c_with_130(
    number: int, code: int, tmp_path: Path, state: Path
) -> None:
    plan = doubler(tmp_path)
    script = (
        "import json, pathlib, sys\n"
        "from installml.serving import local, plan\n"
        "wishes = plan.from_json(json.load(sys.stdin))\n"
        f"state = pathlib.Path({str(state)!r})\n"
        "raise SystemExit(local.serve(wishes, state=state, on_ready=lambda record: print(record.url, flush=True)))"
    )
    here = {**os.environ, "PYTHONPATH": str(Path(local.__file__).parents[2])}
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=here
    )
    with process:
        assert process.stdin
        assert process.stdout
        process.stdin.write(json.dumps(plan.to_json()))
        process.stdin.close()
        url = process.stdout.readline().strip()
        assert Client(url).predict("double", {"x": [[1, 1]]})["y"].tolist() == [[2.0, 2.0]]
        process.send_signal(number)
        assert process.wait(60) == code
    assert records.servers(state) == []


# Asking once


def test_asking_once_answers_checks_and_fails_as_a_server_does(tmp_path: Path) -> None:
    plan = doubler(tmp_path)
    log = tmp_path / "logs" / "once.log"
    assert infer_once(plan, lambda _: rows([1, 2]), log=log)["outputs"][0]["data"] == [2.0, 4.0]
    with pytest.raises(RequestInvalid, match="'inputs' is missing"):
        infer_once(plan, lambda _: {}, log=log)
    with pytest.raises(ModelFailed, match="the model raised ValueError: no such row"):
        infer_once(plan, lambda _: rows([99, 0]), log=log)
    with pytest.raises(ModelUnavailable, match="ended while it had this request"):
        infer_once(plan, lambda _: rows([98, 0]), log=log)
    with pytest.raises(WorkerFailed, match="the package has no other"):
        infer_once(replace(plan, runtime=replace(plan.runtime, entrypoint="other.py:Model")), lambda _: {}, log=log)


def test_asking_once_works_where_an_event_loop_runs_already_as_in_a_notebook(tmp_path: Path) -> None:
    plan = doubler(tmp_path)

    async def cell() -> dict[str, Any]:
        return infer_once(plan, lambda _: rows([1, 2]), log=tmp_path / "log")

    assert asyncio.run(cell())["outputs"][0]["data"] == [2.0, 4.0]


def test_a_server_whose_record_cannot_be_written_says_so_and_ends(tmp_path: Path, state: Path) -> None:
    script = (
        "import pathlib, json, sys\n"
        "from installml.errors import InstallMLError\n"
        "from installml.serving import local, plan\n"
        "def ready(record): raise InstallMLError('nobody listens')\n"
        "wishes = plan.from_json(json.load(sys.stdin))\n"
        f"state = pathlib.Path({str(state)!r})\n"
        "try: local.serve(wishes, state=state, on_ready=ready)\n"
        "except InstallMLError as error: print(error)"
    )
    here = {**os.environ, "PYTHONPATH": str(Path(local.__file__).parents[2])}
    given = json.dumps(doubler(tmp_path).to_json())
    done = subprocess.run(
        [sys.executable, "-c", script], input=given, capture_output=True, text=True, env=here, timeout=120, check=True
    )
    assert done.stdout.strip() == "nobody listens"
    assert records.servers(state) == []


# Records and logs


def test_records_of_the_dead_are_cleared_and_a_reused_pid_is_not_taken_for_a_server(
    tmp_path: Path, state: Path
) -> None:
    with local.start(doubler(tmp_path), state=state) as server:
        mine = server.record
        for number, change in enumerate(({"pid": 2**22 + 7}, {"pid": os.getpid()}, {"birth": "0"})):
            records.write(state, replace(mine, id=f"double-dead{number}", **change))
        (state / "torn.json").write_text('{"id": "to')
        assert records.servers(state) == [mine]
        assert sorted(path.name for path in state.glob("*.json")) == [f"{mine.id}.json", "torn.json"]


def test_a_server_of_another_machine_is_listed_and_not_stopped_from_here(tmp_path: Path, state: Path) -> None:
    with local.start(doubler(tmp_path), state=state) as server:
        records.write(state, replace(server.record, id="double-far", machine="far", pid=os.getpid()))
        assert {record.id for record in records.servers(state)} == {server.record.id, "double-far"}
        with pytest.raises(UsageError, match="double-far runs on far"):
            records.stop(state, "double-far")


def test_stopping_or_reading_what_never_ran_is_not_found(state: Path) -> None:
    with pytest.raises(ServerNotFound, match="no server digits runs here"):
        records.stop(state, "digits")
    with pytest.raises(ServerNotFound, match="has written a log"):
        records.find_log(state, "digits")


def test_the_newest_log_of_a_name_is_found_and_never_another_model_s(state: Path) -> None:
    state.mkdir()
    for age, name in enumerate(["digits-00000001", "digits-00000002", "digits-two-00000003"]):
        (state / f"{name}.log").write_text(name)
        os.utime(state / f"{name}.log", (1000 + age, 1000 + age))
    assert records.find_log(state, "digits").stem == "digits-00000002"
    assert records.find_log(state, "digits-00000001").stem == "digits-00000001"


def test_a_log_is_followed_to_its_server_s_end(tmp_path: Path, state: Path) -> None:
    server = local.start(doubler(tmp_path), state=state)
    lines = records.follow(Path(server.record.log), lambda: server.record.alive)
    assert "double is ready" in next(lines)
    server.stop()
    assert "".join(lines).endswith("stopped\n")


def test_old_logs_go_and_those_of_running_servers_stay(tmp_path: Path, state: Path) -> None:
    with local.start(doubler(tmp_path), state=state) as server:
        os.utime(server.record.log, (1, 1))
        for age in range(30):
            (state / f"old-{age:08x}.log").touch()
            os.utime(state / f"old-{age:08x}.log", (1000 + age, 1000 + age))
        records.clear_logs(state)
        assert Path(server.record.log).exists()
        assert sorted(path.stem for path in state.glob("old-*")) == [f"old-{age:08x}" for age in range(10, 30)]


def test_the_end_of_a_log_is_its_last_lines(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("".join(f"line {number}\n" for number in range(5000)))
    assert records.tail(log, 2) == "line 4998\nline 4999"
    assert records.tail(tmp_path / "none") == ""


def test_a_server_that_is_gone_is_said_with_its_address(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with pytest.raises(ServerFailed, match=f"no server answers at {url}"):
        Client(url).get("/v2")
