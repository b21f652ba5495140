"""Jobs are made from what people have, and everything wrong with it is said before anything is spent."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from pennyweight.core import Demand, Floor, Form, Limits, Slack, Task, TrainSpec
from pennyweight.cost.count import params
from pennyweight.data.splits import Arrays, Splits
from pennyweight.errors import BadInputError, UnknownNameError
from pennyweight.jobs import from_loader, load_recipe, sklearn_job, table, torch_job

FLOOR = Floor("accuracy", 0.1)


def small():
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))


def rows(count=300):
    generator = np.random.default_rng(0)
    y = np.arange(count) % 3
    return (generator.normal(size=(count, 4)) + y[:, None]).astype(np.float32), y


def test_a_torch_job_is_counted_and_measured():
    x, y = rows()
    x[1], y[1] = x[0], y[0]
    job = torch_job(
        "small", small, (x, y), FLOOR, demand=Demand(5e6, batch=4), limits=Limits(usd=1), shares=(0.5, 0.25, 0.25)
    )
    data = job.spec.data
    assert (job.backend, job.spec.form, params(job.spec)) == ("torch", Form.MODULE, 4 * 8 + 8 + 8 * 3 + 3)
    assert (data.rows, data.row_byte, data.task, data.classes) == (150, 4 * 4 + 8, Task.CLASSIFY, 3)
    assert data.scaled
    assert data.missing == 0
    assert (job.spec.serve.runtime, job.spec.serve.batch, job.limits.usd) == ("torch", 4, 1)
    assert job.material.splits.sizes == (150, 75, 75)


def test_the_share_of_doubled_rows_is_measured():
    x, y = rows(100)
    parts = Arrays(np.repeat(x, 4, axis=0), np.repeat(y, 4))
    job = torch_job("small", small, Splits(parts, parts, parts), FLOOR)
    assert job.spec.data.duplicates == pytest.approx(0.75)


def test_columns_of_very_different_size_are_not_scaled():
    x, y = rows()
    assert not torch_job("small", small, (x * np.float32([1, 1, 1, 1000]), y), FLOOR).spec.data.scaled


def test_the_fingerprint_names_model_data_and_training():
    x, y = rows()

    def wider():
        return nn.Sequential(nn.Linear(4, 9), nn.ReLU(), nn.Linear(9, 3))

    def smoother():
        return nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 3))

    other = x.copy()
    other[7, 1] += 1e-3
    base = torch_job("small", small, (x, y), FLOOR)
    assert base == torch_job("small", small, (x.copy(), y.copy()), FLOOR)
    prints = [
        torch_job("small", make, (each, y), FLOOR, train=train).fingerprint
        for make, each, train in [
            (small, x, TrainSpec()), (wider, x, TrainSpec()), (smoother, x, TrainSpec()),
            (small, other, TrainSpec()), (small, x, TrainSpec(epochs=2)),
        ]
    ]  # fmt: skip
    assert prints[0] == base.fingerprint
    assert len(set(prints)) == 5


def test_values_and_tokens_are_told_by_metric_and_labels():
    x, _ = rows()
    values = torch_job("values", lambda: nn.Linear(4, 1), (x, x.sum(1)), Floor("rmse", 0.1, Slack.RATIO))
    assert values.spec.data.task is Task.REGRESS
    assert values.material.splits.train.y.dtype == np.float32
    tokens = np.random.default_rng(0).integers(0, 7, (150, 5), dtype=np.uint8)
    talk = torch_job(
        "talk",
        lambda: nn.Sequential(nn.Embedding(7, 4), nn.Linear(4, 7)),
        (tokens, tokens),
        Floor("perplexity", 0.01, Slack.RATIO),
    )
    assert (talk.spec.data.task, talk.spec.data.classes, talk.material.dtype) == (Task.LANGUAGE, 7, "int64")


def test_bytes_of_pictures_become_floats_and_a_floor_may_be_text():
    x = np.random.default_rng(0).integers(0, 255, (300, 4), dtype=np.uint8)
    job = torch_job("small", small, (x, rows()[1]), "accuracy=80%")
    assert job.material.dtype == "float32"
    assert job.floor == Floor("accuracy", 0.8, Slack.ABSOLUTE)


def test_an_estimator_job_is_counted_too():
    x, y = rows()
    job = sklearn_job("linear", LogisticRegression(), (x, y), FLOOR, demand=Demand(batch=2))
    assert (job.backend, job.spec.form, job.spec.data.classes) == ("sklearn", Form.ESTIMATOR, 3)
    assert params(job.spec) == 4 * 3 + 3
    assert job.fingerprint != sklearn_job("linear", LogisticRegression(C=2), (x, y), FLOOR).fingerprint
    values = sklearn_job("values", Ridge(), (x, x.sum(1)), Floor("r2", 0.01))
    assert (values.spec.data.task, values.spec.data.classes) == (Task.REGRESS, 0)


def test_holes_are_accepted_by_estimators_that_take_them_and_refused_by_others():
    x, y = rows()
    x[::10, 1] = np.nan
    job = sklearn_job("holes", HistGradientBoostingClassifier(max_iter=2), (x, y), FLOOR, stratify=False)
    assert 0.02 < job.spec.data.missing < 0.2
    for make in (
        lambda: sklearn_job("no", LogisticRegression(), (x, y), FLOOR),
        lambda: torch_job("no", small, (x, y), FLOOR),
    ):
        with pytest.raises(BadInputError, match=r"NaN or infinity in column 1 .* fill or drop"):
            make()


def with_label(y, value):
    return np.where(np.arange(len(y)) == 5, value, y)


X, Y = rows()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ((X, Y[:-1]), "one label per row"),
        ((X[:0], Y[:0]), "no rows"),
        ((X.astype(object), Y), "objects, not numbers"),
        ((X, Y.astype(str)), "number"),
        ((X, with_label(Y, np.nan)), "NaN"),
        ((X, with_label(Y, np.inf)), "infinit"),
        ((X, Y + 0.5), "not whole numbers"),
        ((X, np.where(Y == 1, -1, Y)), "from -1 to 2"),
        ((X, np.where(Y == 1, 3, Y)), "from 0 to 3, but the model knows 3"),
        ((X, np.stack([Y, Y], 1)), "logits of shape"),
        ((X[:, :3], Y), "shape the model expects"),
        (([[1.0, 2.0], [3.0]], [0, 1]), "differ in shape"),
        (7, "DataLoader"),
        ((X[:20], Y[:20]), "rows to certify"),
    ],
)
def test_what_is_wrong_with_the_data_is_said(data, said):
    with pytest.raises(BadInputError, match=said):
        torch_job("small", small, data, FLOOR)


def test_labels_of_estimators_are_numbered_without_gaps():
    with pytest.raises(BadInputError, match=r"are 0, 2, not 0, 1, 2"):
        sklearn_job("gaps", LogisticRegression(), (X, np.where(Y == 1, 2, Y)), FLOOR)
    with pytest.raises(BadInputError, match="reshape"):
        sklearn_job("cube", LogisticRegression(), (X[:, :, None], Y), FLOOR)


def test_an_unknown_metric_is_answered_with_the_nearest():
    with pytest.raises(UnknownNameError, match="accuracy"):
        torch_job("small", small, (X, Y), Floor("acuracy", 0.1))


@pytest.mark.parametrize(("amount", "needed"), [(0.03, 102), (0.003, 1033)])
def test_too_few_rows_for_the_floor_says_how_many_are_needed(amount, needed):
    with pytest.raises(BadInputError, match=f"at least {needed}"):
        torch_job("small", small, (X, Y), Floor("accuracy", amount))


def test_a_factory_that_makes_no_module_is_refused():
    with pytest.raises(BadInputError, match=r"not a torch\.nn\.Module"):
        torch_job("small", lambda: "model", (X, Y), FLOOR)


class Stream(IterableDataset):
    def __iter__(self):
        return ((torch.tensor([float(number)]), number % 2) for number in range(6))


def test_a_loader_is_read_whole_and_in_order_however_it_shuffles():
    data = TensorDataset(torch.from_numpy(X), torch.from_numpy(Y))
    x, y = from_loader(DataLoader(data, batch_size=7, shuffle=True, drop_last=True))
    assert np.array_equal(x, X)
    assert np.array_equal(y, Y)
    assert from_loader(Stream())[0].shape == (6, 1)
    whole = torch_job("small", small, DataLoader(data, batch_size=7, shuffle=True), FLOOR)
    assert whole == torch_job("small", small, (X, Y), FLOOR)


def test_three_parts_become_the_three_splits():
    data = TensorDataset(torch.from_numpy(X), torch.from_numpy(Y))
    job = torch_job("small", small, (data, (X[:90], Y[:90]), DataLoader(data)), FLOOR)
    assert job.material.splits.sizes == (300, 90, 300)


@pytest.mark.parametrize("data", [[(1.0, 2, 3)], [], [(np.ones(2), 0), (np.ones(3), 1)]])
def test_a_loader_without_pairs_is_refused(data):
    with pytest.raises(BadInputError, match="To fix:"):
        from_loader(data)


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_a_table_is_read_with_its_holes_and_its_words(tmp_path):
    path = write(tmp_path / "t.csv", "\ufeffage;city;size;kind\n1;Bern;2.5;cat\n2;Rome;;dog\n\n3;Oslo;NA;cat\n")
    x, y = table(path, "kind", drop=["city"])
    assert np.array_equal(x, [[1, 2.5], [2, np.nan], [3, np.nan]], equal_nan=True)
    assert y.tolist() == [0, 1, 0]
    assert table(path, "age", drop=["city", "kind"])[1].dtype == np.int64


@pytest.mark.parametrize(
    ("text", "target", "said"),
    [
        ("a,kind\n1,2\n", "kinds", "use one of: kind"),
        ("a,b\nx,2\n", "b", r"'x' in line 2.*drop=\['a'\]"),
        ("a,b\n1,\n", "b", "empty in line 2"),
        ("a,b\n1,2,3\n", "b", "3 cells"),
        ("a,b\n", "b", "no rows"),
        ("b\n1\n", "b", "no column but"),
        ("b,b,a\n1,2,3\n", "b", "2 columns"),
    ],
)
def test_what_is_wrong_with_a_table_is_said(tmp_path, text, target, said):
    with pytest.raises(BadInputError, match=said):
        table(write(tmp_path / "t.csv", text), target)


def test_a_table_that_is_missing_or_no_text_is_refused(tmp_path):
    with pytest.raises(BadInputError, match="no file"):
        table(tmp_path / "t.csv", "b")
    (tmp_path / "t.csv").write_bytes(b"\xff\xfe\x00a")
    with pytest.raises(BadInputError, match="UTF-8"):
        table(tmp_path / "t.csv", "b")


numbers = st.floats(allow_nan=False, allow_infinity=False, width=32)


@given(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=5))
def test_a_table_reads_what_was_written(tmp_path_factory, values):
    path = tmp_path_factory.mktemp("table") / "t.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("a", "b"), *values])
    x, y = table(path, "b")
    assert np.array_equal(x[:, 0], [one for one, _ in values])
    assert np.array_equal(y, [two for _, two in values])


RECIPE = """
import numpy as np
from torch import nn
from beside import WIDTH
from pennyweight.core import Floor
from pennyweight.jobs import torch_job

