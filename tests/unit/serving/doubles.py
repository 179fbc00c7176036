"""Packages whose model is a few lines of Python, and ways to ask their servers over real HTTP."""

from __future__ import annotations

import http.client
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from installml.serving.plan import ServePlan, plan
from installml.spec.runtime import RuntimeManifest, Signature, TensorSpec

PATIENCE_S = 60.0
DOUBLE = Signature((TensorSpec("x", "FP32", (-1, 2)),), (TensorSpec("y", "FP32", (-1, 2)),))

DOUBLER = '''
import os, pathlib

class Model:
    """Doubles x; some first values do other things."""

    def load(self, path):
        self.path = path
        loads = path / "loads"
        loads.write_text(str(int(loads.read_text() or 0) + 1 if loads.exists() else 1))
        if (path / "broken").exists():
            raise RuntimeError("the weights are gone")

    def predict(self, inputs):
        x = inputs["x"]
        what = x.flat[0] if x.size else 0
        if what == 97:
            with open(self.path / "gate") as gate:  # a FIFO: blocks until the test opens its other end
                gate.read()
        if what == 98:
            os._exit(3)
        if what == 99:
            raise ValueError(f"no such row: {x.flat[1]}")
        if what == 100:
            return {"y": x / 0}
        if what == 101:
            return {"y": x.astype(complex)}
        if what == 102:
            print("seen", "payload-marker"[:4])
        return {"y": x * 2}
'''

ECHO = """
import json, os, sys
import numpy as np

class Model:
    @classmethod
    def load(cls, path):
        return cls()

    def predict(self, inputs):
        if "world" in inputs:
            facts = {"env": dict(os.environ), "cwd": os.getcwd(), "pid": os.getpid(), "path": sys.path,
                     "entries": os.listdir(".")}
            return {"facts": np.array([json.dumps(facts)])}
        return {name + "_out": array for name, array in inputs.items()}
"""


def package(folder: Path, code: str, signature: Signature | None = None, **wishes: Any) -> ServePlan:
    """Write a package of one Python file and return the plan to serve it with this interpreter."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.py").write_text(code)
    runtime = RuntimeManifest(engine="python", entrypoint="model.py:Model", signature=signature or Signature())
    given = {"name": "acme/double", "version": "1.2.0", "python": sys.executable, "digest": "sha256:" + "0" * 64}
    return plan(path=str(folder), runtime=runtime, **{**given, **wishes})


class Reply(NamedTuple):
    """What a server answered."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> str:
        """The protocol's error object's only value."""
        assert list(self.json) == ["error"], self.body
        return str(self.json["error"])


def ask(url: str, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Reply:
    """Send one request; a body that is not bytes goes as JSON, an iterator goes chunked."""
    if isinstance(body, (dict, list)):
        body = json.dumps(body)
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=PATIENCE_S)
    try:
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        return Reply(response.status, response.headers, response.read())
    finally:
        connection.close()


def rows(*values: list[float], **extra: Any) -> dict[str, Any]:
    """Return a request with the given rows as `x`."""
    flat = [number for row in values for number in row]
    return {"inputs": [{"name": "x", "datatype": "FP32", "shape": [len(values), 2], "data": flat}], **extra}


def eventually(true: Callable[[], Any], what: str) -> Any:
    """Ask until it is true; the deadline only ends a test that has failed."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        found = true()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"never: {what}")
