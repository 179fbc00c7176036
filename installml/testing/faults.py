"""Ways for the embedded registry to misbehave: ``start(faults=Faults(Rule(Truncate(1000), "GET", "/blobs/")))``.

The list, with what each does, is docs/reference/faults.md. Not here: how other people's registries behave on their
good days (``installml.testing.quirky``).
"""

from __future__ import annotations

from ..registry_server.elsewhere import Elsewhere, Redirect
from ..registry_server.faults import (
    Busy,
    Chunked,
    Fault,
    Faults,
    Flip,
    ForgetLogin,
    Gzip,
    IgnoreRange,
    LongBody,
    Multipart,
    NoLength,
    Old,
    Reset,
    Rule,
    ShortRange,
    Slow,
    Stall,
    Status,
    Throttle,
    Truncate,
    Unsatisfied,
    WrongRange,
)

__all__ = [
    "Busy",
    "Chunked",
    "Elsewhere",
    "Fault",
    "Faults",
    "Flip",
    "ForgetLogin",
    "Gzip",
    "IgnoreRange",
    "LongBody",
    "Multipart",
    "NoLength",
    "Old",
    "Redirect",
    "Reset",
    "Rule",
    "ShortRange",
    "Slow",
    "Stall",
    "Status",
    "Throttle",
    "Truncate",
    "Unsatisfied",
    "WrongRange",
]
