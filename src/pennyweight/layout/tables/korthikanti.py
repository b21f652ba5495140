"""Memory of four large GPT models as published by Korthikanti et al. 2022 (arXiv 2205.05198, figures 1 and 7).

Their figures are arithmetic on 16-bit weights, 32-bit gradients and Adam; so is this forecast, and nothing is fitted
but the interval. Embeddings are not in their figures. A percentage is of the same model without recompute and without
sequence parallelism.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from pennyweight.core.dims import Dims
from pennyweight.cost.columns import Columns, columns_of
from pennyweight.cost.learn.conformal import Conformal
from pennyweight.cost.nearest_model import known_model
from pennyweight.errors import BadInputError
from pennyweight.layout.memory import training as memory
from pennyweight.layout.memory.activations import in_flight, kept_per_layer
from pennyweight.layout.tables.likeness import nothing, spread_over
from pennyweight.layout.tables.standing import widened
from pennyweight.layout.tables.table import Forecast, Learnt, Table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from pennyweight.layout.rows import Rows

_GIB = 2**30
_SEQ = 2048
# Layers, width and heads of the paper's table 3.
_MODELS = {
    "megatron-22B": (48, 6144, 64),
    "gpt3-175B": (96, 12288, 96),
    "turing-530B": (105, 20480, 128),
    "megatron-1T": (128, 25600, 160),
}
_WIDE = 150  # width per layer of a model of that size that is not among them
_HEAD = 128
_QUANTITIES = {
    "state_byte": ("parameters+optimizer GiB/GPU", _GIB),
    "activation_byte": ("activations GiB/GPU", _GIB),
    "activation_share": ("activations percent of tensor-parallel baseline", 0.01),
}
_GUESSED = "its dimensions are guessed from its size; the nearest are those of the four models"
# By how much further off the four models are where they are guessed: the 90% quantile, of logarithms.
_OFF = {"state_byte": 0.03, "activation_byte": 0.2, "activation_share": 0.14}
_LEAST_WIDTH = 0.001  # published figures have so many digits


class Korthikanti(Table):
    """The table of published memory."""

    name: ClassVar[str] = "memory_korthikanti"
    columns: ClassVar[frozenset[str]] = frozenset({"figure", "model", "mode", "quantity", "value", "interleaving"})
    targets: ClassVar[Mapping[str, str]] = {"state_byte": "B", "activation_byte": "B", "activation_share": ""}
    splits: ClassVar[tuple[str, ...]] = ("model",)

    def measured(self, rows: Rows) -> Mapping[str, NDArray[np.float64]]:
        """Bytes, or shares, as published (n,); NaN where a row has none or is not complete."""
        said, value = rows.text("quantity"), rows.number("value")
        return {
            target: np.where(said == quantity, value * unit, np.nan) for target, (quantity, unit) in _QUANTITIES.items()
        }

    def groups(self, rows: Rows, split: str) -> NDArray[np.str_]:
        """The group (n,) of each row, by a split of `splits`."""
        if split not in self.splits:
            raise BadInputError(f"This table has no groups by {split}.", "use: model.")
        return rows.text("model")

    def learn(self, rows: Rows) -> Learnt:
        """Fit on these rows alone."""
        counted, conformals = _counted(rows), {}
        for target, found in self.measured(rows).items():
            known = np.isfinite(found)
            errors, models = np.log(found[known] / counted[target][known]), rows.text("model")[known]
            scale = _scale(target, counted[target])[known]
            width = Conformal.of(errors, models, scale) if known.any() else None
            conformals[target] = width.width if width else 0.0
        return LearntKorthikanti(conformals)

    def restore(self, body: Mapping[str, Any]) -> Learnt:
        """What `to_dict` wrote."""
        return LearntKorthikanti({target: float(body[target]) for target in self.targets})


@dataclass(frozen=True)
class LearntKorthikanti(Learnt):
    """Half the width of each target's interval, of logarithms."""

    widths: Mapping[str, float]

    def predict(self, rows: Rows) -> Mapping[str, Forecast]:
        """A forecast of every target for every row."""
        found = [_sizes(str(model)) for model in rows.text("model")]
        usable, known = np.array([each is not None for each in found]), np.isin(rows.text("model"), list(_MODELS))
        told = np.where(usable, _GUESSED, "The name of the model says neither a size nor a model of the catalog.")
        problems, notes = np.where(known | usable, "", told), np.where(known | ~usable, "", told)
        if not usable.any():
            return dict.fromkeys(self.widths, nothing(problems))
        forecasts = {}
        for target, value in _counted(rows.take(usable)).items():
            off = np.maximum(self.widths[target] * _scale(target, value), _LEAST_WIDTH)
            low, high = (value * np.exp(sign * off) for sign in (-1, 1))
            plain = Forecast(value, low, high, np.full(len(value), ""))
            forecasts[target] = spread_over(widened(plain, notes[usable], _OFF[target]), usable, problems)
        return forecasts

    def to_dict(self) -> dict[str, Any]:
        """A JSON-compatible copy."""
        return dict(self.widths)


