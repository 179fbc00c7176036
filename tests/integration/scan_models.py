"""Write files as real libraries write them; `test_scan_genuine.py` runs this in an environment that has the libraries.

    python scan_models.py KIND FOLDER

Nothing of InstallML is imported: the files are the libraries' own.
"""

from __future__ import annotations

import gzip
import pickle
import sys
import warnings
from pathlib import Path

import numpy as np

RANDOM = np.random.default_rng(7)
X = RANDOM.random(size=(60, 4))
Y = (X[:, 0] + X[:, 1] > 1).astype(np.int64)


def estimators(folder):
    """Every estimator of scikit-learn that fits ordinary numbers, in two protocols and by joblib."""
    import joblib
    from sklearn.utils import all_estimators

    fitted = {}
    for name, kind in all_estimators():
        for target in (Y, X[:, 0], np.column_stack((Y, Y))):
            try:
                fitted[name] = kind().fit(X, target)
                break
            except Exception:  # some need other estimators or words first
                continue
    for name, model in fitted.items():
        for protocol in (2, 5):
            (folder / f"{name}-{protocol}.pkl").write_bytes(pickle.dumps(model, protocol))
        joblib.dump(model, folder / f"{name}.joblib")


def pipelines(folder):
    import joblib
    import pandas as pd
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.compose import ColumnTransformer
    from sklearn.ensemble import StackingClassifier, VotingClassifier
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.feature_selection import SelectKBest, f_classif
    from sklearn.gaussian_process import GaussianProcessClassifier
    from sklearn.gaussian_process.kernels import RBF, WhiteKernel
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import make_scorer, roc_auc_score
    from sklearn.model_selection import GridSearchCV
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
    from sklearn.svm import SVC
    from sklearn.tree import DecisionTreeClassifier

    table = pd.DataFrame({"n": X[:, 0], "m": X[:, 1], "w": RANDOM.choice(["a", "b"], 60), "t": ["red car"] * 60})
    columns = ColumnTransformer([
        ("n", make_pipeline(FunctionTransformer(np.log1p), StandardScaler()), ["n", "m"]),
        ("w", OneHotEncoder(handle_unknown="ignore"), ["w"]),
        ("t", TfidfVectorizer(), "t"),
    ])  # fmt: skip
    models = {
        "columns": make_pipeline(columns, LogisticRegression()).fit(table, Y),
        "search": GridSearchCV(SVC(probability=False), {"C": [1, 2]}, scoring=make_scorer(roc_auc_score)).fit(X, Y),
        "votes": VotingClassifier([("a", SVC()), ("b", DecisionTreeClassifier())]).fit(X, Y),
        "stack": StackingClassifier([("a", SVC()), ("b", KNeighborsClassifier(algorithm="ball_tree"))]).fit(X, Y),
        "process": GaussianProcessClassifier(RBF() + WhiteKernel()).fit(X, Y),
        "calibrated": CalibratedClassifierCV(DecisionTreeClassifier()).fit(X, Y),
        "selected": make_pipeline(SelectKBest(f_classif, k=2), KNeighborsClassifier(metric="manhattan")).fit(X, Y),
    }
    for name, model in models.items():
        for protocol in range(6):
            (folder / f"{name}-{protocol}.pkl").write_bytes(pickle.dumps(model, protocol))
        joblib.dump(model, folder / f"{name}.joblib")
        for method in ("zlib", "gzip", "bz2", "xz", "lzma"):
            joblib.dump(model, folder / f"{name}.{method}.joblib", compress=(method, 3))
    joblib.dump([models, table, np.array(["a", None], dtype=object)], folder / "several.joblib")


def boosters(folder):
    import joblib
    import lightgbm
    import xgboost

    models = {
        "xgb": xgboost.XGBClassifier(n_estimators=3).fit(X, Y),
        "xgb-regressor": xgboost.XGBRegressor(n_estimators=3).fit(X, Y),
        "xgb-booster": xgboost.train({}, xgboost.DMatrix(X, Y), 2),
        "lgbm": lightgbm.LGBMClassifier(n_estimators=3, verbose=-1).fit(X, Y),
        "lgbm-booster": lightgbm.train({"verbose": -1}, lightgbm.Dataset(X, Y), 2),
    }
    for name, model in models.items():
        for protocol in (2, 4, 5):
            (folder / f"{name}-{protocol}.pkl").write_bytes(pickle.dumps(model, protocol))
        joblib.dump(model, folder / f"{name}.joblib", compress=True)
    models["xgb"].save_model(folder / "xgb.json")
    models["xgb"].save_model(folder / "xgb.ubj")
    models["lgbm-booster"].save_model(folder / "lgbm.txt")


def tables(folder):
    import pandas as pd

    table = pd.DataFrame({
        "a": [1, 2], "b": ["x", "y"], "c": pd.Categorical(["u", "v"]),
        "d": pd.to_datetime(["2020-01-01", "2020-01-02"]),
        "e": pd.array([1, None], dtype="Int64"), "f": pd.array([True, None], dtype="boolean"),
        "g": pd.array(["a", None], dtype="string"), "t": pd.to_timedelta([1, 2]),
        "p": pd.period_range("2020", periods=2),
        "i": pd.interval_range(0, 2), "z": pd.to_datetime(["2020-01-01", "2020-01-02"]).tz_localize("Europe/Berlin"),
        "s": pd.arrays.SparseArray([0, 1]), "o": [None, 1.5],
    })  # fmt: skip
    for protocol in range(6):
        table.to_pickle(folder / f"table-{protocol}.pkl", protocol=protocol)
        table.set_index(["a", "b"]).to_pickle(folder / f"index-{protocol}.pkl", protocol=protocol)
    table.to_pickle(folder / "table.pkl.gz")
    table.to_pickle(folder / "table.pkl.zip")
    table["a"].to_pickle(folder / "series.pkl.xz")


