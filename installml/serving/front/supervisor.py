"""Keep one worker alive: load, watch, start again with growing pauses, give up after too many, drain."""

from __future__ import annotations

import asyncio
import enum
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, BinaryIO

from ...errors import ModelError
from ..errors import ModelUnavailable
from ..plan import ServePlan
from ..process import Worker
from ..worker.protocol import Tensor

__all__ = ["State", "Supervisor"]


class State(enum.Enum):
    """Where the model is in its life."""

    LOADING = "loading"
    READY = "ready"
    RESTARTING = "restarting"
    FAILED = "failed"
    STOPPED = "stopped"


class Supervisor:
    """Owns the worker of one plan.

    Args:
        plan: What to keep running.
        log: Receives what the worker prints.
        tell: Receives one line for each change, for the server's log.

    Attributes:
        state: Where the model is in its life.
        failure: Why it failed, once it has.
        pending: Requests taken in and not yet answered.
    """

    def __init__(self, plan: ServePlan, log: BinaryIO, tell: Callable[[str], None]) -> None:
        self.plan, self._log, self._tell = plan, log, tell
        self.state = State.LOADING
        self.failure: ModelError | None = None
        self.pending = 0
        self._worker: Worker | None = None
        self._slots = asyncio.Semaphore(plan.limits.max_in_flight)
        self._crashes = 0
        self._task: asyncio.Task[None] | None = None

    @property
    def metadata(self) -> dict[str, Any]:
        """What the model says about itself, or what its package says while no worker is there."""
        return self._worker.metadata if self._worker else self.plan.runtime.signature.to_json()

    def start(self, settled: Callable[[], None]) -> None:
        """Begin to load; ``settled`` is called once, when the model is ready or cannot be had."""
        self._task = asyncio.create_task(self._run(settled))

    async def _run(self, settled: Callable[[], None]) -> None:
        try:
            await self._serve_once(settled)
            while self._crashes <= self.plan.limits.restarts:
                await asyncio.sleep(self.plan.limits.delay(max(1, self._crashes)))
                await self._serve_again()
            raise ModelUnavailable(f"{self.plan.name} ended {self._crashes} times without an answer in between")
        except ModelError as error:
            self.state, self.failure = State.FAILED, error
            self._tell(f"gave up: {error.message}")
            if self._worker is None:  # it never was ready
                settled()

    async def _serve_once(self, ready: Callable[[], None]) -> None:
        """Load, be ready, and come back when the worker has died."""
        worker = self._worker = await Worker.start(self.plan, self._log)
        self.state = State.READY
        self._tell(f"{self.plan.name} is ready ({worker.metadata.get('library') or self.plan.runtime.engine})")
        ready()
        await worker.gone.wait()
        self.state, self._crashes = State.RESTARTING, self._crashes + 1
        self._tell(f"the model's process ended {await worker.ending()}")
        await worker.close(0)

    async def _serve_again(self) -> None:
        try:
            await self._serve_once(lambda: None)
        except ModelError as error:
            self._crashes += 1
            self._tell(f"start {self._crashes} failed: {error.message}")

    @asynccontextmanager
    async def admitted(self) -> AsyncIterator[None]:
        """Hold a place among the requests that may be pending, from before the body is read until the answer is made.

        Raises:
            ModelUnavailable: Too many are pending, or there is no worker.
        """
        self._must_be_ready()
        limits = self.plan.limits
        if self.pending >= limits.max_in_flight + limits.max_queue:
            raise ModelUnavailable(f"{self.pending} requests are waiting already")
        self.pending += 1
        try:
            yield
        finally:
            self.pending -= 1

    def _must_be_ready(self) -> None:
        if self.state is State.FAILED and self.failure is not None:
            raise ModelUnavailable(f"the model has failed: {self.failure.message}")
        if self.state is not State.READY:
            raise ModelUnavailable(f"the model is {self.state.value}")

    async def infer(self, tensors: Sequence[Tensor], outputs: Sequence[str]) -> tuple[Tensor, ...]:
        """Return the model's outputs; waits for its turn."""
        async with self._slots:
            self._must_be_ready()
            if self._worker is None:
                raise ModelUnavailable("the model is loading")
            result = await self._worker.infer(tensors, outputs)
        self._crashes = 0
        return result

    async def stop(self) -> None:
        """Let the worker finish what it has, then end it."""
        self.state = State.STOPPED
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._worker is not None:
            await self._worker.close(self.plan.limits.drain_timeout_s)
