"""Steps of published TPU recipes, by model, chip, number of chips, tokens per step and precision.

A step is what its chips need at their peak in 16 bits for the FLOP of the model (`cost/transformer.py`), times a factor
learned by likeness: dense or with experts, which chip, which precision, how large. Tokens per step are stated,
or batch times length. Rates that a row also states are not read: they follow from its step.

Models that the catalog does not have are read from their name: `70B`, `8x7B`, `235b-a22b` (22 billion active). Rows
whose model says neither, or whose tokens are not known, have no forecast and are not learned from.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, final

import numpy as np

from pennyweight.catalog.models import model
from pennyweight.cost.learn.process import Part
from pennyweight.cost.transformer import active_parameters, parameters, training_flop
from pennyweight.errors import UnknownNameError
from pennyweight.layout.tables.accelerators import named, unknown
from pennyweight.layout.tables.likeness import Likeness, Settings, nothing, spread_over
from pennyweight.layout.tables.table import Forecast, Learnt, Table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from pennyweight.core.dims import Dims
    from pennyweight.cost.learn.process import Columns
    from pennyweight.layout.tables.rows import Rows

    Numbers = NDArray[np.float64]

STEP = "step_time_s"
_LENGTH = 8192  # where a recipe does not state it
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
        Part(0.7, ("guessed",)),
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
    found = [_model(str(each)) for each in rows.text("model")]
    texts = {
        "model": _models(rows),
        "kind": np.array(["experts" if each and each.experts else "dense" for each in found], dtype=np.str_),
        "guessed": np.array(["" if each else name for each, name in zip(found, _models(rows), strict=True)]),
        "accelerator": np.array([each.name for each in chips], dtype=np.str_),
        "precision": _precisions(rows),
    }
    numbers = {"size": np.log(_flop_token(rows)), "chips": np.log(_chips(rows)), "length": np.log(_lengths(rows))}
    numbers["sparse"] = np.array(
        [np.log(parameters(each) / active_parameters(each)) if each else 0.0 for each in found]
    )
    return {**texts, **numbers}


def _ideal_s(rows: Rows) -> Numbers:
    """Seconds (n,) that a step would take at the peak of all chips in 16 bits."""
    peak = np.array([named(str(chip)).peak("bf16") for chip in rows.text("chip")])
    return np.asarray(_flop_token(rows) * _tokens(rows) / (_chips(rows) * peak), dtype=np.float64)


def _flop_token(rows: Rows) -> Numbers:
    pairs = zip(rows.text("model"), _lengths(rows), strict=True)
    return np.array([_flop(str(name), float(length)) for name, length in pairs])


def _flop(name: str, length: float) -> float:
    found = _model(name)
    return 6e9 * _billions(name) if found is None else float(training_flop(found, length)) / length


def _lengths(rows: Rows) -> Numbers:
    return rows.number("seq_len", _LENGTH)


def _tokens(rows: Rows) -> Numbers:
    stated = rows.number("tokens_per_step")
    return np.where(np.isfinite(stated), stated, rows.number("gbs") * rows.number("seq_len"))


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
    strange = [_model(str(each)) is None and not _billions(str(each)) for each in rows.text("model")]
    problems[np.array(strange, dtype=np.bool_)] = "The catalog does not have this model, and its name says no size."
    return problems.astype(np.str_)


def _models(rows: Rows) -> NDArray[np.str_]:
    names = [(each, _model(str(each))) for each in rows.text("model")]
    return np.array([found.name if found else _bare(str(each)) for each, found in names], dtype=np.str_)


def _bare(name: str) -> str:
    return re.sub(r"-maxtext$", "", name.strip().lower())


@cache
def _model(name: str) -> Dims | None:
    try:
        return model(_bare(name))
    except UnknownNameError:
        return None


def _billions(name: str) -> float:
    """Billions of active parameters, as far as the name says: the `a22b`, otherwise two experts of `8x7b`, or `70b`."""
    active = re.search(r"a(\d+(?:\.\d+)?)b\b", _bare(name))
    several = re.search(r"\d+x(\d+(?:\.\d+)?)b\b", _bare(name))
    single = re.search(r"\b[a-z]?(\d+(?:\.\d+)?)b\b", _bare(name))
    if active:
        return float(active[1])
    return 2 * float(several[1]) if several else float(single[1]) if single else 0.0
