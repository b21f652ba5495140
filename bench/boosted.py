"""Compact trees against scikit-learn's own prediction of the same trees: the same answers, rows per CPU second."""

from __future__ import annotations

import json
import time
from typing import Any

import numpy as np
from sklearn.ensemble import HistGradientBoostingRegressor

from bench.report import emit, table
from pennyweight.cost.learn.boosted import Boosted

ROWS, FEATURES, RUNS = 400_000, 8, 5
SHAPES = ((64, 4), (200, 8))


def rows_per_s(model: Any, x: np.ndarray) -> float:
    """Rows per second of CPU time, all threads together: the median of some runs."""
    model.predict(x[:1000])
    found = []
    for _ in range(RUNS):
        began = time.process_time()
        model.predict(x)
        found.append(len(x) / (time.process_time() - began))
    return float(np.median(found))


def main() -> None:
    """Print the table; its last line is JSON."""
    random = np.random.default_rng(0)
    x, asked = random.normal(size=(2000, FEATURES)), random.normal(size=(ROWS, FEATURES))
    lines, figures = [], {}
    for trees, leaves in SHAPES:
        model = HistGradientBoostingRegressor(max_iter=trees, max_leaf_nodes=leaves, early_stopping=False)
        model.fit(x, np.sin(x).sum(axis=1))
        kept = Boosted.of(model)
        off = float(np.abs(kept.predict(asked) - model.predict(asked)).max())
        ours, theirs = rows_per_s(kept, asked), rows_per_s(model, asked)
        size = len(json.dumps(kept.to_dict()))
        lines.append([f"{trees} of {leaves} leaves", ours, theirs, f"{ours / theirs:.1f}x", off, size])
        figures |= {f"rows_per_s_{trees}": ours, f"ratio_{trees}": ours / theirs}
    table(["trees", "rows/CPU s", "scikit-learn", "ratio", "largest difference", "JSON bytes"], lines)
    emit("boosted", figures, RUNS)


if __name__ == "__main__":
    main()
