"""The one way in which hardware fails a package."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import HardwareError
from .machine import Shortfall

__all__ = ["HardwareUnfit"]

_HINTS = {
    "disk": "Free some disk space (installml cache df shows what can go) or choose another place with --home DIR.",
    "memory": "Give this machine, container or batch job more memory; installml hardware shows what it may use.",
    "accelerator": "Use a machine that has the accelerator, or another variant; compare with: installml hardware",
    "accelerator.driver": "Update the accelerator's driver; installml hardware shows the one that was found.",
}
_DEFAULT_HINT = "Use another machine or another variant of the package; compare with: installml hardware"


class HardwareUnfit(HardwareError):
    """No profile of the package fits this machine; nothing has been fetched."""

    reference = "hardware-unfit"

    def __init__(self, subject: str, shortfalls: Sequence[Shortfall]) -> None:
        self.shortfalls = tuple(shortfalls)
        lines = "".join(f"\n  - {shortfall}" for shortfall in self.shortfalls)
        super().__init__(f"this machine cannot run {subject}:{lines}", hint=_hint(self.shortfalls), subject=subject)


def _hint(shortfalls: Sequence[Shortfall]) -> str:
    """Return the advice for the profile that misses least: what to change is said for the shortest way."""
    fields: dict[str, list[str]] = {}
    for shortfall in shortfalls:
        fields.setdefault(shortfall.profile, []).append(shortfall.field)
    least = min(fields.values(), key=len, default=[])
    return _HINTS.get(least[0], _DEFAULT_HINT) if len(least) == 1 else _DEFAULT_HINT
