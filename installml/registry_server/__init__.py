"""The embedded registry: OCI Distribution 1.1 over one folder on disk, as an ASGI application.

Here: storage, protocol, optional authentication, faults for tests, and two ways to run it (blocking, in a thread).
Not here: the command that starts it (cli), and anything that the client side needs (installml.registry).
Names are loaded on first use, so that importing the package costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .application import RequestRecord, app
    from .auth import Auth
    from .faults import Faults
    from .running import RunningRegistry, serve, start
    from .storage import RegistryStorage

__all__ = ["Auth", "Faults", "RegistryStorage", "RequestRecord", "RunningRegistry", "app", "serve", "start"]

_HOMES = {
    "Auth": "auth",
    "Faults": "faults",
    "RegistryStorage": "storage",
    "RequestRecord": "application",
    "RunningRegistry": "running",
    "app": "application",
    "serve": "running",
    "start": "running",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
