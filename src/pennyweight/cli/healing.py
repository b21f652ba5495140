"""The command `heal`; the work is imported when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()

Folder = Annotated[
    Path, typer.Argument(metavar="DIR", help="A language model that was cut: config.json, safetensors, tokenizer.")
]
Texts = Annotated[
    list[Path],
    typer.Option("--text", help='Text to learn from; of a .jsonl file the "text" of each line. Repeatable.'),
]


@app.command()
def heal(  # ruff: ignore[too-many-arguments] - one parameter per option is how this library reads a command line
    folder: Folder,
    *,
    teacher: Annotated[Path, typer.Option(metavar="ORIGINAL", help="The checkpoint that it was made of.")],
    text: Texts,
    out: Annotated[Path, typer.Option("-o", "--output", help="The new folder to write.")],
    lora: Annotated[
        int,
        typer.Option(metavar="R", help="Let adapters of this rank learn in place of matrices. Default: none.", min=0),
    ] = 0,
    only: Annotated[
        list[str] | None, typer.Option(help="Only weights learn whose name has this in it; several: a,b.")
    ] = None,
    tokens: Annotated[str | None, typer.Option(help="Tokens to learn from, such as 1e6. Default: all once.")] = None,
    budget: Annotated[str | None, typer.Option(help="The most it may cost, such as 0.05usd.")] = None,
    minutes: Annotated[float | None, typer.Option(help="The most minutes it may take.")] = None,
    lr: Annotated[
        float | None,
        typer.Option(help="The highest learning rate. Default: 5e-4, of adapters 2e-3; of wide models less."),
    ] = None,
    temperature: Annotated[float, typer.Option(help="By what answers are flattened before they are compared.")] = 1.0,
    mix: Annotated[
        float, typer.Option(help="The share of the loss that the teacher decides; the text the rest.")
    ] = 0.8,
    batch: Annotated[int, typer.Option(help="Windows of a step.", min=1)] = 8,
    window: Annotated[
        int | None, typer.Option(help="Tokens of a window. Default: what both models look at, up to 256.", min=2)
    ] = None,
    dtype: Annotated[str, typer.Option(help="Products, and the teacher, in float32 or bfloat16.")] = "float32",
    seed: Annotated[int, typer.Option(help="Seed of everything that is drawn by chance.")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where an earlier run was cut off.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Begin again what was cut off.")] = False,
    json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object on standard output instead of tables.")
    ] = False,
) -> None:
    """Mend a checkpoint that was cut: it learns from the answers of the one it was made of, on a text.

    A share of the text is held out and judges; what is written is never worse on it than what came in (exit code 8 if
    nothing was gained). Killed at any moment, it goes on with --resume.
    """
    from pennyweight.cli.healed import Place, Typed, tell_healing

    limits = (tokens, budget, minutes)
    learning = (lr, temperature, mix)
    typed = Typed(teacher, tuple(text), lora, tuple(only or ()), limits, learning, (batch, window), dtype, seed)
    tell_healing(folder, typed, Place(out, resume, force), json=json)
