"""Configuration that makes a loader run code is told; configurations of ordinary models pass without a word."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from installml.scanning import configs
from tests.unit.scanning.looking import blocking, findings, rules

ELSEWHERE = "https://evil.example.com"  # nobody's: RFC 2606

MALICIOUS: dict[str, tuple[str, Any, str]] = {
    "auto_map": ("config.json", {"auto_map": {"AutoModel": "modeling_x.XModel"}}, "config-auto-map"),
    "auto_map of another repository": ("config.json", {"auto_map": {"AutoModel": "acme/x--m.X"}}, "config-auto-map"),
    "auto_map deep inside": (
        "config.json", {"a": [{"text_config": {"auto_map": {"AutoConfig": "c.C"}}}]}, "config-auto-map"),
    "auto_map of a tokenizer": (
        "tokenizer_config.json", {"auto_map": {"AutoTokenizer": ["t.T", None]}}, "config-auto-map"),
    "auto_map twice": ("config.json", '{"auto_map": {"AutoModel": "x.X"}, "auto_map": {}}', "config-auto-map"),
    "auto_map in escapes": ("config.json", '{"auto\\u005fmap": {"AutoModel": "x.X"}}', "config-auto-map"),
    "auto_map in JSON that breaks": ("config.json", '{"auto_map": {"AutoModel": "x.X"},', "config-auto-map"),
    "auto_map in UTF-16": ("config.json", json.dumps({"auto_map": {"A": "x.X"}}).encode("utf-16"), "config-auto-map"),
    "trust_remote_code": ("config.json", {"trust_remote_code": True}, "config-trust-remote-code"),
    "custom pipelines": ("config.json", {"custom_pipelines": {"x": {"impl": "p.P"}}}, "config-auto-map"),
    "a sentence transformer's own module": (
        "modules.json", [{"idx": 0, "type": "custom_st.Transformer"}], "config-auto-map"),
    "a diffusers pipeline class": ("model_index.json", {"_class_name": ["pipeline_x", "P"]}, "config-auto-map"),
    "a diffusers component": ("model_index.json", {"unet": ["os", "system"]}, "config-runs-function"),
    "a PEFT library": ("adapter_config.json", {"auto_mapping": {"parent_library": "evil"}}, "config-auto-map"),
    "hydra": ("config.json", {"a": {"_target_": "os.system", "command": "id"}}, "config-runs-function"),
    "hydra with builtins": ("config.json", {"_target_": "builtins.exec"}, "config-runs-function"),
    "hydra through dunder": ("config.json", {"_target_": "torch.__builtins__.eval"}, "config-runs-function"),
    "jsonpickle": (
        "data.json", {"py/reduce": [{"py/function": "os.system"}, {"py/tuple": ["id"]}]}, "config-python-object"),
    "a template in a configuration": (
        "tokenizer_config.json", {"chat_template": "{{ x.__class__ }}"}, "template-escape"),
    "a named template": (
        "tokenizer_config.json", {"chat_template": [{"name": "t", "template": "{{ x|attr('y') }}"}]},
        "template-dynamic"),
    "a prompt that reaches for classes": ("config.json", {"prompt_template": "{{ x.__class__ }}"}, "template-escape"),
    "a template in its own file": ("chat_template.json", {"chat_template": "{% include 'x' %}"}, "template-import"),
    "a shard outside": (
        "model.safetensors.index.json", {"weight_map": {"a": "m.safetensors", "b": "../../x"}}, "config-outside-path"),
    "a module outside": (
        "modules.json", [{"type": "sentence_transformers.models.Dense", "path": "/etc"}], "config-outside-path"),
    "YAML that calls": ("config.yaml", "a: !!python/object/apply:os.system ['id']\n", "config-python-object"),
    "YAML that makes objects": ("config.yml", "a: !!python/object:x.Y {}\n", "config-python-object"),
    "YAML with a long tag": ("c.yaml", "a: !<tag:yaml.org,2002:python/name:os.system> ''\n", "config-python-object"),
    "YAML with a handle": (
        "c.yaml", "%TAG !p! tag:yaml.org,2002:python/\n---\na: !p!name:os.system ''\n", "config-python-object"),
    "hydra in YAML": ("model_config.yaml", "model:\n  _target_: subprocess.Popen\n", "config-runs-function"),
    "hydra in a flow": ("model_config.yaml", "model: {_target_: os.system, c: id}\n", "config-runs-function"),
    "trust_remote_code in YAML": ("serve.yaml", "trust_remote_code: true\n", "config-trust-remote-code"),
    "a YAML key in escapes": ("c.yaml", '"_targ\\x65t_": os.system\n', "config-runs-function"),
    "a YAML key that is complex": ("c.yaml", "? _target_\n: os.system\n", "config-runs-function"),
    "a YAML value with an anchor": ("c.yaml", "_target_: &x os.system\nb: *x\n", "config-runs-function"),
    "a loader of pickles": ("c.yaml", "_target_: torch.load\nf: x.pt\n", "config-runs-function"),
    "a template in YAML": ("c.yaml", "chat_template: '{{ x.__class__ }}'\n", "template-escape"),
    "MLflow's own code": ("MLmodel", "flavors:\n  python_function:\n    loader_module: my_loader\n", "config-auto-map"),
    "MLflow's loader": ("MLmodel", "flavors:\n  python_function:\n    loader_module: os\n", "config-runs-function"),
}  # fmt: skip

BENIGN: dict[str, tuple[str, Any]] = {
    "a transformers configuration": (
        "config.json", {"architectures": ["LlamaForCausalLM"], "hidden_size": 64, "rope_theta": 1e6, "auto_map": {}}),
    "numbers that JSON lacks": ("config.json", '{"max": Infinity, "x": NaN, "b": "caf\\u00e9"}'),
    "a tokenizer": (
        "tokenizer_config.json",
        {"bos_token": "<s>", "chat_template": "{% for m in messages %}{{ m.content }}{% endfor %}"},
    ),
    "sentence transformers": ("modules.json", [{"idx": 0, "type": "sentence_transformers.models.Transformer"}]),
    "diffusers": (
        "model_index.json", {"_class_name": "StableDiffusionPipeline", "unet": ["diffusers", "UNet2DConditionModel"],
                                       "safety_checker": ["stable_diffusion", "SafetyChecker"],
                                       "x": [None, None]}),
    "other templates": ("config.json", {"prompt_template": "{{ .System }}", "template": "@misc{x, title={{BERT}: a}}"}),
    "an index of shards": ("pytorch_model.bin.index.json", {"weight_map": {"a": "pytorch_model-00001-of-00002.bin"}}),
    "a PEFT adapter": ("adapter_config.json", {"auto_mapping": None, "peft_type": "LORA"}),
    "NeMo": (
        "model_config.yaml",
        "model:\n  _target_: nemo.collections.asr.models.EncDecCTCModel\n  trust_remote_code: false\n"),
    "MLflow": (
        "MLmodel", "flavors:\n  python_function:\n    loader_module: mlflow.sklearn\n    python_version: 3.12.1\n"),
    "a notebook": ("train.ipynb", {"cells": [{"cell_type": "code", "source": ["x = 1"], "outputs": [
        {"output_type": "display_data", "data": {"text/html": ["<table><tr><td>1</td></tr></table>"]}}]}]}),
}  # fmt: skip


def written(value: Any) -> bytes | str:
    return value if isinstance(value, (bytes, str)) else json.dumps(value)


@pytest.mark.parametrize("case", MALICIOUS)
def test_a_configuration_that_runs_code_is_told(case: str) -> None:
    name, value, rule = MALICIOUS[case]
    assert rule in blocking(name, written(value))


@pytest.mark.parametrize("case", BENIGN)
def test_an_ordinary_configuration_has_no_finding(case: str) -> None:
    name, value = BENIGN[case]
    assert findings(name, written(value)) == []


def test_json_that_breaks_is_told_and_does_not_block() -> None:
    assert rules("config.json", "{'a': 1}") == {"config-unparsed"}
    assert not blocking("config.json", "{'a': 1}")


@pytest.mark.parametrize(
    "line",
    [f"--extra-index-url {ELSEWHERE}/simple", "-i http://x", "a @ https://x.example/a.whl", "git+https://x/y"],
)
def test_requirements_from_elsewhere_are_told_and_do_not_block(line: str) -> None:
    assert rules("requirements.txt", f"numpy==2.1\n{line}\n") == {"config-package-index"}
    assert findings("requirements.txt", "numpy==2.1 --hash=sha256:aa  # see https://x.example\n") == []


def test_a_kernel_of_a_hub_is_told_and_does_not_block() -> None:
    assert rules("config.json", '{"attn_implementation": "kernels-community/flash-attn"}') == {"config-remote-kernel"}


def test_a_script_in_a_notebooks_output_is_told() -> None:
    output = {"output_type": "display_data", "data": {"text/html": ["<script>", "x()</script>"]}}
    assert "code-web-script" in rules("a.ipynb", json.dumps({"cells": [{"outputs": [output]}]}))


LARGE = 70 << 10


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make what counts as large small, so that these tests take no second each."""
    monkeypatch.setattr(configs, "_MAX_PARSED", 64 << 10)
    monkeypatch.setattr(configs, "_MAX_VALUES", 1000)


