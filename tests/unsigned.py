"""A policy for tests that are not about trust: nobody signs what they push."""

from __future__ import annotations

from pathlib import Path

__all__ = ["UNSIGNED"]

UNSIGNED = str(Path(__file__).with_name("unsigned.toml"))
"""For ``INSTALLML_POLICY``, ``--policy`` or the setting ``policy``: signatures are not looked at."""
