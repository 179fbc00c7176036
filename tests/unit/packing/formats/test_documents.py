"""Texts from outside: MLmodel, model cards, Python sources, licenses, and the JSON and YAML under them."""

from __future__ import annotations

from pathlib import Path

import pytest

from installml.errors import FormatError
from installml.packing.formats import Card, Tensor, documents, entrypoint, mlflow, read_card
from installml.packing.formats.licenses import spdx

ELSEWHERE = "https://evil.example.com"  # nobody's: RFC 2606

MLMODEL = """
flavors:
  python_function: {loader_module: mlflow.pyfunc.model, python_version: 3.12.1}
  %s: {data: model.onnx}
mlflow_version: 2.20.0
run_id: null
signature:
  inputs: '[{"type": "double", "name": "age"}, {"type": "string", "name": "city", "required": false}]'
  outputs: '[{"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 2]}}]'
"""


@pytest.mark.parametrize(
    ("flavor", "engine"),
    [
        ("sklearn", "sklearn"),
        ("onnx", "onnxruntime"),
        ("xgboost", "xgboost"),
        ("pytorch", "torch"),
        ("prophet", "mlflow"),
    ],
)
def test_the_flavour_chooses_the_engine(flavor: str, engine: str, tmp_path: Path) -> None:
    (tmp_path / "MLmodel").write_text(MLMODEL % flavor)
    (tmp_path / "model.onnx").touch()
    found = mlflow.read(tmp_path / "MLmodel", "sub/MLmodel")
    assert found.engine == engine
    assert found.inputs == (Tensor("age", "FP64", (-1,)), Tensor("city", "BYTES", (-1,)))
    assert found.outputs == (Tensor("y", "FP32", (-1, 2)),)
    assert found.details["python"] == "3.12.1"
    assert "run" not in found.details
    if flavor != "prophet":
        assert "sub/model.onnx" in found.files


def test_requirements_are_taken_without_options_and_remarks(tmp_path: Path) -> None:
    (tmp_path / "MLmodel").write_text("flavors: {sklearn: {}}")
    lines = [
        "# made by hand",
        "-r other.txt",
        f"--index-url {ELSEWHERE}",
        "",
        "numpy==2.0  # fast",
        "a[b]>=1; python_version<'4'",
    ]
    (tmp_path / "requirements.txt").write_text("\n".join(lines))
    assert mlflow.read(tmp_path / "MLmodel", "MLmodel").requirements == ("numpy==2.0", "a[b]>=1; python_version<'4'")


def test_data_outside_the_mlflow_folder_is_not_listed(tmp_path: Path) -> None:
    (tmp_path / "secret").touch()
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "MLmodel").write_text("flavors: {sklearn: {pickled_model: ../secret}}")
    assert mlflow.read(tmp_path / "in" / "MLmodel", "in/MLmodel").files == ("in/MLmodel",)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("flavors: {}", "no flavours"),
        ("[1, 2]", "no flavours"),
        ("flavors: {a: [}", "not YAML"),
        ("flavors: &x {a: 1}\nb: *x", "aliases are not accepted"),
        ("flavors: " + "[" * 2000, "not YAML"),
        ("flavors: {? {} : 1}", "not YAML"),
        ("flavors: {a: 1}\nsignature: {inputs: '[{'}", "not JSON"),
        ("x" * 600_000, "larger than"),
    ],
)
def test_an_mlmodel_that_cannot_be_used_is_refused(text: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "MLmodel").write_text(text)
    with pytest.raises(FormatError, match=reason):
        mlflow.read(tmp_path / "MLmodel", "MLmodel")


def test_yaml_constructs_nothing_but_texts() -> None:
    data = b"a: !!python/object/apply:os.system [x]\nb: 1:59:59\nc: 2020-01-01\nd: null\ne: ~\nf: 007"
    found = documents.parse_yaml(data, "x")
    assert found == {"a": ["x"], "b": "1:59:59", "c": "2020-01-01", "d": None, "e": None, "f": "007"}


