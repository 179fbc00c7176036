"""The public test kit costs nothing until it is used, and says what it needs."""

from __future__ import annotations

import subprocess
import sys

import installml.testing
from installml.spec.manifest import parse_manifest
from installml.spec.package import read_package
from installml.testing import SettableClock, package_bytes


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)


def test_importing_the_kit_imports_no_test_library_and_no_server() -> None:
    heavy = "pytest hypothesis starlette uvicorn requests numpy"
    code = f"import sys, installml.testing; print([m for m in '{heavy}'.split() if m in sys.modules])"
    assert python(code).stdout.strip() == "[]"


def test_the_strategies_say_what_they_need() -> None:
    code = """
import sys
sys.modules["hypothesis"] = None
from installml.errors import UsageError
try:
    import installml.testing.strategies
except UsageError as error:
    print(error.hint)
"""
    assert python(code).stdout.strip() == "pip install hypothesis"


def test_everything_that_is_exported_exists() -> None:
    assert installml.testing.__all__ == sorted(installml.testing.__all__)
    assert all(getattr(installml.testing, name) for name in installml.testing.__all__)


def test_a_package_in_memory_is_a_genuine_one() -> None:
    packed = package_bytes({"README.md": b"x"}, name="acme/x", version="2.0.0")
    descriptor, data = packed.content[-1]
    package = read_package(parse_manifest(data, descriptor.media_type, "x"), "x")
    assert (package.name, package.version, [f.path for f in package.files]) == ("acme/x", "2.0.0", ["README.md"])
    assert package_bytes({"README.md": b"x"}, name="acme/x", version="2.0.0") == packed


def test_time_stands_still_until_it_is_moved() -> None:
    clock = SettableClock(100.0)
    assert (clock(), clock()) == (100.0, 100.0)
    clock.advance(5)
    assert clock() == 105.0
