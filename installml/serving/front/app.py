"""The routes: Open Inference Protocol v2 REST (``inference_rest.md``) and ``/metrics``. Payloads are never logged."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ...errors import InstallMLError
from ...version import __version__
from .. import oip
from ..errors import ModelFailed, ModelUnavailable, ModelUnknown, RequestInvalid
from .guard import BearerToken, read_body
from .metrics import Metrics
from .supervisor import State, Supervisor

__all__ = ["build"]

RETRY_AFTER_S = 1
_CLOSING = (408, 413)
"""Answered before the body was read in full, so the connection cannot be used again."""


def build(models: Supervisor, settled: Callable[[], None], tell: Callable[[str], None]) -> Starlette:
    """Return the application.

    Args:
        models: The supervisor; started and stopped with the application.
        settled: Called once, when the model is ready or cannot be had.
        tell: Receives one line for each request that failed on our side.
    """
    front = _Front(models, tell)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        models.start(settled)
        yield
        await models.stop()

    token = models.plan.token
    return Starlette(
        routes=front.routes(),
        lifespan=lifespan,
        middleware=[Middleware(BearerToken, token=token)] if token else [],
        exception_handlers={InstallMLError: front.refuse, HTTPException: front.no_route, Exception: front.broken},
    )


def _json(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(oip.dump(value), status, headers, "application/json")


class _Front:
    """The handlers of one server."""

    def __init__(self, models: Supervisor, tell: Callable[[str], None]) -> None:
        self._models, self._plan, self._tell = models, models.plan, tell
        self._metrics = Metrics(models.plan, lambda: models.pending)

    def routes(self) -> list[Route]:
        handlers: list[tuple[str, str, Callable[[Request], Awaitable[Response]]]] = [
            ("GET", "/v2", self.server),
            ("GET", "/v2/health/live", self.live),
            ("GET", "/v2/health/ready", self.ready),
            ("GET", "/metrics", self.metrics),
        ]
        for model in ("/v2/models/{name}", "/v2/models/{name}/versions/{version}"):
            handlers += [
                ("GET", model, self.model),
                ("GET", f"{model}/ready", self.model_ready),
                ("POST", f"{model}/infer", self.infer),
            ]
        return [Route(path, handler, methods=[method]) for method, path, handler in handlers]

    async def server(self, _: Request) -> Response:
        return _json({"name": "installml", "version": __version__, "extensions": []})

    async def live(self, _: Request) -> Response:
        return _json({"live": True})

    async def ready(self, _: Request) -> Response:
        ready = self._models.state is State.READY
        return _json({"ready": ready}, 200 if ready else 503)

    async def model(self, request: Request) -> Response:
        self._known(request)
        plan, said = self._plan, self._models.metadata
        return _json({
            "name": plan.name, "versions": [plan.version], "platform": plan.runtime.engine,
            "inputs": said["inputs"], "outputs": said["outputs"],
        })  # fmt: skip

    async def model_ready(self, request: Request) -> Response:
        self._known(request)
        ready = self._models.state is State.READY
        return _json({"name": self._plan.name, "ready": ready}, 200 if ready else 503)

    async def metrics(self, request: Request) -> Response:
        body, media_type = await asyncio.to_thread(self._metrics.text, request.headers.get("accept", ""))
        return Response(body, media_type=media_type)

    async def infer(self, request: Request) -> Response:
        self._known(request)
        if "inference-header-content-length" in request.headers:
            raise RequestInvalid("the binary tensor extension is not served here; send JSON data")
        async with self._models.admitted():
            body = await read_body(request, self._plan.limits)
            began = time.perf_counter()
            # The decoded JSON is many times its text; between here and the tensors nothing awaits, so there is one.
            asked = oip.parse(oip.decode(body), self._models.metadata)
            del body
            tensors = await self._models.infer(asked.tensors, asked.outputs)
            value = oip.answer(tensors, asked, name=self._plan.name, version=self._plan.version)
            answer = _json(value)
            self._metrics.predict_seconds.observe(time.perf_counter() - began)
        return answer

    def _known(self, request: Request) -> None:
        name, version = request.path_params["name"], request.path_params.get("version")
        if name != self._plan.name:
            raise ModelUnknown(f"model {name!r} is not served here; served is {self._plan.name!r}")
        if version not in (None, self._plan.version):
            raise ModelUnknown(f"model {name!r} has no version {version!r} here; served is {self._plan.version!r}")

    async def refuse(self, _: Request, error: Exception) -> Response:
        status = int(getattr(error, "status", 500))
        headers = {"Connection": "close"} if status in _CLOSING else {}
        if isinstance(error, ModelUnavailable):
            headers["Retry-After"] = str(RETRY_AFTER_S)
        if isinstance(error, ModelFailed):
            self._tell("a request failed in the model")
        return _json({"error": str(error)}, status, headers)

    async def no_route(self, request: Request, error: Exception) -> Response:
        if not isinstance(error, HTTPException):
            raise error
        message = f"{request.method} {request.url.path}: {error.detail.lower()}"
        return _json({"error": message}, error.status_code, dict(error.headers or {}))

    async def broken(self, request: Request, error: Exception) -> Response:
        self._tell(f"{request.method} {request.url.path} failed with {type(error).__name__}")
        return _json({"error": "the server failed; its log says more"}, 500)
