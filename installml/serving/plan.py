"""Decide how a package is served; touches nothing, so every decision can be tested by its arguments."""

from __future__ import annotations

import dataclasses
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import UsageError
from ..spec.canonical import canonical
from ..spec.runtime import RuntimeManifest, parse_runtime
from .errors import EngineUnsupported, TokenMissing, WorkerFailed

__all__ = ["ENGINES", "ENVIRONMENT", "Limits", "ServePlan", "from_json", "plan"]

ENGINES = ("onnxruntime", "sklearn", "xgboost", "lightgbm", "torch", "python")
"""Engines that the local worker can load."""

ENVIRONMENT = frozenset((
    "PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "LD_LIBRARY_PATH",
    "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS",
    "CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES",
))  # fmt: skip
"""Variables that a model's process may see; everything else, credentials first, stays outside."""

SILENCED = {"ORT_DISABLE_TELEMETRY": "1"}
"""What a model's process is told besides: libraries that report home by default do not (onnxruntime, Privacy.md)."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What the server does not go beyond.

    Attributes:
        max_body: Largest request body in bytes.
        max_in_flight: Requests handed to the worker at once; it answers one after the other.
        max_queue: Requests that may wait besides; one more is answered 503.
        body_timeout_s: Seconds within which a request's body must have arrived.
        load_timeout_s: Seconds within which the model must have loaded.
        drain_timeout_s: Seconds that running requests get when the server is told to stop.
        restarts: Times that a worker which never answered in between is started again.
        restart_delay_s: Seconds before the first restart; doubles each time, up to 30.
    """

    max_body: int = 16 << 20
    max_in_flight: int = 4
    max_queue: int = 128
    body_timeout_s: float = 60.0
    load_timeout_s: float = 300.0
    drain_timeout_s: float = 30.0
    restarts: int = 5
    restart_delay_s: float = 0.5

    def delay(self, restart: int) -> float:
        """Return the seconds to wait before the given restart, counted from 1."""
        return float(min(30.0, self.restart_delay_s * 2 ** (restart - 1)))


@dataclass(frozen=True, slots=True)
class ServePlan:
    """Everything that a server needs to know.

    Attributes:
        name: The served model's name: the last component of the package's name.
        version: The served model's version.
        path: The materialised package, which is only read.
        runtime: The package's runtime manifest.
        python: Interpreter of the package's own environment.
        digest: The package's manifest digest; empty when a plain folder is served.
        host: Address to listen on.
        port: Port to listen on; 0 for any free one.
        token: Bearer token that callers must send; empty for none.
        tls_cert: PEM file of the server's certificate chain; empty for plain HTTP.
        tls_key: PEM file of its key.
        limits: What the server does not go beyond.
        environment: The worker's whole environment.
    """

    name: str
    version: str
    path: str
    runtime: RuntimeManifest
    python: str
    digest: str = ""
    host: str = "127.0.0.1"
    port: int = 0
    token: str = field(default="", repr=False)
    tls_cert: str = ""
    tls_key: str = ""
    limits: Limits = field(default_factory=Limits)
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)

    def load_wishes(self) -> dict[str, Any]:
        """Return what the worker is told to load."""
        signature = self.runtime.signature.to_json()
        return {
            "engine": self.runtime.engine,
            "root": self.path,
            "model": self.runtime.model,
            "entrypoint": self.runtime.entrypoint,
            "inputs": signature["inputs"],
            "outputs": signature["outputs"],
        }

    def to_json(self) -> dict[str, Any]:
        """Return the plan as JSON values, token included: for the server's own process only."""
        value = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        limits = dataclasses.asdict(self.limits)
        return value | {"runtime": self.runtime.to_json(), "limits": limits, "environment": dict(self.environment)}


def from_json(value: dict[str, Any]) -> ServePlan:
    """Return the plan that ``to_json`` gave."""
    runtime = parse_runtime(canonical(value["runtime"]), "the server's plan")
    return ServePlan(**{**value, "runtime": runtime, "limits": Limits(**value["limits"])})


def loopback(host: str) -> bool:
    """Return whether only this machine can reach ``host``."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def plan(
    *,
    name: str,
    version: str,
    path: str,
    runtime: RuntimeManifest,
    python: str,
    digest: str = "",
    host: str = "127.0.0.1",
    port: int = 0,
    token: str = "",
    spare_token: str = "",
    tls_cert: str = "",
    tls_key: str = "",
    limits: Limits | None = None,
    environment: Mapping[str, str] | None = None,
) -> ServePlan:
    """Decide how a package is served.

    Args:
        name: The package's name; its last component names the model.
        version: The package's version; ``0`` when it has none.
        path: The materialised package.
        runtime: Its runtime manifest.
        python: Interpreter of its environment.
        digest: Its manifest digest, if it has one.
        host: Address to listen on.
        port: Port to listen on; 0 for any free one.
        token: Bearer token to require; empty for none on loopback.
        spare_token: Fresh random token, taken when others can reach ``host`` and ``token`` is empty.
        tls_cert: Certificate chain, PEM file.
        tls_key: Its key, PEM file.
        limits: What the server does not go beyond.
        environment: This process's environment; the worker sees what ``ENVIRONMENT`` allows of it.

    Raises:
        EngineUnsupported: The engine cannot be served locally.
        WorkerFailed: The manifest lacks what its engine needs.
        TokenMissing: Others can reach ``host`` and there is no token.
        UsageError: A port, name or half a TLS pair that cannot be meant.
    """
    _check_runtime(name, runtime)
    if bool(tls_cert) != bool(tls_key):
        raise UsageError("TLS needs both a certificate and a key", hint="Give --tls-cert FILE and --tls-key FILE.")
    if not 0 <= port <= 65535:
        raise UsageError(f"{port} is no port", hint="A port is 0 (any free one) to 65535.")
    if not loopback(host) and not (token := token or spare_token):
        raise TokenMissing(f"others can reach {host}, and no token is set", subject=host)
    return ServePlan(
        name=model_name(name), version=version or "0", path=path, runtime=runtime, python=python, digest=digest,
        host=host, port=port, token=token, tls_cert=tls_cert, tls_key=tls_key, limits=limits or Limits(),
        environment={key: value for key, value in (environment or {}).items() if key in ENVIRONMENT} | SILENCED,
    )  # fmt: skip


def model_name(name: str) -> str:
    """Return the last component of a package's name, checked to be one part of a URL's path."""
    last = name.rpartition("/")[2]
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", last):
        raise UsageError(f"{last!r} cannot be a served model's name", subject=name)
    return last


def _check_runtime(name: str, runtime: RuntimeManifest) -> None:
    if runtime.engine not in ENGINES:
        raise EngineUnsupported(
            f"{name} needs the engine {runtime.engine}; served here are {', '.join(ENGINES)}",
            hint="Export the model to ONNX, or add a Python entry point to installml.yaml, and build again.",
            subject=name,
        )
    if runtime.engine == "python" and not runtime.entrypoint:
        raise WorkerFailed(
            f"{name} names no entry point",
            hint="Set runtime.entrypoint to file.py:Class in installml.yaml and build again.",
            subject=name,
        )
