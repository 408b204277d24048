"""Models of many libraries and what can be told of them: run to save a family, and to load it in another process.

    python round_trip.py save FAMILY FOLDER     saves each model of the family, and says what can be told of it
    python round_trip.py load FAMILY FOLDER     loads them, and says the same
    python round_trip.py peak KIND FOLDER       saves a large model; when it is there, loads it and says what that took

The process that saves may know what the one that loads doesn't: nothing of this file is there when a model is loaded.
"""

import functools
import hashlib
import json
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import thampi


class Holder(thampi.Model):
    def __init__(self, held: Any) -> None:
        self.held = held

    def predict(self, args: Any, context: Any) -> Any:
        return None


def digest(content: Any) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def of_array(array: np.ndarray) -> list[Any]:
    content = pickle.dumps(array.tolist()) if array.dtype.hasobject or array.dtype.kind == "T" else array.tobytes()
    # Of a view that is scattered numpy pickles the elements in order, of a mapped file its content.
    flags = [array.flags.writeable, array.flags.fnc, array.flags.aligned]
    kind = "ndarray" if isinstance(array, np.memmap) else type(array).__name__
    said = [kind, str(array.dtype), array.dtype.byteorder, list(array.shape), flags, digest(content)]
    if isinstance(array, np.ma.MaskedArray):
        said += [of_array(np.ma.getmaskarray(array)), str(array.fill_value)]
    return said


# ---- numpy


def numpy() -> dict[str, Any]:
    random = np.random.default_rng(0)
    large = random.standard_normal((300, 400))
    np.save("mapped.npy", large)
    read_only = large.copy()
    read_only.flags.writeable = False
    kinds = "?bBhHiIlLqQefdgFDGSUVmM"
    shapes = {"S": "S5", "U": "U7", "V": "V9", "M": "M8[us]", "m": "m8[h]"}
    return {
        **{
            f"dtype {kind}": random.integers(0, 100, 20_000).astype("i8").astype(shapes.get(kind, kind))
            for kind in kinds
            if kind != "V"
        },
        "dtype V": random.bytes(9 * 5000) and np.frombuffer(random.bytes(9 * 5000), "V9"),
        "big-endian": large.astype(">f8"),
        "structured": np.zeros(9000, [("a", "i4"), ("b", ">f8", (2, 2)), ("c", "U3")]),
        "aligned structured": np.zeros(9000, np.dtype([("a", "i1"), ("b", "f8")], align=True)),
        "records": np.rec.fromarrays([np.arange(9000), large.ravel()[:9000]], names="x,y"),
        "Fortran order": np.asfortranarray(large),
        "a view": large[10:200:3, ::-2],
        "transposed": large.reshape(30, 10, 400).transpose(2, 0, 1),
        "read-only": read_only,
        "0-d": np.array(5.5),
        "a scalar": np.float32(2.5),
        "empty": np.zeros((0, 7), "f4"),
        "objects": np.array([{"a": 1}, None, "x", 3.5] * 3000, object),
        "text of any length": np.array(["a", "b" * 300] * 3000, np.dtypes.StringDType()),
        "masked": np.ma.masked_greater(large, 1.0),
        "from a file": np.load("mapped.npy", mmap_mode="r"),
        "broadcast": np.broadcast_to(large[0], (200, 400)),
        "a generator": np.random.default_rng(7),
        "a dtype": np.dtype([("a", ">i4")]),
        "a function": np.linalg.norm,
        "a polynomial": np.polynomial.Polynomial([1.0, 2.0, 3.0]),
    }


def tell_numpy(found: Any) -> Any:
    if isinstance(found, np.ndarray):
        return of_array(found)
    if isinstance(found, np.random.Generator):
        return str(found.random(5))
    return found.__qualname__ if callable(found) and hasattr(found, "__qualname__") else str(found)


# ---- pandas


