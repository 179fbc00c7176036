"""The scan example for CI: its script does what it says, and the two dialects run the same commands."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "ci" / "scan"
COMMAND = re.compile(r"installml scan .*")


@pytest.fixture
def script(tmp_path: Path) -> dict[str, str]:
    """Return the environment that run.sh needs; the model is the entry point example."""
    shutil.copytree(ROOT / "examples" / "entrypoint", tmp_path / "model")
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "installml"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m installml "$@"\n')
    program.chmod(0o755)
    return {
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "HOME": str(tmp_path),
        "INSTALLML_HOME": str(tmp_path / "home"),
        "MODEL": str(tmp_path / "model"),
        "REPORT": str(tmp_path / "scan.sarif"),
        "SUPPRESSIONS": str(EXAMPLE / "suppressions.toml"),
    }


def run(environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(EXAMPLE / "run.sh")], env=environ, capture_output=True, text=True, timeout=120, check=False
    )


def test_a_good_model_passes_and_the_report_is_written(script: dict[str, str]) -> None:
    done = run(script)
    assert done.returncode == 0, done.stderr
    report = json.loads(Path(script["REPORT"]).read_text())
    (result,) = report["runs"][0]["results"]
    assert (result["ruleId"], result["suppressions"][0]["kind"]) == ("code-python", "external")


def test_a_dangerous_model_ends_the_job_with_4_and_the_report_is_there_all_the_same(script: dict[str, str]) -> None:
    (Path(script["MODEL"]) / "chat_template.jinja").write_text("{{ x.__class__ }}")
    done = run(script)
    assert done.returncode == 4
    assert "template-escape" in done.stdout
    assert "template-escape" in Path(script["REPORT"]).read_text()


def test_both_dialects_run_the_commands_of_the_script() -> None:
    wanted = COMMAND.findall((EXAMPLE / "run.sh").read_text())
    github = yaml.safe_load((EXAMPLE / "github.yml").read_text())
    gitlab = yaml.safe_load((EXAMPLE / "gitlab.yml").read_text())
    steps = [step["run"] for step in github["jobs"]["scan"]["steps"] if "installml scan" in step.get("run", "")]
    assert len(wanted) == 2
    assert steps == wanted
    assert gitlab["scan"]["script"] == wanted
