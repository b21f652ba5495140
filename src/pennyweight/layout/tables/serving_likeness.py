"""Which measured deployments are alike, and how far one that is asked about is from all of them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from pennyweight.cost.learn.conformal import Conformal
from pennyweight.cost.learn.nearest import Nearest
from pennyweight.cost.learn.process import Part, Process

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from pennyweight.layout.tables.serving_columns import Read

    Floats = NDArray[np.float64]
    Columns = Mapping[str, NDArray[Any]]

# What rows share, of logarithms: by name, and by octaves of users, devices and prompt within which errors are alike.
_NEAR = {"users": 3.0, "devices": 1.5, "prompt": 2.0}
_OWN_NEAR = {"users": 2.5, "devices": 1.5, "prompt": 1.5}
PARTS = {
    "tpot_s": (
        Part(0.10, ("stack",)),
        Part(0.10, ("stack", "release")),
        Part(0.10, ("stack", "release", "spread"), _NEAR),
    ),
    "ttft_s": (
        Part(0.25, ("stack",)),
        Part(0.25, ("stack", "release")),
        Part(0.30, ("stack", "release", "spread"), _NEAR),
    ),
}
_OWN_PARTS = {
    "tpot_s": (
        Part(0.25),
        Part(0.20, ("release",)),
        Part(0.12, ("spread",)),
        Part(0.10, (), {"prompt": 1.5}),
        Part(0.10, (), {"devices": 1.5}),
        Part(0.12, (), {"users": 3.0}),
        Part(0.08, (), _OWN_NEAR | {"prompt": 2.0}),
    ),
    "ttft_s": (
        Part(0.45),
        Part(0.35, ("release",)),
        Part(0.30, ("spread",)),
        Part(0.30, (), {"prompt": 1.5}),
        Part(0.20, (), {"devices": 1.5}),
        Part(0.20, (), {"users": 2.0}),
        Part(0.20, ("release",), {"prompt": 1.0, "output": 1.0}),
        Part(0.35, ("release",), _OWN_NEAR),
    ),
}
NOISE = {"tpot_s": 0.05, "ttft_s": 0.12}
_CLIP = {"tpot_s": 0.6, "ttft_s": 1.2}  # errors beyond this say that a row is odd, not how its stack is
_OWN_CLIP = {"tpot_s": 0.35, "ttft_s": 0.35}
_DRAWS = 2  # rounds in which odd rows of one's own are drawn to what the others say of them
_SHY = {"tpot_s": 0.0, "ttft_s": 0.3}  # how far below the mean the least relative error is expected, of the variance
_UNSURE = (0.1, 0.9)  # between these chances nobody knows whether a row drafts ahead
_UNSURE_SCALE, _APART_SCALE, _FULL_SCALE = 1.5, 1.4, 1.3
_NINETY = 1.645


def columns_of(read: Read) -> dict[str, NDArray[Any]]:
    """What likeness is judged by (m,): names, and numbers in octaves."""
    fleet = read.fleet
    apart = np.where(fleet.apart > 0, "apart", "together")
    pieces = (read.family, fleet.engine, fleet.system, fleet.moe, apart)
    stack = np.array(["|".join(map(str, each)) for each in zip(*pieces, strict=True)])
    ways = zip(fleet.adp > 1, fleet.ep > 1, strict=True)
    return {
        "stack": stack,
        "release": read.release,
        "spread": np.array([f"{'dp' if groups else 'tp'}{'+ep' if experts else ''}" for groups, experts in ways]),
        "users": np.log2(fleet.concurrency),
        "devices": np.log2(fleet.tp * fleet.adp * fleet.pp),
        "prompt": np.log2(fleet.prompt),
        "output": np.log2(fleet.output),
    }


def points_of(read: Read, error: Floats, target: str) -> tuple[dict[str, NDArray[Any]], Floats]:
    """Rows that are equal in all columns as one: columns (p,), and the median of their errors (p,), within bounds."""
    columns = columns_of(read)
    codes = np.array([np.unique(each, return_inverse=True)[1] for each in columns.values()])
    _, first, point = np.unique(codes, axis=1, return_index=True, return_inverse=True)
    point = point.reshape(-1)
    middle = np.array([np.median(error[point == at]) for at in range(len(first))])
    kept = {name: each[first] for name, each in columns.items() if name != "output"}
    return kept, np.clip(middle, -_CLIP[target], _CLIP[target])


def stacks_body(stacks: Mapping[str, Process]) -> dict[str, Any]:
    """A small JSON-compatible copy: where the points lie, once for all targets, and the fitted weight of each."""
    bodies = {target: one.to_dict() for target, one in stacks.items()}
    columns = next(iter(bodies.values()))["columns"]
    return {"columns": columns, "weights": {target: body["weights"] for target, body in bodies.items()}}


def stacks_of(body: Mapping[str, Any]) -> dict[str, Process]:
    """What `stacks_body` wrote."""
    return {
        target: Process.restore(parts, NOISE[target], {"columns": body["columns"], "weights": body["weights"][target]})
        for target, parts in PARTS.items()
    }


def own_process(columns: Columns, error: Floats, target: str) -> tuple[Process, Conformal]:
    """What rows (n,) of one's own teach, and an interval from leaving each of them out.

    Errors are cut around their median, or, of first tokens, the constant that would be off least in percent: where a
    few rows waited for something else, it stays with the others. What is left that no other row supports is drawn in to
    one standard deviation (Huber).
    """
    middle = least_off(error, np.ones(len(error))) if target == "ttft_s" else float(np.median(error))
    cut = np.clip(error, middle - _OWN_CLIP[target], middle + _OWN_CLIP[target])
    process, rows = (
        Process(_OWN_PARTS[target], NOISE[target], dict(columns), cut),
        np.arange(len(error)).astype(np.str_),
    )
    for _ in range(_DRAWS):
        mean, sd = process.left_out(rows)
        process = replace(process, values=mean + np.clip(cut - mean, -sd, sd))
    mean, sd = process.left_out(rows)
    told = np.append(np.abs(cut - mean) / sd, _NINETY)  # a few rows alone say little: the process' own width counts
    return process, Conformal.of(told)


def own_moves(process: Process, columns: Columns, target: str) -> tuple[Floats, Floats]:
    """By which logarithm (n,) one's own rows move predictions, and how far off these may still be (n,)."""
    moved, sd = process.at(columns)
    return moved - _SHY[target] * sd**2, sd


