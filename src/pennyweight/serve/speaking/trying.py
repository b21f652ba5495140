"""A language model's version on trial: which one answers, and what the texts of both add up to."""

from __future__ import annotations

from dataclasses import dataclass
from secrets import token_hex
from typing import TYPE_CHECKING, final

from pennyweight.serve.answering.trials import drawn
from pennyweight.store.team.tallies import Tally

if TYPE_CHECKING:
    import asyncio

    from pennyweight.serve.answering.shelf import Served, Trial
    from pennyweight.serve.money.book import Book
    from pennyweight.serve.speaking.paying import Sale
    from pennyweight.store.team.tenants import Caller
    from pennyweight.store.team.usage import Request

_MODEL_FAILED = 500


def chosen(trial: Trial, served: Served, caller: Caller) -> Served:
    """The version on trial if the lot says so, or else the other one; always the same for a key if it is sticky."""
    lot = caller.key if trial.rollout.sticky and caller.key else token_hex(8)
    return trial.served if trial.served.choir is not None and drawn(trial.rollout, lot) else served


@final
@dataclass(frozen=True, slots=True, eq=False)
class Score:
    """Keeps the score of one text while a version is on trial."""

    book: Book
    trial: Trial
    served: Served
    sale: Sale

    def keep(self) -> None:
        """Note it when the text is over."""
        self.sale.row.add_done_callback(self._note)

    def _note(self, row: asyncio.Task[Request | None]) -> None:
        error = self.sale.part.error
        if error is not None and error.status == _MODEL_FAILED:
            self._add(Tally(1, 1))
            return
        found = None if row.cancelled() or row.exception() else row.result()
        if found is not None:
            us = found.units.compute_ns // 1000
            self._add(Tally(1, 0, us, us, float(us) ** 2, found.cost_nusd))

    def _add(self, seen: Tally) -> None:
        self.book.note(self.trial.rollout.id, self.served.version.number, seen)
