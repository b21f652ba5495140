"""MLPerf inference results: tokens or samples per second by model, scenario, accelerator, how many, and precision.

The rate is what the accelerators of a system would reach at the peak of the precision, times a factor learned by
likeness of rows. Language models are counted in tokens generated, all others in samples. Results stated in
`Queries/s` are tokens of language models (their sizes say so) and samples of others; latencies are no rates. Rows
without an accelerator, or with one that the catalog does not have, have no forecast.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, final

import numpy as np

from pennyweight.cost.learn.process import Part
from pennyweight.layout.tables.accelerators import stood_in
from pennyweight.layout.tables.likeness import Likeness, Settings, nothing, spread_over
from pennyweight.layout.tables.mlperf_served import (
    alike,
    bare,
    ideal_rates,
    labels,
    language,
    models_standing,
    problems_of,
    systems,
)
from pennyweight.layout.tables.standing import joined, widened
from pennyweight.layout.tables.table import Forecast, Learnt, Table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from pennyweight.layout.rows import Rows

    Numbers = NDArray[np.float64]

TOKENS, SAMPLES = "tokens_s", "samples_s"
_RATES = ("Tokens/s", "Samples/s", "Queries/s")
_CHIP = {"peak": 1.0, "hbm": 1.0}
_OFF = 0.7  # by how much further off devices and models are that others stand in for: see bench/stand_ins.py
# Chosen by the error on systems, submitters, accelerators and models left out.
_SETTINGS = Settings(
    parts=(
        Part(3.0),
        Part(1.0, ("kind",)),
        Part(0.4, ("scenario",)),
        Part(0.4, ("scenario", "kind")),
        Part(0.4, ("model",)),
        Part(0.2, ("model", "scenario")),
        Part(0.1, ("benchmark",)),
        Part(0.1, ("benchmark", "accelerator")),
        Part(0.05, ("kind",), line="size", origin=26.0),
        Part(0.5, line="sparse"),
        Part(0.3, line="memory", origin=25.0),
        Part(0.3, ("model",), line="memory", origin=25.0),
        Part(0.3, near=_CHIP),
        Part(0.1, ("accelerator",)),
        Part(0.2, ("vendor",), _CHIP),
        Part(0.3, ("model",), _CHIP),
        Part(0.1, ("model", "accelerator")),
        Part(0.1, ("accelerator", "scenario")),
        Part(0.1, ("model", "accelerator", "scenario")),
        Part(0.3, ("engine",)),
        Part(0.1, ("engine", "model")),
        Part(0.2, ("precision",)),
        Part(0.2, ("precision", "model")),
        Part(0.1, ("category",)),
        Part(0.1, ("used",)),
        Part(0.1, line="count"),
        Part(0.1, ("model",), line="count"),
        Part(0.05, line="nodes"),
        Part(0.02, ("system",)),
        Part(0.03, ("system", "model")),
        Part(0.03, ("submitter",)),
        Part(0.03, ("submitter", "model", "scenario")),
    ),
    noise=0.03,
    spread=0.0,
    named=("model", "scenario", "accelerator"),
    group="system",
)


@dataclass(frozen=True, slots=True)
class Results(Learnt):
    """Likeness of rates."""

    rate: Likeness

    def predict(self, rows: Rows) -> Mapping[str, Forecast]:
        """Tokens per second (n,) of language models and samples per second of others; the other of the two is NaN."""
        problems = problems_of(rows)
        usable = np.char.str_len(problems) == 0
        if not usable.any():
            return dict.fromkeys((TOKENS, SAMPLES), nothing(problems))
        asked = rows.take(usable)
        columns = alike(asked)
        mean, sd = self.rate.at(columns)
        value = ideal_rates(asked) * np.exp(mean)
        whole = Forecast(value, *self.rate.interval.interval(value, sd), self.rate.outside(columns))
        notes = joined(models_standing(asked), stood_in(asked.text("Accelerator"), problems[usable]))
        told = spread_over(widened(whole, notes, _OFF), usable, problems)
        spoken = language(rows)
        return {TOKENS: _where(spoken, told), SAMPLES: _where(~spoken, told)}

    def to_dict(self) -> dict[str, Any]:
        """A JSON-compatible copy."""
        return self.rate.to_dict()


@final
class MlperfInference(Table):
    """One row per model, scenario and system, as in the summary of a round."""

    name: ClassVar[str] = "mlperf_inference"
    columns: ClassVar[frozenset[str]] = frozenset(
        {"Submitter", "System", "Model", "Scenario", "Accelerator", "a#", "Performance_Result", "Performance_Units"}
    )
    targets: ClassVar[Mapping[str, str]] = {TOKENS: "1/s", SAMPLES: "1/s"}
    splits: ClassVar[tuple[str, ...]] = ("system", "submitter", "accelerator", "model")

    def measured(self, rows: Rows) -> Mapping[str, Numbers]:
        """Tokens per second (n,) of language models, samples per second of others."""
        rates = np.where(np.isin(rows.text("Performance_Units"), _RATES), rows.number("Performance_Result"), np.nan)
        spoken = language(rows)
        return {TOKENS: np.where(spoken, rates, np.nan), SAMPLES: np.where(spoken, np.nan, rates)}

    def groups(self, rows: Rows, split: str) -> NDArray[np.str_]:
        """Each system of each submitter; the submitter; the accelerator; the model, at whatever quality."""
        if split == "model":
            return bare(rows.text("Model"))
        return systems(rows) if split == "system" else rows.text({"submitter": "Submitter"}.get(split, "Accelerator"))

    def learn(self, rows: Rows) -> Results:
        """Learn likeness from the rows that state a rate."""
        measured = self.measured(rows)
        rate = np.where(language(rows), measured[TOKENS], measured[SAMPLES])
        usable = (np.char.str_len(problems_of(rows)) == 0) & (rate > 0)
        rows, rate = rows.take(usable), rate[usable]
        return Results(Likeness.of(_SETTINGS, alike(rows), np.log(rate / ideal_rates(rows)), labels(rows)))

    def restore(self, body: Mapping[str, Any]) -> Results:
        """What `to_dict` wrote."""
        return Results(Likeness.restore(_SETTINGS, body))


TABLE = MlperfInference()


def _where(chosen: NDArray[np.bool_], told: Forecast) -> Forecast:
    value, low, high = (np.where(chosen, each, np.nan) for each in (told.value, told.low, told.high))
    return Forecast(value, low, high, np.where(chosen, told.outside, ""))
