"""TorchScript's own source inside torch archives: no Python, but able to reach files.

Operators are named in the text of ``code/*.py``; `aten::save` and `aten::from_file` write and read any file.
"""

from __future__ import annotations

import re

from installml.scanning.finding import Content, Rule, Severity, Visit

__all__ = ["RULES", "TORCH_SCRIPT"]

FILES = Rule(
    "torchscript-file-access",
    Severity.high,
    "A TorchScript program reads or writes files",
    "Its code calls an operator that opens files by name; computing a model's answers needs none.",
    "Do not load the file unless you know its maker.",
)
RULES = (FILES,)

_STEP = 1 << 20
_OVERLAP = 64
_REACHES = re.compile(rb"(?:\baten::|\btorch\.|ops\.aten\.)(?:save|from_file|load|_save|_load)\b")


class TorchScriptScanner:
    """Knows the sources in a TorchScript archive by their place."""

    name = "torchscript"

    def claims(self, head: bytes, name: str) -> bool:
        """Claim Python-like sources below a folder code/."""
        return name.endswith(".py") and ("/code/" in name or name.startswith("code/"))

    def scan(self, content: Content, visit: Visit) -> None:
        """Search for operators that open files."""
        position, kept = 0, b""
        while data := content.read_at(position, _STEP):
            text = kept + data
            if found := _REACHES.search(text):
                visit.found(FILES, f"calls {found[0].decode()}", position - len(kept) + found.start())
                return
            position, kept = position + len(data), text[-_OVERLAP:]


TORCH_SCRIPT = TorchScriptScanner()
