"""Every learner on the same measured tables, held out by whole group: which is used where is decided here.

Each learns log(measured / formula), where the formula is the plainest there is (operations or bytes over the hardware's
rate), from a handful of logarithms that one can read off a configuration. None is tuned to a table. The baseline is one
constant utilisation: the median of what it learns from. Intervals are conformal, from groups left out of the rows
learned from.
"""

from __future__ import annotations

import argparse
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.dummy import DummyRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from bench.heldout import DATA, folds_of
from bench.report import emit, table
from pennyweight.cost.learn.adaline import Adaline
from pennyweight.cost.learn.bayesian import BayesianRidge
from pennyweight.cost.learn.boosting import Boosting
from pennyweight.cost.learn.conformal import Conformal
from pennyweight.cost.learn.leaving import predict_left_out
from pennyweight.cost.learn.weighted import LocallyWeightedRegression
from pennyweight.layout.rows import Rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

INNER = 5
A100_FLOP_S = 312e12
HBM_BYTE_S = {"h100": 3.35e12, "h200": 4.8e12, "b200": 8e12, "gb200": 8e12, "gb300": 8e12}  # published, per GPU
WATT = {"h100": 700.0, "b200": 1000.0}  # published limits
WEIGHT_BYTE = {"bf16": 2.0, "bfloat16": 2.0, "fp8": 1.0, "fp4": 0.5, "mxfp4": 0.5}
SIZES = {  # billions of parameters, all and active, as published
    "DeepSeek": (671.0, 37.0),
    "gpt-oss-120b": (116.8, 5.1),
    "Llama-3.1-70B": (70.6, 70.6),
    "Llama-3.1-8B": (8.0, 8.0),
    "MiniMax-M2.5": (230.0, 10.0),
    "Qwen3.5-397B": (397.0, 17.0),
    "Qwen3-235B": (235.0, 22.0),
    "Qwen3-32B": (32.8, 32.8),
}


@dataclass(frozen=True)
class Task:
    """A table of n rows: what was `measured`, what the `formula` says but for a factor, features (n, d) and groups."""

    name: str
    key: str
    measured: Floats
    formula: Floats
    features: Floats
    groups: NDArray[Any]

    @property
    def logs(self) -> Floats:
        """What is learned (n,)."""
        found: Floats = np.log(self.measured / self.formula)
        return found


LEARNERS: dict[str, Callable[[], Any]] = {
    "constant utilisation": lambda: DummyRegressor(strategy="median"),
    "ridge": lambda: make_pipeline(StandardScaler(), RidgeCV(np.logspace(-3, 3, 13))),
    "BayesianRidge": BayesianRidge,
    "Adaline": Adaline,
    "LWR rbf": lambda: LocallyWeightedRegression("rbf"),
    "LWR polynomial": lambda: LocallyWeightedRegression("polynomial"),
    "LWR laplacian": lambda: LocallyWeightedRegression("laplacian"),
    "boosting": Boosting,
}


def vtrain(data: Path) -> list[Task]:
    """Training on A100: many nodes, by model size; one node, by layout."""
    rows = Rows.read(data / "training" / "train_vtrain_a100.csv")
    many = np.char.startswith(rows.text("set"), "multi")
    return [_training(rows.take(many), "size"), _training(rows.take(~many), "layout")]


def _training(rows: Rows, split: str) -> Task:
    number = rows.number
    batch, seq, layers, hidden = (number(name) for name in ("global_batch", "seq_len", "layers", "hidden"))
    # with everything computed twice on the way back (Narayanan et al. 2021, equation 3)
    flop = 96 * batch * seq * layers * hidden**2 * (1 + seq / (6 * hidden) + number("vocab") / 16 / layers / hidden)
    key, name, columns = {
        "layout": ("single", "training, one node", ("tp", "dp", "pp")),
        "size": ("multi", "training, many nodes", ("layers", "hidden")),
    }[split]
    ideal, measured = flop / number("n_gpus") / A100_FLOP_S, number("step_time_ms") / 1e3
    return Task(f"{name}, by {split}", key, measured, ideal, _layouts(rows), _joined(rows, columns))


def _layouts(rows: Rows) -> Floats:
    layers, hidden, seq, micro, tp, dp, pp, batch = (
        rows.number(name) for name in ("layers", "hidden", "seq_len", "micro_batch", "tp", "dp", "pp", "global_batch")
    )
    steps = batch / dp / micro
    found: Floats = np.log(np.column_stack([layers, hidden, micro * seq, tp, dp, pp, steps, 1 + (pp - 1) / steps]))
    return found


