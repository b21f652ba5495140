"""Commands about what was measured: `calibrate` and `score`; the work is imported when one runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output instead of tables.")]
Kind = Annotated[str | None, typer.Option(help="What kind of table it is. Default: its columns tell.")]


@app.command()
def calibrate(
    source: Annotated[
        Path | None, typer.Argument(help="Measured steps or requests of your own, as CSV. Default: this machine.")
    ] = None,
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="With a SOURCE: where to keep what it taught.")] = Path(
        "mine.toml"
    ),
    kind: Kind = None,
    thorough: Annotated[
        bool, typer.Option("--thorough", help="Also run small models in every runtime; takes some minutes.")
    ] = False,
    json: Json = False,
) -> None:
    """Measure this machine's ceilings once; or, from a table of your own steps, how far predictions are off for you."""
    if source is None:
        from pennyweight.cli.telling import tell_calibration

        tell_calibration(thorough=thorough, json=json)
    else:
        from pennyweight.cli.correcting import tell_correction

        tell_correction(source, output, kind, json=json)


@app.command()
def score(
    file: Annotated[Path, typer.Argument(help="A table of measurements, as CSV, also gzipped.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write a line per prediction here.")] = None,
    kind: Kind = None,
    calibration: Annotated[
        Path | None, typer.Option(help="What `calibrate SOURCE` wrote: predictions are moved by it.")
    ] = None,
    *,
    json: Json = False,
) -> None:
    """Predict every row of a table of measurements, with an interval, and say how far the predictions are off."""
    from pennyweight.cli.scoring import tell_score

    tell_score(file, output, kind, calibration, json=json)
