"""Commands before a training: `check-gradients` and `find-rate`; the work is imported when one runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()

Recipe = Annotated[Path, typer.Argument(help="A Python file with a function job(data=None) that returns a Job.")]
Data = Annotated[Path | None, typer.Option("--data", help="Folder or file the recipe reads its data from.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output instead of tables.")]
Seed = Annotated[int, typer.Option(help="Seed of the weights and of the rows that are drawn.")]


@app.command("check-gradients")
def check_gradients(
    recipe: Recipe,
    data: Data = None,
    rows: Annotated[int, typer.Option(help="Rows of training data to check on.", min=2)] = 8,
    seed: Seed = 0,
    *,
    json: Json = False,
) -> None:
    """Compare a network's gradients with finite differences in float64, parameter by parameter.

    Exit code 1 if any is wrong, after naming it.
    """
    from pennyweight.cli.checked import tell_gradients

    if not tell_gradients(recipe, data, rows, seed, json=json):
        raise typer.Exit(1)


@app.command("find-rate")
def find_rate(
    recipe: Recipe,
    data: Data = None,
    seed: Seed = 0,
    *,
    json: Json = False,
) -> None:
    """Suggest a learning rate and a batch size: a range test, and the gradient noise scale."""
    from pennyweight.cli.checked import tell_rate

    tell_rate(recipe, data, seed, json=json)