def energy(data: Path) -> list[Task]:
    """Joules per token of served language models, by model."""
    rows = Rows.read(data / "energy" / "serving_energy_mlenergy_v3.csv")
    rows = rows.take(np.isfinite(rows.number("energy_per_token_joules")))
    number, text = rows.number, rows.text
    total, active, batch = (
        number("total_params_billions"),
        number("activated_params_billions"),
        number("avg_batch_size"),
    )
    device = np.char.lower(text("gpu_model"))
    watt, rate = _look(WATT, device), _look(HBM_BYTE_S, device)
    byte = _look(WEIGHT_BYTE, text("weight_precision")) * 1e9 * np.minimum(total, active * batch)
    gpus, length = number("num_gpus"), number("avg_output_len")
    plain = np.log(np.column_stack([active, total, batch, gpus, length, byte, rate]))
    return [
        Task(
            "energy per token, by model",
            "energy",
            number("energy_per_token_joules"),
            byte / rate * watt / batch,
            np.column_stack([plain, number("expert_parallel") > 1, number("data_parallel") > 1]),
            text("model_id"),
        )
    ]


def serving(data: Path) -> list[Task]:
    """Seconds per output token of aggregated serving, by model; models of one architecture are one group."""
    rows = Rows.read(data / "serving" / "serving_silicon_with_aic0120_predictions.csv")
    rows = rows.take((rows.text("mode") == "agg") & np.isfinite(rows.number("batch_size", np.nan)))
    rows = rows.take(np.isfinite(rows.number("silicon_tpot_ms")))
    number, text = rows.number, rows.text
    names = np.array([next(name for name in SIZES if name in path) for path in text("model_path")])
    total, active = np.array([SIZES[name] for name in names]).T
    rate = _look(HBM_BYTE_S, np.char.partition(text("system"), "_")[:, 0])
    batch, tp, dp = number("batch_size"), number("tp_size"), np.maximum(number("attention_dp_size", 1.0), 1.0)
    byte = _look(WEIGHT_BYTE, text("precision")) * 1e9 * np.minimum(total, active * batch)
    plain = np.log(np.column_stack([active, total, batch, tp, dp, number("isl"), number("osl"), byte, rate]))
    engines = [text("backend") == name for name in ("vllm", "sglang", "trtllm")]
    formula = byte / rate / tp / dp
    features = np.column_stack([plain, *engines])
    return [Task("time per token, by model", "serving", number("silicon_tpot_ms") / 1e3, formula, features, names)]


def _look(facts: dict[str, float], names: NDArray[np.str_]) -> Floats:
    return np.array([facts[str(name)] for name in names])


def _joined(rows: Rows, names: tuple[str, ...]) -> NDArray[Any]:
    return np.array(["/".join(each) for each in zip(*(rows.text(name) for name in names), strict=True)])


def fitted(make: Callable[[], Any], x: Floats, y: Floats, groups: NDArray[Any]) -> Any:
    """A learner fitted to rows; one that chooses a bandwidth leaves whole groups out for it."""
    model = make()
    more = {"groups": groups} if isinstance(model, LocallyWeightedRegression) else {}
    return model.fit(x, y, **more)


def held_out(make: Callable[[], Any], task: Task) -> tuple[float, float, float, float]:
    """Mean and median relative error on groups never seen, how many rows the 90% interval holds, and CPU seconds."""
    x, y, groups = task.features, task.logs, task.groups
    off, held, began = np.empty(len(y)), np.empty(len(y), dtype=np.bool_), time.process_time()
    for asked in folds_of(groups, 10):
        seen = ~asked
        off[asked] = y[asked] - fitted(make, x[seen], y[seen], groups[seen]).predict(x[asked])
        held[asked] = _interval(make, x[seen], y[seen], groups[seen]).holds(off[asked])
    error = np.abs(np.expm1(-off))
    return float(error.mean()), float(np.median(error)), float(held.mean()), time.process_time() - began


def _interval(make: Callable[[], Any], x: Floats, y: Floats, groups: NDArray[Any]) -> Conformal:
    def predict(seen: NDArray[np.bool_], asked: NDArray[np.bool_]) -> Floats:
        found: Floats = fitted(make, x[seen], y[seen], groups[seen]).predict(x[asked])
        return found

    return Conformal.of(y - predict_left_out(predict, groups, INNER), groups)


def main() -> None:
    """Print the table; its last line is JSON."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--data", type=Path, default=DATA, help="the folder of measured tables")
    data = options.parse_args().data
    warnings.simplefilter("ignore", ConvergenceWarning)
    lines, figures = [], {}
    for task in (*vtrain(data), *energy(data), *serving(data)):
        for name, make in LEARNERS.items():
            mean, median, held, cpu_s = held_out(make, task)
            many = str(len(task.measured)), str(len(np.unique(task.groups)))
            shares = (f"{100 * share:.1f}%" for share in (mean, median, held))
            lines.append([task.name, *many, name, *shares, f"{cpu_s:.1f}"])
            figures[f"{task.key}_{name.replace(' ', '_').lower()}_mape"] = mean
    table(["table", "rows", "groups", "learner", "MAPE", "median", "90% holds", "CPU s"], lines)
    emit("learners", figures, 1)


if __name__ == "__main__":
    main()
