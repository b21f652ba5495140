"""The command `export`; the work is imported when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()

Artifact = Annotated[Path, typer.Argument(help="An artifact folder that train has written, such as model.pw.")]
Out = Annotated[Path, typer.Option("-o", "--output", help="The new folder to write.")]


@app.command()
def export(
    artifact: Artifact,
    out: Out,
    *,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")] = False,
) -> None:
    """Write a trained language model as a folder that transformers loads, after comparing the two.

    Exit codes: 0 done, 2 bad input, 5 a corrupt file or other answers, 6 a library is missing, 9 a disk that is full.
    """
    from pennyweight.cli.screen import say, say_json
    from pennyweight.engine.exporting import export as written
    from pennyweight.store.artifacts import load
    from pennyweight.units import si

    made = written(load(artifact), out)
    if json:
        say_json({"out": str(out), **made.facts()})
        return
    say(f"{out}: {made.family}, {si(made.weights, '')} weights in {si(made.byte, 'B')}.")
    say(f"transformers reads {made.tokens} tokens as the artifact does, to {made.drift:.0e} of a probability.")
