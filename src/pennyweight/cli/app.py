"""Every command and its options; the work is imported when a command runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from pennyweight.cli import (
    checking,
    comparing,
    cutting,
    devices,
    ending,
    ggml,
    handing,
    healing,
    large,
    letting,
    looking,
    measured,
    moving,
    packing,
    searching,
    settling,
    teaming,
    training,
)
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
        ending.interrupted(_INTERRUPTED)
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
    by: Annotated[str, typer.Option(help="Sum up by job, phase, lever, day or part (of training).")] = "job",
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


app.add_typer(searching.app)
app.add_typer(devices.app)
app.add_typer(large.app)
app.add_typer(cutting.app)
app.add_typer(ggml.app)
app.add_typer(handing.app)
app.add_typer(healing.app)
app.add_typer(checking.app)
app.add_typer(comparing.app)
app.add_typer(packing.app)
app.add_typer(measured.app)
app.add_typer(training.app)
app.add_typer(teaming.app)
app.add_typer(letting.app)
app.add_typer(moving.app)
app.add_typer(settling.app)
app.add_typer(looking.app)