def pandas() -> dict[str, Any]:
    import pandas as pd

    random = np.random.default_rng(0)
    count = 20_000
    number = pd.Series(random.standard_normal(count))
    missing = number.mask(number > 1)
    frame = pd.DataFrame(
        {
            "float": number,
            "int": np.arange(count),
            "nullable int": pd.array([1, None] * (count // 2), dtype="Int64"),
            "nullable float": missing.astype("Float32"),
            "nullable bool": pd.array([True, None] * (count // 2), dtype="boolean"),
            "text": [f"word {i % 999}" for i in range(count)],
            "arrow text": pd.array([f"word {i % 99}" for i in range(count)], dtype="string[pyarrow]"),
            "arrow number": pd.array(range(count), dtype="int32[pyarrow]"),
            "objects": [{"a": i} if i % 2 else None for i in range(count)],
            "category": pd.Categorical(["x", "y", "z", None] * (count // 4), ordered=True),
            "when": pd.date_range("2026-01-01", periods=count, freq="min", tz="Europe/Berlin"),
            "naive": pd.date_range("1999-01-01", periods=count, freq="h"),
            "span": pd.to_timedelta(np.arange(count), unit="s"),
            "month": pd.period_range("1900-01", periods=count, freq="M"),
            "interval": pd.interval_range(0, count),
            "sparse": pd.arrays.SparseArray(np.where(np.arange(count) % 50, 0.0, 1.0)),
        }
    )
    frame.attrs["unit"] = "m"
    floats = pd.DataFrame(random.standard_normal((count, 8)), columns=list("abcdefgh"))
    return {
        "all kinds of columns": frame,
        "one block": floats,
        "every second row": floats.iloc[::2],
        "wide": floats.iloc[:50].T,
        "levels": frame.set_index(["category", "when"])[["float", "text"]],
        "levels of columns": pd.concat({"one": floats, "two": floats}, axis=1),
        "a column": frame["when"],
        "an index": frame.set_index("text").index,
        "grouped": floats.groupby(floats["a"].round(1)).mean(),
        "a range": pd.RangeIndex(3, count, 2, name="row"),
        "a time": pd.Timestamp("2026-09-06T22:03", tz="UTC"),
        "nothing": pd.NA,
        "no rows": frame.iloc[:0],
    }


def tell_pandas(found: Any) -> Any:
    import pandas as pd

    if isinstance(found, pd.DataFrame):
        columns = [tell_pandas(found.iloc[:, number]) for number in range(found.shape[1])]
        return [str(found.dtypes), str(found.attrs), tell_pandas(found.index), str(found.columns), columns]
    if isinstance(found, pd.Series | pd.Index):
        return [
            type(found).__name__,
            str(found.dtype),
            str(found.names if hasattr(found, "names") else found.name),
            digest("\n".join(map(repr, found)).encode()),
        ]
    return repr(found)


# ---- scipy


def scipy() -> dict[str, Any]:
    import scipy.interpolate
    import scipy.sparse
    import scipy.spatial
    import scipy.stats

    random = np.random.default_rng(0)
    matrix = scipy.sparse.random(2000, 2000, 0.01, format="csr", random_state=0)
    points = random.standard_normal((5000, 3))
    made: dict[str, Any] = {kind: matrix.asformat(kind) for kind in ("csr", "csc", "coo", "bsr", "dok", "lil")}
    return made | {
        "dia": scipy.sparse.diags([np.arange(3000.0), np.ones(2999)], [0, 1]),
        "an array": scipy.sparse.csr_array(matrix),
        "some rows": matrix[::7],
        "int32": matrix.astype("int32"),
        "complex": matrix.astype("complex64"),
        "empty": scipy.sparse.csr_matrix((50, 60)),
        "a tree": scipy.spatial.cKDTree(points),
        "a spline": scipy.interpolate.CubicSpline(np.arange(5000), points[:, 0]),
        "a distribution": scipy.stats.norm(2, 3),
    }


def tell_scipy(found: Any) -> Any:
    import scipy.sparse
    import scipy.spatial

    if scipy.sparse.issparse(found):
        return [type(found).__name__, found.format, str(found.dtype), found.nnz, digest(found.toarray().tobytes())]
    if isinstance(found, scipy.spatial.cKDTree):
        return of_array(found.query(np.arange(30.0).reshape(10, 3) / 10)[1])
    return of_array(np.asarray(found(0.5) if callable(found) else found.ppf([0.1, 0.7])))


# ---- estimators


def sample() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    inputs = random.standard_normal((2500, 12)).astype("f4")
    return inputs, (inputs[:, 0] * inputs[:, 1] > 0.1).astype(int)


def sklearn() -> dict[str, Any]:
    import sklearn.cluster
    import sklearn.compose
    import sklearn.decomposition
    import sklearn.ensemble as ensemble
    import sklearn.feature_extraction.text as of_text
    import sklearn.gaussian_process
    import sklearn.linear_model as linear
    import sklearn.naive_bayes
    import sklearn.neighbors as neighbors
    import sklearn.neural_network
    import sklearn.pipeline
    import sklearn.preprocessing as preprocessing
    import sklearn.svm
    import sklearn.tree

    steps = [preprocessing.StandardScaler(), sklearn.decomposition.PCA(5), linear.LogisticRegression()]
    columns = [
        ("scaled", preprocessing.MinMaxScaler(), [0, 1]),
        ("bins", preprocessing.KBinsDiscretizer(quantile_method="averaged_inverted_cdf"), [2]),
    ]
    unfitted = {
        "random forest": ensemble.RandomForestClassifier(30, random_state=0),
        "extra trees": ensemble.ExtraTreesRegressor(20, random_state=0),
        "gradient boosting": ensemble.GradientBoostingClassifier(n_estimators=20, random_state=0),
        "histogram gradient boosting": ensemble.HistGradientBoostingRegressor(max_iter=30, random_state=0),
        "isolation forest": ensemble.IsolationForest(random_state=0),
        "a tree": sklearn.tree.DecisionTreeRegressor(random_state=0),
        "neighbours in a k-d tree": neighbors.KNeighborsClassifier(algorithm="kd_tree"),
        "neighbours in a ball tree": neighbors.KNeighborsRegressor(algorithm="ball_tree", metric="manhattan"),
        "neighbours, brute force": neighbors.KNeighborsClassifier(algorithm="brute"),
        "support vectors": sklearn.svm.SVC(probability=False),
        "linear support vectors": sklearn.svm.LinearSVC(),
        "naive Bayes": sklearn.naive_bayes.GaussianNB(),
        "logistic regression": linear.LogisticRegression(),
        "stochastic gradient descent": linear.SGDRegressor(random_state=0),
        "k-means": sklearn.cluster.KMeans(5, random_state=0, n_init=1),
        "a neural network": sklearn.neural_network.MLPClassifier((128,), max_iter=3, random_state=0),
        "a pipeline": sklearn.pipeline.make_pipeline(*steps),
        "columns and a forest": sklearn.pipeline.make_pipeline(
            sklearn.compose.ColumnTransformer(columns, sparse_threshold=0),
            ensemble.RandomForestRegressor(5, random_state=0),
        ),
        "a vote": ensemble.VotingClassifier(
            [("one", linear.LogisticRegression()), ("two", sklearn.naive_bayes.GaussianNB())]
        ),
    }
    inputs, wanted = sample()
    fitted: dict[str, Any] = {}
    for name, model in unfitted.items():
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that three rounds are too few for a network
            fitted[name] = model.fit(inputs, wanted)
    words = [f"word{number % 700} {number % 13}" for number in range(3000)]
    text = sklearn.pipeline.make_pipeline(of_text.TfidfVectorizer(), linear.SGDClassifier(random_state=0))
    process = sklearn.gaussian_process.GaussianProcessRegressor(random_state=0).fit(inputs[:200], wanted[:200])
    return fitted | {"words": text.fit(words, np.arange(3000) % 2), "a Gaussian process": process}


def tell_sklearn(found: Any) -> Any:
    inputs, _ = sample()
    if type(found[0]).__name__ == "TfidfVectorizer" if hasattr(found, "steps") else False:
        inputs = ["word5 3", "word77 1 word8"]
    said = [of_array(np.asarray(found.predict(inputs)))]
    for method in ("predict_proba", "decision_function"):
        if hasattr(found, method):
            said.append(of_array(np.asarray(getattr(found, method)(inputs))))
    return said


def boosters() -> dict[str, Any]:
    import lightgbm
    import xgboost

    inputs, wanted = sample()
    quiet = {"verbose": -1, "num_threads": 1}
    return {
        "xgboost classifier": xgboost.XGBClassifier(n_estimators=20, n_jobs=1).fit(inputs, wanted),
        "xgboost regressor": xgboost.XGBRegressor(n_estimators=20, n_jobs=1).fit(inputs, wanted),
        "xgboost booster": xgboost.train({"nthread": 1}, xgboost.DMatrix(inputs, wanted), 20),
        "lightgbm classifier": lightgbm.LGBMClassifier(n_estimators=20, **quiet).fit(inputs, wanted),
        "lightgbm regressor": lightgbm.LGBMRegressor(n_estimators=20, **quiet).fit(inputs, wanted),
        "lightgbm booster": lightgbm.train({"objective": "binary", **quiet}, lightgbm.Dataset(inputs, wanted), 20),
    }


def tell_boosters(found: Any) -> Any:
    inputs, _ = sample()
    if type(found).__module__ == "xgboost.core":
        import xgboost

        inputs = xgboost.DMatrix(inputs)
    return of_array(np.asarray(found.predict(inputs)))


# ---- arrow


def arrow() -> dict[str, Any]:
    import pyarrow as pa

    count = 50_000
    random = np.random.default_rng(0)
    columns = {
        "number": random.standard_normal(count),
        "missing": pa.array([1, None] * (count // 2)),
        "flag": pa.array([True, False, None, True] * (count // 4)),
        "text": [f"word {number}" for number in range(count)],
        "large text": pa.array([f"word {number}" for number in range(count)], pa.large_string()),
        "view of text": pa.array([f"a longer word, number {number}" for number in range(count)], pa.string_view()),
        "bytes": pa.array([b"x" * (number % 9) for number in range(count)]),
        "word of few": pa.array(["x", "y", None, "z"] * (count // 4)).dictionary_encode(),
        "list": pa.array([[1, 2], None, [], [3]] * (count // 4)),
        "struct": pa.array([{"a": 1, "b": "x"}, None] * (count // 2)),
        "when": pa.array(range(count), pa.timestamp("us", "UTC")),
        "decimal": pa.array(range(count)).cast(pa.decimal128(21, 2)),
    }
    table = pa.table(columns)
    return {
        "a table": table,
        "a slice": table.slice(10_000, 20_000),
        "chunks": pa.concat_tables([table, table]),
        "some columns": table.select(["text", "number"]),
        "a batch": table.to_batches()[0],
        "an array": table["text"].combine_chunks(),
        "a column": table["list"],
        "a schema": table.schema.with_metadata({"a": "b"}),
        "a buffer": pa.py_buffer(random.bytes(100_000)),
    }


def tell_arrow(found: Any) -> Any:
    import pyarrow as pa

    if isinstance(found, pa.Table | pa.RecordBatch):
        found.validate(full=True)
        return [str(found.schema), [digest(repr(column.to_pylist()).encode()) for column in found.columns]]
    if isinstance(found, pa.Array | pa.ChunkedArray):
        found.validate(full=True)
        return [str(found.type), digest(repr(found.to_pylist()).encode())]
    return digest(found) if isinstance(found, pa.Buffer) else str(found)


# ---- torch


def torch() -> dict[str, Any]:
    import warnings

    import torch as t

    class Tied(t.nn.Module):
        """Its input and its output share their weights, as those of language models do."""

        def __init__(self) -> None:
            super().__init__()
            self.read = t.nn.Embedding(500, 64)
            self.mix = t.nn.Sequential(t.nn.Linear(64, 64), t.nn.BatchNorm1d(64), t.nn.Dropout())
            self.write = t.nn.Linear(64, 500, bias=False)
            self.write.weight = self.read.weight
            self.register_buffer("mask", t.rand(64, 500) > 0.5)

        def forward(self, words: Any) -> Any:
            return self.write(self.mix(self.read(words)))

    t.manual_seed(0)
    plain = t.randn(200, 300)
    numbers = [t.uint8, t.int8, t.int16, t.int32, t.int64, t.uint16, t.uint32, t.uint64]
    floats = [t.float16, t.bfloat16, t.float32, t.float64, t.float8_e4m3fn, t.float8_e5m2]
    made = {f"{kind}": (t.rand(30_000) * 100).to(kind) for kind in [*numbers, *floats]}
    made |= {f"a little of {kind}": (t.rand(3) * 100).to(kind) for kind in [t.uint16, t.bfloat16, t.float8_e5m2]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch says that they will go
        made["quantized"] = t.quantize_per_tensor(plain, 0.1, 3, t.qint8)
        made["quantized by row"] = t.quantize_per_channel(plain, t.rand(200), t.zeros(200), 0, t.quint8)
        made["sparse in rows"] = plain.relu().to_sparse_csr()
    return made | {
        "bool": t.rand(30_000) > 0.5,
        "complex": t.randn(20_000, dtype=t.complex64),
        "conjugate": t.randn(20_000, dtype=t.complex64).conj(),
        "negated": t.randn(20_000, dtype=t.complex64).conj().imag,
        "transposed": plain.t(),
        "strided": plain[3:100:2, 5::7],
        "channels last": t.randn(4, 3, 32, 32).contiguous(memory_format=t.channels_last),
        "expanded": t.randn(300, 1).expand(300, 400),
        "0-d": t.tensor(2.5),
        "empty": t.empty(0, 3, dtype=t.int16),
        "wants a gradient": t.randn(9000, requires_grad=True),
        "a parameter": t.nn.Parameter(t.randn(9000)),
        "a frozen parameter": t.nn.Parameter(t.randn(9000), requires_grad=False),
        "sparse": plain.relu().to_sparse(),
        "from numpy": t.from_numpy(np.arange(9000.0)),
        "on no device": t.empty(5, 6, device="meta"),
        "a storage": t.arange(9000).untyped_storage(),
        "with an attribute": t.nn.Buffer(t.randn(9000)),
        "a device and a type": [t.device("cpu"), t.float8_e5m2, t.Size([2, 3])],
        "layers that share": Tied().eval(),
        "an optimizer": t.optim.Adam(Tied().parameters()).state_dict(),
        "a state": Tied().state_dict(),
        "a transformer": t.nn.TransformerEncoderLayer(64, 4, batch_first=True).eval(),
        "recurrent": t.nn.LSTM(32, 64, 2, batch_first=True).eval(),
        "views of one": (whole := t.randn(100, 100), whole[::2], whole.t(), whole[0].detach()),
    }


def tell_torch(found: Any) -> Any:
    import torch as t

    if isinstance(found, t.nn.Module):
        return tell_module(found)
    if isinstance(found, t.Tensor):
        return tell_tensor(found)
    if isinstance(found, t.UntypedStorage):
        return ["storage", digest(bytes(found))]
    if isinstance(found, dict):
        return {str(name): tell_torch(each) for name, each in found.items()}
    if isinstance(found, list | tuple) and not isinstance(found, t.Size):
        return [tell_torch(each) for each in found] + [shares(found)]
    return repr(found)


def shares(found: Any) -> list[int]:
    """Number the storages of tensors: those that share one have the same number."""
    met: dict[int, int] = {}
    at = [each.untyped_storage().data_ptr() for each in found if hasattr(each, "untyped_storage")]
    return [met.setdefault(address, len(met)) for address in at]


def tell_tensor(found: Any) -> Any:
    import torch as t

    said = [
        type(found).__name__,
        str(found.dtype),
        str(found.device),
        list(found.shape),
        str(found.layout),
        found.requires_grad,
    ]
    if found.device.type == "meta":
        return said
    if found.is_quantized:
        return [*said, str(found.qscheme()), list(found.stride()), digest(found.int_repr().numpy().tobytes())]
    if found.layout != t.strided:
        return [*said, tell_tensor(found.to_dense())]
    flags = [found.is_conj(), found.is_neg(), found.storage_offset(), list(found.stride()), found.is_contiguous()]
    plain = found.detach().resolve_conj().resolve_neg().contiguous()
    return [*said, *flags, digest(bytes(plain.untyped_storage()))]


def tell_module(found: Any) -> Any:
    import torch as t

    t.manual_seed(1)
    asked = {"Tied": lambda: t.arange(20), "LSTM": lambda: t.randn(2, 3, 32)}.get(
        type(found).__name__, lambda: t.randn(2, 3, 64)
    )
    answer = found(asked())
    state = found.state_dict(keep_vars=True)
    first = answer[0] if isinstance(answer, tuple) else answer
    return [
        tell_torch(dict(state)),
        shares(state.values()),
        found.training,
        [round(x, 3) for x in first.flatten().tolist()],
    ]


# ---- large models, whose memory is looked at


def large_arrays() -> Any:
    random = np.random.default_rng(0)
    return [random.standard_normal(200 * 131_072 // 16) for _ in range(16)]


def large_compressible() -> Any:
    return [np.repeat(array[: len(array) // 16], 16) for array in large_arrays()]


def large_forest() -> Any:
    """Return a forest of 200 MB: a few trees, and copies of them, for the time that more would take."""
    import copy

    import sklearn.ensemble

    random = np.random.default_rng(0)
    inputs = random.standard_normal((20_000, 10)).astype("f4")
    forest = sklearn.ensemble.RandomForestRegressor(4, random_state=0, max_features=3).fit(
        inputs, inputs[:, 0] * inputs[:, 1]
    )
    size = sum(
        tree.tree_.__getstate__()["nodes"].nbytes + tree.tree_.__getstate__()["values"].nbytes
        for tree in forest.estimators_
    )
    forest.estimators_ = [copy.deepcopy(tree) for _ in range(round(200e6 / size)) for tree in forest.estimators_]
    return forest


def large_torch() -> Any:
    import torch as t

    return t.nn.Sequential(*[t.nn.Linear(1300, 1300) for _ in range(30)])


def large_arrow() -> Any:
    import pyarrow as pa

    random = np.random.default_rng(0)
    return pa.table({f"column {number}": random.standard_normal(1_600_000) for number in range(16)})


def large_pandas() -> Any:
    import pandas as pd

    return pd.DataFrame(np.random.default_rng(0).standard_normal((400_000, 64)))


def large_text() -> Any:
    return {
        f"user-{number:08d}": f"value for user number {number * 7919 % 1_000_003:07d}" for number in range(1_500_000)
    }


LIBRARIES = {
    "large_forest": ["sklearn.ensemble", "sklearn.tree"],
    "large_torch": ["torch"],
    "large_arrow": ["pyarrow"],
    "large_pandas": ["pandas"],
}


def memory(what: str) -> int:
    """Return bytes: VmHWM is the most that this process ever held, VmRSS what it holds now."""
    lines = Path("/proc/self/status").read_text("ascii").splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith(what)))


def peak(kind: str, folder: Path) -> None:
    from thampi.runtime import bundle, codec

    if not (folder / kind).exists():
        thampi.save(Holder(globals()[kind]()), kind, folder, verify=False)
        return
    for name in ["numpy", *LIBRARIES.get(kind, [])]:
        __import__(name)
    about = bundle.read(folder / kind)
    if any(part.codec != codec.NONE for part in about.parts):
        codec.compress(b"")  # its import is no part of what a model takes
    before = memory("VmRSS")
    model = thampi.load(folder / kind)
    most, holds = memory("VmHWM") - before, memory("VmRSS") - before
    del model
    after = memory("VmRSS") - before
    content = sum(part.size for part in about.parts)
    print(
        json.dumps({"peak": most / content, "peak/steady": most / holds, "left": after / content, "content": content})
    )


FAMILIES: dict[str, Callable[[], dict[str, Any]]] = {
    make.__name__: make for make in (numpy, pandas, scipy, sklearn, boosters, arrow, torch)
}


def tell(family: str, models: dict[str, Any]) -> dict[str, Any]:
    say = functools.partial(globals()[f"tell_{family}"])
    return {name: say(model) for name, model in models.items()}


def save(family: str, folder: Path) -> None:
    models = FAMILIES[family]()
    thampi.save(Holder(models), family, folder, verify=False)
    print(json.dumps(tell(family, models)))


def load(family: str, folder: Path) -> None:
    print(json.dumps(tell(family, thampi.load(folder / family).held)))


if __name__ == "__main__":
    {"save": save, "load": load, "peak": peak}[sys.argv[1]](sys.argv[2], Path(sys.argv[3]))
