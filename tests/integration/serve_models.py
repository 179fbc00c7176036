"""Train one tiny model and write what its own library answers; `test_serve_engines.py` runs this beside the library.

    python serve_models.py KIND FOLDER

Writes the model, `request.json` and `expected.json` (Open Inference Protocol v2) and `runtime.json`'s values to
`about.json`. Nothing of InstallML is imported: what is expected comes from the library alone.
"""

from __future__ import annotations

import json
import pickle
import sys
from pathlib import Path

import numpy as np

NAMES = {"float32": "FP32", "float64": "FP64", "int64": "INT64", "int32": "INT32", "bool": "BOOL"}
RANDOM = np.random.default_rng(7)
X = RANDOM.normal(size=(60, 4)).astype(np.float32)
Y = (X[:, 0] + X[:, 1] ** 2 > 0.8).astype(np.int64)
ROWS = X[:5]


def tensor(name, value):
    value = np.asarray(value)
    if value.dtype.kind in "OU":
        return {"name": name, "datatype": "BYTES", "shape": list(value.shape), "data": [str(v) for v in value.ravel()]}
    datatype = NAMES[str(value.dtype)]
    return {"name": name, "datatype": datatype, "shape": list(value.shape), "data": value.ravel().tolist()}


def write(folder, engine, model, inputs, outputs, signature=None):
    (folder / "request.json").write_text(json.dumps({"inputs": [tensor(*item) for item in inputs.items()]}))
    (folder / "expected.json").write_text(json.dumps({"outputs": [tensor(*item) for item in outputs.items()]}))
    about = {"schemaVersion": 1, "engine": engine, "model": model}
    (folder / "about.json").write_text(json.dumps(about | ({"signature": signature} if signature else {})))


def declared(name, datatype, *shape):
    return {"name": name, "datatype": datatype, "shape": list(shape)}


def classifier():
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression()).fit(X, Y)


def both(model, rows):
    return {"predict": model.predict(rows), "predict_proba": model.predict_proba(rows)}


def sklearn_joblib(folder):
    import joblib

    model = classifier()
    joblib.dump(model, folder / "model.joblib")
    write(folder, "sklearn", "model.joblib", {"x": ROWS}, both(model, ROWS))


def sklearn_named(folder):
    model = classifier()
    (folder / "model.pkl").write_bytes(pickle.dumps(model))
    given = {"label": model.predict(ROWS), "probabilities": model.predict_proba(ROWS)}
    signature = {
        "inputs": [declared("rows", "FP32", -1, 4)],
        "outputs": [declared("label", "INT64", -1), declared("probabilities", "FP64", -1, 2)],
    }
    write(folder, "sklearn", "model.pkl", {"rows": ROWS}, given, signature)


def sklearn_skops(folder):
    import skops.io

    model = classifier()
    skops.io.dump(model, folder / "model.skops")
    write(folder, "sklearn", "model.skops", {"x": ROWS}, both(model, ROWS))


def sklearn_untrusted(folder):
    import skops.io
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer

    skops.io.dump(make_pipeline(FunctionTransformer(np.linalg.norm)), folder / "model.skops")
    write(folder, "sklearn", "model.skops", {"x": ROWS}, {})


def sklearn_columns(folder):
    import joblib
    import pandas
    from sklearn.compose import make_column_transformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    colours = np.array(["red", "green", "blue"], dtype=object)[RANDOM.integers(0, 3, 60)]
    table = pandas.DataFrame({"colour": colours, "width": X[:, 0].astype(np.float64)})
    labels = np.where((colours == "red") ^ (X[:, 0] > 0), "yes", "no")
    steps = make_column_transformer((OneHotEncoder(), ["colour"]), (StandardScaler(), ["width"]))
    model = make_pipeline(steps, LogisticRegression()).fit(table, labels)
    joblib.dump(model, folder / "model.joblib")
    rows = table.iloc[:6]
    # The order of the request is not the order of the fit.
    inputs = {"width": rows["width"].to_numpy(), "colour": rows["colour"].to_numpy()}
    write(folder, "sklearn", "model.joblib", inputs, both(model, rows))


def sklearn_transformer(folder):
    import joblib
    from sklearn.preprocessing import StandardScaler

    model = StandardScaler().fit(X)
    joblib.dump(model, folder / "model.joblib")
    write(folder, "sklearn", "model.joblib", {"x": ROWS}, {"transform": model.transform(ROWS)})


