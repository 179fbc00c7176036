"""A small client of the protocol's REST form, for ``predict``, ``test`` and ``Server``."""

from __future__ import annotations

import contextlib
import http.client
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ..errors import InstallMLError
from . import oip
from .errors import ModelFailed, ModelUnavailable, ModelUnknown, RequestInvalid, RequestTooLarge, ServerFailed

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Client", "arrays"]

MAX_ANSWER = 1 << 30
_ERRORS: dict[int, type[InstallMLError]] = {
    400: RequestInvalid, 404: ModelUnknown, 408: RequestInvalid, 413: RequestTooLarge,
    500: ModelFailed, 503: ModelUnavailable,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Client:
    """Talks to one server.

    Attributes:
        url: ``http://host:port`` or ``https://host:port``.
        token: Its bearer token; empty when it needs none.
        ca: PEM file that vouches for its certificate; empty for the system's authorities.
        timeout_s: Seconds to wait for an answer.
    """

    url: str
    token: str = field(default="", repr=False)
    ca: str = ""
    timeout_s: float = 300.0

    def get(self, path: str) -> Any:
        """Return the JSON at ``path``."""
        return self._call("GET", path, None)

    def metadata(self, model: str) -> dict[str, Any]:
        """Return what a model says about itself."""
        value: dict[str, Any] = self.get(f"/v2/models/{model}")
        return value

    def infer(self, model: str, request: Mapping[str, Any]) -> dict[str, Any]:
        """Return the answer to an inference request, both in the protocol's JSON.

        Raises:
            RequestInvalid: The model cannot take the request.
            ModelUnknown: The server has no such model.
            ModelFailed: The model raised.
            ModelUnavailable: It cannot answer now.
            ServerFailed: No server answers.
        """
        value: dict[str, Any] = self._call("POST", f"/v2/models/{model}/infer", oip.dump(dict(request)))
        return value

    def predict(self, model: str, inputs: Mapping[str, Any]) -> dict[str, np.ndarray[Any, Any]]:
        """Return the outputs as arrays for inputs that numpy can make arrays of; text comes back as objects."""
        return arrays(self.infer(model, oip.request_json(inputs, self.metadata(model))))

    def _call(self, method: str, path: str, body: bytes | None) -> Any:
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        if body is not None:
            headers["Content-Type"] = "application/json"
        try:
            with contextlib.closing(self._connection()) as connection:
                connection.request(method, path, body, headers)
                response = connection.getresponse()
                data = response.read(MAX_ANSWER + 1)
        except (OSError, http.client.HTTPException) as error:
            raise ServerFailed(
                f"no server answers at {self.url}: {error or type(error).__name__}",
                hint="See what is being served with: installml ps",
                subject=self.url,
            ) from error
        return self._read(response.status, data)

    def _connection(self) -> http.client.HTTPConnection:
        parts = urlsplit(self.url)
        host = parts.hostname or ""
        if parts.scheme != "https":
            return http.client.HTTPConnection(host, parts.port, timeout=self.timeout_s)
        context = ssl.create_default_context(cafile=self.ca or None)
        return http.client.HTTPSConnection(host, parts.port, timeout=self.timeout_s, context=context)

    def _read(self, status: int, data: bytes) -> Any:
        try:
            value = json.loads(data) if len(data) <= MAX_ANSWER else None
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            raise ServerFailed(f"{self.url} does not speak the Open Inference Protocol", subject=self.url)
        if status == 200:
            return value
        kind = _ERRORS.get(status, ServerFailed)
        raise kind(str(value.get("error") or f"{self.url} answered {status}")[:4000], subject=self.url)


def arrays(answer: Mapping[str, Any]) -> dict[str, np.ndarray[Any, Any]]:
    """Return the outputs of an answer in the protocol's JSON as arrays by name."""
    import numpy as np

    from .worker.tensors import DTYPES

    return {
        item["name"]: np.array(item["data"], dtype=DTYPES.get(item["datatype"], object)).reshape(item["shape"])
        for item in answer["outputs"]
    }