def _scale(target: str, value: NDArray[np.float64]) -> NDArray[np.float64]:
    """How hard each row (n,) is to predict: shares are off by so much of the whole, as if read from a figure."""
    return 1 / value if target == "activation_share" else np.ones(len(value))


def _counted(rows: Rows) -> dict[str, NDArray[np.float64]]:
    """Each target (n,) by arithmetic: what fills a device of the first stage of the pipeline."""
    d, s = columns_of([_dims(str(model)) for model in rows.text("model")]), _setting(rows)
    plain = replace(s, sequence_parallel=0, selective=0, full=0)
    kept, before = _activations(d, s), _activations(d, plain)
    state = memory.stage(d, s, last=False).state
    return {"state_byte": state, "activation_byte": kept, "activation_share": kept / before}


def _activations(d: Columns, s: memory.Setting) -> NDArray[np.float64]:
    return np.asarray(in_flight(d, s, last=False) * kept_per_layer(d, s))


def _setting(rows: Rows) -> memory.Setting:
    mode = rows.text("mode")
    tp, pp = rows.number("tp", 1), rows.number("pp", 1)
    return memory.Setting(
        seq=_SEQ,
        micro_batch=rows.number("micro_batch", 1),
        tp=tp,
        pp=pp,
        dp=np.maximum(rows.number("n_gpus", 1) / (tp * pp), 1),
        chunks=rows.number("interleaving", 1),
        sequence_parallel=np.isin(mode, ("seq", "seqsel")) * 1,
        scores=1,
        dropout=1,
        selective=np.isin(mode, ("sel", "seqsel")) * 1,
        full=(mode == "full") * 1,
    )


def _dims(model: str) -> Dims:
    """The dimensions of a model without its embeddings, by name; of another, as wide as such models are."""
    layers, hidden, heads = _sizes(model) or _MODELS["gpt3-175B"]
    return Dims(model, layers, hidden, heads, 4 * hidden, 0, gated=False, logits=False)


def _sizes(model: str) -> tuple[int, int, int] | None:
    """Layers, width and heads, by name or else by size; None where the name says neither."""
    if model in _MODELS:
        return _MODELS[model]
    size = re.search(r"(\d{1,6}(?:\.\d+)?)\s*([MBT])", model, re.IGNORECASE)
    if size is None or not float(size[1]):
        found = known_model(model)
        return (found.layers, found.hidden, found.heads) if found else None
    weights = float(size[1]) * {"m": 1e6, "b": 1e9, "t": 1e12}[size[2].lower()]
    layers = max(round((weights / (12 * _WIDE**2)) ** (1 / 3)), 1)
    heads = max(round(_WIDE * layers / _HEAD), 1)
    return layers, heads * _HEAD, heads


TABLE = Korthikanti()
