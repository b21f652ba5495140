"""Grids: how much carbon dioxide a kilowatt-hour stands for, by country, kind of power and region of a cloud; PUE."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from pennyweight.catalog.reading import table_of
from pennyweight.catalog.sources import source_of
from pennyweight.errors import UnknownNameError

PUE = 1.15  # what data centres take over what machines draw: AWS's figure for 2024; Google's is 1.09, Microsoft's 1.16
_EVERYWHERE = "all"


@dataclass(frozen=True, slots=True)
class Grid:
    """Kilograms of CO2 equivalent per kWh used in `place`; `year` is 0 where the source names none."""

    name: str
    place: str
    kg_co2e_kwh: float
    year: int
    source: str

    def kg_co2e(self, joule: float) -> float:
        """Kilograms of CO2 equivalent that `joule` of electricity stand for here."""
        return joule / 3.6e6 * self.kg_co2e_kwh


def grid(name: str, cloud: str | None = None) -> Grid:
    """The grid called `name`: a country by its ISO code (``deu``) or name, a kind of power (``wind``), or ``world``.

    With `cloud`, the grid of that cloud's region `name`, by the cloud's own figure where it publishes one, otherwise by
    that of the country; the region ``all`` (sold without saying where) is the world's. Raises `UnknownNameError`.
    """
    wanted = name.strip().lower()
    if cloud is None:
        known = _grids()
        if wanted not in known:
            raise UnknownNameError.of("grid", name, known)
        return known[wanted]
    if wanted == _EVERYWHERE:
        return _grids()["world"]
    regions = _regions(cloud.lower())
    if wanted not in regions:
        raise UnknownNameError.of(f"region of {cloud}", name, regions)
    return regions[wanted]


@cache
def _grids() -> dict[str, Grid]:
    """By name, and by place in small letters."""
    every = [_grid(row) for row in table_of("grids.csv")]
    return {key: each for each in every for key in (each.name, each.place.lower())}


def _grid(row: dict[str, str]) -> Grid:
    return Grid(row["name"], row["place"], float(row["kg_co2e_kwh"]), int(row["year"] or 0), source_of(row["source"]))


@cache
def _regions(cloud: str) -> dict[str, Grid]:
    rows = table_of("regions.csv")
    mine = [row for row in rows if row["cloud"] == cloud]
    if not mine:
        raise UnknownNameError.of("cloud with known regions", cloud, {row["cloud"] for row in rows})
    return {row["region"]: _of_region(row) for row in mine}


def _of_region(row: dict[str, str]) -> Grid:
    country = _grids()[row["grid"]]
    place = f"{row['region']} ({country.place})"
    if row["kg_co2e_kwh"]:
        return Grid(row["region"], place, float(row["kg_co2e_kwh"]), 0, source_of(row["source"]))
    source = f"{country.source}; {source_of(row['source'])}"
    return Grid(row["region"], place, country.kg_co2e_kwh, country.year, source)
