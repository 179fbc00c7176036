"""``serve``, ``predict``, ``test``, ``ps``, ``logs``, ``stop``: a model at work."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..errors import NotFound, UsageError
from ..events import Phase
from ..packing.recipe import load_recipe
from ..reference import LOCAL, Reference
from ..serving import oip, records
from ..serving.check import compare
from ..serving.errors import ServerNotFound
from ..serving.local import Server, start
from ..serving.local import serve as serve_here
from ..serving.once import infer_once
from ..serving.plan import ServePlan, plan
from ..spec.canonical import canonical, parse_json
from ..spec.media import RUNTIME_PATH
from ..spec.recipe import tag_of
from ..spec.runtime import RuntimeManifest, parse_runtime
from ..store.files import disk_errors, write_whole
from ..store.installed import Record
from . import background
from .build import RECORDED, build
from .install import find_installed, install
from .places import folder_of, is_folder
from .results import InstallResult, PredictResult, RunningServer, ServerList, StopResult, TestResult
from .session import AMBIENT, Session
from .subset import installed_checkpoint

__all__ = ["logs", "predict", "ps", "serve", "serve_foreground", "stop", "test"]

Target = str | Path | InstallResult
"""A name, a model folder, or what ``install`` has returned."""

MAX_DOCUMENT = 64 << 20
"""Largest request read from a file, in bytes."""


def _named(target: Target) -> str | Path:
    return str(target.reference) if isinstance(target, InstallResult) else target


def _installed(target: str | Path, session: Session, allow_unsigned: bool) -> Record:
    """Return the installed model that ``target`` means; a folder is built and installed, a package installed."""
    text = str(target)
    if isinstance(target, Path) or is_folder(text):
        folder = folder_of(text)
        recipe = load_recipe(folder)
        # Under the local name, whatever the default registry is: a folder is nobody else's.
        local = Reference(LOCAL, recipe.name, tag_of(recipe.version))
        build(folder, tag=str(local), session=session)
        install(str(local), allow_unsigned=allow_unsigned, session=session)
        return find_installed(local, session)
    try:
        record = find_installed(text, session)
    except NotFound:
        installed = install(text, allow_unsigned=allow_unsigned, session=session)
        return find_installed(installed.reference, session)
    checkpoint = installed_checkpoint(record, session)
    if not _runnable(record):  # installed with --no-runtime, or its Python has left this machine
        install(str(record.reference), checkpoint=checkpoint, allow_unsigned=allow_unsigned, session=session)
        record = find_installed(record.reference, session)
    return record


def _runnable(record: Record) -> bool:
    return os.access(record.python, os.X_OK) if record.runtime else _runtime(record).engine == "none"


def _runtime(record: Record) -> RuntimeManifest:
    path = record.path / RUNTIME_PATH
    if not path.is_file():
        return RuntimeManifest(engine="none")
    with disk_errors(path):
        return parse_runtime(path.read_bytes(), str(path))


def _plan(record: Record, session: Session, **wishes: Any) -> ServePlan:
    return plan(
        name=record.name,
        version=record.version,
        path=str(record.path),
        runtime=_runtime(record),
        python=record.python,
        digest=str(record.descriptor.digest),
        spare_token=secrets.token_urlsafe(24),
        environment=session.environ,
        **wishes,
    )


def serve(
    target: Target,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    token: str = "",
    tls_cert: str = "",
    tls_key: str = "",
    allow_unsigned: bool = False,
    session: Session = AMBIENT,
) -> Server:
    """Start a server that outlives this process, and wait until its model answers.

    Args:
        target: Installed model, package, model folder or what ``install`` returned; installed first when it is not.
        host: Address to listen on; others than loopback need a token, which is made when none is given.
        port: Port; 0 for any free one.
        token: Bearer token that callers must send.
        tls_cert: Certificate chain, PEM.
        tls_key: Its key, PEM.
        allow_unsigned: As in ``install``.
        session: Collaborators.

    Returns:
        The server, which can be used as a context manager that stops it.

    Raises:
        PackagePartial: Only some of its files are installed, and they are not one of its checkpoints.
        ModelError: It did not come up; says why.
    """
    record = _installed(_named(target), session, allow_unsigned)
    session.on_event(Phase("starting", record.name))
    wishes = {"host": host, "port": port, "token": token, "tls_cert": tls_cert, "tls_key": tls_key}
    return start(_plan(record, session, **wishes), state=session.servers)


def serve_foreground(
    target: str | Path,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    token: str = "",
    tls_cert: str = "",
    tls_key: str = "",
    allow_unsigned: bool = False,
    on_ready: Callable[[RunningServer], None] = lambda _: None,
    session: Session = AMBIENT,
) -> int:
    """Serve in this process, in the main thread, until SIGTERM or Ctrl-C.

    Args:
        target: As in ``serve``, like all others.
        on_ready: Told where it answers.

    Returns:
        Exit code: 0 when it was told to stop, 130 when it was interrupted.
    """
    record = _installed(target, session, allow_unsigned)
    session.on_event(Phase("starting", record.name))
    wishes = {"host": host, "port": port, "token": token, "tls_cert": tls_cert, "tls_key": tls_key}
    return serve_here(_plan(record, session, **wishes), state=session.servers, on_ready=lambda r: on_ready(running(r)))


def running(record: records.Record) -> RunningServer:
    """Return a server's record as a result."""
    return RunningServer(
        record.id, record.name, record.version, record.digest, record.url, record.pid, record.started, record.log,
        record.token,
    )  # fmt: skip