def test_the_offset_of_broken_yaml_and_json_is_where_it_breaks() -> None:
    with pytest.raises(FormatError) as caught:
        documents.parse_yaml(b"a: [1,\nb: }", "x", offset=100)
    assert caught.value.offset == 110
    with pytest.raises(FormatError) as caught:
        documents.parse_json(b'{"a": x}', "x", offset=100)
    assert caught.value.offset == 106


def test_json_of_too_many_values_is_refused_before_it_is_parsed() -> None:
    with pytest.raises(FormatError, match="more than 4000000 values"):
        documents.parse_json(b"[" + b"0," * 4_000_001, "x")


CARD = """---
license: apache-2.0
tags: [nlp, small]
pipeline_tag: text-classification
base_model: a/b
datasets:
- sst2
language: en
library_name: transformers
---

# Title

<p align='center'>

![badge](x.svg)

```
code in here is long
```

- a list of things

A **small** [model](x) that
reads `films`.

More.
"""


def test_a_card_is_read_from_front_matter_and_first_paragraph(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text(CARD)
    assert read_card(tmp_path) == Card(
        license="Apache-2.0",
        tags=("nlp", "small"),
        task="text-classification",
        base_models=("a/b",),
        datasets=("sst2",),
        languages=("en",),
        library="transformers",
        description="A small model that reads films.",
    )


def test_a_readme_without_front_matter_has_a_description(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("Title\n=====\n\nThis model does one thing.\n")
    assert read_card(tmp_path).description == "This model does one thing."


def test_no_readme_is_an_empty_card(tmp_path: Path) -> None:
    assert read_card(tmp_path) == Card()


def test_a_page_of_brackets_costs_no_time(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("a " + "<" * 100_000 + "[" * 100_000)
    assert read_card(tmp_path).license == ""


def test_broken_front_matter_is_refused_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("---\nlicense: [mit\n---\n")
    with pytest.raises(FormatError) as caught:
        read_card(tmp_path)
    assert caught.value.path == "README.md"
    assert caught.value.offset > 4


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("mit", "MIT"),
        ("gpl-3.0", "GPL-3.0-only"),
        ("cc-by-nc-4.0", "CC-BY-NC-4.0"),
        ("llama3.1", "LicenseRef-llama3.1"),
        ("LicenseRef-x", "LicenseRef-x"),
        ("other", ""),
        ("see the file", ""),
        ("", ""),
    ],
)
def test_licenses_are_spelled_as_spdx_does(word: str, expected: str) -> None:
    assert spdx(word) == expected


def source(folder: Path, text: str | bytes) -> Path:
    path = folder / "m.py"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize(
    "text",
    [
        "def load(): ...\ndef predict(): ...\n",
        "class A:\n    def load(self): ...\nclass B:\n    def predict(self): ...\n",
        "if True:\n    class A:\n        def load(self): ...\n        def predict(self): ...\n",
        "this is not python, and says nothing about the two methods",
        "# def load def predict\n",
        "",
    ],
)
def test_a_source_without_such_a_class_is_no_entry_point(text: str, tmp_path: Path) -> None:
    assert entrypoint.read(source(tmp_path, text), "m.py") is None


def test_an_async_predict_and_an_own_class_name_are_fine(tmp_path: Path) -> None:
    text = "class Own:\n    def load(self, path): ...\n    async def predict(self, inputs): ...\n"
    found = entrypoint.read(source(tmp_path, text), "m.py")
    assert found is not None
    assert found.entrypoint == "m.py:Own"


@pytest.mark.parametrize(
    "text", ["def load\ndef predict", b"def load\ndef predict\0", b"def load\ndef predict\n" + b"(" * 9000]
)
def test_a_source_with_both_methods_that_cannot_be_parsed_is_refused(text: str | bytes, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"m\.py: is not Python"):
        entrypoint.read(source(tmp_path, text), "m.py")


def test_a_source_is_never_run(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    text = f"open({str(marker)!r}, 'w')\nclass M:\n    def load(self, p): ...\n    def predict(self, i): ...\n"
    assert entrypoint.read(source(tmp_path, text), "m.py") is not None
    assert not marker.exists()
