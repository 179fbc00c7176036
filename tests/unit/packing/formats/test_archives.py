"""ZIP-based formats: the table of contents, torch, Keras and skops files written by hand."""

from __future__ import annotations

import json
import struct
import zipfile
from pathlib import Path

import pytest

from installml.errors import FormatError
from installml.packing.formats import Tensor, archive, keras, recognise, skops, torch
from installml.packing.formats.reader import open_reader


def pack(path: Path, members: dict[str, bytes | str], method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as file:
        for name, data in members.items():
            file.writestr(name, data)
    return path


def storage(kind: str, key: str, count: int) -> bytes:
    return f"((S'storage'\nctorch\n{kind}\nS'{key}'\nS'cpu'\nI{count}\ntQ".encode()


def tensor(kind: str, key: str, count: int) -> bytes:
    return b"ctorch._utils\n_rebuild_tensor_v2\n" + storage(kind, key, count) + f"I0\n(I{count}\nt(I1\nttR".encode()


def state(**tensors: bytes) -> bytes:
    pairs = b"".join(f"S'{name}'\n".encode() + value + b"s" for name, value in tensors.items())
    return b"\x80\x02ccollections\nOrderedDict\n)R" + pairs + b"."


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_members_are_read_stored_and_deflated(method: int, tmp_path: Path) -> None:
    path = pack(tmp_path / "a.zip", {"a": b"x" * 5000, "b/c": b"yz"}, method)
    with open_reader(path, "a.zip") as reader:
        members = archive.archive(reader)
        assert list(members) == ["a", "b/c"]
        assert archive.member_bytes(reader, members["a"], cap=5000) == b"x" * 5000
        assert archive.member_bytes(reader, members["b/c"], cap=5000) == b"yz"


def test_zip64_sizes_and_offsets_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as file, file.open("big", "w", force_zip64=True) as member:
        member.write(b"data")
    data = path.read_bytes()
    # The same table of contents behind the ZIP64 end record (APPNOTE 4.3.14 and 4.3.15)
    end = data.rindex(b"PK\x05\x06")
    size, offset = struct.unpack("<II", data[end + 12 : end + 20])
    record = b"PK\x06\x06" + struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, 1, 1, size, offset)
    locator = b"PK\x06\x07" + struct.pack("<IQI", 0, end, 1)
    last = b"PK\x05\x06" + struct.pack("<4H2IH", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    path.write_bytes(data[:end] + record + locator + last)
    with open_reader(path, "a.zip") as reader:
        assert archive.member_bytes(reader, archive.archive(reader)["big"], cap=100) == b"data"


def test_a_member_twice_is_refused(tmp_path: Path) -> None:
    path = pack(tmp_path / "m.pt", {"m/aa": b"", "m/bb": b""})
    path.write_bytes(path.read_bytes().replace(b"m/bb", b"m/aa"))
    with pytest.raises(FormatError, match="twice"):
        recognise(tmp_path)


def test_an_encrypted_member_is_refused(tmp_path: Path) -> None:
    path = pack(tmp_path / "m.pt", {"m/data.pkl": state()})
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    with pytest.raises(FormatError, match="encrypted"):
        recognise(tmp_path)


def test_a_member_that_promises_too_much_is_not_read(tmp_path: Path) -> None:
    path = pack(tmp_path / "m.skops", {"schema.json": b" " * (20 << 20)}, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 100_000
    with pytest.raises(FormatError, match="larger than"):
        recognise(tmp_path)


def test_tied_weights_count_once_and_the_larger_type_names_the_precision(tmp_path: Path) -> None:
    data = state(
        a=tensor("BFloat16Storage", "0", 10), b=tensor("BFloat16Storage", "0", 10), c=tensor("LongStorage", "1", 3)
    )
    found = torch.read(pack(tmp_path / "m.pt", {"m/data.pkl": data}), "m.pt")
    assert found is not None
    assert (found.format, found.parameters, found.precision) == ("torch-state-dict", 13, "bfloat16")


def test_a_checkpoint_names_what_it_carries_beside_weights(tmp_path: Path) -> None:
    data = b"\x80\x02}S'epoch'\nI3\nsS'model'\n}s."
    found = torch.read(pack(tmp_path / "m.pt", {"m/data.pkl": data}), "m.pt")
    assert found is not None
    assert found.details["keys"] == "epoch, model"


def test_shards_of_a_torch_model_are_added_up_beside_their_config(tmp_path: Path) -> None:
    for number in (1, 2):
        data = state(a=tensor("HalfStorage", "0", number))
        pack(tmp_path / f"pytorch_model-0000{number}-of-00002.bin", {"archive/data.pkl": data})
    (tmp_path / "config.json").write_text('{"architectures": ["GPT2LMHeadModel"], "model_type": "gpt2"}')
    [found] = recognise(tmp_path)
    assert (found.format, found.parameters, found.precision) == ("transformers", 3, "float16")
    assert found.engine == "vllm"


def test_an_exported_program_before_torch_2_8_is_read(tmp_path: Path) -> None:
    values = {"x": {"dtype": 5, "sizes": [{"as_int": 2}, {"as_expr": {}}]}, "w": {"dtype": 6, "sizes": [{"as_int": 4}]}}
    specs = [{"buffer": {"arg": {"name": "w"}}}, {"user_input": {"arg": {"as_tensor": {"name": "x"}}}}]
    module = {"graph": {"tensor_values": values}, "signature": {"input_specs": specs, "output_specs": []}}
    members = {"serialized_exported_program.json": json.dumps({"graph_module": module}), "version": "5.1"}
    found = torch.read(pack(tmp_path / "m.pt2", dict(members)), "m.pt2")
    assert found is not None
    assert found.inputs == (Tensor("x", "INT64", (2, -1)),)
    assert (found.parameters, found.precision) == (4, "float16")


def test_tied_weights_of_an_exported_program_count_once(tmp_path: Path) -> None:
    values = {name: {"dtype": 7, "sizes": [{"as_int": 4}]} for name in ("p_a", "p_b", "p_c")}
    specs = [{"parameter": {"arg": {"name": f"p_{name}"}, "parameter_name": name}} for name in "abc"]
    module = {"graph": {"tensor_values": values}, "signature": {"input_specs": specs, "output_specs": []}}
    places = {"a": {"path_name": "weight_0"}, "b": {"path_name": "weight_0"}, "c": {"path_name": "weight_1"}}
    members = {
        "m/archive_format": "pt2",
        "m/models/model.json": json.dumps({"graph_module": module, "torch_version": "2.9.1+cpu"}),
        "m/data/weights/model_weights_config.json": json.dumps({"config": places}),
    }
    found = torch.read(pack(tmp_path / "m.pt2", dict(members)), "m.pt2")
    assert found is not None
    assert (found.parameters, found.requirements) == (8, ("torch>=2.9.1",))


def test_a_zip_of_something_else_is_no_finding(tmp_path: Path) -> None:
    pack(tmp_path / "m.pt", {"readme": b""})
    pack(tmp_path / "data.zip", {"readme": b""})
    assert recognise(tmp_path) == []


def test_a_keras_model_of_many_inputs_names_them_all(tmp_path: Path) -> None:
    layers = [
        {"class_name": "InputLayer", "config": {"name": name, "batch_shape": [None, *shape], "dtype": dtype}}
        for name, shape, dtype in (("image", [28, 28], "uint8"), ("words", [None], "string"))
    ]
    config = {"class_name": "Functional", "config": {"name": "f", "layers": [*layers, {"class_name": "Dense"}]}}
    members = {"config.json": json.dumps(config), "metadata.json": '{"keras_version": "3.4.0"}'}
    found = keras.read(pack(tmp_path / "m.keras", dict(members)), "m.keras")
    assert found.inputs == (Tensor("image", "UINT8", (-1, 28, 28)), Tensor("words", "BYTES", (-1, -1)))
    assert found.requirements == ("keras==3.4.0",)


def test_a_zip_named_keras_without_its_two_files_is_refused(tmp_path: Path) -> None:
    pack(tmp_path / "m.keras", {"config.json": "{}"})
    with pytest.raises(FormatError, match="metadata"):
        recognise(tmp_path)


@pytest.mark.parametrize("members", [{}, {"schema.json": "{}"}, {"schema.json": "[]"}, {"schema.json": "{"}])
def test_a_skops_file_without_a_schema_is_refused(members: dict[str, bytes | str], tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"m\.skops"):
        skops.read(pack(tmp_path / "m.skops", members), "m.skops")
