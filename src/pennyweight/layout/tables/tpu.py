"""Steps of published TPU recipes, by model, chip, number of chips, tokens per step and precision.

A step is what its chips need at their peak in 16 bits for the FLOP of the model (`cost/transformer.py`), times a factor
learned by likeness: dense or with experts, which chip, which precision, how large. Tokens per step are stated,
or batch times length. Rates that a row also states are not read: they follow from its step.

For a model that the catalog does not have, another stands in as its name says: `70B`, `8x7B`, `235b-a22b` (22 billion
active). Rows whose model says nothing, or whose tokens are not known, have no forecast and are not learned from.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, final

import numpy as np

from pennyweight.cost.learn.process import Part
from pennyweight.cost.nearest_model import nearest_model
from pennyweight.cost.transformer import active_parameters, parameters, training_flop
from pennyweight.errors import UnknownNameError
from pennyweight.layout.tables.accelerators import named, stood_in, unknown
from pennyweight.layout.tables.likeness import Likeness, Settings, nothing, spread_over
from pennyweight.layout.tables.standing import widened
from pennyweight.layout.tables.table import Forecast, Learnt, Table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from pennyweight.cost.learn.process import Columns
    from pennyweight.layout.rows import Rows

    Numbers = NDArray[np.float64]

STEP = "step_time_s"
_LENGTH = 8192  # where a recipe does not state it
_OFF = 0.85  # by how much further off chips are that others stand in for: see bench/stand_ins.py
# Chosen by the error on models and chips left out.
_SETTINGS = Settings(
    parts=(
        Part(1.5),
        Part(0.15, ("kind",)),
        Part(0.15, ("accelerator",)),
        Part(0.15, ("kind", "accelerator")),
        Part(0.3, ("precision",)),
        Part(0.1, ("precision", "kind")),
        Part(0.1, ("precision", "accelerator")),
        Part(0.03, line="size", origin=25.0),
        Part(0.15, ("kind",), line="size", origin=25.0),
        Part(0.1, line="sparse"),
        Part(0.03, line="chips", origin=5.0),
        Part(0.1, line="length", origin=9.0),
        Part(0.7, ("guessed",), line="guess"),
        Part(0.12, ("model",)),
    ),
    noise=0.04,
    spread=0.005,
    named=("model", "accelerator"),
    group="model",
)


@dataclass(frozen=True, slots=True)
class Recipes(Learnt):
    """Likeness of steps."""

    step: Likeness

    def predict(self, rows: Rows) -> Mapping[str, Forecast]:
        """Steps (n,); NaN where the chip is not in the catalog, or the model or the tokens are not known."""
        problems = _problems(rows)
        usable = np.char.str_len(problems) == 0
        if not usable.any():
            return {STEP: nothing(problems)}
        asked = rows.take(usable)
        columns = _columns(asked)
        mean, sd = self.step.at(columns)
        value = _ideal_s(asked) * np.exp(mean)
        forecast = Forecast(value, *self.step.interval.interval(value, sd), self.step.outside(columns))
        forecast = widened(forecast, np.array([nearest_model(each).note for each in asked.text("model")]), 0.0)
        forecast = widened(forecast, stood_in(asked.text("chip"), problems[usable]), _OFF)
        return {STEP: spread_over(forecast, usable, problems)}

    def to_dict(self) -> dict[str, Any]:
        """A JSON-compatible copy."""
        return self.step.to_dict()


@final
class TpuRecipes(Table):
    """One row per recipe, as collected from its documentation or its log."""

    name: ClassVar[str] = "tpu"
    columns: ClassVar[frozenset[str]] = frozenset(
        {"model", "chip", "n_chips_derived", "step_time_s", "tokens_per_step"}
    )
    targets: ClassVar[Mapping[str, str]] = {STEP: "s"}
    splits: ClassVar[tuple[str, ...]] = ("model", "accelerator")

    def measured(self, rows: Rows) -> Mapping[str, Numbers]:
        """Seconds per step (n,) as stated."""
        return {STEP: rows.number(STEP)}

    def groups(self, rows: Rows, split: str) -> NDArray[np.str_]:
        """The model, whatever it is called; or the chip."""
        return _models(rows) if split == "model" else rows.text("chip")

    def learn(self, rows: Rows) -> Recipes:
        """Learn likeness from the rows that can be counted."""
        step = rows.number(STEP)
        usable = (np.char.str_len(_problems(rows)) == 0) & (step > 0)
        rows, step = rows.take(usable), step[usable]
        names = zip(rows.text("model"), _chips(rows), rows.text("chip"), strict=True)
        labels = np.array([f"{what} on {count:.0f} × {chip}" for what, count, chip in names], dtype=np.str_)
        return Recipes(Likeness.of(_SETTINGS, _columns(rows), np.log(step / _ideal_s(rows)), labels))

    def restore(self, body: Mapping[str, Any]) -> Recipes:
        """What `to_dict` wrote."""
        return Recipes(Likeness.restore(_SETTINGS, body))


TABLE = TpuRecipes()


def _columns(rows: Rows) -> Columns:
    chips = [named(str(each)) for each in rows.text("chip")]
    found = [nearest_model(str(each)) for each in rows.text("model")]
    texts = {
        "model": _models(rows),
        "kind": np.array(["experts" if each.dims.experts else "dense" for each in found], dtype=np.str_),
        "guessed": np.array(["" if each.exactly else name for each, name in zip(found, _models(rows), strict=True)]),
        "accelerator": np.array([each.name for each in chips], dtype=np.str_),
        "precision": _precisions(rows),
    }
    numbers = {"size": np.log(_flop_token(rows)), "chips": np.log(_chips(rows)), "length": np.log(_lengths(rows))}
    numbers["guess"] = np.array([0.0 if each.exactly else 1.0 for each in found])
    numbers["sparse"] = np.array([np.log(parameters(each.dims) / active_parameters(each.dims)) for each in found])
    return {**texts, **numbers}


def _ideal_s(rows: Rows) -> Numbers:
    """Seconds (n,) that a step would take at the peak of all chips in 16 bits."""
    peak = np.array([named(str(chip)).peak("bf16") for chip in rows.text("chip")])
    return np.asarray(_flop_token(rows) * _tokens(rows) / (_chips(rows) * peak), dtype=np.float64)


def _flop_token(rows: Rows) -> Numbers:
    pairs = zip(rows.text("model"), _lengths(rows), strict=True)
    return np.array([_flop(str(name), float(length)) for name, length in pairs])


@cache
def _flop(name: str, length: float) -> float:
    return float(training_flop(nearest_model(name).dims, length)) / length


def _lengths(rows: Rows) -> Numbers:
    return rows.number("seq_len", _LENGTH)


def _tokens(rows: Rows) -> Numbers:
    stated = rows.number("tokens_per_step")
    return np.where(np.isfinite(stated), stated, rows.number("gbs") * _lengths(rows))


def _chips(rows: Rows) -> Numbers:
    derived = rows.number("n_chips_derived")
    return np.where(np.isfinite(derived), derived, rows.number("n_chips_from_path"))


def _precisions(rows: Rows) -> NDArray[np.str_]:
    """`fp8` or `bf16` (n,), as its column or its variant says; bf16 where neither does."""
    said = np.char.add(rows.text("precision"), rows.text("variant") if "variant" in rows.columns else "")
    return np.where(np.char.find(np.char.lower(said), "fp8") >= 0, "fp8", "bf16")


def _problems(rows: Rows) -> NDArray[np.str_]:
    problems = unknown(rows.text("chip")).astype(object)
    problems[~(_tokens(rows) * _chips(rows) > 0)] = "The chips, or the tokens of a step, are not stated."
    problems[[not _resolves(str(each)) for each in rows.text("model")]] = (
        "The name of the model says no family or size."
    )
    return problems.astype(np.str_)


def _models(rows: Rows) -> NDArray[np.str_]:
    pairs = [(str(each), _resolves(str(each))) for each in rows.text("model")]
    names = [
        nearest_model(each).dims.name if known and nearest_model(each).exactly else each.lower()
        for each, known in pairs
    ]
    return np.array(names, dtype=np.str_)


@cache
def _resolves(name: str) -> bool:
    try:
        nearest_model(name)
    except UnknownNameError:
        return False
    return True
