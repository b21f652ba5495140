"""The command `train`; the work is imported when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()


@app.command()
def train(  # ruff: ignore[too-many-arguments] - one parameter per option is how this library reads a command line
    recipe: Annotated[Path, typer.Argument(help="A Python file with a function job(data=None) that returns a Job.")],
    *,
    data: Annotated[Path | None, typer.Option("--data", help="Folder or file the recipe reads its data from.")] = None,
    options: Annotated[
        list[str] | None, typer.Option("--with", help="An option of the recipe, such as size=30m; may be repeated.")
    ] = None,
    floor: Annotated[
        str | None, typer.Option(help="Stop as soon as this is surely reached, such as accuracy=98.5%.")
    ] = None,
    budget: Annotated[str | None, typer.Option(help="The most it may cost in all, such as 0.02usd.")] = None,
    time: Annotated[str | None, typer.Option(help="The most time it may take, such as 10m.")] = None,
    epochs: Annotated[float | None, typer.Option(help="Passes over the data.")] = None,
    batch: Annotated[int | None, typer.Option(help="Rows of a mini-batch (of each worker).", min=1)] = None,
    accumulate: Annotated[int | None, typer.Option(help="Mini-batches that add up to one step.", min=1)] = None,
    lr: Annotated[float | None, typer.Option(help="The learning rate.")] = None,
    optimizer: Annotated[str | None, typer.Option(help="sgd, adam, adamw, muon, lamb, rmsprop, adagrad …")] = None,
    schedule: Annotated[str | None, typer.Option(help="constant, cosine, onecycle or wsd.")] = None,
    warmup: Annotated[float | None, typer.Option(help="The share of all steps in which the rate climbs.")] = None,
    teacher: Annotated[str | None, typer.Option(help="What a language model learns from, such as ngrams:5.")] = None,
    precision: Annotated[str | None, typer.Option(help="Of products: float32, bfloat16 or float16.")] = None,
    recompute: Annotated[bool, typer.Option("--recompute", help="Keep fewer activations, compute more.")] = False,
    ema: Annotated[float | None, typer.Option(help="Decay of the moving average of the weights, such as 0.99.")] = None,
    clip: Annotated[float | None, typer.Option(help="The longest gradient.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes that train together.", min=1)] = None,
    sync: Annotated[str | None, typer.Option(help="How they agree: each, shard, local:8, diloco:16, async:8.")] = None,
    compress: Annotated[str | None, typer.Option(help="How gradients or updates are packed, such as int8.")] = None,
    cure: Annotated[bool, typer.Option("--cure", help="Cure what ails the training; see the docs on health.")] = False,
    clients: Annotated[int | None, typer.Option(help="Train on data that stays with so many clients.", min=2)] = None,
    rounds: Annotated[int, typer.Option(help="With --clients: how often they all train.", min=1)] = 20,
    rule: Annotated[
        str, typer.Option(help="With --clients: fedavg, fedavgm:0.9, fedprox:0.1, fedadam:0.03.")
    ] = "fedavg",
    alpha: Annotated[
        float | None, typer.Option(help="With --clients: cut the classes unevenly (small is uneven), such as 0.3.")
    ] = None,
    secure: Annotated[bool, typer.Option("--secure", help="With --clients: only sums of updates are seen.")] = False,
    dp: Annotated[
        str | None, typer.Option(help="With --clients: differential privacy, such as epsilon=8,delta=1e-3.")
    ] = None,
    resume: Annotated[str, typer.Option(help="Go on with this run, as it was asked for then.")] = "",
    seed: Annotated[int, typer.Option(help="Seed of everything that is drawn by chance.")] = 0,
    prices: Annotated[str, typer.Option("--prices", help="A price sheet: a name, or a CSV or TOML file.")] = "local",
    out: Annotated[Path, typer.Option("--out", "-o", help="Where to write the trained model.")] = Path("model.pw"),
    report: Annotated[Path | None, typer.Option(help="Also write an HTML report.")] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object on standard output instead of tables.")
    ] = False,
) -> None:
    """Train a recipe's model: watched, paid for part by part, never over budget, and resumable.

    Exit codes: 0 done, or stopped with a reason; 2 bad input; 9 a disk that is full; 130 interrupted (go on with
    --resume).
    """
    from pennyweight.cli.trained import Order, carry_out

    settings = {
        "epochs": epochs,
        "batch": batch,
        "accumulate": accumulate,
        "lr": lr,
        "optimizer": optimizer,
        "schedule": schedule,
        "warmup": warmup,
        "teacher": teacher,
        "precision": precision,
        "recompute": recompute or None,
    }
    order = Order(
        recipe,
        data,
        floor,
        budget,
        time,
        {name: value for name, value in settings.items() if value is not None},
        {name: value for name, value in {"ema": ema, "clip_norm": clip}.items() if value is not None},
        {
            name: value
            for name, value in {"workers": workers, "sync": sync, "compress": compress}.items()
            if value is not None
        },
        resume,
        seed,
        prices,
        out,
        report,
        cure=cure,
        options=tuple(options or ()),
    )
    if clients is None:
        carry_out(order, json=json)
        return
    from pennyweight.cli import federating

    circle = federating.Circle(clients, rounds, rule, alpha, secure, dp, compress or "")
    federating.carry_out(order, circle, json=json)
