"""How much further off forecasts are where a model or a device that is not known is stood in for.

    python -m bench.stand_ins [--data DIR]

Every model (device) of a table is left out of the fit, in five parts, and taken out of the catalog; its rows are
predicted with what stands in, and with the dimensions (the device) itself. The 90% quantile of the logarithm between
the two is what the tables widen such intervals by.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import patch

import numpy as np

from bench.heldout import DATA, folds_of
from bench.report import table
from pennyweight.catalog.models import model, model_names
from pennyweight.cost.nearest_model import Nearest, known_model, nearest_model, stand_in
from pennyweight.errors import UnknownNameError
from pennyweight.layout.energy import shapes
from pennyweight.layout.rows import Rows
from pennyweight.layout.tables import accelerators, energy_serving, mlperf_inference, mlperf_served, nemo, tpu
from pennyweight.layout.tables import mlperf_training as trained

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from numpy.typing import NDArray

    from pennyweight.core.dims import Dims
    from pennyweight.layout.tables.table import Learnt, Table

_QUANTILE = 0.9
_FOLDS = 5


def main() -> None:
    """Print a line per table and what is stood in for."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--data", type=Path, default=DATA, help="the folder of measured tables")
    data = options.parse_args().data
    heads = ["table", "stood in for", "rows", "median", "90%", "error", "error with what stands in"]
    table(heads, [*_models(data), *_devices(data)])


def _models(data: Path) -> list[list[str]]:
    bridge = Rows.read(data / "training" / "train_nvidia_nemo_megatron_bridge.csv")
    recipes = Rows.read(data / "training" / "train_tpu_recipes.csv")
    served = Rows.read(data / "serving" / "mlperf_inference_v5.1.csv")
    energy = Rows.read(data / "energy" / "serving_energy_mlenergy_v3.csv")
    return [
        _line(nemo.TABLE, bridge, "model", nemo),
        _line(tpu.TABLE, recipes, "model", tpu),
        _line(mlperf_inference.TABLE, served, "Model", mlperf_served),
        _line(energy_serving.TABLE, energy, "model_id", shapes),
    ]


def _devices(data: Path) -> list[list[str]]:
    columns = {
        nemo.TABLE: ("training/train_nvidia_nemo_megatron_bridge.csv", "system"),
        tpu.TABLE: ("training/train_tpu_recipes.csv", "chip"),
        trained.TABLE: ("training/mlperf_training_v5.0.csv", "accelerator"),
        mlperf_inference.TABLE: ("serving/mlperf_inference_v5.1.csv", "Accelerator"),
        energy_serving.TABLE: ("energy/serving_energy_mlenergy_v3.csv", "gpu_model"),
    }
    return [_device_line(kind, Rows.read(data / file), column) for kind, (file, column) in columns.items()]


def _line(kind: Table, rows: Rows, column: str, module: ModuleType) -> list[str]:
    """Of all models of a table that the catalog has."""

    def predict(learnt: Learnt, asked: Rows, name: str) -> NDArray[np.float64]:
        known = known_model(str(mlperf_served.bare([name])[0]))
        but = [] if known is None else _same(known)

        def without(text: str) -> Nearest:
            return stand_in(text, but)

        with _patched(module, without):
            return _values(learnt, asked)

    names = [str(each) for each in np.unique(rows.text(column)) if known_model(str(mlperf_served.bare([each])[0]))]
    return _compared(kind, rows, (column, "model"), names, predict)


def _device_line(kind: Table, rows: Rows, column: str) -> list[str]:
    def predict(learnt: Learnt, asked: Rows, name: str) -> NDArray[np.float64]:
        found = accelerators.stand_in(name, accelerators.named(name).name)
        texts = np.full(len(asked), found.name if found else name)
        return _values(learnt, Rows({**asked.columns, column: texts}, asked.lines))

    return _compared(kind, rows, (column, "device"), [str(each) for each in np.unique(rows.text(column))], predict)


def _compared(
    kind: Table,
    rows: Rows,
    told: tuple[str, str],
    names: list[str],
    predict: Callable[[Learnt, Rows, str], NDArray[np.float64]],
) -> list[str]:
    column, what = told
    texts = rows.text(column)
    found: list[NDArray[np.float64]] = []
    for inside in folds_of(texts, _FOLDS):
        learnt = kind.learn(rows.take(~inside))
        for name in sorted(set(names) & set(texts[inside].tolist())):
            asked = rows.take(texts == name)
            measured = next(iter(kind.measured(asked).values()))
            try:
                found.append(np.stack([_values(learnt, asked), predict(learnt, asked, name), measured]))
            except UnknownNameError:
                continue
    exact, stood, measured = np.concatenate(found, axis=1)
    known = np.isfinite(exact) & np.isfinite(stood) & np.isfinite(measured)
    off = np.abs(np.log(stood / exact))[known]
    errors = [np.abs(each[known] / measured[known] - 1).mean() for each in (exact, stood)]
    shares = [np.median(off), np.quantile(off, _QUANTILE)]
    return [kind.name, what, f"{known.sum()}", *(f"{each:.2f}" for each in shares), *(f"{each:.1%}" for each in errors)]


def _values(learnt: Learnt, rows: Rows) -> NDArray[np.float64]:
    return next(iter(learnt.predict(rows).values())).value


def _same(known: Dims) -> list[str]:
    """The models of the catalog with the same sizes."""
    sizes = (known.layers, known.hidden, known.experts)
    every = ((name, model(name)) for name in model_names())
    return [name for name, d in every if (d.layers, d.hidden, d.experts) == sizes]


class _patched:  # ruff: ignore[invalid-class-name] - read as the word it is in `with`
    """Names of models mean what `without` says, in one module, for a while; nothing is remembered from before."""

    def __init__(self, module: ModuleType, without: Callable[[str], Nearest]) -> None:
        self._module = module
        self._patch = patch.object(module, "nearest_model", without)

    def __enter__(self) -> None:
        self._forget()
        self._patch.start()

    def __exit__(self, *_: object) -> None:
        self._patch.stop()
        self._forget()

    def _forget(self) -> None:
        for each in vars(self._module).values():
            if hasattr(each, "cache_clear") and each is not nearest_model:
                each.cache_clear()


if __name__ == "__main__":
    main()
