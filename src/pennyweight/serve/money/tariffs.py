"""What a request costs unless somebody says otherwise: the seconds of a core that it took, at the sheet's price."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pennyweight.errors import UnknownNameError
from pennyweight.store.team.usage import Price, price_of, set_price

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from pennyweight.catalog import PriceSheet

NUSD = 1_000_000_000  # in a dollar
_HOUR_S = 3600


def at_cost(model: str, sheet: PriceSheet) -> Price:
    """A price of nothing but compute, rounded up to a whole nano-dollar per second."""
    return Price(model, second_nusd=int(-(-sheet.core_hour_usd * NUSD // _HOUR_S)))


def ensure(link: Connection, model: str, sheet: PriceSheet) -> Price:
    """The price that holds for a model; `at_cost` from now on if there was none."""
    try:
        return price_of(link, model)
    except UnknownNameError:
        made = at_cost(model, sheet)
        set_price(link, made)
        return made
