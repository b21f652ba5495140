"""The command `cut`: what it will leave is said first, then what went and how much it was worth."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pennyweight.engine.cutting import Plan, Receipt, Wish
    from pennyweight.engine.cutting.receipt import Dropped

app = typer.Typer()

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="A checkpoint: config.json, safetensors, tokenizer.")]
Out = Annotated[Path, typer.Option("-o", "--output", help="The new folder to write.")]


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked for, in words."""

    layers: int
    ffn: str | None
    heads: str | None
    vocab: Path | None
    calibrate: Path | None
    tokens: int
    by: str
    mend: bool

    def wish(self) -> Wish:
        """The same, read."""
        from pennyweight.engine.cutting import Calibration, Wish
        from pennyweight.units import parse_share

        ffn, heads = (parse_share(each) if each else 0.0 for each in (self.ffn, self.heads))
        text = None if self.calibrate is None else Calibration(self.calibrate, self.tokens)
        return Wish(self.layers, ffn, heads, self.vocab, text, self.by, self.mend)


@app.command()
def cut(  # ruff: ignore[too-many-arguments] - one parameter per option is how this library reads a command line
    folder: Folder,
    out: Out,
    *,
    layers: Annotated[int, typer.Option(help="How many blocks to drop.", min=0)] = 0,
    ffn: Annotated[str | None, typer.Option(help="The share of the neurons of every block to drop: 25%.")] = None,
    heads: Annotated[
        str | None, typer.Option(help="The share of every block's groups of heads (one of keys each) to drop: 25%.")
    ] = None,
    vocab: Annotated[
        Path | None, typer.Option(metavar="TEXT", help="Drop the tokens that this text is not made of.")
    ] = None,
    calibrate: Annotated[
        Path | None, typer.Option(metavar="TEXT", help="Plain text that tells what blocks, neurons, heads are worth.")
    ] = None,
    tokens: Annotated[int, typer.Option(help="Tokens of that text to use.", min=1)] = 65_536,
    by: Annotated[
        str, typer.Option(help="How blocks are chosen: influence, run, loss, greedy, or the best of the first three.")
    ] = "best",
    mend: Annotated[
        bool, typer.Option("--mend/--no-mend", help="Fit the weights behind dropped neurons and heads again, or not.")
    ] = True,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where an earlier run was cut off.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Begin again in a folder that cut has written.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")] = False,
) -> None:
    """Drop blocks, neurons, heads or tokens of a language model that may be larger than memory.

    Writes a plain checkpoint that transformers, shrink, compare, serve and gguf take as any other.

    Exit codes: 0 done, 2 bad input, 5 a corrupt file, 6 a library is missing, 9 a disk that is full.
    """
    from pennyweight.cli.screen import byte_bar, say_json
    from pennyweight.engine.cutting import cut as carry_out
    from pennyweight.engine.cutting import plan
    from pennyweight.errors import BadInputError

    if resume and force:
        raise BadInputError("--resume goes on and --force begins again.", "give one of them.")
    made = plan(folder, Asked(layers, ffn, heads, vocab, calibrate, tokens, by, mend).wish())
    if not json:
        _foretell(made)
    with byte_bar(made.source.byte, f"cutting {folder.name}") as watch:
        receipt = carry_out(made, out, resume=resume, force=force, watch=watch)
    if json:
        say_json({"out": str(out), **receipt.facts()})
    else:
        _tell(out, receipt)


def _foretell(made: Plan) -> None:
    from pennyweight.cli.screen import say
    from pennyweight.engine.cutting import needed_byte
    from pennyweight.units import si

    say(f"{si(made.source.byte, 'B')} become {si(made.byte, 'B')}.")
    say(f"Needs at most {si(needed_byte(made), 'B')} of memory.")


def _tell(out: Path, receipt: Receipt) -> None:
    from pennyweight.cli.screen import say, say_table
    from pennyweight.units import percent, seconds, si

    before, after = receipt.before, receipt.after
    rows = [
        [what, si(one, unit).strip(), si(other, unit).strip(), percent(other / one, 1) if one else ""]
        for what, unit, one, other in (
            ("parameters", "", before.parameters, after.parameters),
            ("stored", "B", before.byte, after.byte),
            (f"per token of {after.context:,}", "FLOP", before.flop_token, after.flop_token),
            ("KV cache per token", "B", before.kv_byte_token, after.kv_byte_token),
        )
    ]
    say_table(str(out), ["", "before", "after", "left"], rows, (1, 2, 3))
    _tell_dropped(receipt.dropped)
    again = f" ({receipt.kept_shards} of {receipt.shards} shards were there)" if receipt.kept_shards else ""
    say(f"It took {seconds(receipt.seconds)}, {seconds(receipt.cpu_s)} of a core, {si(receipt.joule, 'J')}{again}.")
    say(f"Held at most {si(receipt.peak_byte, 'B')} of memory.")


def _tell_dropped(dropped: Dropped) -> None:
    from pennyweight.cli.screen import say
    from pennyweight.units import percent

    if dropped.chosen is not None:
        _tell_blocks(dropped)
    if dropped.groups:
        say("Groups of heads that went, by block: " + _listed(dropped))
    if dropped.neurons:
        say(f"Of every block {dropped.neurons:,} neurons went.")
    if dropped.moved:
        whole = percent(mean(dropped.moved.values()))
        say(f"Outputs of {len(dropped.moved)} layers moved by {whole} of their length on average, on tokens held out.")
    if dropped.tokens:
        say(f"{dropped.tokens:,} tokens went; the text is split as before.")


def _listed(dropped: Dropped) -> str:
    return ", ".join(f"{number}: {' '.join(map(str, gone))}" for number, gone in dropped.groups.items()) + "."


def _tell_blocks(dropped: Dropped) -> None:
    from math import exp

    from pennyweight.cli.screen import say, say_table

    chosen = dropped.chosen
    if chosen is None:
        return
    rows = [
        [
            str(number),
            f"{influence:.4f}",
            f"{chosen.alone[number]:+.4f}" if chosen.alone else "",
            "dropped" if number in chosen.dropped else "",
        ]
        for number, influence in enumerate(chosen.influence)
    ]
    say_table("Blocks", ["block", "influence", "loss without it", ""], rows, (0, 1, 2))
    for way, loss in chosen.candidates.items():
        say(f"Chosen by {way}: perplexity {exp(loss):.2f}{' (taken)' if way == chosen.by else ''}.")
    say(f"Without these blocks, perplexity on tokens held out: {exp(chosen.before):.2f} to {exp(chosen.after):.2f}.")
