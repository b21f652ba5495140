"""A receipt for work that belongs to no job: one entry of the ledger at its usual place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pennyweight.engine.shop import Shop
from pennyweight.store.records import Entry

if TYPE_CHECKING:
    from pennyweight.core import Phase
    from pennyweight.cost.meter import Measurement


def book(title: str, phase: Phase, measured: Measurement, what: str, note: dict[str, Any]) -> None:
    """Keep what was measured under a title; `what` says how it was done, `note` what came of it."""
    shop = Shop.at()
    shop.ledger.append(
        Entry(
            shop.session,
            title,
            phase,
            measured.cost(),
            plan_text=what,
            joule_basis=measured.joule_basis,
            peak_byte=measured.peak_byte,
            sheet=shop.sheet.id,
            note=note,
        )
    )
