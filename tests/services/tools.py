"""Everything that a test uses of this folder, under one name: `from tests.services import tools`.

pytest's importlib mode makes `tests` importable as a namespace, so neither `sys.path` nor an `__init__.py` is
needed. What each name does is said where it is made.
"""

from __future__ import annotations

from tests.services.certificates import TLS, Authority, issue, make_ca
from tests.services.programs import TOOLS, cache, need, tool, version, why_missing
from tests.services.servers import (
    GUARDED,
    SERVERS,
    Logged,
    Server,
    Starter,
    StartFailed,
    distribution2,
    distribution3,
    ggcr,
    zot,
)
from tests.services.tokens import Access, TokenAuth, TokenRequest, User

__all__ = [
    "GUARDED",
    "SERVERS",
    "TLS",
    "TOOLS",
    "Access",
    "Authority",
    "Logged",
    "Server",
    "StartFailed",
    "Starter",
    "TokenAuth",
    "TokenRequest",
    "User",
    "cache",
    "distribution2",
    "distribution3",
    "ggcr",
    "issue",
    "make_ca",
    "need",
    "tool",
    "version",
    "why_missing",
    "zot",
]
