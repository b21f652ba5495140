"""What `check-gradients` and `find-rate` find out and print."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from pennyweight.cli.screen import say, say_json, say_table, shout
from pennyweight.errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pennyweight.core import Work
    from pennyweight.train.noise import Noise
    from pennyweight.train.range_test import Rates

_BARS = "▁▂▃▄▅▆▇█"
_COLUMNS = 60
_BATCHES = (8, 16, 32, 64, 128, 256, 512, 1024)
_WARM_EPOCHS = 1.0


def tell_gradients(recipe: Path, data: Path | None, rows: int, seed: int, *, json: bool) -> bool:
    """Check the gradients of a recipe's network; returns whether all are right."""
    import torch

    from pennyweight.train.gradients import check_gradients
    from pennyweight.train.objective import Objective
    from pennyweight.train.rows import tensors

    work = _opened(recipe, data, seed)
    task = work.spec.data.task
    batch = tensors(work.model, work.data.train, task)
    chosen = torch.randperm(len(batch), generator=torch.Generator().manual_seed(seed))[:rows]
    smoothing = work.spec.train.regular.smoothing
    report = check_gradients(work.model, Objective(task, smoothing=smoothing), batch.take(chosen), seed=seed)
    if json:
        say_json({"right": not report.wrong, "text": str(report), "checked": [asdict(each) for each in report.checked]})
        return not report.wrong
    table = [
        [
            each.name,
            "×".join(map(str, each.shape)) or "1",
            str(each.slopes),
            f"{each.analytic:.6g}",
            f"{each.numeric:.6g}",
            f"{each.error:.1e}",
            "right" if each.right else "WRONG",
        ]
        for each in report.checked
    ]
    say_table(
        "Worst slope of each parameter",
        ["parameter", "shape", "slopes", "backward", "differences", "error", ""],
        table,
        (2, 3, 4, 5),
    )
    (shout if report.wrong else say)(str(report))
    return not report.wrong


def tell_rate(recipe: Path, data: Path | None, seed: int, *, json: bool) -> None:
    """Suggest a learning rate and a batch size for a recipe."""
    from dataclasses import replace

    from pennyweight.train.loop import How, fit
    from pennyweight.train.noise import noise_scale
    from pennyweight.train.range_test import find_rate

    work = _opened(recipe, data, seed)
    how, settings, rows = How(seed=seed, task=work.spec.data.task), work.spec.train, work.data.train
    rates = find_rate(work.model, rows, settings, how=how)
    begun = replace(settings, lr=rates.suggested, schedule="constant", epochs=min(_WARM_EPOCHS, settings.epochs))
    noise = noise_scale(fit(work.model, rows, replace(begun, patience=None), how=how).model, rows, how=how)
    batch = _batch_for(noise, len(rows), settings.batch)
    if json:
        say_json(
            {
                "lr": rates.suggested,
                "steepest": rates.steepest,
                "highest": rates.highest,
                "batch": batch,
                "noise_rows": noise.rows,
                "asked": {"lr": settings.lr, "batch": settings.batch},
                "rates": list(rates.rates),
                "losses": list(rates.losses),
            }
        )
        return
    _say_chart(rates)
    say(
        f"Learning rate  {rates.suggested:.2g} with {settings.optimizer} and batches of {settings.batch}; the loss "
        f"falls fastest at {rates.steepest:.2g} and still holds at {rates.highest:.2g} (asked for: {settings.lr:g})."
    )
    say(f"Batch          {batch}: {_why(noise)} (asked for: {settings.batch}).")


def _opened(recipe: Path, data: Path | None, seed: int) -> Work:
    from pennyweight import backends
    from pennyweight.core import Form
    from pennyweight.jobs import load_recipe

    job = load_recipe(recipe, data)
    if job.spec.form is not Form.MODULE:
        raise BadInputError(f"{job.name} is no network, so it has no gradients.", "give a recipe made with torch_job.")
    return backends.load(job.backend).open(job, seed=seed)


def _batch_for(noise: Noise, rows: int, asked: int) -> int:
    """The power of two nearest to the noise scale, at most an eighth of the rows; as asked without a noise scale."""
    if not math.isfinite(noise.rows) or noise.rows <= 0:
        return asked
    usable = [each for each in _BATCHES if each <= max(_BATCHES[0], rows / 8)]
    return min(usable, key=lambda each: abs(math.log(each / noise.rows)))


def _why(noise: Noise) -> str:
    if not math.isfinite(noise.rows):
        return "no signal is left in the gradient, so its noise scale is endless"
    return f"the gradient noise scale after an epoch is {noise.rows:.0f} rows, up to which larger batches save steps"


def _say_chart(rates: Rates) -> None:
    """The loss against the learning rate, one column per rate."""
    at = np.linspace(0, len(rates.losses) - 1, min(_COLUMNS, len(rates.losses))).round().astype(int)
    losses = np.array(rates.losses)[at]
    say(f"Loss from {losses.min():.3g} (low) to {losses.max():.3g} (high) against the learning rate:")
    say(f"  {_bars(losses.tolist())}")
    mark: list[Any] = [" "] * len(at)
    mark[int(np.argmin(np.abs(np.log(np.array(rates.rates)[at] / rates.suggested))))] = "^"
    say(f"  {''.join(mark)}")
    say(f"  {rates.rates[0]:.0e}{rates.rates[-1]:>{max(8, len(at) - 5)}.0e}")


def _bars(values: Sequence[float]) -> str:
    low, high = min(values), max(values)
    return "".join(_BARS[round((each - low) / ((high - low) or 1.0) * (len(_BARS) - 1))] for each in values)