def ps(*, all: bool = False, session: Session = AMBIENT) -> ServerList:  # noqa: A002 - the flag's name
    """Return the servers that run on this machine, and the transfers in its background.

    Args:
        all: Also transfers whose end was shown before.
        session: Collaborators.
    """
    return ServerList(
        tuple(running(record) for record in records.servers(session.servers)),
        tuple(job.result() for job in background.ps(session.transfers, all=all)),
    )


def stop(target: str = "", *, all: bool = False, session: Session = AMBIENT) -> StopResult:  # noqa: A002 - the flag's name
    """Stop servers after their running requests, or transfers so that they can go on later.

    Args:
        target: Model name, or id of a server or transfer; a name means its servers, and its transfers if none runs.
        all: Every server and transfer instead.
        session: Collaborators.

    Raises:
        ServerNotFound: No such server runs, and no such transfer.
        UsageError: Neither was given, or both.
    """
    if bool(target) == all:
        raise UsageError("say which server", hint="installml stop NAME, or installml stop --all; see installml ps")
    if all:
        found = [record.id for record in records.servers(session.servers)]
        moving = [job.id for job in background.jobs(session.transfers) if job.state == "running"]
        stopped = [r.id for name in found for r in records.stop(session.servers, name)]
        return StopResult((*stopped, *(job.id for name in moving for job in background.stop(session.transfers, name))))
    try:
        return StopResult(tuple(record.id for record in records.stop(session.servers, _last(target))))
    except ServerNotFound:
        try:
            return StopResult(tuple(job.id for job in background.stop(session.transfers, target)))
        except background.TransferNotFound:
            pass
        raise


def _last(target: str) -> str:
    """Return the served name in a reference: its last component without tag or digest."""
    return target.rpartition("/")[2].partition("@")[0].partition(":")[0]


def logs(target: str, *, follow: bool = False, session: Session = AMBIENT) -> Iterator[str]:
    """Yield the text of a server's log, or of a transfer's.

    Args:
        target: Model name, or id of a server or transfer that runs or has ended; a name means its server, if any.
        follow: Go on until it ends.
        session: Collaborators.

    Raises:
        ServerNotFound: No such server has written a log, and no such transfer.
    """
    try:
        path = records.find_log(session.servers, _last(target))
    except ServerNotFound as error:
        try:
            path, going_on = background.find_log(session.transfers, target)
        except background.TransferNotFound:
            raise error from None
        return records.follow(path, lambda: follow and going_on())
    identity = path.stem
    return records.follow(path, lambda: follow and any(r.id == identity for r in records.servers(session.servers)))


def predict(
    target: Target,
    inputs: Mapping[str, Any] | None = None,
    *,
    request: Mapping[str, Any] | None = None,
    allow_unsigned: bool = False,
    session: Session = AMBIENT,
) -> PredictResult:
    """Ask a model: the server that runs under its name, else a worker started for this one question.

    Args:
        target: Running server's name, installed model, package or model folder.
        inputs: Values by input name.
        request: A whole Open Inference Protocol v2 request instead; with neither, the packaged example is asked.
        allow_unsigned: As in ``install``.
        session: Collaborators.

    Raises:
        RequestInvalid: The model cannot take it; names the input.
        ModelError: The model failed.
    """
    target = _named(target)
    server = _server(target, session)
    if server is None:
        record = _installed(target, session, allow_unsigned)
        request = _example(record) if inputs is None and request is None else request
        return _predicted(_once(record, session, inputs, request), "")
    if request is None:
        client = server.client
        request = (
            _example(_served(server, session))
            if inputs is None
            else oip.request_json(inputs, client.metadata(server.name))
        )
    return _predicted(server.client.infer(server.name, request), server.url)


