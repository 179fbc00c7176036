"""The worker's life: load once, answer one request after the other, leave when the front has gone."""

from __future__ import annotations

import os
import queue
import shutil
import signal
import socket
import sys
import threading
import traceback
from pathlib import Path
from typing import Any

from .protocol import Frame, FrameError, encode, receive

__all__ = ["main"]

SCRATCH = "installml-worker-"
"""How the name of the folder begins that a worker is started in; nothing else is ever removed."""


def main(arguments: list[str]) -> int:
    """Serve the connection that ``--fd N`` names until SIGTERM or until the front hangs up.

    Returns:
        The process's exit code: 0 stopped, 1 the model could not be loaded.
    """
    connection = socket.socket(fileno=int(arguments[arguments.index("--fd") + 1]))
    requests: queue.SimpleQueue[Frame | None] = queue.SimpleQueue()
    # Ctrl-C reaches the whole process group; the front decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: requests.put(None))
    scratch = Path.cwd()
    load = receive(connection)
    threading.Thread(target=_listen, args=(connection, requests, scratch), daemon=True).start()
    if load is None:
        return 0
    model = _load(connection, load.fields)
    if model is None:
        return 1
    for request in iter(requests.get, None):
        _send(connection, _answer(model, request))
    return 0


def _listen(connection: socket.socket, requests: Any, scratch: Path) -> None:
    """Queue what arrives; once nobody is left to answer to, end the process at once, even inside a prediction.

    The front that made our folder may have been killed, so the folder goes with us.
    """
    try:
        for frame in iter(lambda: receive(connection), None):
            requests.put(frame)
    except (FrameError, OSError) as error:
        sys.stderr.write(f"the front is gone: {error}\n")
    if scratch.name.startswith(SCRATCH):
        shutil.rmtree(scratch, ignore_errors=True)
    os._exit(0)


def _send(connection: socket.socket, frame: Frame) -> None:
    try:
        buffers = encode(frame)
    except FrameError as error:
        buffers = encode(_failure("error", "model", error, frame.fields.get("id")))
    for buffer in buffers:
        connection.sendall(buffer)


def _failure(kind: str, blame: str, error: BaseException, request: Any = None) -> Frame:
    fields: dict[str, Any] = {"blame": blame, "type": type(error).__name__, "message": str(error)[:4000]}
    if request is not None:
        fields["id"] = request
    missing = getattr(error, "name", None) if isinstance(error, ImportError) else None
    if missing:
        fields["missing"] = missing
    return Frame(kind, fields)


def _log(error: BaseException) -> None:
    """Write where it happened; not the message, which may quote a payload."""
    places = "".join(traceback.format_tb(error.__traceback__)[-12:])
    sys.stderr.write(f"{type(error).__name__} in\n{places}")


def _load(connection: socket.socket, wishes: dict[str, Any]) -> Any:
    try:
        from .engines import load

        model = load(wishes)
        described = {"inputs": model.inputs, "outputs": model.outputs, "library": model.library}
    except Exception as error:  # the model's own code and its libraries may raise anything; the front says it in words
        _log(error)
        _send(connection, _failure("failed", "model", error))
        return None
    _send(connection, Frame("ready", described))
    return model


def _answer(model: Any, request: Frame) -> Frame:
    from .engines import InputError
    from .tensors import TensorError, to_array, to_tensor

    number = request.fields.get("id")
    try:
        inputs = {tensor.name: to_array(tensor) for tensor in request.tensors}
    except TensorError as error:
        return _failure("error", "input", error, number)
    try:
        outputs = model.predict(inputs, request.fields.get("outputs") or [])
        tensors = tuple(to_tensor(name, value) for name, value in outputs.items())
    except InputError as error:
        return _failure("error", "input", error, number)
    except Exception as error:  # a model may raise anything, and must not take the worker with it
        _log(error)
        return _failure("error", "model", error, number)
    return Frame("answer", {"id": number}, tensors)
