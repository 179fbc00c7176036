"""Profiles in words, for people who ask what a package needs."""

from __future__ import annotations

from ..spec.hardware import Profile
from ..spec.units import format_size

__all__ = ["describe"]


def describe(profile: Profile) -> str:
    """Return one line such as ``gpu: 1 x nvidia, 20 GiB each; 8 GiB memory``."""
    parts = []
    accelerator = profile.accelerator
    if accelerator is not None:
        text = f"{accelerator.count} x {accelerator.vendor}"
        text += f", {format_size(accelerator.memory)} each" if accelerator.memory else ""
        text += f", compute {accelerator.compute}" if accelerator.compute else ""
        text += f", driver {accelerator.driver}" if accelerator.driver else ""
        parts.append(text)
    cpu = profile.cpu
    parts += [f"{cpu.cores} cores"] if cpu.cores else []
    parts += [" or ".join(cpu.arch)] if cpu.arch else []
    parts += [f"with {', '.join(cpu.features)}"] if cpu.features else []
    parts += [f"{format_size(profile.memory)} memory"] if profile.memory else []
    parts += [f"{format_size(profile.disk)} disk"] if profile.disk else []
    return f"{profile.name}: {'; '.join(parts) or 'anything'}"
