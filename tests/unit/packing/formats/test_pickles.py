"""Pickles are followed by their opcodes: names are found, nothing is run, damage is named."""

from __future__ import annotations

import io
import pickle
import struct
import sys
import zlib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from installml.errors import FormatError
from installml.packing.formats import Tensor, opcodes, recognise, sklearn
from installml.packing.formats.opcodes import Call, Name
from installml.packing.formats.reader import Reader


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Give instances of classes that seem to live in libraries which are not installed."""

    fakes: dict[str, ModuleType] = {}

    def build(path: str, **state: object) -> object:
        module, _, name = path.rpartition(".")
        parts = module.split(".")
        for end in range(1, len(parts) + 1):
            home = ".".join(parts[:end])
            monkeypatch.setitem(sys.modules, home, fakes.setdefault(home, ModuleType(home)))
        if not hasattr(fakes[module], name):
            setattr(fakes[module], name, type(name, (), {"__module__": module}))
        made = getattr(sys.modules[module], name)()
        made.__dict__.update(state)
        return made

    return build


def read(folder: Path, data: bytes, name: str = "m.pkl") -> Any:
    (folder / name).write_bytes(data)
    return sklearn.read(folder / name, name)


def follow(data: bytes) -> opcodes.Scan:
    return opcodes.scan(Reader(io.BytesIO(data), "m.pkl", len(data)))


@pytest.mark.parametrize("protocol", range(6))
def test_class_version_and_features_are_found_in_every_protocol(protocol: int, tmp_path: Path, make: Any) -> None:
    model = make("sklearn.svm._classes.SVC", n_features_in_=7, _sklearn_version="1.5.2", weights=[0.5] * 10)
    found = read(tmp_path, pickle.dumps(model, protocol=protocol))
    assert (found.format, found.engine, found.architecture) == ("sklearn", "sklearn", "SVC")
    assert found.requirements == ("scikit-learn==1.5.2",)
    assert found.inputs[0].shape == (-1, 7)
    assert found.task == "tabular-classification"


def test_nothing_in_a_pickle_is_called(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    data = b"cos\nsystem\n(S'touch " + str(marker).encode() + b"'\ntR."
    assert read(tmp_path, data) is None
    assert follow(data).names == {Name("os", "system"): None}
    assert not marker.exists()


def test_a_pickle_without_a_known_library_is_no_finding(tmp_path: Path) -> None:
    (tmp_path / "labels.pkl").write_bytes(pickle.dumps({"labels": ["a", "b"]}))
    assert recognise(tmp_path) == []


def test_a_model_inside_a_dictionary_has_no_engine(tmp_path: Path, make: Any) -> None:
    found = read(tmp_path, pickle.dumps({"model": make("sklearn.linear_model._base.LinearRegression")}))
    assert (found.engine, found.details["class"], found.task) == ("none", "dict", "tabular-regression")


def test_a_bare_booster_cannot_be_served_as_an_estimator(tmp_path: Path, make: Any) -> None:
    found = read(tmp_path, pickle.dumps(make("xgboost.core.Booster", handle=b"x")))
    assert (found.format, found.engine) == ("xgboost", "none")


def test_two_versions_in_one_file_pin_none(tmp_path: Path, make: Any) -> None:
    parts = [make("sklearn.a.A", _sklearn_version="1.4.0"), make("sklearn.b.B", _sklearn_version="1.5.0")]
    assert read(tmp_path, pickle.dumps(parts)).requirements == ("scikit-learn",)


def test_a_column_transformer_tells_the_features_of_the_whole(tmp_path: Path, make: Any) -> None:
    part = make("sklearn.preprocessing._data.StandardScaler", n_features_in_=2)
    first = make("sklearn.compose._column_transformer.ColumnTransformer", parts=[part], n_features_in_=9)
    last = make("sklearn.linear_model._ridge.Ridge", n_features_in_=12)
    model = make("sklearn.pipeline.Pipeline", steps=[("none", "passthrough"), ("a", first), ("b", last)])
    found = read(tmp_path, pickle.dumps(model))
    assert found.inputs == (Tensor("x", "FP64", (-1, 9)),)
    assert found.task == "tabular-regression"


def test_a_stack_takes_what_its_first_estimators_take(tmp_path: Path, make: Any) -> None:
    parts = [make("sklearn.svm._classes.SVC", n_features_in_=5)]
    last = make("sklearn.linear_model._logistic.LogisticRegression", n_features_in_=1)
    model = make("sklearn.ensemble._stacking.StackingClassifier", final_estimator_=last, estimators_=parts)
    assert read(tmp_path, pickle.dumps(model)).inputs == (Tensor("x", "FP64", (-1, 5)),)


def test_a_pipeline_that_begins_with_words_takes_texts(tmp_path: Path, make: Any) -> None:
    first = make("sklearn.feature_extraction.text.TfidfVectorizer", vocabulary_={"a": 0})
    last = make("sklearn.svm._classes.SVC", n_features_in_=1000)
    model = make("sklearn.pipeline.Pipeline", steps=[("a", first), ("b", last)])
    assert read(tmp_path, pickle.dumps(model)).inputs == (Tensor("x", "BYTES", (-1,)),)


def test_what_an_estimator_is_made_of_does_not_tell_its_task(tmp_path: Path, make: Any) -> None:
    trees = [make("sklearn.tree._classes.ExtraTreeRegressor", n_features_in_=4)]
    model = make("sklearn.ensemble._iforest.IsolationForest", estimators_=trees)
    assert read(tmp_path, pickle.dumps(model)).task == ""


def test_memoised_names_are_resolved() -> None:
    data = pickle.dumps([Path, Path, pickle.Pickler, pickle.Unpickler], protocol=4)
    assert [name.name for name in follow(data).names][-2:] == ["Pickler", "Unpickler"]


def test_long_texts_and_bytes_are_passed_over() -> None:
    found = follow(pickle.dumps(["x" * 100_000, b"y" * 100_000, bytearray(70_000), 10**400, "end"], protocol=5))
    assert found.root[-1] == "end"
    assert found.root[0] is None


def test_what_would_be_called_is_kept_with_its_arguments() -> None:
    found = follow(b"cdecimal\nDecimal\n(S'1.5'\ntR.")
    assert found.root == Call(Name("decimal", "Decimal"), ("1.5",))


def array(code: str, shape: tuple[int, ...], data: bytes, alignment: int | None = None) -> bytes:
    """Write a joblib array as joblib does: its description, and its numbers behind the BUILD opcode."""
    state = f"(dS'shape'\n({''.join(f'I{size}' + chr(10) for size in shape)}tsS'dtype'\ncnumpy\ndtype\n(S'{code}'\ntRs"
    if alignment is not None:
        state += f"S'numpy_array_alignment_bytes'\nI{alignment}\ns"
    return b"cjoblib.numpy_pickle\nNumpyArrayWrapper\n)\x81" + state.encode() + b"b" + data


@pytest.mark.parametrize(
    ("code", "shape", "data", "alignment"),
    [
        ("f8", (2, 3), bytes(48), None),
        ("<f4", (3,), bytes(12), None),
        ("U5", (2,), bytes(40), None),
        ("V12", (2,), bytes(24), None),
        ("b1", (0, 9), b"", None),
        ("i2", (), bytes(2), None),
        ("f8", (1,), b"\x03" + bytes(3 + 8), 16),
        ("O8", (2,), pickle.dumps(["a", "b"]), None),
    ],
)
def test_following_resumes_behind_raw_arrays(
    code: str, shape: tuple[int, ...], data: bytes, alignment: int | None
) -> None:
    found = follow(b"(" + array(code, shape, data, alignment) + b"csklearn.svm\nSVC\nt.")
    assert Name("sklearn.svm", "SVC") in found.names
    assert len(found.root) == 2


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "ends in the middle"),
        (b"\x80\x04", "ends in the middle"),
        (b"\x80\x04\xff.", "opcode 0xff at byte 2"),
        (b".", "never given"),
        (b"0.", "never given"),
        (b"t.", "mark is missing"),
        (b"(.", "never given"),
        (b"h\x05.", "value 5, which was never stored"),
        (b"gx\n.", "not a number"),
        (b"cos", "ends in the middle"),
        (b"T" + struct.pack("<i", -5) + b".", "negative"),
        (b"\x8e" + struct.pack("<Q", 2**63) + b".", "impossible size"),
        (b"\x8e" + struct.pack("<Q", 2**40) + b".", "ends in the middle"),
        (array("f8", (2**40,), b"") + b".", "ends in the middle"),
        (array("f8", (-1,), b"") + b".", "cannot be told"),
        (array("?", (1,), b"") + b".", "cannot be told"),
        (array("O", (1,), b"") * 12 + b".", "nests pickles too deeply"),
    ],
)
def test_a_damaged_pickle_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(FormatError, match=reason):
        follow(data)


def test_a_pickle_of_too_many_opcodes_answers_with_what_was_found_so_far(tmp_path: Path, make: Any) -> None:
    start = pickle.dumps(make("sklearn.svm._classes.SVC", n_features_in_=3), protocol=2)[:-1]
    found = read(tmp_path, start + b"N0" * opcodes.MAX_OPCODES + b".")
    assert (found.architecture, found.engine) == ("SVC", "sklearn")
    assert int(found.details["truncated-at"]) > 0


def test_a_compression_bomb_ends_at_the_limit(tmp_path: Path) -> None:
    packer = zlib.compressobj(1)
    data = packer.compress(b"\x80\x04csklearn.svm\nSVC\n)\x81\x8e" + struct.pack("<Q", 2**40))
    chunk = bytes(1 << 20)
    data += b"".join(packer.compress(chunk) for _ in range(300)) + packer.flush()
    found = read(tmp_path, data, "m.joblib.z")
    assert found.architecture == "SVC"
    assert "truncated-at" in found.details


def test_a_cut_compression_is_refused(tmp_path: Path) -> None:
    data = zlib.compress(pickle.dumps(list(range(10_000))))
    with pytest.raises(FormatError, match="ends in the middle"):
        read(tmp_path, data[:-100], "m.joblib.z")


def test_a_damaged_compression_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="zlib compression is damaged"):
        read(tmp_path, b"\x78\x9c" + b"\xff" * 50, "m.joblib")


def test_lz4_is_refused_with_what_to_type(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="LZ4") as caught:
        read(tmp_path, b"\x04\x22\x4d\x18" + bytes(20), "m.joblib")
    assert "joblib.dump" in caught.value.hint
