"""What the download engine takes for given."""

from __future__ import annotations

import os
import random as _random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

__all__ = ["Tuning"]


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True, slots=True)
class Tuning:
    """What the engine takes for given; others only for tests and odd networks.

    Attributes:
        part: Bytes of a part; 0 to choose by size and speed.
        small: Bytes up to which a blob is fetched by one request and begins again when it breaks.
        tick: Seconds between two looks at everything.
        stall: Seconds without a byte, while others flow, after which a connection is given up; four times as long when
            nothing flows, or while the head of the answer is still to come.
        patience: Seconds without any new byte after which a copy that fails gives up.
        hashers: Blobs hashed at the same time.
        clock: Monotonic seconds.
        random: A number from 0 to 1.
    """

    part: int = 0
    small: int = 4 << 20
    tick: float = 0.25
    stall: float = 5.0
    patience: float = 120.0
    hashers: int = field(default_factory=_cores)
    clock: Callable[[], float] = time.monotonic
    random: Callable[[], float] = _random.random
