"""What waiting for each other and keeping answers save, in the runtime that serves: the levers batching and cache.

    python -m bench.serving_levers [--quick]

The network of recipes/digits_cnn.py in ONNX Runtime on one thread, answered one digit a call; beside it in calls of 2
to 64 digits (batching), and behind a cache by which a share of all requests is answered. All are timed in turn, in CPU
seconds per prediction; the control is the call of one digit. Then what a grid costs and brings: the share of training
rows that fall into the cell of an earlier one, and the accuracy on fresh rows, of digits (64 numbers a row) and of iris
(four), for cells of some standard deviations. At last the repeats of a trace: 20,000 requests for 5,000 rows by Zipf's
law, behind caches of several sizes.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.report import emit, table

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from pennyweight.core import Artifact, ServeSpec, Session

BATCHES = (2, 4, 8, 16, 32, 64)
HITS = (0.1, 0.3, 0.5, 0.9)
RADII = (0.1, 0.25, 0.5, 1.0, 2.0)
SIZES = (64, 256, 1024, 4096)
RECIPE = Path(__file__).resolve().parent.parent / "recipes" / "digits_cnn.py"


def main() -> None:
    """Time both levers, then look at grids and at a trace."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--quick", action="store_true")
    asked = options.parse_args()
    rounds = 11 if asked.quick else 61
    figures = _costs(rounds) | _grids() | _trace()
    emit("serving_levers", figures, rounds)


def _costs(rounds: int) -> dict[str, float]:
    from pennyweight.cost.race import race, ratio
    from pennyweight.engine.weighing import kept_calls, one_call

    session, artifact, serve, x = _served()
    ways: dict[str, tuple[Callable[[], object], int]] = {"control": (one_call(session, artifact, x, 1), 1)}
    for batch in BATCHES:
        ways[f"batching_{batch}"] = one_call(session, artifact, x, batch), batch
    for hits in HITS:
        ways[f"cache_{hits:g}"] = kept_calls(session, artifact, x, replace(serve, cache=4096, hits=hits))
    timing = race({name: call for name, (call, _) in ways.items()}, rounds=rounds, budget_s=120.0)
    control, rows, figures = timing["control"], [], {}
    for name, (_, predictions) in ways.items():
        times = predictions / ratio(timing[name], control).value
        figures[f"{name}_times"] = times
        rows.append((name, round(1e6 * timing[name].cpu_s / predictions, 2), f"{times:.2f}x"))
    table(("way", "CPU µs per prediction", "times cheaper"), rows)
    return figures


def _served() -> tuple[Session, Artifact, ServeSpec, NDArray[Any]]:
    """The trained network in the runtime that will serve it, and rows to ask about."""
    from pennyweight import backends, runtimes
    from pennyweight.engine.making import trained
    from pennyweight.jobs import load_recipe

    torch, job = backends.load("torch"), load_recipe(RECIPE)
    work = trained(torch.open(job))
    serve = replace(work.spec.serve, runtime="onnxruntime")
    artifact = torch.export(work, "onnx")
    return runtimes.load("onnxruntime").load(artifact, serve), artifact, serve, work.data.select.x


def _grids() -> dict[str, float]:
    from sklearn.datasets import load_digits, load_iris

    figures, rows = {}, []
    for name, data in (("digits", load_digits()), ("iris", load_iris())):
        x, y = data.data.astype(np.float32), data.target
        order = np.random.default_rng(0).permutation(len(x))
        learn, fresh = order[: len(x) // 2], order[len(x) // 2 :]
        model = _forest(x[learn], y[learn])
        spread = float(np.median(x[learn].std(axis=0)))
        for radius in (0.0, *RADII):
            met, right = _grid(model, (x[learn], x[fresh], y[fresh]), radius * spread)
            figures |= {f"{name}_{radius:g}_hits": met, f"{name}_{radius:g}_accuracy": right}
            rows.append((name, radius, f"{met:.1%}", f"{right:.1%}"))
    table(("data", "radius", "rows that meet", "accuracy"), rows)
    return figures


def _forest(x: NDArray[Any], y: NDArray[Any]) -> Any:
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(100, random_state=0).fit(x, y)


def _grid(model: Any, data: tuple[NDArray[Any], ...], grid: float) -> tuple[float, float]:
    """The share of rows in the cell of an earlier one, exact copies left out, and the accuracy on fresh rows."""
    from pennyweight.runtimes.kept import hit_share, rounded

    learn, fresh, y = data
    once = np.unique(learn, axis=0)
    met = hit_share((row[None] for row in once), len(once), grid)
    return met, float((model.predict(rounded(fresh, grid)) == y).mean())


def _trace() -> dict[str, float]:
    from pennyweight.runtimes.kept import hit_share

    dice = np.random.default_rng(0)
    asked = dice.zipf(1.2, 20_000) % 5_000
    rows = dice.normal(size=(5_000, 1, 8)).astype(np.float32)
    shares = {most: hit_share((rows[each] for each in asked), most) for most in SIZES}
    table(("answers kept", "hits"), [(most, f"{share:.1%}") for most, share in shares.items()])
    return {f"trace_{most}_hits": share for most, share in shares.items()}


if __name__ == "__main__":
    main()
