"""`pennyweight prices`: who rents accelerators, for how much, as of when; and newer price lists taken in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pennyweight.cli.screen import say, say_json, say_table
from pennyweight.units import usd

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pennyweight.catalog.offers import Offer
    from pennyweight.catalog.sheets import Update

_SHOWN = 25
_DAY_H = 24.0


@dataclass(frozen=True, slots=True)
class Asked:
    """What is looked for; what is None is anything."""

    accelerator: str | None
    cloud: str | None
    region: str | None
    spot: bool


def tell_offers(asked: Asked, *, json: bool) -> None:
    """List the offers, cheapest per device-hour first; without an accelerator, the cheapest of each."""
    from pennyweight.catalog.offers import offers

    found = list(offers(asked.accelerator, cloud=asked.cloud, region=asked.region, spare=asked.spot))
    if json:
        say_json({"accelerator": asked.accelerator, "offers": [_facts(each) for each in found]})
        return
    if not found:
        say(f"Nobody on the price list rents {asked.accelerator or 'one'} so: import a newer list with --update FILE.")
        return
    every = asked.accelerator is None
    shown = _cheapest(found) if every else found[:_SHOWN]
    heads = ["accelerator", "$ per device-hour", "cloud", "region", "instance", "devices", "as of"]
    rows = [_row(each, spare=asked.spot) for each in shown]
    if asked.spot:
        heads.append("taken back")
        rows = [[*row, _taken(each)] for row, each in zip(rows, shown, strict=True)]
    title = "Spare machines" if asked.spot else "On demand"
    say_table(f"{title}, the cheapest of each" if every else title, heads, rows, (1, 5))
    if len(shown) < len(found):
        say(f"… of {len(found)} offers; --accelerator, --cloud and --region narrow them, --json has them all.")


def _cheapest(found: Sequence[Offer]) -> list[Offer]:
    first: dict[str, Offer] = {}
    for each in found:
        first.setdefault(each.accelerator, each)
    return list(first.values())


def _row(offer: Offer, *, spare: bool) -> list[str]:
    price = usd(offer.device_hour_usd(spare=spare))
    where = [offer.cloud, offer.region, offer.instance, str(offer.devices)]
    return [offer.accelerator, price, *where, offer.date or "undated"]


def _taken(offer: Offer) -> str:
    rate = offer.interruptions_hour
    if rate is None:
        return "unknown"
    return f"every {1 / rate / _DAY_H:.0f} days or sooner ({offer.interruption} a month)"


def _facts(offer: Offer) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        **asdict(offer),
        "device_hour_usd": offer.device_hour_usd(),
        "spot_device_hour_usd": offer.device_hour_usd(spare=True),
        "interruptions_hour": offer.interruptions_hour,
        "net_byte_s": offer.net_byte_s,
    }


def take_in(path: Path, cloud: str | None, *, json: bool) -> None:
    """Import a newer price list: from now on it is merged over the shipped one on this machine."""
    from pennyweight.catalog.offers import mine
    from pennyweight.catalog.sheets import update
    from pennyweight.store.disk import put

    found = update(path, cloud)
    put(mine(), found.text.encode(), "the price list")
    if json:
        say_json({"offers": len(found.offers), "news": found.news, "left_out": found.left_out, "file": str(mine())})
        return
    _say_update(found, path, mine())


def _say_update(found: Update, path: Path, kept: Path) -> None:
    old = len(found.offers) - found.news
    stale = f"; {old} are older than what is known and change nothing" if old else ""
    say(f"{len(found.offers)} offer{'s' * (len(found.offers) > 1)} read from {path.name}{stale}.")
    if found.left_out:
        say(f"Left out: {', '.join(found.left_out)}.")
    say(f"Kept in {kept}; prices use it from now on.")
