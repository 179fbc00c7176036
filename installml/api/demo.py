"""``demo``: the whole way of a package in one command, on this machine, with a real model and real servers.

What it makes (a registry, a store, a runtime environment, a server) is in one temporary folder and gone at the end.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from time import monotonic
from typing import Any

from ..errors import InstallMLError
from ..events import Notice
from ..registry_server import start as start_registry
from ..runtime.errors import IndexUnreachable, WheelsMissing
from ..runtime.lock import wheels
from ..spec.media import LOCK_PATH
from ..spec.units import format_size
from .build import build
from .cache import cache_gc
from .init import init
from .install import install
from .push import push
from .results import DemoDigit, DemoResult, DemoStep, InstallResult
from .serve import serve, test
from .session import AMBIENT, Session
from .tags import remove

__all__ = ["demo"]

NAME, VERSION = "demo/digits", "1.0.0"
MODEL_FILES = ("model.onnx", "README.md", "example.json", "expected.json", "requirements.txt")
BRING_WHEELS = (
    "Once, with a network: pip download --only-binary :all: onnxruntime numpy -d wheels; "
    "then: INSTALLML_WHEELS=wheels installml demo --offline"
)


@dataclass(slots=True)
class _Diary:
    """The steps so far."""

    clock: Callable[[], float]
    steps: list[DemoStep] = field(default_factory=list)

    @contextmanager
    def step(self, command: str) -> Iterator[Callable[[str], None]]:
        """Time one step; the block says what came of it."""
        began = self.clock()
        outcome: list[str] = []
        yield outcome.append
        self.steps.append(DemoStep(command, " ".join(outcome), round(self.clock() - began, 2)))


def demo(*, clock: Callable[[], float] = monotonic, session: Session = AMBIENT) -> DemoResult:
    """Package a digit classifier, push it, drop it, install it, test it, serve it and ask it about ten images.

    Args:
        clock: Monotonic seconds.
        session: Collaborators; only its settings are used, not its store.

    Returns:
        What was done, and the ten answers.

    Raises:
        WheelsMissing: Offline, and the runtime's wheels are not on this machine; says how to bring them.
    """
    began = clock()
    diary = _Diary(clock)
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="installml-demo-")))
        stack.callback(_unlock, root)
        registry = stack.enter_context(start_registry(root / "registry"))
        # Offline means this machine only, and the registry is on this machine.
        own = replace(session, home=root / "home", default_registry=registry.address, offline=False)
        names = _package(root / "digits", diary, own)
        _move(diary, own)
        digits = _use(diary, own)
    return DemoResult(tuple(diary.steps), digits, names, round(clock() - began, 2))


def _unlock(root: Path) -> None:
    """Make the read-only trees removable for their owner."""
    for path in root.rglob("*"):
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755)


def _package(folder: Path, diary: _Diary, session: Session) -> tuple[str, ...]:
    """Recognise and build; return the wheels that the runtime step will need."""
    folder.mkdir()
    for name in MODEL_FILES:
        (folder / name).write_bytes(_data(name))
    with diary.step("installml init digits") as say:
        made = init(folder, name=NAME, version=VERSION)
        say(f"recognised {made.format}, engine {made.engine}")
    with diary.step("installml build digits") as say:
        built = build(folder, session=session)
        say(f"{built.files} files, {format_size(built.size)}, {built.digest.algorithm}:{built.digest.short}")
    lock = folder / LOCK_PATH
    names = tuple(f"{name} {version}" for name, version in wheels(lock.read_bytes())) if lock.exists() else ()
    if names:
        session.on_event(Notice(f"the runtime step uses these wheels: {', '.join(names)}"))
    return names


def _data(name: str) -> bytes:
    return resources.files("installml").joinpath("demo_model", name).read_bytes()


def _move(diary: _Diary, session: Session) -> None:
    with diary.step(f"installml push {NAME}:{VERSION}") as say:
        sent = push(f"{NAME}:{VERSION}", session=session)
        say(f"{format_size(sent.moved)} to {sent.reference.registry}")
    with diary.step(f"installml remove --local {NAME}:{VERSION}; installml cache gc") as say:
        remove(f"{NAME}:{VERSION}", local=True, session=session)
        say(f"{cache_gc(session=session).blobs} blobs removed; the registry has the only copy")
    with diary.step(f"installml install {NAME}:{VERSION}") as say:
        installed = _install(session)
        say(f"{format_size(installed.moved)} fetched, every byte checked, linked by {installed.linked}")


def _install(session: Session) -> InstallResult:
    try:
        return install(f"{NAME}:{VERSION}", session=session)
    except (WheelsMissing, IndexUnreachable) as error:
        # from its cause: its own hint speaks of a lock in a folder that is gone by then
        raise type(error)(error.message, hint=BRING_WHEELS, subject=error.subject) from error.__cause__


def _use(diary: _Diary, session: Session) -> tuple[DemoDigit, ...]:
    with diary.step(f"installml test {NAME}") as say:
        tested = test(NAME, session=session)
        if not tested.passed:
            raise InstallMLError(f"the demo's model answers otherwise than recorded: {'; '.join(tested.differences)}")
        say("the packaged example gives the recorded answer")
    held_out = json.loads(_data("held_out.json"))["images"]
    with ExitStack() as stack:
        with diary.step(f"installml serve {NAME} --detach") as say:
            server = stack.enter_context(serve(NAME, session=session))
            say(f"Open Inference Protocol at {server.url}")
        with diary.step(f"installml predict {NAME} --input held_out.json") as say:
            answer = server.predict({"image": [image["pixels"] for image in held_out]})
            digits = tuple(
                _digit(image, int(digit), float(max(row)))
                for image, digit, row in zip(held_out, answer["digit"], answer["probabilities"], strict=True)
            )
            say(f"{sum(d.answer == d.truth for d in digits)} of {len(digits)} held-out images right")
    return digits


def _digit(image: dict[str, Any], answer: int, confidence: float) -> DemoDigit:
    pixels = image["pixels"]
    rows = tuple(tuple(pixels[i : i + 8]) for i in range(0, 64, 8))
    return DemoDigit(rows, int(image["label"]), answer, round(confidence, 4))
