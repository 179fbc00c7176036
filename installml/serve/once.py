"""Ask a model once, with no server: the same worker, the same checks, then it is gone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from ..store.files import disk_errors, make_folder
from . import oip
from .plan import ServePlan
from .process import Worker

__all__ = ["infer_once", "infer_with"]

MakeRequest = Callable[[Mapping[str, Any]], Mapping[str, Any]]


def infer_once(plan: ServePlan, request: Mapping[str, Any], *, log: Path) -> dict[str, Any]:
    """Return the answer to one inference request, both in the protocol's JSON.

    Args:
        plan: The model; its address and token are not used.
        request: The protocol's request.
        log: Receives what the model prints.

    Raises:
        RequestInvalid: The model cannot take the request.
        WorkerFailed: The model does not load.
        ModelFailed: It raised.
    """
    return infer_with(plan, lambda _: request, log=log)


def infer_with(plan: ServePlan, make: MakeRequest, *, log: Path) -> dict[str, Any]:
    """Return the answer to the request that ``make`` builds from the loaded model's metadata.

    Args:
        plan: The model.
        make: Function from metadata (``inputs``, ``outputs``) to a request in the protocol's JSON.
        log: Receives what the model prints.
    """
    make_folder(log.parent)
    with disk_errors(log):
        file = log.open("ab")
    with file:
        return asyncio.run(_ask(plan, make, file))


async def _ask(plan: ServePlan, make: MakeRequest, file: BinaryIO) -> dict[str, Any]:
    worker = await Worker.start(plan, file)
    try:
        asked = oip.parse(oip.decode(oip.dump(make(worker.metadata))), worker.metadata)
        tensors = await worker.infer(asked.tensors, asked.outputs)
        return oip.decode(oip.dump(oip.answer(tensors, asked, name=plan.name, version=plan.version)))  # type: ignore[no-any-return]
    finally:
        await worker.close(plan.limits.drain_timeout_s)
