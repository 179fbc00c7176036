"""What runs, or ran: servers, transfers in the background, models that answered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .form import Result

__all__ = [
    "DemoDigit",
    "DemoResult",
    "DemoStep",
    "PredictResult",
    "RunningServer",
    "ServerList",
    "StopResult",
    "TestResult",
    "Transfer",
]


@dataclass(frozen=True, slots=True)
class RunningServer(Result):
    """A server that runs, or ran.

    Attributes:
        id: Unique on this machine.
        name: The served model's name.
        started: ISO 8601, UTC.
        log: Its log file.
        token: Bearer token that callers must send; not part of the JSON form.
    """

    id: str
    name: str
    version: str
    digest: str
    url: str
    pid: int
    started: str
    log: str
    token: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Transfer(Result):
    """A transfer that goes on in the background, or did.

    Attributes:
        id: Unique on this machine; what ``logs`` and ``stop`` take.
        verb: What it does, such as ``pull``.
        package: The reference as it was given.
        state: ``running``, ``done``, ``failed``, ``stopped``, or ``died``: gone without a word.
        phase: What it does, or did last.
        fraction: How much is done, from 0 to 1.
        done: Bytes that are there.
        total: Bytes of the package; 0 while unknown.
        speed: Bytes a second of the last seconds.
        started: ISO 8601, UTC.
        log: Its log file.
        message: Why it failed; empty otherwise.
    """

    id: str
    verb: str
    package: str
    state: str
    phase: str
    fraction: float
    done: int
    total: int
    speed: int
    pid: int
    started: str
    log: str
    message: str = ""


@dataclass(frozen=True, slots=True)
class ServerList(Result):
    """Servers of this machine, and its transfers in the background.

    Attributes:
        transfers: Those that go on, and those whose end was not shown yet; with ``--all`` every one that is known.
    """

    servers: tuple[RunningServer, ...]
    transfers: tuple[Transfer, ...] = ()


@dataclass(frozen=True, slots=True)
class StopResult(Result):
    """Servers and transfers that were stopped."""

    stopped: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PredictResult(Result):
    """A model's answer in the protocol's form.

    Attributes:
        outputs: As in the Open Inference Protocol v2: name, datatype, shape, data.
        served: URL of the server that answered; empty when a worker was started for it.
    """

    name: str
    version: str
    outputs: tuple[Mapping[str, Any], ...]
    served: str = ""


@dataclass(frozen=True, slots=True)
class TestResult(Result):
    """The packaged example was run.

    Attributes:
        passed: No difference was found.
        differences: Where the answer differs from the recorded one, in words.
        compared: Whether there was a recorded answer to compare with.
        recorded: File to which the answer was written, or empty.
    """

    __test__ = False  # pytest: not a test class

    name: str
    version: str
    passed: bool
    differences: tuple[str, ...]
    compared: bool
    recorded: str = ""


@dataclass(frozen=True, slots=True)
class DemoDigit:
    """One image of the demonstration: its 8 x 8 pixels (0 to 16), the truth and the model's answer."""

    pixels: tuple[tuple[int, ...], ...]
    truth: int
    answer: int
    confidence: float


@dataclass(frozen=True, slots=True)
class DemoStep:
    """One step of the demonstration: what could have been typed, what it did, and how many seconds it took."""

    command: str
    outcome: str
    seconds: float


@dataclass(frozen=True, slots=True)
class DemoResult(Result):
    """The demonstration ran to its end."""

    steps: tuple[DemoStep, ...]
    digits: tuple[DemoDigit, ...]
    wheels: tuple[str, ...]
    seconds: float
