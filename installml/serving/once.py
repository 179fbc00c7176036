"""Ask a model once, with no server: the same worker, the same checks, then it is gone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO

from ..store.files import disk_errors, make_folder
from . import oip
from .plan import ServePlan
from .process import Worker

__all__ = ["infer_once"]

MakeRequest = Callable[[Mapping[str, Any]], Mapping[str, Any]]


def infer_once(plan: ServePlan, make: MakeRequest, *, log: Path) -> dict[str, Any]:
    """Return the answer to the request that ``make`` builds from the loaded model's metadata.

    Args:
        plan: The model; its address and token are not used.
        make: Function from metadata (``inputs``, ``outputs``) to a request in the protocol's JSON.
        log: Receives what the model prints.

    Raises:
        RequestInvalid: The model cannot take the request.
        WorkerFailed: The model does not load.
        ModelFailed: It raised.
    """
    make_folder(log.parent)
    with disk_errors(log):
        file = log.open("ab")
    with file:
        return _run(_ask(plan, make, file))


def _run(question: Coroutine[Any, Any, dict[str, Any]]) -> dict[str, Any]:
    """Run it here, or beside a loop that runs here already, as in a notebook."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(question)
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, question).result()


async def _ask(plan: ServePlan, make: MakeRequest, file: BinaryIO) -> dict[str, Any]:
    worker, patience_s = await Worker.start(plan, file), 0.0
    try:
        asked = oip.parse(oip.decode(oip.dump(make(worker.metadata))), worker.metadata)
        tensors = await worker.infer(asked.tensors, asked.outputs)
        answer: dict[str, Any] = oip.answer(tensors, asked, name=plan.name, version=plan.version)
        patience_s = plan.limits.drain_timeout_s
    finally:
        await worker.close(patience_s)
    value: dict[str, Any] = oip.decode(oip.dump(answer))
    return value
