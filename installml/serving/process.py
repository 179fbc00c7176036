"""One worker process and the conversation with it; the module that owns the child."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import shutil
import socket
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

from .errors import ModelFailed, ModelUnavailable, RequestInvalid, WorkerFailed
from .plan import ServePlan
from .worker.protocol import PREFIX, Frame, FrameError, Tensor, assemble, encode, header_size, parse_header

__all__ = ["Worker"]

SCRIPT = Path(__file__).parent / "worker" / "main.py"


class Worker:
    """A running model. Made by ``start``; ends with ``close``, or by itself when its process dies.

    Attributes:
        metadata: Inputs, outputs and library as the worker described them.
        gone: Set once the process no longer answers.
    """

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        folder: str,
    ) -> None:
        self._process, self._reader, self._writer, self._folder = process, reader, writer, folder
        self._waiting: dict[int, asyncio.Future[Frame]] = {}
        self._numbers = itertools.count(1)
        self._watcher: asyncio.Task[None] | None = None
        self.metadata: dict[str, Any] = {}
        self.gone = asyncio.Event()

    @classmethod
    async def start(cls, plan: ServePlan, log: BinaryIO) -> Worker:
        """Start the process and wait until the model is loaded.

        Args:
            plan: What to load, and with which interpreter.
            log: Receives all that the process prints.

        Raises:
            WorkerFailed: The interpreter, the library or the model cannot be had, or it took too long.
        """
        folder = tempfile.mkdtemp(prefix="installml-worker-")
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                process = await _spawn(plan, theirs.fileno(), folder, log)
            reader, writer = await asyncio.open_unix_connection(sock=ours, limit=1 << 20)
        except BaseException:
            ours.close()
            shutil.rmtree(folder, ignore_errors=True)
            raise
        worker = cls(process, reader, writer, folder)
        try:
            await worker._load(plan)
        except BaseException:
            await worker.close(0)
            raise
        return worker

    async def _load(self, plan: ServePlan) -> None:
        await self._write(Frame("load", plan.load_wishes()))
        try:
            async with asyncio.timeout(plan.limits.load_timeout_s):
                frame = await self._read()
        except TimeoutError:
            seconds = plan.limits.load_timeout_s
            raise WorkerFailed(f"{plan.name} did not load within {seconds:g} s", subject=plan.name) from None
        if frame is None:
            raise WorkerFailed(f"the process of {plan.name} ended {await self.ending()}", subject=plan.name)
        if frame.kind != "ready":
            raise _load_failure(plan, frame)
        self.metadata = frame.fields
        self._watcher = asyncio.create_task(self._watch())

    async def _read(self) -> Frame | None:
        try:
            raw = await self._reader.readexactly(header_size(await self._reader.readexactly(PREFIX)))
            header = parse_header(raw)
            return assemble(header, await self._reader.readexactly(header.payload))
        except (asyncio.IncompleteReadError, ConnectionError, FrameError):
            return None

    async def _write(self, frame: Frame) -> None:
        with contextlib.suppress(ConnectionError):  # a process that died is noticed by the reader
            self._writer.writelines(encode(frame))
            await self._writer.drain()

    async def _listen(self) -> None:
        while (frame := await self._read()) is not None:
            future = self._waiting.pop(int(frame.fields.get("id") or 0), None)
            if future is not None and not future.done():
                future.set_result(frame)

    async def _watch(self) -> None:
        """Hand out answers until the process has ended or hung up, then fail what it still had."""
        listener = asyncio.create_task(self._listen())
        ended = asyncio.create_task(self._process.wait())
        await asyncio.wait({listener, ended}, return_when=asyncio.FIRST_COMPLETED)
        # A child that the model forked may hold the socket open: its end of file is not waited for.
        await asyncio.wait({listener}, timeout=1)
        for task in (listener, ended):
            task.cancel()
        self.gone.set()
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(ModelUnavailable("the model's process ended while it had this request"))
        self._waiting.clear()

    async def infer(self, tensors: Sequence[Tensor], outputs: Sequence[str]) -> tuple[Tensor, ...]:
        """Return the model's outputs for ``tensors``.

        Args:
            tensors: The inputs.
            outputs: Names of the outputs asked for; empty for all.

        Raises:
            RequestInvalid: The model does not take these tensors.
            ModelFailed: The model raised.
            ModelUnavailable: Its process died.
        """
        if self.gone.is_set():
            raise ModelUnavailable("the model's process has ended")
        number = next(self._numbers)
        future: asyncio.Future[Frame] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        try:
            await self._write(Frame("infer", {"id": number, "outputs": list(outputs)}, tuple(tensors)))
            frame = await future
        finally:
            self._waiting.pop(number, None)
        if frame.kind == "answer":
            return frame.tensors
        message, kind = str(frame.fields.get("message")), str(frame.fields.get("type"))
        if frame.fields.get("blame") == "input":
            raise RequestInvalid(message)
        raise ModelFailed(f"the model raised {kind}: {message}")

    async def ending(self) -> str:
        """Return how the process ended, in words; one that only hung up is ended."""
        try:
            code = await asyncio.wait_for(self._process.wait(), 5)
        except TimeoutError:
            self._process.kill()
            return "the conversation without ending"
        if code == -9:
            return "by signal 9: the machine may have run out of memory"
        return f"by signal {-code}" if code < 0 else f"with exit code {code}"

    async def close(self, patience_s: float) -> None:
        """End the process: ask, wait ``patience_s``, then insist; its temporary folder goes with it."""
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate() if patience_s else self._process.kill()
        try:
            await asyncio.wait_for(self._process.wait(), patience_s or None)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
        if self._watcher is not None:
            await self._watcher
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()
        await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)


async def _spawn(plan: ServePlan, fd: int, folder: str, log: BinaryIO) -> asyncio.subprocess.Process:
    try:
        return await asyncio.create_subprocess_exec(
            plan.python, "-I", "-B", "-u", str(SCRIPT), "--fd", str(fd),
            cwd=folder, env=dict(plan.environment), pass_fds=[fd],
            stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
    except OSError as error:
        raise WorkerFailed(
            f"the interpreter of {plan.name} does not start: {error.strerror}: {plan.python}",
            hint=f"Make its environment again with: installml install {plan.name}",
            subject=plan.name,
        ) from error


def _load_failure(plan: ServePlan, frame: Frame) -> WorkerFailed:
    fields = frame.fields
    message, missing = str(fields.get("message")), fields.get("missing")
    if missing:
        return WorkerFailed(
            f"the environment of {plan.name} lacks the module {missing}: {message}",
            hint=f"Add what provides {missing} to runtime.requirements in installml.yaml and build again.",
            subject=plan.name,
        )
    said = message if fields.get("type") == "LoadError" else f"{fields.get('type')}: {message}"
    return WorkerFailed(f"{plan.name} does not load: {said}", subject=plan.name)
