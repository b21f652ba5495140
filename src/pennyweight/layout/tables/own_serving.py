"""Requests served by one's own deployment, in few columns: predicted like published deployments (`serving.py`).

A row says a model of the catalog, the accelerator, the engine, how many users ask at once (`concurrency`), the tokens
of a prompt and of an answer, and the measured seconds to the first token, `ttft_s`, and per further token, `tpot_s`.
What else it may say: tp (one if empty), precision (bf16).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, cast, final

import numpy as np

from pennyweight.layout.rows import Rows
from pennyweight.layout.tables import serving
from pennyweight.layout.tables.finding import shipped
from pennyweight.layout.tables.table import Forecast, Learnt, Table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

_NAMES = {
    "model": "model_path",
    "accelerator": "system",
    "engine": "backend",
    "precision": "precision",
    "tp": "tp_size",
    "concurrency": "concurrency",
    "prompt_tokens": "isl",
    "output_tokens": "osl",
}
_MEASURED = {"tpot_s": "silicon_tpot_ms", "ttft_s": "silicon_ttft_ms"}
_NEEDED = ("model", "accelerator", "engine", "concurrency", "prompt_tokens", "output_tokens")


@dataclass(frozen=True, slots=True)
class OwnServing(Learnt):
    """What serving taught, asked in other words."""

    learnt: serving.ServingLearnt

    def predict(self, rows: Rows) -> Mapping[str, Forecast]:
        """A forecast of both targets; NaN, and `outside` the reason, where a row could not be read."""
        told = self.learnt.predict(translated(rows))
        lacking = _lacking(rows)
        return {name: _without(each, lacking) for name, each in told.items()}

    def to_dict(self) -> dict[str, Any]:
        """A JSON-compatible copy."""
        return self.learnt.to_dict()


@final
class OwnServingTable(Table):
    """One row per deployment and load."""

    name: ClassVar[str] = "own_serving"
    columns: ClassVar[frozenset[str]] = frozenset({*_NEEDED, *_MEASURED})
    targets: ClassVar[Mapping[str, str]] = {"tpot_s": "s", "ttft_s": "s"}
    splits: ClassVar[tuple[str, ...]] = ("model", "accelerator", "engine")

    def measured(self, rows: Rows) -> Mapping[str, NDArray[np.float64]]:
        """Seconds per token and to the first (n,)."""
        return {name: rows.number(name) for name in _MEASURED}

    def groups(self, rows: Rows, split: str) -> NDArray[np.str_]:
        """The model, the accelerator or the engine."""
        return rows.text(split)

    def learn(self, rows: Rows) -> Learnt:
        """Move what serving taught by these rows."""
        return calibrated(self.untaught(), rows)

    def restore(self, body: Mapping[str, Any]) -> Learnt:
        """What was kept of it."""
        return OwnServing(serving.TABLE.restore(body))

    def untaught(self) -> OwnServing:
        """As published deployments taught."""
        return OwnServing(cast("serving.ServingLearnt", shipped(serving.TABLE.name)))


TABLE = OwnServingTable()


def calibrated(learnt: OwnServing, rows: Rows) -> OwnServing:
    """The same, moved by rows of one's own stack."""
    return OwnServing(serving.calibrated(learnt.learnt, translated(rows)))


def translated(rows: Rows) -> Rows:
    """The rows in the columns of `serving.py`."""
    blank = np.full(len(rows), "", dtype=np.str_)
    told = {name: rows.text(own) if own in rows.columns else blank for own, name in _NAMES.items()}
    milliseconds = {
        name: np.array([f"{1e3 * value:.9g}" if np.isfinite(value) else "" for value in _numbers(rows, own)])
        for own, name in _MEASURED.items()
    }
    # Who measures a stack of their own knows whether it drafts ahead, and has no column to say so: it is taken not to.
    none = np.full(len(rows), "0", dtype=np.str_)
    return Rows({**told, **milliseconds, "moe_quant_mode": blank, "mode": blank, "drafts": none}, rows.lines)


def _numbers(rows: Rows, name: str) -> list[float]:
    """What was measured (n,); words are nothing here, for whoever predicts does not look at it."""
    found: list[float] = (rows.blanked(name) if name in rows.columns else rows).number(name).tolist()
    return found


def _lacking(rows: Rows) -> NDArray[np.str_]:
    """Which of the columns that are needed a row (n,) leaves empty."""
    found = np.full(len(rows), "", dtype=object)
    for name in _NEEDED:
        found[np.char.str_len(rows.text(name)) == 0] = f"the row does not say its {name}"
    return found.astype(np.str_)


def _without(forecast: Forecast, why: NDArray[np.str_]) -> Forecast:
    """The forecast but for rows (n,) that have a reason why not."""
    wrong = np.char.str_len(why) > 0
    value, low, high = (np.where(wrong, np.nan, each) for each in (forecast.value, forecast.low, forecast.high))
    return Forecast(value, low, high, np.where(wrong, why, forecast.outside))