def test_a_large_file_is_searched_and_not_parsed(small: None) -> None:
    data = b'{"vocab": "' + b"x" * LARGE + b'", "auto_map": {"AutoModel": "x.X"}}'
    assert "config-auto-map" in blocking("tokenizer.json", data)


KEYS = [
    "auto_map",
    "_target_",
    "template",
    "chat_template",
    "cells",
    "outputs",
    "x",
    "_class_name",
    "auto_mapping",
    "type",
]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=3),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("config.json", b'{"x": "' + b"x" * LARGE + b'", "auto\\u005fmap": {"AutoModel": "x.X"}}'),
        ("config.json", b'{"x": [' + b"0," * 1001 + b'0], "auto\\u005fmap": {"AutoModel": "x.X"}}'),
        ("config.yaml", b"x: '" + b"x" * (600 << 10) + b'\'\n"_targ\\x65t_": os.system\n'),
        ("config.yaml", "_target_: os.system\n".encode("utf-16")),
        ("config.json", b'{"x": "' + b"x" * LARGE + b'", "chat_template": "{{ x.__class__ }}"}'),
    ],
)
def test_what_is_hidden_behind_padding_or_an_encoding_blocks(small: None, name: str, data: bytes) -> None:
    assert blocking(name, data)


def test_a_large_vocabulary_with_escapes_as_writers_make_them_passes(small: None) -> None:
    words = (
        b'{"a": "\\u0120the", "regex": "\\\\x41\\\\p{L}", "html": "\\u003cb\\u003e", "pad": "' + b"x" * LARGE + b'"}'
    )
    assert findings("tokenizer.json", words) == []


@settings(deadline=None)
@given(VALUES)
def test_any_document_gives_findings_and_nothing_else(value: Any) -> None:
    for name in ("config.json", "modules.json", "model_index.json", "a.ipynb"):
        findings(name, json.dumps(value))
