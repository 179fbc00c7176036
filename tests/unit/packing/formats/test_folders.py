"""Folders: what belongs together makes one finding, the best comes first, strangers are left alone."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path

import pytest

from installml.errors import FormatError
from installml.packing import formats
from installml.packing.formats import recognise, transformers


def weights(folder: Path, name: str = "model.safetensors", dtype: str = "BF16", size: int = 2) -> None:
    header = json.dumps({"w": {"dtype": dtype, "shape": [4], "data_offsets": [0, 4 * size]}}).encode()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(struct.pack("<Q", len(header)) + header + bytes(4 * size))


def config(folder: Path, **settings: object) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(settings))


MODEL = "class Model:\n    'Says yes.'\n    def load(self, path): ...\n    def predict(self, inputs): ...\n"


def test_config_weights_and_tokenizer_make_one_finding(tmp_path: Path) -> None:
    config(
        tmp_path,
        architectures=["LlamaForCausalLM"],
        model_type="llama",
        torch_dtype="float32",
        max_position_embeddings=64,
    )
    weights(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    [found] = recognise(tmp_path)
    assert (found.format, found.engine, found.architecture) == ("transformers", "vllm", "LlamaForCausalLM")
    assert (found.task, found.parameters) == ("text-generation", 4)
    assert found.precision == "bfloat16"  # the weights know better than the config
    assert found.files == ("config.json", "model.safetensors", "tokenizer.json")
    assert found.details["context_length"] == "64"


@pytest.mark.parametrize(
    ("settings", "label"),
    [
        ({"quant_method": "gptq", "bits": 4}, "gptq-4bit"),
        ({"quant_method": "bitsandbytes", "load_in_8bit": True}, "bitsandbytes-8bit"),
        ({"quant_method": "fp8"}, "fp8"),
        ("nonsense", ""),
    ],
)
def test_quantisation_is_named_by_method_and_bits(settings: object, label: str, tmp_path: Path) -> None:
    config(tmp_path, model_type="llama", dtype="bfloat16", quantization_config=settings)
    weights(tmp_path, dtype="I32", size=4)
    [found] = recognise(tmp_path)
    assert found.quantization == label
    assert found.precision == ("bfloat16" if label else "int32")


@pytest.mark.parametrize(
    ("architecture", "extra", "task"),
    [
        ("BertForSequenceClassification", {}, "text-classification"),
        ("BertForMaskedLM", {}, "fill-mask"),
        ("T5ForConditionalGeneration", {}, "text2text-generation"),
        ("LlavaForConditionalGeneration", {"vision_config": {"a": 1}}, "image-text-to-text"),
        ("WhisperForConditionalGeneration", {"model_type": "whisper"}, "automatic-speech-recognition"),
        ("ViTForImageClassification", {}, "image-classification"),
        ("BertModel", {}, ""),
    ],
)
def test_the_task_is_told_from_the_architecture(
    architecture: str, extra: dict[str, object], task: str, tmp_path: Path
) -> None:
    config(tmp_path, architectures=[architecture], **extra)
    found = transformers.read(tmp_path / "config.json", "config.json")
    assert found is not None
    assert found.task == task


def test_a_config_without_weights_describes_the_model_beside_it(tmp_path: Path) -> None:
    config(tmp_path, architectures=["BertForSequenceClassification"], model_type="bert")
    (tmp_path / "model.onnx").write_bytes(b"\x08\x09\x3a\x00")
    [found] = recognise(tmp_path)
    assert (found.format, found.task, found.architecture) == (
        "onnx",
        "text-classification",
        "BertForSequenceClassification",
    )


def test_a_config_of_another_program_is_left_alone(tmp_path: Path) -> None:
    config(tmp_path, port=8080)
    assert recognise(tmp_path) == []


def test_two_models_in_two_folders_stay_two(tmp_path: Path) -> None:
    for name in ("a", "b"):
        config(tmp_path / name, model_type="bert")
        weights(tmp_path / name)
    assert [one.files[0] for one in recognise(tmp_path)] == ["a/config.json", "b/config.json"]


def test_an_entry_point_comes_first_and_speaks_for_its_weights(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text("import numpy\n" + MODEL)
    config(tmp_path, architectures=["BertModel"], model_type="bert")
    weights(tmp_path)
    (tmp_path / "modules.json").write_text("[]")
    first, second = recognise(tmp_path)
    assert (first.engine, first.entrypoint, first.description) == ("python", "model.py:Model", "Says yes.")
    assert (first.architecture, first.parameters, first.task) == ("BertModel", 4, "sentence-similarity")
    assert first.details["imports"] == "numpy"
    assert second.format == "transformers"


def test_model_py_is_preferred_among_entry_points(tmp_path: Path) -> None:
    for name in ("a.py", "model.py"):
        (tmp_path / name).write_text(MODEL)
    assert [one.entrypoint for one in recognise(tmp_path)] == ["model.py:Model", "a.py:Model"]


def test_an_mlflow_folder_owns_everything_below_it(tmp_path: Path) -> None:
    (tmp_path / "MLmodel").write_text("flavors:\n  tensorflow: {}\n  python_function: {data: tf}\n")
    (tmp_path / "tf").mkdir()
    (tmp_path / "tf" / "saved_model.pb").write_bytes(b"\x08\x01\x12\x00")
    weights(tmp_path / "deep" / "er")
    [found] = recognise(tmp_path)
    assert (found.format, found.engine) == ("mlflow", "mlflow")


def test_hidden_folders_and_links_to_folders_are_passed_over(tmp_path: Path) -> None:
    folder, outside = tmp_path / "model", tmp_path / "outside"
    weights(folder / ".cache")
    weights(folder / "__pycache__")
    weights(outside)
    (folder / "link").symlink_to(outside)
    assert recognise(folder) == []


def test_a_named_pipe_does_not_make_it_wait(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "model.onnx")
    assert recognise(tmp_path) == []


def test_a_dangling_link_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").symlink_to("nowhere")
    assert recognise(tmp_path) == []


def test_only_so_many_entries_are_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "MAX_ENTRIES", 3)
    for name in ("a", "b", "c"):
        (tmp_path / name).touch()
    weights(tmp_path, "d.safetensors")
    assert recognise(tmp_path) == []


def test_an_empty_folder_holds_nothing(tmp_path: Path) -> None:
    assert recognise(tmp_path) == []


def test_a_text_named_pt_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.pt").write_text("hello")
    with pytest.raises(FormatError, match="neither a ZIP file nor a pickle"):
        recognise(tmp_path)


def test_endings_are_known_in_capitals_too(tmp_path: Path) -> None:
    weights(tmp_path, "MODEL.SAFETENSORS")
    assert recognise(tmp_path)[0].format == "safetensors"
