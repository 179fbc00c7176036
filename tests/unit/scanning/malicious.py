"""Files that a scanner must not let through, put together here by hand; none of them is ever loaded.

The payload is always a harmless command, but it is meant to be found as if it were not.
"""

from __future__ import annotations

import base64
import bz2
import gzip
import io
import json
import lzma
import marshal
import os
import pickle
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable

import numpy as np
from backports import zstd

COMMAND = "echo scanned"


class Runs:
    """Pickles to a call of os.system."""

    def __reduce__(self) -> object:
        return os.system, (COMMAND,)


def text(value: str) -> bytes:
    """Return SHORT_BINUNICODE."""
    data = value.encode()
    return b"\x8c" + bytes([len(data)]) + data


def called(module: str, name: str, *arguments: bytes, proto: bytes = b"\x80\x04") -> bytes:
    """Return a pickle that calls one thing with arguments that are pickled already."""
    return proto + text(module) + text(name) + b"\x93(" + b"".join(arguments) + b"tR."


def named(module: str, name: str) -> bytes:
    """Return GLOBAL."""
    return f"c{module}\n{name}\n".encode()


def archive(*members: tuple[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    """Return a zip."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as opened:
        for name, data in members:
            opened.writestr(name, data)
    return file.getvalue()


def taped(*members: tuple[str, bytes], kind: bytes = tarfile.REGTYPE, link: str = "") -> bytes:
    """Return a tar."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as opened:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.type, info.linkname, info.size = kind, link, len(data) if kind == tarfile.REGTYPE else 0
            opened.addfile(info, io.BytesIO(data))
    return file.getvalue()


def npy(array: np.ndarray) -> bytes:
    """Return what numpy.save writes."""
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def npz(**arrays: np.ndarray) -> bytes:
    """Return what numpy.savez_compressed writes."""
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


EVIL = pickle.dumps(Runs(), 4)
OBJECTS = np.array([Runs(), None], dtype=object)


def _torch(data: bytes, *more: tuple[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    return archive(("model/data.pkl", data), ("model/version", b"3\n"), *more, method=method)


def _encrypted_mark() -> bytes:
    data = bytearray(_torch(EVIL))
    data[6] |= 1  # the first member's own header
    at = data.index(b"PK\x01\x02")
    data[at + 8] |= 1
    return bytes(data)


def _other_local_name() -> bytes:
    data = _torch(b"\x80\x04N.")
    return data.replace(b"model/data.pkl", b"model/other.tx", 1)


def _two_of_one_name() -> bytes:
    members = [("model/data.pkl", b"\x80\x04N."), ("model/datb.pkl", EVIL)]
    return archive(*members).replace(b"model/datb.pkl", b"model/data.pkl")


def _unlisted() -> bytes:
    """A member that only its own header knows."""
    shown, hidden = archive(("model/data.pkl", b"\x80\x04N.")), archive(("model/data.pkl", EVIL))
    member = hidden[: hidden.index(b"PK\x01\x02")]
    start = shown.index(b"PK\x01\x02")
    data = bytearray(shown[:start] + member + shown[start:])
    end = data.rindex(b"PK\x05\x06")
    struct.pack_into("<L", data, end + 16, start + len(member))
    return bytes(data)


def _prefixed() -> bytes:
    return pickle.dumps({"a": 1}) + archive(("x.pkl", EVIL))


def _end_in_comment() -> bytes:
    shown, hidden = archive(("a.txt", b"hello")), archive(("a.pkl", EVIL))
    data = bytearray(shown)
    struct.pack_into("<H", data, len(data) - 2, len(hidden))
    return bytes(data) + hidden


def _overlapping() -> bytes:
    data = bytearray(archive(("a.bin", b"x" * 64), ("b.bin", b"y" * 64)))
    second = data.rindex(b"PK\x01\x02")
    struct.pack_into("<L", data, second + 42, 0)
    return bytes(data)


def _bomb() -> bytes:
    data = bytearray(archive(("zeros.bin", b"\0" * 4096), method=zipfile.ZIP_DEFLATED))
    for signature, at in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        struct.pack_into("<L", data, data.index(signature) + at, 0xFFFFFFFE)
    return bytes(data)


def _nested(times: int) -> bytes:
    data = EVIL
    for index in range(times):
        data = gzip.compress(data) if index % 2 else archive((f"inner{index}.bin", data))
    return data


def _joblib_plain() -> bytes:
    """joblib passes over the numbers behind an array's description; plain pickle reads them as opcodes."""
    call = named("posix", "system") + b"(" + text(COMMAND) + b"tR0N."
    body = (
        b"\x80\x04" + text("joblib.numpy_pickle") + text("NumpyArrayWrapper") + b"\x93)\x81}("
        + text("subclass") + text("numpy") + text("ndarray") + b"\x93"
        + text("shape") + b"K" + bytes([len(call)]) + b"\x85"
        + text("order") + text("C")
        + text("dtype") + text("numpy") + text("dtype") + b"\x93(" + text("u1") + b"\x89\x88tR"
        + text("allow_mmap") + b"\x89ub"
    )  # fmt: skip
    return body + call + b"."


def _joblib_objects() -> bytes:
    """An array of objects in a joblib file is a pickle in the middle of the outer one."""
    return (
        b"\x80\x04" + text("joblib.numpy_pickle") + text("NumpyArrayWrapper") + b"\x93)\x81}("
        + text("subclass") + text("numpy") + text("ndarray") + b"\x93"
        + text("shape") + b"K\x01\x85" + text("order") + text("C")
        + text("dtype") + text("numpy") + text("dtype") + b"\x93(" + text("O8") + b"\x89\x88tR"
        + text("allow_mmap") + b"\x89ub" + EVIL + b"."
    )  # fmt: skip


def _keras2() -> bytes:
    code = marshal.dumps(compile("lambda x: x", "x", "eval"))
    layer = {"class_name": "Lambda", "config": {"name": "l", "function": [base64.b64encode(code).decode(), None, None]}}
    config = json.dumps({"class_name": "Sequential", "config": {"layers": [layer]}})
    return b"\x89HDF\r\n\x1a\n" + b"\0" * 88 + b"model_config\0\0\0\0" + config.encode() + b"\0" * 64


def _keras3(layer: dict[str, object]) -> bytes:
    config = {"module": "keras", "class_name": "Sequential", "config": {"layers": [layer]}, "registered_name": None}
    return archive(("config.json", json.dumps(config).encode()), ("metadata.json", b'{"keras_version": "3.5.0"}'))


def _hidden_text_keras() -> bytes:
    spelt = b'{"module": "keras.layers", "cl\\u0061ss_name": "L\\u0061mbda", "config": {"name": "x"}}'
    return archive(
        ("config.json", b'{"module": "keras", "class_name": "Model", "config": {"layers": [' + spelt + b"]}}")
    )


def _legacy_torch_nested() -> bytes:
    """torch.storage._load_from_bytes is torch.load."""
    return (
        b"\x80\x04" + text("torch.storage") + text("_load_from_bytes") + b"\x93(B"
        + struct.pack("<I", len(EVIL)) + EVIL + b"tR."
    )  # fmt: skip


Make = Callable[[], bytes]

# fmt: off
#: name of the case -> (name of the file, what makes it)
MALICIOUS: dict[str, tuple[str, Make]] = {
    **{f"protocol {n}": ("model.pkl", lambda n=n: pickle.dumps(Runs(), n)) for n in range(6)},
    "text protocol under another name": ("notes.txt", lambda: pickle.dumps(Runs(), 0)),
    "pickle called weights": ("pytorch_model.bin", lambda: EVIL),
    "pickle called safetensors": ("model.safetensors", lambda: EVIL),
    "pickle called json": ("config.json", lambda: pickle.dumps(Runs(), 2)),
    "INST": ("m.pkl", lambda: b"(S'echo scanned'\niposix\nsystem\n."),
    "OBJ": ("m.pkl", lambda: b"(cposix\nsystem\nS'echo scanned'\no."),
    "GLOBAL without a call, unknown": ("m.pkl", lambda: b"\x80\x02cevil_module\nThing\n."),
    "STACK_GLOBAL": ("m.pkl", lambda: called("os", "system", text(COMMAND))),
    "STACK_GLOBAL from the memo": (
        "m.pkl",
        lambda: b"\x80\x04" + text("system") + b"\x94" + text("os") + b"\x94" + b"h\x01h\x00\x93(" + text("x") + b"tR.",
    ),
    "STACK_GLOBAL from far memo": (
        "m.pkl",
        lambda: b"\x80\x04" + text("os") + b"r\xff\xff\xff\x7f" + text("system") + b"p77\n00j\xff\xff\xff\x7fg77\n\x93"
        + b"(" + text("x") + b"tR.",
    ),
    "STACK_GLOBAL from escapes": ("m.pkl", lambda: b"\x80\x04S'\\x6f\\163'\nV\\u0073ystem\n\x93(S'x'\ntR."),
    "STACK_GLOBAL of what a call returns": (
        "m.pkl",
        lambda: b"\x80\x04" + text("builtins") + text("str") + b"\x93" + text("os") + b"\x85R" + text("system")
        + b"\x93(" + text("x") + b"tR.",
    ),
    "name from a dictionary": ("m.pkl", lambda: b"\x80\x04}" + text("a") + text("os") + b"s" + text("system")
                               + b"\x93."),
    "BUILD of an imported class": (
        "m.pkl",
        lambda: b"\x80\x04" + named("collections", "OrderedDict") + b"}" + text("x") + b"K\x01sb.",
    ),
    "SETITEM into an import": ("m.pkl", lambda: b"\x80\x04" + named("numpy", "dtype") + text("a") + b"K\x01s."),
    "BUILD with __setstate__": (
        "m.pkl",
        lambda: b"\x80\x02" + named("argparse", "Namespace") + b")\x81}" + text("__setstate__")
        + named("builtins", "list") + b"sb.",
    ),
    "BUILD with a state out of a call": (
        "m.pkl",
        lambda: b"\x80\x02" + named("argparse", "Namespace") + b")\x81" + named("collections", "OrderedDict")
        + b"](" + text("__setstate__") + named("builtins", "list") + b"\x86e\x85Rb."
    ),
    "BUILD with a computed key": (
        "m.pkl",
        lambda: b"\x80\x02" + named("argparse", "Namespace") + b")\x81}" + named("builtins", "str")
        + text("__setstate__") + b"\x85R" + named("builtins", "list") + b"sb."
    ),
    "torch's loader of bytes as a value": (
        "m.pkl",
        lambda: b"\x80\x02" + named("sklearn.preprocessing", "FunctionTransformer")
        + named("torch.storage", "_load_from_bytes") + b"\x85R."
    ),
    "torch's rebuilding function calls it": (
        "m.pkl",
        lambda: called("torch._tensor", "_rebuild_from_type_v2", named("torch.storage", "_load_from_bytes"),
                       named("torch", "Tensor"), text("x") + b"\x85", b"N")
    ),
    "NEWOBJ": ("m.pkl", lambda: b"\x80\x02" + named("subprocess", "Popen") + text("x") + b"\x85\x81."),
    "NEWOBJ_EX": ("m.pkl", lambda: b"\x80\x04" + named("subprocess", "Popen") + text("x") + b"\x85}\x92."),
    "REDUCE of a REDUCE": (
        "m.pkl",
        lambda: b"\x80\x04" + text("functools") + text("partial") + b"\x93" + named("builtins", "print") + b"\x85R)R.",
    ),
    "REDUCE of a persistent id": ("m.pkl", lambda: b"\x80\x02" + text("anything") + b"Q)R."),
    "extension code": ("m.pkl", lambda: b"\x80\x02\x82\x07)R."),
    "getattr": (
        "m.pkl",
        lambda: called("builtins", "getattr", named("numpy", "ndarray"), text("tofile")),
    ),
    "operator.attrgetter": ("m.pkl", lambda: called("operator", "attrgetter", text("system"))),
    "codec by name": ("m.pkl", lambda: called("_codecs", "encode", text("x"), text("evil_codec"))),
    "class made by type": (
        "m.pkl",
        lambda: called("builtins", "type", text("X"), named("builtins", "object") + b"\x85", b"}"),
    ),
    "numpy's constructor calls its second argument": (
        "m.pkl",
        lambda: called("numpy.random._pickle", "__generator_ctor", text("x"), named("builtins", "list")),
    ),
    "numpy.load": ("m.pkl", lambda: called("numpy", "load", text("/etc/passwd"))),
    "numpy.memmap": ("m.pkl", lambda: called("numpy", "memmap", text("/tmp/x"))),
    "torch.load": ("m.pkl", lambda: called("torch", "load", text("x"))),
    "pandas.read_pickle": ("m.pkl", lambda: called("pandas", "read_pickle", text("http://127.0.0.1/"))),
    "through an allowed module": ("m.pkl", lambda: called("numpy", "_core._internal.sys.modules", text("os"))),
    "allowed class of a foreign module": ("m.pkl", lambda: called("sklearn.tests.evil", "LogisticRegression")),
    "scipy's distributions run their state": (
        "m.pkl",
        lambda: b"\x80\x02" + named("scipy.stats._continuous_distns", "norm_gen") + b")\x81}"
        + text("_parse_arg_template") + text("import os") + b"sb.",
    ),
    "python 2 names": ("m.pkl", lambda: b"c__builtin__\neval\n(S'1'\ntR."),
    "eval": ("m.pkl", lambda: called("builtins", "eval", text("1"))),
    "import of a module": ("m.pkl", lambda: called("importlib", "import_module", text("antigravity"))),
    "several pickles in one file": ("m.pkl", lambda: pickle.dumps(1) + pickle.dumps([2]) + EVIL),
    "payload before the break": ("m.pkl", lambda: EVIL[:-1] + b"\xff\xff"),
    "payload before the break, no name": ("weights", lambda: b"cposix\nsystem\n(S'x'\ntR\xff\xff"),
    "payload, then cut off": ("m.bin", lambda: pickle.dumps([Runs(), 1, 2, 3], 4)[:-3]),
    "import before the break, no name": ("weights", lambda: b"\x80\x02cevil_module\nThing\n\xff"),
    "frame that lies": ("m.pkl", lambda: b"\x80\x04\x95\xff\xff\xff\x00\x00\x00\x00\x00" + EVIL[2:]),
    "text that promises too much": ("m.pkl", lambda: b"\x80\x04X\xff\xff\xff\x7fabc."),
    "empty pickle": ("m.pkl", lambda: b""),
    "no pickle at all": ("m.joblib", lambda: b"<html>not found</html>"),
    "pickle in a pickle": ("m.pkl", lambda: called("pickle", "loads", b"C" + bytes([len(EVIL)]) + EVIL)),
    "pickle in bytes that nothing unpickles": ("m.pkl", lambda: pickle.dumps({"config": b"x", "more": EVIL}, 4)),
    "pickle in bytes in a pickle in bytes": ("m.pkl", lambda: pickle.dumps([pickle.dumps([EVIL])])),
    "pickle in compressed bytes": ("m.pkl", lambda: pickle.dumps({"x": gzip.compress(EVIL)})),
    "pickle in an array in bytes": ("m.pkl", lambda: pickle.dumps({"x": npy(OBJECTS)})),
    "torch storage in a pickle": ("m.pkl", _legacy_torch_nested),
    "joblib, plain pickle reads the numbers": ("m.joblib", _joblib_plain),
    "joblib array of objects": ("m.joblib", _joblib_objects),
    "joblib, zlib": ("m.joblib", lambda: zlib.compress(EVIL)),
    "joblib, gzip": ("m.joblib", lambda: gzip.compress(EVIL)),
    "joblib, bz2": ("m.joblib", lambda: bz2.compress(EVIL)),
    "joblib, xz": ("m.joblib", lambda: lzma.compress(EVIL)),
    "joblib, lzma": ("m.joblib", lambda: lzma.compress(EVIL, lzma.FORMAT_ALONE)),
    "joblib, lz4": ("m.joblib", lambda: b"\x04\x22\x4d\x18" + EVIL),
    "zstd": ("m.pkl.zst", lambda: zstd.compress(EVIL)),
    "second gzip member behind zeros": (
        "m.pkl.gz",
        lambda: gzip.compress(pickle.dumps(1)) + b"\0" * 5000 + gzip.compress(EVIL),
    ),
    "gzip with a wrong check sum": ("m.pkl.gz", lambda: gzip.compress(EVIL)[:-8] + b"\0" * 8),
    "torch zip": ("model.pt", lambda: _torch(EVIL)),
    "torch zip under another name": ("model.bin", lambda: _torch(EVIL)),
    "torch zip, other member": ("model.pt", lambda: _torch(b"\x80\x02}.", ("model/extra", EVIL))),
    "zip, deflated": ("model.zip", lambda: _torch(EVIL, method=zipfile.ZIP_DEFLATED)),
    "zip, bz2": ("model.zip", lambda: _torch(EVIL, method=zipfile.ZIP_BZIP2)),
    "zip, lzma": ("model.zip", lambda: _torch(EVIL, method=zipfile.ZIP_LZMA)),
    "zip, marked as encrypted": ("model.pt", _encrypted_mark),
    "zip, headers differ": ("model.pt", _other_local_name),
    "zip, doubled name": ("model.pt", _two_of_one_name),
    "zip, unlisted member": ("model.pt", _unlisted),
    "zip behind a pickle": ("model.pkl", _prefixed),
    "zip in a zip's comment": ("model.zip", _end_in_comment),
    "zip, overlapping members": ("model.zip", _overlapping),
    "zip bomb": ("model.zip", _bomb),
    "zip, cut off": ("model.pt", lambda: _torch(EVIL)[:-40]),
    "zip, climbing name": ("model.zip", lambda: archive(("../../.bashrc", b"x"))),
    "containers in containers": ("model.zip", lambda: _nested(4)),
    "too many containers in containers": ("model.zip", lambda: _nested(20)),
    "tar": ("model.tar", lambda: taped(("a/model.pkl", EVIL))),
    "tar, compressed": ("model.tgz", lambda: gzip.compress(taped(("w.bin", EVIL)))),
    "tar, link": ("model.tar", lambda: taped(("w", b""), kind=tarfile.SYMTYPE, link="/etc/passwd")),
    "tar, climbing name": ("model.tar", lambda: taped(("../x", b"1"))),
    "tar behind a tar": ("model.tar", lambda: taped(("a.txt", b"1")) + taped(("a.pkl", EVIL))),
    "7z": ("model.7z", lambda: b"7z\xbc\xaf\x27\x1c" + b"\0" * 64),
    "rar": ("weights.bin", lambda: b"Rar!\x1a\x07\x01\x00" + b"\0" * 64),
    "npy of objects": ("a.npy", lambda: npy(OBJECTS)),
    "npy of objects under another name": ("a.dat", lambda: npy(OBJECTS)),
    "npz of objects": ("a.npz", lambda: npz(a=np.arange(3), b=OBJECTS)),
    "npy, something behind the array": ("a.npy", lambda: npy(np.arange(3)) + EVIL),
    "npy header that is code": (
        "a.npy",
        lambda: b"\x93NUMPY\x01\x00v\x00"
        + b"{'descr': __import__('os').system('x'), 'shape': (1,)}".ljust(117) + b"\n",
    ),
    "npy header with hidden objects": ("a.npy", lambda: npy(np.arange(1)).replace(b"'<i8'", b"'=O '") + EVIL),
    "Keras 2 lambda": ("model.h5", _keras2),
    "Keras 2, configuration out of sight": (
        "model.h5",
        lambda: b"\x89HDF\r\n\x1a\n" + b"\0" * 88 + b"model_config\0" + b"\0" * 99,
    ),
    "Keras 3 lambda": (
        "model.keras",
        lambda: _keras3({
            "module": "keras.layers", "class_name": "Lambda",
            "config": {"name": "l", "function": {"class_name": "__lambda__", "config": {"code": "4wAA"}}},
        }),
    ),
    "Keras 3 lambda, spelt with escapes": ("model.keras", _hidden_text_keras),
    "Keras 3, foreign module": (
        "model.keras",
        lambda: _keras3({"module": "os", "class_name": "function", "config": "system", "registered_name": "system"}),
    ),
    "Keras 3, function of keras.utils": (
        "model.keras",
        lambda: _keras3({"module": "keras.utils", "class_name": "get_file", "config": {"origin": "http://127.0.0.1"}}),
    ),
    "Keras 3, pickled torch module": (
        "model.keras",
        lambda: _keras3({"module": "keras.layers", "class_name": "TorchModuleWrapper", "config": {"module": "gASV"}}),
    ),
    "Keras 3, vocabulary from a path": (
        "model.keras",
        lambda: _keras3({"module": "keras.layers", "class_name": "StringLookup",
                          "config": {"vocabulary": "/etc/passwd"}}),
    ),
    "TorchScript that writes files": (
        "model.pt",
        lambda: archive(("m/data.pkl", b"\x80\x02N."),
                        ("m/code/__torch__.py", b"def f(x):\n  torch.save(x, '/tmp/x')\n")),
    ),
}
# fmt: on
