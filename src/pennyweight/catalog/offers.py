"""Who rents which accelerators where, for how much, as of when: the shipped list, and over it your own newer ones."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from pennyweight.catalog.accelerators import accelerator
from pennyweight.catalog.devices import home
from pennyweight.catalog.offer import Offer, offers_of
from pennyweight.catalog.reading import read_table, table_of, text_of
from pennyweight.catalog.sources import source_of
from pennyweight.errors import UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Columns", "Offer", "Offers", "book", "merge", "mine", "offers"]


@dataclass(frozen=True, slots=True)
class Columns:
    """Offers as arrays of shape [offers], for a planner; NaN where a figure is not known."""

    cloud: NDArray[np.str_]
    region: NDArray[np.str_]
    instance: NDArray[np.str_]
    accelerator: NDArray[np.str_]
    devices: NDArray[np.float64]
    memory_byte: NDArray[np.float64]
    usd_hour: NDArray[np.float64]
    spot_usd_hour: NDArray[np.float64]
    interruptions_hour: NDArray[np.float64]
    net_byte_s: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Offers:
    """Offers in order of their price per device-hour."""

    rows: tuple[Offer, ...]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Offer]:
        return iter(self.rows)

    def columns(self) -> Columns:
        """The same as a struct of arrays."""
        import numpy as np

        def words(name: str) -> NDArray[np.str_]:
            return np.array([getattr(row, name) for row in self.rows], dtype=np.str_)

        def figures(name: str) -> NDArray[np.float64]:
            found = (getattr(row, name) for row in self.rows)
            return np.array([math.nan if each is None else each for each in found], dtype=np.float64)

        return Columns(
            cloud=words("cloud"),
            region=words("region"),
            instance=words("instance"),
            accelerator=words("accelerator"),
            devices=figures("devices"),
            memory_byte=figures("memory_byte"),
            usd_hour=figures("usd_hour"),
            spot_usd_hour=figures("spot_usd_hour"),
            interruptions_hour=figures("interruptions_hour"),
            net_byte_s=figures("net_byte_s"),
        )


def offers(
    name: str | None = None, *, cloud: str | None = None, region: str | None = None, spare: bool = False
) -> Offers:
    """The offers of the accelerator `name`, of one `cloud`, in one `region`; cheapest per device-hour first.

    `spare`: only those with a spot price, in its order. A name that no offer has is refused with the nearest; an
    accelerator that nobody sells gives none.
    """
    found: Iterable[Offer] = book().values()
    if cloud is not None:
        found = _only("cloud", cloud.lower(), found)
    if region is not None:
        found = _only("region", region, found)
    if name is not None:
        wanted = accelerator(name).name
        found = [each for each in found if each.accelerator == wanted]
    if spare:
        found = [each for each in found if each.spot_usd_hour is not None]
    return Offers(tuple(sorted(found, key=lambda each: (each.device_hour_usd(spare=spare), each.key))))


def _only(what: str, name: str, among: Iterable[Offer]) -> list[Offer]:
    every = list(among)
    found = [each for each in every if getattr(each, what) == name]
    if not found:
        raise UnknownNameError.of(what, name, {getattr(each, what) for each in every})
    return found


def book() -> dict[tuple[str, str, str], Offer]:
    """Every offer that is known, by key: the shipped ones, and over them what was imported on this machine."""
    file = mine()
    return _merged(str(file), file.stat().st_mtime_ns) if file.exists() else _shipped()


def mine() -> Path:
    """Where imported price lists are kept."""
    return home() / "offers.csv"


def merge(older: Iterable[Offer], newer: Iterable[Offer]) -> dict[tuple[str, str, str], Offer]:
    """Both by key; of two for the same machine the one of the later date, or of `newer` where they are equal."""
    found = {each.key: each for each in older}
    for each in newer:
        if each.key not in found or each.date >= found[each.key].date:
            found[each.key] = each
    return found


@lru_cache(maxsize=1)
def _merged(path: str, written: int) -> dict[tuple[str, str, str], Offer]:
    del written  # the file is read again only once it has changed
    return merge(_shipped().values(), offers_of(read_table(text_of(Path(path)), path), path))


@cache
def _shipped() -> dict[tuple[str, str, str], Offer]:
    rows = ({**row, "source": source_of(row["source"])} for row in table_of("offers.csv"))
    return {each.key: each for each in offers_of(rows, "offers.csv", dated=False)}