def onnx_classifier(folder):
    import onnxruntime
    import skl2onnx

    graph = skl2onnx.to_onnx(classifier(), X[:1])  # with ZipMap: the probabilities are a list of mappings
    (folder / "model.onnx").write_bytes(graph.SerializeToString())
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
    label, maps = session.run(None, {"X": ROWS})
    columns = np.array([[row[0], row[1]] for row in maps], dtype=np.float32)
    write(folder, "onnxruntime", "model.onnx", {"X": ROWS}, {"output_label": label, "output_probability": columns})


def onnx_datatypes(folder):
    from onnx import TensorProto, checker, helper, save

    values = {
        "b": np.array([True, False]), "i": np.array([2**62, -1]), "d": np.array([[0.1, 1e300]]),
        "s": np.array([["", "a"], ["grüße", "日本"]], dtype=object),
    }  # fmt: skip
    kinds = {"b": TensorProto.BOOL, "i": TensorProto.INT64, "d": TensorProto.DOUBLE, "s": TensorProto.STRING}
    ins = [helper.make_tensor_value_info(n, kinds[n], [None] * v.ndim) for n, v in values.items()]
    outs = [helper.make_tensor_value_info(f"{n}_out", kinds[n], [None] * v.ndim) for n, v in values.items()]
    nodes = [helper.make_node("Identity", [n], [f"{n}_out"]) for n in values]
    graph = helper.make_graph(nodes, "identity", ins, outs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    checker.check_model(model)
    save(model, folder / "model.onnx")
    write(folder, "onnxruntime", "model.onnx", values, {f"{n}_out": v for n, v in values.items()})


def xgboost_of(folder, name):
    import xgboost

    model = xgboost.XGBClassifier(n_estimators=5, max_depth=3).fit(X, Y)
    model.save_model(folder / name)
    booster = xgboost.Booster(model_file=folder / name)
    write(folder, "xgboost", name, {"x": ROWS}, {"predict": booster.predict(xgboost.DMatrix(ROWS))})


def lightgbm_text(folder):
    import lightgbm

    model = lightgbm.train({"objective": "binary", "verbosity": -1, "min_data_in_leaf": 2}, lightgbm.Dataset(X, Y), 5)
    model.save_model(folder / "model.txt")
    rows = ROWS.astype(np.float64)
    write(folder, "lightgbm", "model.txt", {"x": rows}, {"predict": model.predict(rows)})


def network():
    import torch

    class Network(torch.nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.layer = torch.nn.Linear(4, 3)

        def forward(self, x, scale):
            hidden = torch.relu(self.layer(x)) * scale
            return hidden, hidden.argmax(1)

    return Network().eval()


def _torch(folder, name):
    import torch

    # Sent in the order that is not the call's: the names decide.
    inputs = {"scale": np.array([3.0], dtype=np.float32), "x": ROWS}
    with torch.no_grad():
        hidden, best = network()(torch.from_numpy(ROWS), torch.tensor([3.0]))
    write(folder, "torch", name, inputs, {"output_0": hidden.numpy(), "output_1": best.numpy()})


def torch_script(folder):
    import torch

    torch.jit.script(network()).save(folder / "model.pt")
    _torch(folder, "model.pt")


def torch_export(folder):
    import torch

    batch = torch.export.Dim("batch", min=1, max=1024)
    example = (torch.from_numpy(ROWS), torch.tensor([3.0]))
    program = torch.export.export(network(), example, dynamic_shapes={"x": {0: batch}, "scale": None})
    torch.export.save(program, folder / "model.pt2")
    _torch(folder, "model.pt2")


def torch_weights(folder):
    import torch

    torch.save(network().state_dict(), folder / "model.pt")
    _torch(folder, "model.pt")


KINDS = {
    "sklearn-joblib": sklearn_joblib,
    "sklearn-named": sklearn_named,
    "sklearn-skops": sklearn_skops,
    "sklearn-untrusted": sklearn_untrusted,
    "sklearn-columns": sklearn_columns,
    "sklearn-transformer": sklearn_transformer,
    "onnx-classifier": onnx_classifier,
    "onnx-datatypes": onnx_datatypes,
    "xgboost-json": lambda folder: xgboost_of(folder, "model.json"),
    "xgboost-ubj": lambda folder: xgboost_of(folder, "model.ubj"),
    "lightgbm-text": lightgbm_text,
    "torch-script": torch_script,
    "torch-export": torch_export,
    "torch-weights": torch_weights,
}

if __name__ == "__main__":
    KINDS[sys.argv[1]](Path(sys.argv[2]))
