"""SkyPilot's catalogs of machines, schema 8, as rows of a price list."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from pennyweight.catalog.machines import named
from pennyweight.errors import BadInputError, UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

COLUMNS = ("InstanceType", "AcceleratorName", "AcceleratorCount", "Price", "SpotPrice", "Region")
"""The columns that make a file one of SkyPilot's; vCPUs and MemoryGiB are read where they are."""

# Google sells the boards apart from the machines that hold them; these hold one kind only.
_HOLDS = {
    "a2-highgpu": "A100",
    "a2-megagpu": "A100",
    "a2-ultragpu": "A100-80GB",
    "a3-highgpu": "H100",
    "a3-megagpu": "H100-MEGA",
    "a3-ultragpu": "H200",
    "a4-highgpu": "B200",
}
_UNPRICED_USD = 700.0  # what SkyPilot writes where Google has no price for a TPU


def rows_of(table: Iterable[Mapping[str, str]], cloud: str, date: str) -> tuple[list[dict[str, str]], tuple[str, ...]]:
    """The machines with accelerators of our catalog, by region at their lowest price; and what was left out.

    Zones of a region become one row. TPU slices are sold by the chip; boards that Google prices apart are added to the
    machines that hold nothing else. A row's `line` is its place in the table. Raises `BadInputError` for a price
    that is no number.
    """
    every = [{**row, "line": str(line)} for line, row in enumerate(table, start=2)]
    left: Counter[str] = Counter()
    found: dict[tuple[str, str], dict[str, str]] = {}
    for row in (*every, *_assembled(every)):
        made = _row(row, cloud, date, left)
        if made is None:
            continue
        key = (made["region"], made["instance"])
        found[key] = _cheaper(found[key], made) if key in found else made
    return list(found.values()), tuple(f"{count} of {reason}" for reason, count in sorted(left.items()))


def _row(row: Mapping[str, str], cloud: str, date: str, left: Counter[str]) -> dict[str, str] | None:
    """One machine; None for what has no accelerator, or one that `left` counts."""
    name, count, instance = row["AcceleratorName"].strip(), row["AcceleratorCount"], row["InstanceType"].strip()
    chips = re.fullmatch(r"tpu-(v4|v5p|v5litepod|v6e)-(\d+)", name)
    if chips:
        cores = 2 if chips[1] in {"v4", "v5p"} else 1
        name, count, instance = f"tpu-{chips[1]}", str(int(chips[2]) // cores), name
    if not name or not instance:
        return None
    if not row["Price"].strip() or (chips and _price(row["Price"]) == _UNPRICED_USD):
        left[f"{name} without a price"] += 1
        return None
    try:
        ours = named(cloud, instance, name)
    except UnknownNameError:
        left[f"{name}, not in the catalog"] += 1
        return None
    return {
        "cloud": cloud,
        "region": row["Region"] or "all",
        "instance": instance,
        "accelerator": ours,
        "devices": count,
        "vcpu": row.get("vCPUs", ""),
        "memory_gib": row.get("MemoryGiB", ""),
        "usd_hour": row["Price"],
        "spot_usd_hour": row["SpotPrice"],
        "date": date,
        "source": "",
        "line": row["line"],
    }


def _assembled(table: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """Machines and the boards that are priced apart from them, together."""
    boards = {
        (row["AcceleratorName"], _count(row["AcceleratorCount"]), row.get("AvailabilityZone") or row["Region"]): row
        for row in table
        if row["AcceleratorName"] and not row["InstanceType"]
    }
    made = []
    for host in table if boards else ():
        family, _, size = host["InstanceType"].rpartition("-")
        if host["AcceleratorName"] or family not in _HOLDS or not re.fullmatch(r"\d+g", size):
            continue
        place = host.get("AvailabilityZone") or host["Region"]
        board = boards.get((_HOLDS[family], int(size[:-1]), place))
        if board is not None:
            prices = {name: _sum(host[name], board[name]) for name in ("Price", "SpotPrice")}
            names = {name: board[name] for name in ("AcceleratorName", "AcceleratorCount")}
            made.append({**host, **prices, **names})
    return made


def _cheaper(one: dict[str, str], other: dict[str, str]) -> dict[str, str]:
    """The same machine in two zones: the lower of each price."""
    prices = {
        name: min((row[name] for row in (one, other) if row[name].strip()), key=_price, default="")
        for name in ("usd_hour", "spot_usd_hour")
    }
    return {**one, **prices}


def _sum(one: str, other: str) -> str:
    return repr(_price(one) + _price(other)) if one.strip() and other.strip() else ""


def _count(text: str) -> int:
    return int(_price(text))


def _price(text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise BadInputError(f"{text!r} is not a price or a number.", "check that line of the catalog.") from error
