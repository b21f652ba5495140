"""Every command and its options; the work is imported when a command runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from pennyweight.cli import ending, large, measured
from pennyweight.errors import BadInputError, PennyweightError

app = typer.Typer(
    name="pennyweight",
    help="Find the cheapest model that keeps the quality floor, certify it, and keep every receipt.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output instead of tables.")]
Recipe = Annotated[Path, typer.Argument(help="A Python file with a function job(data=None) that returns a Job.")]
Data = Annotated[Path | None, typer.Option("--data", help="Folder or file the recipe reads its data from.")]
Artifact = Annotated[Path, typer.Argument(help="An artifact folder, such as winner.pw.")]
Prices = Annotated[str, typer.Option("--prices", help="A price sheet: a name in the catalog, or a CSV or TOML file.")]

_INTERRUPTED = 130
# The common ancestor of what typer raises for words it cannot read; its own home has moved between versions.
_UsageError: type[Exception] = typer.BadParameter.__bases__[0]


def main() -> None:
    """Run the command line; a problem becomes one message on standard error and an exit code."""
    ending.prepare()
    try:
        # not app(…), which would print faults in its own way
        code = typer.main.get_command(app)(sys.argv[1:] or ["--help"], standalone_mode=False)
        sys.stdout.flush()
    except PennyweightError as error:
        _leave(error)
    except _UsageError as error:
        _misread(error)
    except (KeyboardInterrupt, typer.Abort):
        code = _INTERRUPTED
    except OSError as error:
        _leave(ending.mute(error))
    if code == _INTERRUPTED:
        sys.stderr.write("pennyweight: interrupted; what was finished is on the ledger.\n")
    sys.exit(code if isinstance(code, int) else 0)


def _leave(error: PennyweightError) -> NoReturn:
    """Say what is wrong and how to fix it."""
    sys.stderr.write(f"pennyweight: {error}\n")
    sys.exit(error.exit_code)


def _misread(error: Any) -> NoReturn:
    """Say what of the words typed cannot be understood."""
    said = str(error.format_message())
    stop = "" if said.endswith((".", "?")) else "."
    command = getattr(error.ctx, "command_path", "") or "pennyweight"
    sys.stderr.write(f"pennyweight: {said}{stop} To fix: see {command} --help.\n")
    sys.exit(BadInputError.exit_code)


@app.command()
def optimize(  # ruff: ignore[too-many-arguments] - one parameter per option is how this library reads a command line
    recipes: Annotated[list[Path], typer.Argument(help="Python files with a function job(data=None) -> Job.")],
    *,
    data: Data = None,
    give_up: Annotated[
        str | None, typer.Option("--give-up", help="How much quality may be lost against the control, such as 0.3%.")
    ] = None,
    floor: Annotated[str | None, typer.Option(help="An absolute floor instead, such as accuracy=98.5%.")] = None,
    sure: Annotated[str | None, typer.Option(help="How sure one must be that the floor holds, such as 95%.")] = None,
    strategy: Annotated[str, typer.Option(help="How to search: greedy, grid, halving or bayes.")] = "greedy",
    use: Annotated[str | None, typer.Option("--levers", help="Search only these levers, separated by commas.")] = None,
    budget: Annotated[str | None, typer.Option(help="The most the search may spend, such as 0.02usd.")] = None,
    trials: Annotated[int | None, typer.Option(help="The most plans to carry out.", min=1)] = None,
    time: Annotated[str | None, typer.Option(help="The most time to search, such as 10m.")] = None,
    predictions: Annotated[str | None, typer.Option(help="Predictions served over the horizon, such as 1e8.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of everything that is drawn by chance.")] = 0,
    prices: Prices = "local",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the predicted front; run nothing.")] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Do not reuse runs of this job that are on the ledger.")
    ] = False,
    report: Annotated[Path, typer.Option(help="Where to write the HTML report.")] = Path("report.html"),
    out: Annotated[
        Path, typer.Option(help="Where to write the winner (with several recipes: one folder each).")
    ] = Path("winner.pw"),
    picture: Annotated[Path | None, typer.Option(help="Also write the first front as an SVG picture.")] = None,
    json: Json = False,
) -> None:
    """Find the cheapest model that keeps the floor, and certify it.

    Exit codes: 0 done, 2 bad input, 3 not even the control keeps the floor, 4 the budget is too small, 5 a corrupt
    file, 6 a library is missing, 9 a disk that is full or read-only, 130 interrupted (finished runs are kept; run again
    to go on).
    """
    from pennyweight.cli.optimizing import Wish, run_all
    from pennyweight.cli.outputs import Outputs

    wish = Wish(
        data, give_up, floor, sure, strategy, use, budget, trials, time, predictions, seed, prices, dry_run, fresh
    )
    run_all(recipes, wish, Outputs(report, out, picture), json=json)


@app.command()
def run(
    artifact: Artifact,
    given: Annotated[
        Path | None, typer.Option("--input", help="Rows to answer: .npy, or .csv of numbers. Default: its own probes.")
    ] = None,
    output: Annotated[Path | None, typer.Option(help="Write the answers here (.npy) instead of printing them.")] = None,
    *,
    json: Json = False,
) -> None:
    """Execute an artifact in the runtime it was measured in."""
    from pennyweight.cli.using import run_artifact

    run_artifact(artifact, given, output, json=json)


@app.command()
def explain(artifact: Artifact, *, json: Json = False) -> None:
    """Tell what an artifact is, what was done to it, what it costs, and what is guaranteed."""
    from pennyweight.cli.using import explain_artifact

    explain_artifact(artifact, json=json)


@app.command()
def levers(
    recipe: Annotated[Path | None, typer.Argument(help="Say for this recipe which levers fit, and why not.")] = None,
    data: Data = None,
    *,
    json: Json = False,
) -> None:
    """List every lever, and for a recipe when it fits and why not."""
    from pennyweight.cli.telling import tell_levers

    tell_levers(recipe, data, json=json)


@app.command()
def count(
    model: Annotated[
        str, typer.Argument(help="A recipe (.py), a folder with a config.json, or a model's name such as llama-3-70b.")
    ],
    data: Data = None,
    context: Annotated[
        int | None, typer.Option("--context", help="Tokens of a sequence; not for recipes. Default: up to 8192.", min=1)
    ] = None,
    *,
    json: Json = False,
) -> None:
    """Count what a model is: parameters, operations and bytes; a recipe's operator by operator."""
    if model.endswith(".py"):
        from pennyweight.cli.telling import tell_count

        tell_count(Path(model), data, json=json)
    else:
        from pennyweight.cli.counting import tell_model

        tell_model(model, context, json=json)


