"""The command `optimize`; the work is imported when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output instead of tables.")]
Data = Annotated[Path | None, typer.Option("--data", help="Folder or file the recipe reads its data from.")]
Prices = Annotated[str, typer.Option("--prices", help="A price sheet: a name in the catalog, or a CSV or TOML file.")]


@app.command()
def optimize(  # ruff: ignore[too-many-arguments] - one parameter per option is how this library reads a command line
    recipes: Annotated[
        list[Path],
        typer.Argument(help="Python files with a function job(data=None) -> Job; or a language model's folder."),
    ],
    *,
    data: Data = None,
    options: Annotated[
        list[str] | None, typer.Option("--with", help="An option of the recipe, such as size=30m; may be repeated.")
    ] = None,
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
    objective: Annotated[
        str, typer.Option(help="Which dollars count: total, or train (finding and training only).")
    ] = "total",
    seed: Annotated[int, typer.Option(help="Seed of everything that is drawn by chance.")] = 0,
    prices: Prices = "local",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the predicted front; run nothing.")] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Do not reuse runs of this job that are on the ledger.")
    ] = False,
    texts: Annotated[
        list[Path] | None, typer.Option("--eval", help="Of a folder: the text to judge by; may be repeated.")
    ] = None,
    on: Annotated[
        str | None, typer.Option(help="Of a folder: the devices, such as cpu,l4,a100-80gb. Default: cpu, measured.")
    ] = None,
    tokens: Annotated[
        int | None, typer.Option(help="Of a folder: the most tokens of the text to use. Default: 200,000.", min=1)
    ] = None,
    prompt: Annotated[int | None, typer.Option(help="Of a folder: tokens of a prompt. Default: 128.", min=1)] = None,
    answer: Annotated[int | None, typer.Option(help="Of a folder: tokens of an answer. Default: 128.", min=2)] = None,
    report: Annotated[Path, typer.Option(help="Where to write the HTML report.")] = Path("report.html"),
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Where to write the winner. Default: winner.pw, or DIR-cheap of a folder."),
    ] = None,
    picture: Annotated[Path | None, typer.Option(help="Also write the first front as an SVG picture.")] = None,
    json: Json = False,
) -> None:
    """Find the cheapest model that keeps the floor, and certify it.

    Of a folder with a config.json and safetensors (a language model) it rounds the weights in many ways; see
    docs/howto/cheaper-tokens.md.

    Exit codes: 0 done, 2 bad input, 3 not even the control keeps the floor, 4 the budget is too small, 5 a corrupt
    file, 6 a library is missing, 9 a disk that is full or read-only, 130 interrupted (finished runs are kept; run again
    to go on).
    """
    from pennyweight.cli.optimizing import Wish, run_any
    from pennyweight.cli.optimizing_large import Large

    wish = Wish(
        data,
        give_up,
        floor,
        sure,
        strategy,
        use,
        budget,
        trials,
        time,
        predictions,
        seed,
        prices,
        dry_run,
        fresh,
        objective,
        tuple(options or ()),
    )
    run_any(recipes, wish, Large(tuple(texts or ()), on, tokens, prompt, answer), (report, out, picture), json=json)
