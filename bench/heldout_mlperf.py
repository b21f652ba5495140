"""Errors on MLPerf systems, machine families, accelerators and models never seen, and on TPU recipes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.heldout import Line, lines, report
from pennyweight.layout.rows import Rows
from pennyweight.layout.tables import mlperf_inference, mlperf_training, tpu

if TYPE_CHECKING:
    from pathlib import Path


def results(data: Path) -> list[Line]:
    """Lines of all tables."""
    trained = Rows.read(data / "training" / "mlperf_training_v5.0.csv")
    recipes = Rows.read(data / "training" / "train_tpu_recipes.csv")
    served = Rows.read(data / "serving" / "mlperf_inference_v5.1.csv")
    return [
        *lines(mlperf_training.TABLE, trained, {("system", "step_time_s"): 0.10}),
        *lines(tpu.TABLE, recipes, {}),
        *lines(mlperf_inference.TABLE, served, {}),
    ]


if __name__ == "__main__":
    report(results)