def least_off(errors: Floats, weight: Floats) -> float:
    """The constant c for which the mean of |exp(c - errors) - 1|, rows weighed (n,), is least.

    That mean, of c between two errors, is Σ ± w · (exp(c - error) - 1): it bends up at each error, so the least is at
    one of them: the median where a row weighs w · exp(-error).
    """
    order = np.argsort(errors)
    mass = np.cumsum((weight * np.exp(errors.min() - errors))[order])
    return float(errors[order][np.searchsorted(mass, mass[-1] / 2)])


def worth_measuring(read: Read, count: int) -> NDArray[np.int64]:
    """Which `count` of the deployments (m,) of a stack to measure so that the others are known best, in that order.

    One by one, the row that takes most variance from all, by what rows are expected to share; no measurement is read.
    """
    parts, columns = _OWN_PARTS["ttft_s"], columns_of(read)
    left = np.asarray(sum((part.covariance(columns, columns) for part in parts), start=np.zeros((1, 1))))
    chosen: list[int] = []
    for _ in range(min(count, len(left))):
        own = np.diag(left) + NOISE["ttft_s"] ** 2
        gain = (left**2).sum(axis=0) / own
        gain[chosen] = -np.inf
        best = int(gain.argmax())
        chosen.append(best)
        left -= np.outer(left[:, best], left[best]) / own[best]
    return np.array(chosen, dtype=np.int64)


def scale_of(read: Read, chance: Floats) -> Floats:
    """How hard each row (m,) is to predict: unsaid drafting, disaggregation and attention data parallelism are."""
    unsure = (chance > _UNSURE[0]) & (chance < _UNSURE[1])
    scale = np.where(unsure, _UNSURE_SCALE, 1.0) * np.where(read.fleet.apart > 0, _APART_SCALE, 1.0)
    return scale * np.where(read.fleet.adp > 1, _FULL_SCALE, 1.0)


def coordinates_of(read: Read) -> Floats:
    """Where a deployment lies among all (m, d): logarithms of what its seconds follow from."""
    fleet, d = read.fleet, read.fleet.model
    sizes = (
        d.layers,
        d.hidden,
        1 + d.experts,
        fleet.tp * fleet.pp,
        fleet.adp,
        fleet.batch,
        fleet.prompt,
        fleet.output,
        fleet.hbm_byte_s,
        fleet.moe_byte,
    )
    return np.stack([np.log2(np.maximum(each, 1e-3)) for each in sizes], axis=1)


def nearest_of(read: Read) -> Nearest:
    """One point for each deployment and pair of lengths, whatever its load: the middle of its loads."""
    fleet = read.fleet
    parts = (read.family, fleet.system, fleet.engine, fleet.tp.astype(int), fleet.adp.astype(int))
    names = np.array(
        [
            f"{model} on {int(tp * adp)} {system} with {engine}"
            for model, system, engine, tp, adp in zip(*parts, strict=True)
        ]
    )
    lengths = np.array([f"{a:.0f}x{b:.0f}" for a, b in zip(fleet.prompt, fleet.output, strict=True)])
    _, first, code = np.unique(np.char.add(names, lengths), return_index=True, return_inverse=True)
    where = coordinates_of(read)
    middle = np.array([np.median(where[code == at], axis=0) for at in range(len(first))])
    return Nearest.of(middle, names[first].tolist(), read.family[first])
