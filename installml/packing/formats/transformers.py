"""A transformers folder: config.json beside its weights (huggingface.co/docs/transformers, "Configuration").

What the weights themselves say is in the safetensors and torch readers; `read` only knows config.json.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from installml.packing.formats.documents import integer, mapping, read_json, text, texts
from installml.packing.formats.model import Finding
from installml.packing.formats.reader import open_reader

__all__ = ["COMPANIONS", "read"]

#: The last words of an architecture's class name -> pipeline task, first match wins
_TASKS = (
    ("ForSequenceClassification", "text-classification"),
    ("ForTokenClassification", "token-classification"),
    ("ForQuestionAnswering", "question-answering"),
    ("ForMaskedLM", "fill-mask"),
    ("ForCausalLM", "text-generation"),
    ("LMHeadModel", "text-generation"),
    ("ForSpeechSeq2Seq", "automatic-speech-recognition"),
    ("ForCTC", "automatic-speech-recognition"),
    ("ForConditionalGeneration", "text2text-generation"),
    ("ForImageClassification", "image-classification"),
    ("ForAudioClassification", "audio-classification"),
    ("ForObjectDetection", "object-detection"),
    ("ForSemanticSegmentation", "image-segmentation"),
    ("ForDepthEstimation", "depth-estimation"),
    ("ForVisualQuestionAnswering", "visual-question-answering"),
    ("ForMultipleChoice", "multiple-choice"),
)
#: ...ForConditionalGeneration says nothing by itself for models with eyes or ears
_TASK_BY_TYPE = {"whisper": "automatic-speech-recognition", "speech_to_text": "automatic-speech-recognition"}
#: vLLM serves what writes text, word by word
_VLLM_TASKS = ("text-generation", "image-text-to-text")
#: Files that belong to the model beside config.json and the weights
COMPANIONS = (
    "generation_config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt",
    "vocab.json", "merges.txt", "added_tokens.json", "tokenizer.model", "spiece.model", "sentencepiece.bpe.model",
    "chat_template.jinja", "chat_template.json", "preprocessor_config.json", "processor_config.json",
)  # fmt: skip


def read(path: Path, name: str) -> Finding | None:
    """Read config.json.

    Args:
        path: The file.
        name: Its path in the model folder.

    Returns:
        What it says, without parameters; None where it is some other program's config.json.

    Raises:
        FormatError: It is not JSON.
    """
    with open_reader(path, name) as reader:
        config = mapping(read_json(reader, what="config.json"))
    family, classes = text(config.get("model_type")), texts(config.get("architectures"))
    if not family and not classes:
        return None
    architecture = classes[0] if classes else ""
    inner = mapping(config.get("text_config"))
    task = _task(family, architecture, config)
    if not task and (path.parent / "modules.json").is_file():
        task = "sentence-similarity"  # sentence-transformers wraps a bare encoder
    return Finding(
        format="transformers",
        engine="vllm" if task in _VLLM_TASKS else "none",
        files=(name,),
        architecture=architecture or family,
        precision=text(config.get("dtype") or config.get("torch_dtype") or inner.get("dtype")).removeprefix("torch."),
        quantization=_quantization(config.get("quantization_config") or inner.get("quantization_config")),
        task=task,
        details=_details(path.parent, config, inner),
    )


def _details(folder: Path, config: Mapping[str, Any], inner: Mapping[str, Any]) -> dict[str, str]:
    context = integer(config.get("max_position_embeddings", inner.get("max_position_embeddings")))
    details = {
        "model_type": text(config.get("model_type")),
        "transformers": text(config.get("transformers_version")),
        "context_length": str(context or ""),
        "labels": str(len(mapping(config.get("id2label"))) or ""),
        "remote_code": "present" if config.get("auto_map") else "",
        "chat_template": "present" if (folder / "chat_template.jinja").is_file() else "",
    }
    return {key: value for key, value in details.items() if value}


def _task(family: str, architecture: str, config: object) -> str:
    if family in _TASK_BY_TYPE:
        return _TASK_BY_TYPE[family]
    if architecture.endswith("ForConditionalGeneration") and mapping(config).get("vision_config"):
        return "image-text-to-text"
    return next((task for suffix, task in _TASKS if architecture.endswith(suffix)), "")


def _quantization(value: object) -> str:
    """Name a quantization_config: its method, and the bits where they are said."""
    settings = mapping(value)
    method = text(settings.get("quant_method"))
    bits = text(settings.get("bits"))
    if not bits:
        bits = next((width for width in ("4", "8") if settings.get(f"load_in_{width}bit") is True), "")
    return f"{method}-{bits}bit" if method and bits else method
