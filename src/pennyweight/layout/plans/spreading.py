"""Every legal way to lay a model out over devices, as columns: degrees of parallelism, and what goes with each."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from pennyweight.core.layout import RECOMPUTES, Layout
from pennyweight.errors import BadInputError, UnknownNameError
from pennyweight.layout.plans import legality
from pennyweight.layout.timing.cases import Layouts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from pennyweight.layout.plans.training import TrainWork

    Whole = NDArray[np.int64]
    Mask = NDArray[np.bool_]

DEGREES = ("devices", "tp", "pp", "cp", "ep", "dp", "micro_batch", "chunks")
_LEAST_CONTEXT = 4096  # tokens that context parallelism leaves on a device, unless asked for
_MICRO = (1, 2, 4, 8, 16)
_CHUNKS = (1, 2, 4, 8)
_AUTO = -1


@dataclass(frozen=True, slots=True)
class Choices:
    """What may be chosen; where nothing is given, anything that is legal and that no other choice beats in every way.

    Beaten are: no sharding where there are replicas, tensor without sequence parallelism, and selective recompute,
    which frees nothing since attention is fused. `EVERY` has them too.
    """

    tp: tuple[int, ...] = ()
    pp: tuple[int, ...] = ()
    cp: tuple[int, ...] = ()
    ep: tuple[int, ...] = ()
    dp: tuple[int, ...] = ()
    micro_batch: tuple[int, ...] = ()
    chunks: tuple[int, ...] = ()
    zero: tuple[int, ...] = ()
    recompute: tuple[str, ...] = ("none", "full")
    sequence_parallel: tuple[int, ...] = (_AUTO,)

    @classmethod
    def of(cls, layout: Layout) -> Self:
        """This one layout; of one that keeps something on the host no step is known."""
        if layout.offload != "none":
            raise BadInputError(
                f"How long steps take with offload {layout.offload} is not known.",
                "give a layout that keeps everything on its devices.",
            )
        degrees = ("tp", "pp", "cp", "ep", "dp", "micro_batch", "chunks", "zero")
        given: dict[str, Any] = {name: (getattr(layout, name),) for name in degrees}
        return cls(**given, recompute=(layout.recompute,), sequence_parallel=(int(layout.sequence_parallel),))

    @classmethod
    def fixed(cls, degrees: Mapping[str, int], recompute: str | None = None) -> Self:
        """These degrees as they are, and everything that goes with them."""
        if recompute is not None and recompute not in RECOMPUTES:
            raise UnknownNameError.of("recompute", recompute, RECOMPUTES)
        given: dict[str, Any] = {name: (value,) for name, value in degrees.items()}
        return cls(**given) if recompute is None else cls(**given, recompute=(recompute,))


ANY = Choices()
EVERY = Choices(zero=(0, 1, 2, 3), recompute=RECOMPUTES, sequence_parallel=(0, 1))


@dataclass(frozen=True, slots=True)
class Spread:
    """Layouts as a table: m rows of degrees (m,) beside t tricks (t,) of which `legal` (m, t) go with a row.

    `devices` of the rows never fall from one row to the next. `layers` (m,) is how many the model would have if every
    stage were as full as the fullest: what uneven stages cost.
    """

    rows: Mapping[str, Whole]
    zero: Whole
    recompute: Whole
    along: Whole  # (m, t): 1 with sequence parallelism
    legal: Mask
    layers: Whole

    def __len__(self) -> int:
        return int(self.legal.sum())

    def grid(self) -> Layouts:
        """Columns (m, 1) and (1, t), which broadcast to all (m, t), those too that are not legal."""
        degrees = {name: self.rows[name][:, None].astype(np.float64) for name in DEGREES[1:]}
        tricks = {name: getattr(self, name)[None, :].astype(np.float64) for name in ("zero", "recompute")}
        return Layouts.at(**degrees, **tricks, sequence_parallel=self.along.astype(np.float64))

    def columns(self) -> dict[str, Whole]:
        """The legal layouts one by one, each degree and trick a column (n,)."""
        row, trick = np.nonzero(self.legal)
        tricks = {"zero": self.zero[trick], "recompute": self.recompute[trick]}
        return {
            **{name: self.rows[name][row] for name in DEGREES},
            **tricks,
            "sequence_parallel": self._along(row, trick),
        }

    def layout(self, row: int, trick: int, precision: str) -> Layout:
        """One of them."""
        degrees: dict[str, Any] = {name: int(self.rows[name][row]) for name in DEGREES[1:]}
        return Layout(
            **degrees,
            zero=int(self.zero[trick]),
            recompute=RECOMPUTES[self.recompute[trick]],
            sequence_parallel=bool(self._along(row, trick)),
            precision=precision,
        )

    def only(self, rows: Whole) -> Spread:
        """The rows at these places."""
        degrees = {name: column[rows] for name, column in self.rows.items()}
        along = self.along[rows] if len(self.along) > 1 else self.along
        return Spread(degrees, self.zero, self.recompute, along, self.legal[rows], self.layers[rows])

    def _along(self, row: Any, trick: Any) -> Any:
        return np.broadcast_to(self.along, self.legal.shape)[row, trick]


def spread(work: TrainWork, devices: Sequence[int], domain: int, choices: Choices = ANY) -> Spread:
    """Every legal layout of `work` on each number of `devices`, of which fast links join `domain`.

    Raises `BadInputError` where nothing is legal: the rule that left nothing, and how to keep it.
    """
    if not len(devices) or min(devices) < 1:
        raise BadInputError(f"{work.dims.name} cannot be trained on no devices.", "give one or more.")
    counts = np.unique(np.asarray(devices, dtype=np.int64))
    rows = _degrees(work, counts, domain, choices)
    rows = legality.keep(rows, legality.stages(rows, work, asked=bool(choices.pp)))
    rows = _with_experts(rows, work, choices)
    rows = legality.keep(rows, legality.experts(rows, work))
    more = {"micro_batch": choices.micro_batch or _MICRO, "chunks": choices.chunks or _CHUNKS}
    rows = _crossed(rows, more)
    rows = legality.keep(rows, legality.batches(rows, work))
    rows = legality.keep(rows, legality.stages(rows, work, asked=bool(choices.chunks)))
    return _with_tricks(rows, work, choices)


def _degrees(work: TrainWork, counts: Whole, domain: int, choices: Choices) -> dict[str, Whole]:
    """All tensor, pipeline and context parallelism that divide a number of devices; data parallelism is the rest."""
    most = int(counts.max())
    degrees = {
        "tp": choices.tp or _divisors(work.dims.heads, min(domain, most)),
        "pp": choices.pp or tuple(range(1, min(work.dims.layers, most) + 1)),
        "cp": choices.cp or _twos(work.sequence // _LEAST_CONTEXT),
    }
    rows = _crossed({"devices": counts}, degrees)
    rows = legality.keep(rows, legality.splits(rows, work, domain))
    one = rows["tp"] * rows["pp"] * rows["cp"]
    rows["dp"] = rows["devices"] // one
    listed = ", ".join(map(str, counts[:4])) + ", …" * (len(counts) > 4)
    whole = legality.Rule(
        rows["devices"] % one == 0,
        f"{listed} devices are no multiple of tp · pp · cp as asked for.",
        "give degrees (--tp, --pp, --cp) whose product divides the number of devices.",
    )
    own = legality.Rule(
        np.isin(rows["dp"], choices.dp or rows["dp"]),
        f"{listed} devices do not make the replicas asked for.",
        "leave out --dp: it is the devices over tp · pp · cp.",
    )
    return legality.keep(rows, [whole, own])


def _with_experts(rows: dict[str, Whole], work: TrainWork, choices: Choices) -> dict[str, Whole]:
    most = int((rows["tp"] * rows["dp"] * rows["cp"]).max())
    return _crossed(rows, {"ep": choices.ep or _divisors(max(work.dims.experts, 1), most)})


def _with_tricks(rows: dict[str, Whole], work: TrainWork, choices: Choices) -> Spread:
    tricks = {
        "zero": choices.zero or (0, 1, 2, 3),
        "recompute": tuple(RECOMPUTES.index(each) for each in choices.recompute),
        "along": choices.sequence_parallel,
    }
    cells = _crossed({"zero": np.asarray(tricks.pop("zero"), dtype=np.int64)}, tricks)
    several = (rows["tp"] > 1)[:, None] & (work.sequence % (rows["tp"] * rows["cp"]) == 0)[:, None]
    replicas = (rows["dp"] * rows["cp"])[:, None] > 1
    sharded = cells["zero"][None, :] > 0
    legal = replicas | ~sharded
    if not choices.zero:
        legal &= sharded | ~replicas
    along = np.where(cells["along"] == _AUTO, several, cells["along"]).astype(np.int64)
    legal &= (along == 0) | several
    if not legal.any():
        raise BadInputError(
            "There are no replicas to shard over, or no tensor parallelism to split a sequence with.",
            "give --zero 0, or more devices; leave out --sequence-parallel where --tp is 1.",
        )
    layers = legality.fullest(work.dims.layers, rows)
    return Spread(rows, cells["zero"], cells["recompute"], along, legal, layers)


def _crossed(rows: Mapping[str, Whole], more: Mapping[str, Sequence[int]]) -> dict[str, Whole]:
    """Every row with every combination of what is given."""
    sizes = [len(next(iter(rows.values()))), *map(len, more.values())]
    at = np.unravel_index(np.arange(int(np.prod(sizes))), sizes)
    crossed = {
        name: np.asarray(given, dtype=np.int64)[at[1 + place]] for place, (name, given) in enumerate(more.items())
    }
    return {name: column[at[0]] for name, column in rows.items()} | crossed


@cache
def _divisors(number: int, most: int) -> tuple[int, ...]:
    return tuple(each for each in range(1, min(number, most) + 1) if number % each == 0)


def _twos(most: int) -> tuple[int, ...]:
    """Powers of two up to `most`, and one."""
    return tuple(2**power for power in range(max(most, 1).bit_length()))
