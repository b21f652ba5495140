"""Accuracy without labels: what calibrated confidence says beside the truth, on digits that shift."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from bench.report import table
from pennyweight.serve.watch.cbpe import Cbpe
from pennyweight.serve.watch.reference import Reference

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Numbers = NDArray[np.float64]

TRAIN, KNOWN = 150, 1000  # examples that the model learns from, and those after them whose labels are known


def unlabelled(repeats: int) -> dict[str, float]:
    """Accuracy on digits without labels: estimated beside true, on windows drawn unlike the reference."""
    from sklearn.datasets import load_digits

    lines, figures = [], {}
    pixels, digit = load_digits(return_X_y=True)
    for shift in ("none", "ink", "classes"):
        for way in ("isotonic", "temperature", "none"):
            told = np.array([_told(pixels, digit, (shift, way, seed)) for seed in range(max(10, repeats // 25))])
            off, bias, inside = np.abs(told[:, 0]).mean(), told[:, 0].mean(), told[:, 1].mean()
            figures[f"cbpe_{shift}_{way}_error"] = float(off)
            if way != "none":
                figures[f"cbpe_{shift}_{way}_inside"] = float(inside)
            lines.append([shift, way, 100 * off, 100 * bias, f"{inside:.0%}" if way != "none" else "-"])
    table(["shift", "calibration", "mean error, points", "bias", "true within 95%"], lines)
    return figures


def _told(pixels: Numbers, digit: NDArray[Any], case: tuple[str, str, int]) -> tuple[float, float]:
    """How far the estimate is off, and whether the truth is in its interval."""
    from sklearn.linear_model import LogisticRegression

    shift, way, seed = case
    rng = np.random.default_rng(seed)
    x, y = _blurred(pixels, digit, rng)
    p = LogisticRegression(C=0.5, max_iter=200).fit(x[:TRAIN], y[:TRAIN]).predict_proba(x)
    rest = _shifted(x[KNOWN:], y[KNOWN:], shift, rng) + KNOWN
    true = float((p[rest].argmax(axis=1) == y[rest]).mean())
    if way == "none":
        return float(p[rest].max(axis=1).mean()) - true, 0.0
    known = Reference.of(x[TRAIN:KNOWN], p[TRAIN:KNOWN], y[TRAIN:KNOWN])
    told = Cbpe.fit(known, way, seed).estimate(p[rest])
    return told.mean - true, float(told.low <= true <= told.high)


def _blurred(pixels: Numbers, digit: NDArray[Any], rng: np.random.Generator) -> tuple[Numbers, NDArray[Any]]:
    """The digits in a new order, with noise, so that there is something to be wrong about."""
    order = rng.permutation(len(digit))
    return pixels[order] / 16 + 0.35 * rng.normal(size=pixels.shape), digit[order]


def _shifted(x: Numbers, y: NDArray[Any], shift: str, rng: np.random.Generator) -> NDArray[np.int64]:
    """400 rows drawn unlike the reference: more of those with little ink, or more of the digits 1, 8 and 9."""
    ink = x.mean(axis=1)
    weight = {"none": np.ones(len(x)), "ink": np.exp(-2 * (ink - ink.mean()) / ink.std())}.get(
        shift, np.where(np.isin(y, (1, 8, 9)), 5.0, 1.0)
    )
    return rng.choice(len(x), 400, replace=False, p=weight / weight.sum())
