"""`pennyweight shrink`: what it will take is said first, then how far it is, then what came of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from statistics import mean
from typing import TYPE_CHECKING

from pennyweight.cli.screen import byte_bar, say, say_json, say_table
from pennyweight.errors import BadInputError
from pennyweight.units import parse_bytes, percent, seconds, si

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pennyweight.engine.shrinking import Checked, Plan, Receipt

_SHOWN = 8


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked for beside the checkpoint and where to write."""

    to: str
    group: int | None
    keep: tuple[str, ...]
    any_: bool
    shard: str
    resume: bool
    force: bool
    method: str
    calibrate: Path | None
    tokens: int
    among: tuple[str, ...] = ()


def tell_shrinking(folder: Path, out: Path | None, check: Path | None, asked: Asked, *, json: bool) -> None:
    """Round a checkpoint, or compare what was made with it."""
    if (out is None) == (check is None):
        raise BadInputError("Either a checkpoint is written or one is checked.", "give one of -o OUT and --check OUT.")
    if asked.resume and asked.force:
        raise BadInputError("--resume goes on and --force begins again.", "give one of them.")
    if check is not None:
        _tell_check(folder, check, json=json)
    elif out is not None:
        _tell_making(folder, out, asked, json=json)


def _tell_making(folder: Path, out: Path, asked: Asked, *, json: bool) -> None:
    from pennyweight.engine.shrinking import WIDTHS, Calibration, Wish, needed_byte, plan, shrink

    keep, among = _words(asked.keep), _words(asked.among)
    text = None if asked.calibrate is None else Calibration(asked.calibrate, asked.tokens)
    shard = round(parse_bytes(asked.shard))
    wish = Wish(asked.to, asked.group, keep, asked.any_, shard, asked.method, text, among or WIDTHS)
    made = plan(folder, wish)
    if not json:
        _foretell(made, needed_byte(made))
    with byte_bar(made.source.byte + made.sensed_byte, f"{folder.name} to {wish.to}") as watch:
        receipt = shrink(made, out, resume=asked.resume, force=asked.force, watch=watch)
    if json:
        say_json({"out": str(out), **receipt.facts(), "kept_whole": dict(made.choice.kept)})
    else:
        _tell(out, receipt)


def _words(given: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(word for each in given for word in each.split(",") if word)


def _foretell(plan: Plan, most_byte: float) -> None:
    shards = "1 shard" if len(plan.shards) == 1 else f"{len(plan.shards)} shards"
    most = "at most " if plan.wish.mixed else ""
    say(f"{si(plan.source.byte, 'B')} become {most}{si(plan.most_byte, 'B')} in {shards}.")
    say(f"Needs at most {si(most_byte, 'B')} of memory.")
    for why, count in Counter(plan.choice.kept.values()).items():
        say(f"Kept as they are: {count} weights of linear layers ({why}).")


def _tell(out: Path, receipt: Receipt) -> None:
    again = f" ({receipt.kept_shards} shards were there)" if receipt.kept_shards else ""
    to = _counted(receipt.widths) or receipt.to
    say(f"{out}: {receipt.rounded} of {receipt.tensors} tensors are {to}, in groups of {receipt.group}{again}.")
    pace = si(receipt.in_byte / max(receipt.seconds, 1e-9), "B/s")
    say(f"It took {seconds(receipt.seconds)} ({pace}), {seconds(receipt.cpu_s)} of a core, {si(receipt.joule, 'J')}.")
    say(f"Held at most {si(receipt.peak_byte, 'B')} of memory.")
    _tell_harms(receipt)
    _tell_errors(receipt.errors)


def _counted(widths: Mapping[str, str]) -> str:
    """How many layers have which width."""
    return ", ".join(f"{name} ({count})" for name, count in sorted(Counter(widths.values()).items()))


def _tell_harms(receipt: Receipt) -> None:
    """Which layers were given how much, and why."""
    if not receipt.harms:
        return
    names = list(next(iter(receipt.harms.values())))
    worst = sorted(receipt.harms.items(), key=lambda pair: -pair[1][names[0]])[:_SHOWN]
    rows = [
        [_joined(layers), *(f"{harms[name]:.2g}" for name in names), receipt.widths[layers.split()[0]]]
        for layers, harms in worst
    ]
    say_table("What rounding would cost, in nats a token", ["layers", *names, "chosen"], rows, range(1, len(names) + 1))
    say(f"What the model says is expected to move by {receipt.harm:.2g} nats a token.")


def _joined(layers: str) -> str:
    """Layers that are rounded together: the first in full, of others what differs."""
    first, *others = layers.split()
    return ", ".join([first, *(other.rpartition(".")[2] for other in others)])


def _tell_errors(errors: Mapping[str, float]) -> None:
    """How far outputs of layers moved, if that was measured."""
    if not errors:
        return
    worst = sorted(errors.items(), key=lambda pair: -pair[1])[:_SHOWN]
    rows = [[name, percent(error)] for name, error in worst]
    say_table("Outputs that moved furthest, on tokens held out", ["layer", "of their length"], rows, (1,))
    say(f"Outputs of {len(errors)} layers moved by {percent(mean(errors.values()))} of their length on average.")


def _tell_check(folder: Path, made: Path, *, json: bool) -> None:
    from pennyweight.engine.shrinking import check
    from pennyweight.store.checkpoints import Checkpoint

    with byte_bar(Checkpoint.at(folder).byte, f"checking {made.name}") as watch:
        found = check(folder, made, watch)
    if json:
        say_json({"out": str(made), **found.facts()})
    else:
        _tell_found(made, found)


def _tell_found(made: Path, found: Checked) -> None:
    worst = sorted(found.tensors.items(), key=lambda pair: -pair[1])[:_SHOWN]
    blocks = [[str(number), percent(error)] for number, error in found.blocks.items()]
    if found.tensors:
        say_table("How far weights were moved, by block", ["block", "of their length"], blocks, (0, 1))
        say_table("Furthest", ["weight", "of its length"], [[name, percent(error)] for name, error in worst], (1,))
    say(f"{made}: {found.shards} shards are what was written, {found.same} tensors are the same.")
    if found.tensors:
        say(f"All {len(found.tensors)} rounded weights together moved by {percent(found.whole)} of their length.")
    _tell_errors(found.errors)