def _server(target: str | Path, session: Session) -> records.Record | None:
    """Return the server that ``target`` means: by its own name or id, or one that serves the very package named."""
    if isinstance(target, Path) or is_folder(target):
        return None
    running_now = sorted(records.servers(session.servers), key=lambda record: record.started, reverse=True)
    by_name = [record for record in running_now if target in (record.name, record.id)]
    if by_name or not running_now:
        return by_name[0] if by_name else None
    try:
        digest = str(find_installed(target, session).descriptor.digest)
    except NotFound:
        return None
    return next((record for record in running_now if record.digest == digest), None)


def _served(server: records.Record, session: Session) -> Record:
    """Return the installed model that a server serves."""
    for record in session.installed.records():
        if str(record.descriptor.digest) == server.digest:
            return record
    raise UsageError(f"what {server.name} serves is not installed any more", hint="Give a request with --input FILE.")


def _once(
    record: Record, session: Session, inputs: Mapping[str, Any] | None, request: Mapping[str, Any] | None
) -> dict[str, Any]:
    def make(metadata: Mapping[str, Any]) -> Mapping[str, Any]:
        return request if request is not None else oip.request_json(inputs or {}, metadata)

    log = session.servers / f"{_last(record.name)}-once.log"
    return infer_once(_plan(record, session), make, log=log)


def _predicted(answer: Mapping[str, Any], url: str) -> PredictResult:
    return PredictResult(
        str(answer.get("model_name", "")), str(answer.get("model_version", "")), tuple(answer["outputs"]), url
    )


def _document(record: Record, path: str, what: str) -> dict[str, Any]:
    if not path:
        raise UsageError(
            f"{record.name} has no {what}",
            hint=f"Set runtime.{what} in installml.yaml, or give a request with --input FILE.",
        )
    file = record.path / path
    with disk_errors(file):
        data = file.read_bytes()
    value = parse_json(data, path, cap=MAX_DOCUMENT)
    if not isinstance(value, dict):
        raise UsageError(f"{path} is not a request of the Open Inference Protocol: it must be a mapping")
    return value


def _example(record: Record) -> dict[str, Any]:
    return _document(record, _runtime(record).example, "example")


def test(
    target: Target,
    *,
    record: bool = False,
    tolerance: float | None = None,
    allow_unsigned: bool = False,
    session: Session = AMBIENT,
) -> TestResult:
    """Run the packaged example and compare with the recorded answer.

    Args:
        target: Installed model, package or model folder.
        record: Write the answer into the folder as the expected one (``expected.json``, or the recipe's file).
        tolerance: Largest difference that passes; the recipe's when left out.
        allow_unsigned: As in ``install``.
        session: Collaborators.

    Returns:
        Whether it passed, and what differs.

    Raises:
        ModelError: The model failed.
        UsageError: There is no example, or ``record`` is asked for something that is no folder.
    """
    target = _named(target)
    if record and not (isinstance(target, Path) or is_folder(target)):
        raise UsageError("an answer is recorded in a model folder", hint="installml test DIR --record")
    installed = _installed(target, session, allow_unsigned)
    manifest = _runtime(installed)
    session.on_event(Phase("testing", installed.name))
    answer = _once(installed, session, None, _example(installed))
    if record:
        written = _record_answer(target, manifest, answer)
        return TestResult(installed.name, installed.version, True, (), False, written)
    if not manifest.expected:
        return TestResult(installed.name, installed.version, True, (), False)
    expected = _document(installed, manifest.expected, "expected")
    differences = compare(answer, expected, manifest.tolerance if tolerance is None else tolerance)
    return TestResult(installed.name, installed.version, not differences, tuple(differences), True)


def _record_answer(target: str | Path, manifest: RuntimeManifest, answer: dict[str, Any]) -> str:
    path = folder_of(str(target)) / (manifest.expected or RECORDED)
    write_whole(path, json.dumps(json.loads(canonical({"outputs": answer["outputs"]})), indent=1).encode() + b"\n")
    return str(path)
