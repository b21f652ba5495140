"""Models by name: their dimensions, and how many parameters were published."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cache
from typing import Any

from pennyweight.catalog.reading import table_of
from pennyweight.core.dims import Dims
from pennyweight.errors import BadInputError, UnknownNameError

_BESIDE = ("name", "aliases", "more", "parameters", "active_parameters", "published_in", "source")


@dataclass(frozen=True, slots=True)
class Published:
    """How many parameters a model's authors or its weights say it has (None: not known to us), and where.

    A whole number is exact, a float (671e9) was rounded by those who published it. Whether embeddings count among the
    active ones differs between authors.
    """

    name: str
    parameters: float | None
    active_parameters: float | None
    source: str


def model(name: str) -> Dims:
    """The dimensions of the model called `name`: as on its hub, the part after the slash, or short, in any case."""
    found = _named().get(_plain(name))
    if found is None:
        raise UnknownNameError.of("model", _plain(name), [*_named()])
    return _dims(found)


def model_names() -> list[str]:
    """The full names of all models in the catalog."""
    return [row["name"] for row in table_of("models.csv")]


def model_aliases() -> list[tuple[str, str]]:
    """Every name that a model of the catalog is known by, and its full name."""
    return [(alias, row["name"]) for row in table_of("models.csv") for alias in (row["name"], *row["aliases"].split())]


def published() -> list[Published]:
    """What was published on the number of parameters, for models of which something was."""
    return [
        Published(row["name"], _number(row["parameters"]), _number(row["active_parameters"]), row["published_in"])
        for row in table_of("models.csv")
        if row["published_in"]
    ]


@cache
def _named() -> dict[str, int]:
    """The row of every name; the first row that has a name keeps it."""
    found: dict[str, int] = {}
    for number, row in enumerate(table_of("models.csv")):
        for name in (row["name"], *row["aliases"].split()):
            found.setdefault(_plain(name), number)
            found.setdefault(_plain(name.rpartition("/")[2]), number)
    return found


@cache
def _dims(number: int) -> Dims:
    row = table_of("models.csv")[number]
    kinds = {each.name: each.type for each in fields(Dims)}
    said = {key: value for key, value in row.items() if key not in _BESIDE and value}
    said |= dict(pair.split("=", 1) for pair in row["more"].split())
    wrong = next((key for key in said if key not in kinds), None)
    if wrong:
        raise BadInputError(f"{row['name']} has a {wrong}, which is no dimension.", "correct the table of models.")
    facts: dict[str, Any] = {key: float(value) if kinds[key] == "float" else int(value) for key, value in said.items()}
    flags = {key: bool(value) for key, value in facts.items() if kinds[key] == "bool"}
    return Dims(name=row["name"], **{**facts, **flags})


def _plain(name: str) -> str:
    return name.strip().lower().replace("_", "-").replace(" ", "-")


def _number(text: str) -> float | None:
    if not text:
        return None
    return float(text) if "e" in text else int(text)
