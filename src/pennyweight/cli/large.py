"""Commands about large models: `estimate`, `plan` and `shrink`; the work is imported when one runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()
plan = typer.Typer(help="The cheapest machines and layouts, found before anything is rented.")
app.add_typer(plan, name="plan")

Model = Annotated[str, typer.Argument(help="A model of the catalog, or a folder or config.json of Hugging Face's.")]
Sequence = Annotated[
    int | None, typer.Option(help="Tokens of a sequence. Default: the model's longest, up to 8192.", min=1)
]
Batch = Annotated[
    int | None,
    typer.Option("--global-batch", help="Sequences of a step. Default: as in published models of this size.", min=1),
]
Precision = Annotated[str, typer.Option(help="Of matrix products: bf16, fp8, nvfp4 …")]
Cloud = Annotated[str | None, typer.Option(help="Only this seller, such as aws.")]
Region = Annotated[str | None, typer.Option(help="Only in this region, as its seller writes it.")]
Grid = Annotated[str | None, typer.Option(help="Whose power: a country (deu) or kind (wind). Default: the region's.")]
Stack = Annotated[str, typer.Option(help="Training software: megatron or fsdp.")]
Report = Annotated[Path | None, typer.Option("--report", help="Also write an HTML report with charts.")]
Emit = Annotated[
    str | None, typer.Option("--emit", help="Also write a launch file: torchrun, slurm, kubernetes, skypilot or vllm.")
]
Calibration = Annotated[
    Path | None,
    typer.Option(
        "--calibration",
        help="What `calibrate SOURCE` wrote. Default: mine.toml, if it is there; none: as shipped.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output instead of tables.")]


@app.command()
def estimate(  # ruff: ignore[too-many-arguments] - one parameter per option is how this library reads a command line
    model: Model,
    *,
    tokens: Annotated[str, typer.Option("--train-tokens", help="Tokens to train on, such as 2e12.")],
    on: Annotated[str, typer.Option("--on", help="How many of which device, such as 512xh100.")],
    sequence: Sequence = None,
    global_batch: Batch = None,
    precision: Precision = "bf16",
    tp: Annotated[int | None, typer.Option(help="Tensor parallelism.", min=1)] = None,
    pp: Annotated[int | None, typer.Option(help="Stages of a pipeline.", min=1)] = None,
    dp: Annotated[int | None, typer.Option(help="Replicas.", min=1)] = None,
    cp: Annotated[int | None, typer.Option(help="Context parallelism.", min=1)] = None,
    ep: Annotated[int | None, typer.Option(help="Expert parallelism.", min=1)] = None,
    chunks: Annotated[int | None, typer.Option(help="Virtual stages per device.", min=1)] = None,
    micro_batch: Annotated[int | None, typer.Option(help="Sequences a device trains on at a time.", min=1)] = None,
    zero: Annotated[int | None, typer.Option(help="ZeRO stage; 3 is FSDP.", min=0, max=3)] = None,
    recompute: Annotated[str | None, typer.Option(help="What is computed again: none, selective or full.")] = None,
    cloud: Cloud = None,
    region: Region = None,
    spot: Annotated[bool, typer.Option("--spot", help="Spare machines, which may be taken away.")] = False,
    grid: Grid = None,
    stack: Stack = "megatron",
    calibration: Calibration = None,
    report: Report = None,
    emit: Emit = None,
    json: Json = False,
) -> None:
    """Say what training a model costs: time, dollars, energy, carbon, memory, and the layout to do it in.

    What of the layout is not given is chosen: the fastest that fits. Every figure has a 90% interval.
    """
    from pennyweight.cli.estimating import Asked, Trained, tell_estimate
    from pennyweight.cli.launching import Told
    from pennyweight.layout.plans.renting import Terms
    from pennyweight.layout.plans.spreading import Choices

    degrees = {
        "tp": tp,
        "pp": pp,
        "dp": dp,
        "cp": cp,
        "ep": ep,
        "chunks": chunks,
        "micro_batch": micro_batch,
        "zero": zero,
    }
    fixed = Choices.fixed({name: value for name, value in degrees.items() if value is not None}, recompute)
    terms = Terms(cloud=cloud, region=region, spare=spot, grid=grid, stack=stack)
    trained = Trained(model, tokens, sequence or 0, global_batch or 0, precision)
    tell_estimate(trained, Asked(on, fixed, terms), Told(report, emit, json, calibration))


@plan.command("train")
def plan_train(  # ruff: ignore[too-many-arguments] - one parameter per option is how this library reads a command line
    model: Annotated[
        list[str],
        typer.Argument(help="A model of the catalog, or a folder or config.json; then more accelerators, if any."),
    ],
    *,
    tokens: Annotated[str, typer.Option(help="Tokens to train on, such as 15e12.")],
    deadline: Annotated[str | None, typer.Option(help="The longest it may take, such as 60d.")] = None,
    budget: Annotated[str | None, typer.Option(help="The most dollars it may cost, such as 50e6.")] = None,
    on: Annotated[
        list[str] | None, typer.Option("--on", help="Only these accelerators: h100 b200. Default: all.")
    ] = None,
    most_devices: Annotated[
        int | None, typer.Option("--max-devices", help="At most so many. Default: 32768.", min=1)
    ] = None,
    spot: Annotated[
        bool | None, typer.Option("--spot/--no-spot", help="Only spare machines, or none. Default: both.")
    ] = None,
    sequence: Sequence = None,
    global_batch: Batch = None,
    precision: Precision = "bf16",
    cloud: Cloud = None,
    region: Region = None,
    grid: Grid = None,
    stack: Stack = "megatron",
    calibration: Calibration = None,
    top: Annotated[int, typer.Option(help="How many ways of the front to show.", min=1)] = 10,
    report: Report = None,
    emit: Emit = None,
    json: Json = False,
) -> None:
    """Find the cheapest machines and layouts that train a model within a deadline and a budget.

    Every offer of the price list, every number of devices and every legal layout is considered, on demand and spare.
    """
    from pennyweight.cli.estimating import Trained
    from pennyweight.cli.launching import Told
    from pennyweight.cli.planning import Bounds, tell_plan
    from pennyweight.layout.plans.renting import Terms

    trained = Trained(model[0], tokens, sequence or 0, global_batch or 0, precision)
    bounds = Bounds(deadline, budget, most_devices, [*(on or ()), *model[1:]], spot, top)
    terms = Terms(cloud=cloud, region=region, grid=grid, stack=stack)
    tell_plan(trained, bounds, terms, Told(report, emit, json, calibration))


@plan.command("serve")
def plan_serve(  # ruff: ignore[too-many-arguments] - one parameter per option is how this library reads a command line
    model: Annotated[
        list[str],
        typer.Argument(
            help="A model of the catalog, or a folder or config.json; then more accelerators, engines or precisions."
        ),
    ],
    *,
    slo: Annotated[str, typer.Option(help="What requests keep at p90, or another: ttft_p99=1s,tpot=40ms.")],
    trace: Annotated[Path | None, typer.Option(help="Requests (CSV): when they arrive, tokens in and out.")] = None,
    rate: Annotated[float | None, typer.Option(help="Requests a second. Default: those of the trace.")] = None,
    prompt: Annotated[int | None, typer.Option(help="Tokens of a prompt, without a trace.", min=1)] = None,
    output: Annotated[int | None, typer.Option(help="Tokens of an answer, without a trace.", min=1)] = None,
    on: Annotated[
        list[str] | None, typer.Option("--on", help="Only these accelerators: h100 b200. Default: all.")
    ] = None,
    engine: Annotated[list[str] | None, typer.Option(help="Only these: vllm sglang trtllm. Default: all.")] = None,
    precision: Annotated[list[str] | None, typer.Option(help="Of weights. Default: bf16 fp8 nvfp4.")] = None,
    spot: Annotated[
        bool | None, typer.Option("--spot/--no-spot", help="Only spare machines, or none. Default: both.")
    ] = None,
    cloud: Cloud = None,
    region: Region = None,
    prefix_hit: Annotated[float, typer.Option(help="Share of every prompt that is found in the prefix cache.")] = 0.0,
    draft: Annotated[
        str, typer.Option(help="Tokens guessed ahead: accept=0.7,tokens=3, and model=NAME if another model guesses.")
    ] = "",
    pools: Annotated[
        str, typer.Option(help="aggregated: one pool reads and answers; disaggregated: one does each; or both.")
    ] = "both",
    calibration: Calibration = None,
    top: Annotated[int, typer.Option(help="How many ways of the front to show.", min=1)] = 10,
    report: Report = None,
    emit: Emit = None,
    json: Json = False,
) -> None:
    """Find the cheapest engine, machines and layout that serve a model's users as fast as promised.

    Every offer of the price list, engine, split, precision and number of requests at once is considered, with one pool
    of servers or with one for prompts and one for answers.
    """
    from pennyweight.cli.launching import Told
    from pennyweight.cli.planning_serving import Among, Asked, tell_serving

    among = Among(on or (), engine or (), precision or (), model[1:], spot, cloud, region, pools)
    asked = Asked(slo, trace, rate, prompt, output, prefix_hit, draft)
    tell_serving(model[0], asked, among, Told(report, emit, json, calibration), top)


@app.command()
def shrink(  # ruff: ignore[too-many-arguments] - one parameter per option is how this library reads a command line
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A checkpoint: config.json and safetensors.")],
    out: Annotated[Path | None, typer.Option("-o", "--output", help="The new folder to write.")] = None,
    *,
    to: Annotated[
        str,
        typer.Option(
            help="int3, int4, int8 or mxfp4; or bits on average (3.5) or a size (4GB), each layer as it needs."
        ),
    ] = "int4",
    method: Annotated[
        str, typer.Option(help="rtn: to nearest; hqq: scales searched; gptq, awq: so that outputs of a text stay.")
    ] = "rtn",
    calibrate: Annotated[
        Path | None, typer.Option("--calibrate", metavar="TEXT", help="Plain text for gptq and awq.")
    ] = None,
    tokens: Annotated[int, typer.Option(help="Tokens of that text to use.", min=1)] = 65_536,
    among: Annotated[
        list[str] | None,
        typer.Option(help="With an average or size: what layers may be given. Default: int3,int4,int8."),
    ] = None,
    group: Annotated[
        int | None, typer.Option(help="Weights of a row that share a scale: a multiple of 32. Default: 128; mxfp4: 32.")
    ] = None,
    keep: Annotated[
        list[str] | None, typer.Option(help="Leave weights alone whose name has this in it; several: a,b.")
    ] = None,
    any_: Annotated[
        bool, typer.Option("--any", help="Of an architecture that is not known: every 2-D weight but the usual others.")
    ] = False,
    shard: Annotated[str, typer.Option(help="The size of an output file.")] = "1GB",
    resume: Annotated[bool, typer.Option("--resume", help="Go on where an earlier run was cut off.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Begin again in a folder that shrink has written.")] = False,
    check: Annotated[
        Path | None,
        typer.Option("--check", metavar="OUT", help="Write nothing; read OUT back, compare it with DIR."),
    ] = None,
    json: Json = False,
) -> None:
    """Round the weights of a checkpoint that may be larger than memory; vLLM and transformers load what comes out.

    Tensors are read, rounded and written piece by piece, with a text block by block. Killed at any moment, it goes on
    with --resume.
    """
    from pennyweight.cli.shrinking import Asked, tell_shrinking

    asked = Asked(
        to, group, tuple(keep or ()), any_, shard, resume, force, method, calibrate, tokens, tuple(among or ())
    )
    tell_shrinking(folder, out, check, asked, json=json)
