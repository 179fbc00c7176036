"""The composition root: what the command line said becomes settings, a session and a place to write."""

from __future__ import annotations

import contextlib
import functools
import inspect
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, get_type_hints

import typer

from ..errors import UsageError
from .options import Common, Format, Progress
from .screen import Color, Screen

if TYPE_CHECKING:
    from ..api.results import Result
    from ..api.session import Session
    from ..config import Settings
    from ..signing.secret import Secret
    from ..trust.verdict import Verdict
    from .status import Status

__all__ = ["Cli", "verb"]


@dataclass(frozen=True, slots=True)
class Cli:
    """What a command works with.

    Attributes:
        common: The flags of every verb.
        screen: Where it writes.
        stdin: Where it reads what is not a file.
        environ: The environment.
        subcommand: Name of the command below a group, or empty.
        words: The words after ``installml``.
        detached: This process is the one in the background.
        telling: Held by whoever tells the failure: it is told once.
        endings: Told the exit code before the process ends.
        showing: What is drawn on the screen now and must go before anybody else writes there.
    """

    common: Common
    screen: Screen
    stdin: TextIO
    environ: Mapping[str, str]
    subcommand: str = ""
    words: tuple[str, ...] = ()
    detached: bool = False
    telling: threading.Lock = field(default_factory=threading.Lock)
    showing: list[Status] = field(default_factory=list)
    endings: list[Callable[[int], None]] = field(default_factory=list)

    @classmethod
    def of_process(cls) -> Cli:
        """Return what this process has."""
        return cls(Common(), Screen(sys.stdout, sys.stderr, os.environ), sys.stdin, os.environ)

    def under(self, common: Common) -> Cli:
        """Return the same with the flags that stood after the verb."""
        joined = common.over(self.common)
        return replace(self, common=joined, screen=replace(self.screen, color=joined.color or Color.AUTO))

    @property
    def json(self) -> bool:
        """Whether results are JSON."""
        return self.common.format is Format.JSON or self.common.progress is Progress.JSON

    @property
    def interactive(self) -> bool:
        """Whether somebody is there to answer a question."""
        return self.stdin.isatty() and self.screen.err.isatty() and not self.json

    def settings(self) -> Settings:
        """Return the settings, flags included."""
        from ..config import load

        return load(self.common.settings(), self.environ)

    @contextlib.contextmanager
    def session(self) -> Iterator[Session]:
        """Yield a session whose events are shown while the block runs."""
        with self.status() as status:
            here = self.interactive
            yield self.settings().session(
                on_event=status, ask=self.ask if here else None, accept=self.accept if here else None
            )

    @contextlib.contextmanager
    def status(self) -> Iterator[Status]:
        """Yield what shows events, and take it off the screen at the end."""
        from .status import following

        common = self.common
        progress = common.progress or Progress.AUTO
        silent = common.quiet or self.json
        with following(self.screen, silent=silent, verbose=common.verbose, progress=progress) as status:
            self.showing.append(status)
            yield status

    def show(self, result: Result) -> None:
        """Write a result."""
        from .result import show

        show(result, self.screen, as_json=self.json)

    def confirm(self, question: str) -> None:
        """Ask before something is lost, when there is somebody to ask.

        Raises:
            UsageError: The answer is no.
        """
        if self.interactive and not typer.confirm(question, err=True):
            raise UsageError("nothing was done", hint="Answer y, or give --yes.")

    def ask(self, what: str) -> Secret:
        """Ask for a passphrase; what is typed is not shown."""
        from ..signing.secret import Secret

        question = what[:1].upper() + what[1:]
        with self._paused():
            return Secret(typer.prompt(question, default="", hide_input=True, show_default=False, err=True))

    def accept(self, verdict: Verdict) -> bool:
        """Ask whether the signers of a package, who are not known here, may be trusted."""
        from .question import trust_question

        with self._paused():
            for line in trust_question(verdict):
                self.screen.say(line)
            return typer.confirm(
                "Trust them for this repository?"
                if len(verdict.unknown) > 1
                else "Trust this signer for this repository?",
                err=True,
            )

    @contextlib.contextmanager
    def _paused(self) -> Iterator[None]:
        """Leave the screen to a question."""
        with contextlib.ExitStack() as pauses:
            for status in self.showing:
                pauses.enter_context(status.paused())
            yield

    def read(self, path: str, cap: int) -> bytes:
        """Return the content of a file, or of standard input for ``-``.

        Raises:
            UsageError: It cannot be read, or has more than ``cap`` bytes.
        """
        try:
            with contextlib.nullcontext(self.stdin.buffer) if path == "-" else Path(path).open("rb") as stream:
                data = stream.read(cap + 1)
        except OSError as error:
            raise UsageError(f"{path} cannot be read: {error.strerror}", subject=path) from error
        if len(data) > cap:
            raise UsageError(f"{path} has more than {cap} bytes", subject=path)
        return data


def _parameters() -> list[inspect.Parameter]:
    hints = get_type_hints(Common, include_extras=True)
    defaults = Common()
    return [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=getattr(defaults, name), annotation=hint)
        for name, hint in hints.items()
    ]


COMMON = _parameters()
CONTEXT = inspect.Parameter("ctx", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)


def verb(function: Callable[..., None]) -> Callable[..., None]:
    """Make a command of a function whose first parameter is a Cli: it gets the flags of every verb as well."""
    signature = inspect.signature(function, eval_str=True)
    own = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in list(signature.parameters.values())[1:]]
    shared = [p for p in COMMON if p.name not in {mine.name for mine in own}]  # a verb may have one of them its own way

    @functools.wraps(function)
    def command(*, ctx: typer.Context, **values: Any) -> None:
        common = Common(**{parameter.name: values.pop(parameter.name) for parameter in shared})
        ctx.obj = replace(ctx.obj.under(common), subcommand=ctx.invoked_subcommand or "")
        function(ctx.obj, **values)

    command.__signature__ = inspect.Signature([CONTEXT, *own, *shared])  # type: ignore[attr-defined]
    command.__annotations__ = {}
    return command
