"""Commands about devices: who rents them (`prices`), what fits on them (`fit`), what they draw (`energy`)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pennyweight.catalog.grids import PUE

app = typer.Typer()

Update = Annotated[
    Path | None, typer.Option("--update", help="Take in a newer price list: a CSV file of ours, or SkyPilot's.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output instead of tables.")]


@app.command("prices")
def offers(  # ruff: ignore[too-many-arguments] - one parameter per option is how this library reads a command line
    *,
    accelerator: Annotated[
        str | None, typer.Option("--accelerator", help="Only this one, such as h100. Default: the cheapest of each.")
    ] = None,
    cloud: Annotated[
        str | None, typer.Option(help="Only this seller, such as aws; with --update, whose list it is.")
    ] = None,
    region: Annotated[str | None, typer.Option(help="Only in this region, as its seller writes it.")] = None,
    spot: Annotated[
        bool, typer.Option("--spot", help="Spare machines, which may be taken away, by their price.")
    ] = False,
    update: Update = None,
    json: Json = False,
) -> None:
    """Say who rents accelerators, for how much per device-hour, as of when."""
    from pennyweight.cli.pricing import Asked, take_in, tell_offers

    if update is not None:
        take_in(update, cloud, json=json)
    else:
        tell_offers(Asked(accelerator, cloud, region, spot), json=json)


@app.command()
def fit(  # ruff: ignore[too-many-arguments] - one parameter per option is how this library reads a command line
    model: Annotated[
        list[str],
        typer.Argument(
            help="A model of the catalog, or a folder or config.json of Hugging Face's; then more devices, if any."
        ),
    ],
    *,
    on: Annotated[list[str], typer.Option("--on", help="Devices of the catalog, such as l4 a100-80gb.")],
    train: Annotated[bool | None, typer.Option("--train/--serve", help="Only training, or only serving.")] = None,
    seq: Annotated[int, typer.Option(help="Tokens of a training sequence.", min=1)] = 4096,
    micro_batch: Annotated[int, typer.Option(help="Sequences a device trains on at a time.", min=1)] = 1,
    batch: Annotated[int, typer.Option(help="Sequences served at once.", min=1)] = 16,
    context: Annotated[int, typer.Option(help="Tokens of a sequence served: question and answer.", min=1)] = 8192,
    tp: Annotated[int, typer.Option(help="Tensor parallelism.", min=1)] = 1,
    pp: Annotated[int, typer.Option(help="Stages of a pipeline.", min=1)] = 1,
    dp: Annotated[int, typer.Option(help="Replicas.", min=1)] = 1,
    cp: Annotated[int, typer.Option(help="Context parallelism.", min=1)] = 1,
    ep: Annotated[int, typer.Option(help="Expert parallelism.", min=1)] = 1,
    zero: Annotated[int, typer.Option(help="What is sharded over replicas: ZeRO stage; 3 is FSDP.", min=0, max=3)] = 0,
    sequence_parallel: Annotated[
        bool, typer.Option("--sequence-parallel", help="Split what tensor parallelism leaves whole.")
    ] = False,
    recompute: Annotated[str, typer.Option(help="What is computed again: none, selective or full.")] = "none",
    precision: Annotated[str, typer.Option(help="Of the weights: bf16, fp8, int4 …")] = "bf16",
    cache: Annotated[str, typer.Option(help="Precision of cached keys and values.")] = "bf16",
    offload: Annotated[str, typer.Option(help="What the host keeps: none, optimizer or all.")] = "none",
    utilization: Annotated[float, typer.Option(help="The share of a device that an engine takes.")] = 0.9,
    json: Json = False,
) -> None:
    """Say whether a model fits on a device, what fills it, and which change of settings would make it fit."""
    from pennyweight.cli.fitting import Asked, tell_fit
    from pennyweight.core.layout import Layout

    layout = Layout(
        tp=tp,
        pp=pp,
        dp=dp,
        cp=cp,
        ep=ep,
        zero=zero,
        micro_batch=micro_batch,
        sequence_parallel=sequence_parallel,
        recompute=recompute,
        precision=precision,
        offload=offload,
    )
    tell_fit(model, on, Asked(layout, train, seq, batch, context, utilization, cache), json=json)


@app.command()
def energy(  # ruff: ignore[too-many-arguments] - one parameter per option is how this library reads a command line
    model: Annotated[str, typer.Argument(help="A model of the catalog, or a folder or config.json of Hugging Face's.")],
    *,
    on: Annotated[str, typer.Option("--on", help="The device it is served on, such as h100.")],
    gpus: Annotated[int, typer.Option(help="How many of them.", min=1)] = 1,
    batch: Annotated[int, typer.Option(help="Sequences served at once.", min=1)] = 64,
    output_tokens: Annotated[int, typer.Option("--output-tokens", help="Tokens of an answer.", min=1)] = 500,
    prompt_tokens: Annotated[
        int | None, typer.Option("--prompt-tokens", help="Tokens of a question. Default: usual for the task.", min=1)
    ] = None,
    task: Annotated[str, typer.Option(help="What is asked: chat, reasoning, code, image or video.")] = "chat",
    precision: Annotated[str, typer.Option(help="Of the weights: bf16, fp8, mxfp4 …")] = "bf16",
    replicas: Annotated[int, typer.Option(help="Data-parallel replicas of attention.", min=1)] = 1,
    grid: Annotated[str, typer.Option(help="Whose electricity: world, a country (deu), or a kind (wind).")] = "world",
    pue: Annotated[float, typer.Option(help="What the building takes for each joule of the devices.", min=1.0)] = PUE,
    json: Json = False,
) -> None:
    """Say what serving a model takes: joules per token, watts, and carbon per 1,000 tokens, each with an interval."""
    from pennyweight.cli.energising import tell_energy, use_of

    use = use_of((gpus, batch, replicas), output_tokens, task, precision, prompt_tokens)
    tell_energy(model, on, use, (grid, pue), json=json)