def arrays(folder):
    import scipy.interpolate
    import scipy.sparse
    import scipy.spatial
    import scipy.special

    for kind in ("csr", "csc", "coo", "bsr", "dia", "dok", "lil"):
        (folder / f"{kind}.pkl").write_bytes(pickle.dumps(getattr(scipy.sparse, f"{kind}_matrix")(np.eye(3))))
        (folder / f"{kind}-array.pkl").write_bytes(pickle.dumps(getattr(scipy.sparse, f"{kind}_array")(np.eye(3))))
    scipy.sparse.save_npz(folder / "sparse.npz", scipy.sparse.csr_matrix(np.eye(3)))
    values = [scipy.interpolate.interp1d([0, 1], [0, 1]), scipy.spatial.KDTree(X), scipy.special.expit]
    for index, value in enumerate(values):
        (folder / f"scipy-{index}.pkl").write_bytes(pickle.dumps(value))
    for protocol in range(6):
        value = [X, X[0, 0], np.random.default_rng(1), np.random.RandomState(1), np.ma.array([1]), np.float32, X.dtype,
                 np.rec.array([(1, 2.0)]), np.array(["a"], dtype=object), np.datetime64("2020"),
                 np.poly1d([1, 2])]  # fmt: skip
        (folder / f"numpy-{protocol}.pkl").write_bytes(pickle.dumps(value, protocol))
    with gzip.open(folder / "numpy.pkl.gz", "wb") as file:
        pickle.dump(X, file)


def torches(folder):
    import torch
    from torch import nn

    model = nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(2, 2), nn.LSTM(2, 2)
    )
    torch.save(model.state_dict(), folder / "state.pt")
    torch.save(model.state_dict(), folder / "legacy.pth", _use_new_zipfile_serialization=False)
    torch.save(model, folder / "whole.pt")
    torch.save(nn.Transformer(8, 2, 1, 1, 8), folder / "transformer.bin")
    optimiser = torch.optim.AdamW(model.parameters())
    checkpoint = {
        "model": model.state_dict(), "optimizer": optimiser.state_dict(), "epoch": 1, "rng": torch.get_rng_state(),
        "half": torch.ones(2).half(), "bf16": torch.ones(2).bfloat16(), "sparse": torch.eye(2).to_sparse(),
        "numpy": X, "size": torch.Size((1, 2)), "device": torch.device("cpu"), "dtype": torch.float32,
    }  # fmt: skip
    torch.save(checkpoint, folder / "checkpoint.ckpt")
    (folder / "plain.pkl").write_bytes(pickle.dumps(checkpoint))
    torch.jit.script(nn.Sequential(nn.Linear(2, 2), nn.ReLU())).save(folder / "script.pt")
    program = torch.export.export(nn.Linear(2, 2), (torch.ones(1, 2),))
    torch.export.save(program, folder / "program.pt2")


def trainers(folder):
    import torch
    import torchvision
    from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments

    sizes = {
        "hidden_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 8,
        "vocab_size": 20,
    }
    model = BertForSequenceClassification(BertConfig(**sizes))
    rows = [{"input_ids": [1, 2, 3], "labels": 0}, {"input_ids": [4, 5, 6], "labels": 1}]
    settings = TrainingArguments(str(folder), max_steps=1, save_steps=1, report_to=[], use_cpu=True)
    Trainer(model, settings, train_dataset=rows).train()
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    for name in ("resnet18", "vgg11", "mobilenet_v3_small", "efficientnet_b0", "densenet121"):
        vision = getattr(torchvision.models, name)().to("meta")
        torch.save(vision, folder / f"{name}.pth")


def layers(folder):
    import keras

    inputs = keras.Input((4,), name="x")
    hidden = keras.layers.Dense(3, activation="gelu", kernel_regularizer=keras.regularizers.L2(0.1))(inputs)
    hidden = keras.ops.relu(keras.layers.BatchNormalization()(hidden)) + 1.0
    outputs = keras.layers.Dense(1, activation="sigmoid")(keras.layers.Dropout(0.5)(hidden))
    model = keras.Model(inputs, outputs)
    rate = keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.9)
    model.compile(
        optimizer=keras.optimizers.Adam(rate), loss="binary_crossentropy", metrics=["accuracy", keras.metrics.AUC()]
    )
    model.fit(np.ones((4, 4)), np.ones((4, 1)), verbose=0)
    model.save(folder / "model.keras")
    model.save(folder / "model.h5")
    model.save_weights(folder / "model.weights.h5")
    (folder / "config.json").write_text(model.to_json())
    pictures = keras.Sequential([
        keras.Input((16, 16, 3)), keras.layers.Rescaling(1 / 255), keras.layers.RandomFlip(), keras.layers.Conv2D(2, 3),
        keras.layers.GlobalAveragePooling2D(), keras.layers.Softmax(),
    ])  # fmt: skip
    pictures.save(folder / "pictures.keras")
    pictures.save(folder / "pictures.h5")
    sequence = keras.Sequential([keras.Input((5, 2)), keras.layers.Bidirectional(keras.layers.LSTM(2))])
    sequence.save(folder / "lstm.keras")


KINDS = {kind.__name__: kind for kind in (estimators, pipelines, boosters, tables, arrays, torches, trainers, layers)}

if __name__ == "__main__":
    warnings.simplefilter("ignore")
    KINDS[sys.argv[1]](Path(sys.argv[2]))