def network():
    return nn.Linear(WIDTH, 2)

def job(data=None):
    x = np.random.default_rng(0).normal(size=(200, WIDTH))
    return torch_job(str(data), network, (x, np.arange(200) % 2), Floor("accuracy", 0.1))
"""


def test_a_recipe_is_run_with_what_lies_beside_it_and_has_one_fingerprint_everywhere(tmp_path):
    prints = []
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        write(folder / "beside.py", "WIDTH = 3\n")
        job = load_recipe(write(folder / "recipe.py", RECIPE), folder)
        prints.append(job.fingerprint)
        assert job.name == str(folder)
    assert prints[0] == prints[1]
    assert load_recipe(tmp_path / "one" / "recipe.py").name == "None"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def job(", "line 1 with SyntaxError"),
        ("\nimport no_such_module_here", "line 2 with ModuleNotFoundError"),
        ("x = 1", "no function job"),
        ("def job(data=None):\n    return 7", "gives a int"),
        ("def job(data=None):\n    return 1 / 0", "line 2 with ZeroDivisionError"),
        ("def job(data):\n    return 7", "needs data"),
        ("raise SystemExit(3)", "ends Python"),
    ],
)
def test_a_recipe_that_fails_says_where(tmp_path, text, said):
    with pytest.raises(BadInputError, match=said):
        load_recipe(write(tmp_path / "recipe.py", text))


def test_a_recipe_or_its_data_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(BadInputError, match="no recipe"):
        load_recipe(tmp_path / "recipe.py")
    recipe = write(tmp_path / "recipe.py", "def job(data=None):\n    return 7")
    with pytest.raises(BadInputError, match=r"no .*nowhere"):
        load_recipe(recipe, tmp_path / "nowhere")
    with pytest.raises(BadInputError, match="takes no data"):
        load_recipe(write(tmp_path / "other.py", "def job():\n    return 7"), tmp_path)


def test_a_recipe_that_fails_names_its_line_however_its_path_is_written(tmp_path, monkeypatch):
    (tmp_path / "half.py").write_text("def job():\n    return 1 / 0\n")
    monkeypatch.chdir(tmp_path)
    for path in (Path("half.py"), tmp_path / "half.py"):
        with pytest.raises(BadInputError, match=r"half.py fails in line 2 with ZeroDivisionError"):
            load_recipe(path)
