"""The command `gguf`; the work is imported when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pennyweight.engine.gguf import Receipt

app = typer.Typer()

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="A checkpoint: config.json, safetensors, tokenizer.")]
Out = Annotated[Path, typer.Option("-o", "--output", help="The new file to write, such as model.gguf.")]


@app.command()
def gguf(
    folder: Folder,
    out: Out,
    *,
    to: Annotated[str, typer.Option(help="Numbers of 16, 8 or 4 bits: f16, bf16, q8_0 or q4_0.")] = "f16",
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")] = False,
) -> None:
    """Write a checkpoint that may be larger than memory as one GGUF file for llama.cpp, and read it back.

    Exit codes: 0 done, 2 bad input, 5 a corrupt file or other weights, 6 a library is missing, 9 a disk that is full.
    """
    from pennyweight.cli.screen import byte_bar, say, say_json
    from pennyweight.engine.gguf import needed_byte, plan, write
    from pennyweight.units import si

    made = plan(folder, to)
    if not json:
        say(f"{si(made.source.byte, 'B')} become {si(made.byte, 'B')} in 1 file.")
        say(f"Needs at most {si(needed_byte(made), 'B')} of memory.")
    with byte_bar(made.source.byte, f"{folder.name} to {to}") as watch:
        receipt = write(made, out, force=force, watch=watch)
    if json:
        say_json({"out": str(out), **receipt.facts()})
    else:
        _tell(out, receipt)


def _tell(out: Path, receipt: Receipt) -> None:
    from pennyweight.cli.screen import say
    from pennyweight.units import percent, seconds, si

    found = receipt.found
    say(f"{out}: {receipt.architecture}, {found.tensors} tensors as {receipt.to}.")
    say(f"Read back: {found.same} tensors are the same, all together moved by {percent(found.moved)} of their length.")
    say(f"It took {seconds(receipt.seconds)}, {seconds(receipt.cpu_s)} of a core, {si(receipt.joule, 'J')}.")
    say(f"Held at most {si(receipt.peak_byte, 'B')} of memory.")