@app.command("data")
def survey(
    recipe: Recipe,
    data: Data = None,
    folds: Annotated[
        int | None, typer.Option("--folds", help="Also cross-validate the job as asked, on so many training folds.")
    ] = None,
    *,
    json: Json = False,
) -> None:
    """Tell what a recipe's data is, what leaks between its splits, and how small a loss it can show."""
    from pennyweight.cli.surveying import tell_data

    tell_data(recipe, data, folds, json=json)


@app.command()
def ledger(
    by: Annotated[str, typer.Option(help="Sum up by job, phase, lever or day.")] = "job",
    prices: Prices = "local",
    *,
    anomalies: Annotated[
        bool, typer.Option("--anomalies", help="Instead: runs whose measured cost does not fit what alike runs cost.")
    ] = False,
    json: Json = False,
) -> None:
    """Show what was spent on what."""
    if anomalies:
        from pennyweight.cli.anomalies import tell_anomalies

        tell_anomalies(json=json)
    else:
        from pennyweight.cli.telling import tell_ledger

        tell_ledger(by, prices, json=json)


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
    update: Annotated[
        Path | None, typer.Option("--update", help="Take in a newer price list: a CSV file of ours, or SkyPilot's.")
    ] = None,
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
    pue: Annotated[float, typer.Option(help="What the building takes for each joule of the devices.", min=1.0)] = 1.2,
    json: Json = False,
) -> None:
    """Say what serving a model takes: joules per token, watts, and carbon per 1,000 tokens, each with an interval."""
    from pennyweight.cli.energising import tell_energy, use_of

    use = use_of((gpus, batch, replicas), output_tokens, task, precision, prompt_tokens)
    tell_energy(model, on, use, (grid, pue), json=json)


app.add_typer(large.app)
app.add_typer(measured.app)
