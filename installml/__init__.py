"""Models as installable packages: the Python SDK.

Every verb of the command line is a function here, with the flags as keyword arguments::

    import installml

    model = installml.install("acme/sentiment:1.4.0")
    with installml.serve("acme/sentiment") as server:
        server.predict({"x": [[1.0, 2.0]]})

Without ``session=`` a function uses a session made from this process's environment and configuration files.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from .version import __version__

_VERBS = {
    "attest": "attest",
    "build": "build", "cache_df": "cache", "cache_gc": "cache", "cache_path": "cache", "cache_repair": "repair",
    "cache_verify": "cache",
    "copy": "copy", "demo": "demo", "doctor": "doctor", "export": "copy", "hardware": "hardware", "index": "index",
    "info": "info", "init": "init", "install": "install",
    "keys_export": "keys", "keys_generate": "keys", "keys_import": "keys", "keys_list": "keys", "keys_rotate": "keys",
    "list": "info", "login": "login", "logout": "login",
    "logs": "serve",
    "predict": "serve", "ps": "serve", "pull": "pull", "push": "push", "registry_serve": "registry", "remove": "tags",
    "sbom": "sbom", "scan": "scan", "sign": "sign", "verify": "verify",
    "serve": "serve", "stop": "serve", "tag": "tags", "tags": "tags", "test": "serve",
    "trust_add": "trust", "trust_list": "trust", "trust_policy": "trust", "trust_remove": "trust",
    "trust_rotate": "trust", "trust_test": "trust", "uninstall": "install",
}  # fmt: skip
_OTHERS = {
    "InstallMLError": "installml.errors",
    "Session": "installml.api.session",
    "config_show": "installml.config",
    "default_session": "installml.config",
}

__all__ = [
    "InstallMLError",
    "Session",
    "__version__",
    "attest",
    "build",
    "cache_df",
    "cache_gc",
    "cache_path",
    "cache_repair",
    "cache_verify",
    "config_show",
    "copy",
    "default_session",
    "demo",
    "doctor",
    "export",
    "hardware",
    "index",
    "info",
    "init",
    "install",
    "keys_export",
    "keys_generate",
    "keys_import",
    "keys_list",
    "keys_rotate",
    "list",
    "login",
    "logout",
    "logs",
    "predict",
    "ps",
    "pull",
    "push",
    "registry_serve",
    "remove",
    "sbom",
    "scan",
    "serve",
    "sign",
    "stop",
    "tag",
    "tags",
    "test",
    "trust_add",
    "trust_list",
    "trust_policy",
    "trust_remove",
    "trust_rotate",
    "trust_test",
    "uninstall",
    "verify",
]

if TYPE_CHECKING:
    from .api.attest import attest
    from .api.build import build
    from .api.cache import cache_df, cache_gc, cache_path, cache_verify
    from .api.copy import copy, export
    from .api.demo import demo
    from .api.doctor import doctor
    from .api.hardware import hardware
    from .api.index import index
    from .api.info import info
    from .api.info import list_ as list  # noqa: A004 - the verb's name
    from .api.init import init
    from .api.install import install, uninstall
    from .api.keys import keys_export, keys_generate, keys_import, keys_list, keys_rotate
    from .api.login import login, logout
    from .api.pull import pull
    from .api.push import push
    from .api.registry import registry_serve
    from .api.repair import cache_repair
    from .api.sbom import sbom
    from .api.scan import scan
    from .api.serve import logs, predict, ps, serve, stop, test
    from .api.session import Session
    from .api.sign import sign
    from .api.tags import remove, tag, tags
    from .api.trust import trust_add, trust_list, trust_policy, trust_remove, trust_rotate, trust_test
    from .api.verify import verify
    from .config import config_show, default_session
    from .errors import InstallMLError


def __getattr__(name: str) -> Any:
    """Import a verb when it is first used: ``import installml`` costs nothing."""
    if name in _OTHERS:
        return getattr(importlib.import_module(_OTHERS[name]), name)
    if name not in _VERBS:
        raise AttributeError(f"module 'installml' has no attribute {name!r}")
    function = getattr(importlib.import_module(f"installml.api.{_VERBS[name]}"), "list_" if name == "list" else name)
    return _with_default_session(function)


def _with_default_session(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``function`` with ``session`` made from the environment when the caller gives none."""
    import inspect

    if "session" not in inspect.signature(function).parameters:
        return function

    @functools.wraps(function)
    def verb(*args: Any, **kwargs: Any) -> Any:
        if kwargs.get("session") is None:
            from .config import default_session

            kwargs["session"] = default_session(*([kwargs.pop("on_event")] if "on_event" in kwargs else []))
        return function(*args, **kwargs)

    return verb


def __dir__() -> Iterable[str]:
    return sorted(__all__)
