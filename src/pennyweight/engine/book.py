"""The looks at a job's certify split that are on the ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

if TYPE_CHECKING:
    from pennyweight.core import Job, Look
    from pennyweight.engine.shop import Shop


@final
class Book:
    """The memory that certification asks for: every look at the certify split of `job`, in this visit or before."""

    def __init__(self, job: Job, shop: Shop) -> None:
        self._job, self._shop = job, shop

    def looks(self) -> tuple[Look, ...]:
        """All of them, in order."""
        return self._shop.ledger.looks(self._job.fingerprint)

    def add(self, look: Look) -> bool:
        """Keep one more for good; False if its number is taken."""
        job, session = self._job, self._shop.session
        return self._shop.ledger.look(look, job=job.name, fingerprint=job.fingerprint, session=session)
