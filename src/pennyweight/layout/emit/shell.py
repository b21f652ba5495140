"""Shell text: words quoted so that no name can be taken for a command, one option to a line."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pennyweight.layout.emit.launch import Launch

    Option = tuple["str | int | float | Raw", ...]


@dataclass(frozen=True, slots=True)
class Raw:
    """Shell text of our own, such as `"$DATA"`, that is put in as it is."""

    text: str


def line(words: Iterable[object]) -> str:
    """Words as one line, each quoted but for those that are `Raw`."""
    return " ".join(each.text if isinstance(each, Raw) else shlex.quote(str(each)) for each in words)


def array(name: str, options: Iterable[Option]) -> list[str]:
    """A bash array of options, one to a line."""
    return [f"{name}=(", *(f"  {line(each)}" for each in options), ")"]


def command(head: Sequence[object], options: Iterable[Option]) -> list[str]:
    """A command with its options, one to a line."""
    lines = [line(head), *(f"  {line(each)}" for each in options)]
    return [f"{each} \\" for each in lines[:-1]] + lines[-1:]


def needed(name: str, what: str) -> str:
    """A line that ends a script which was not told `name`, saying `what` it is; no quotes in it, please."""
    return f': "${{{name}:?{what}}}"'


def script(lines: Iterable[str]) -> str:
    """A whole bash script."""
    return "\n".join(["#!/usr/bin/env bash", *lines]) + "\n"


def indented(lines: Iterable[str]) -> list[str]:
    """Lines inside a function."""
    return [f"  {each}" if each else each for each in lines]


def about(launch: Launch) -> list[str]:
    """Comment lines that say what is started where; names are quoted, so that none ends its line."""
    layout, offer, several = launch.layout, launch.offer, "s" * (launch.machines > 1)
    degrees = [
        f"{name} {getattr(layout, name)}" for name in ("tp", "pp", "cp", "ep", "dp") if getattr(layout, name) > 1
    ]
    if launch.kind == "train":
        degrees.append(f"micro-batch {layout.micro_batch}")
    devices = f"{layout.devices} {launch.accelerator.name}"
    lines = [f"# {launch.kind} {shlex.quote(launch.model)} on {devices}: {launch.machines} machine{several}"]
    lines += [f"# layout: {', '.join(degrees)}"] if degrees else []
    if offer is not None:
        spare = ", spare" * launch.spare
        lines.append(f"# planned for {shlex.quote(f'{offer.cloud} {offer.instance}, {offer.region}{spare}')}")
    return lines
