"""What passed by one loaded version since somebody last looked: references only, so a request costs a microsecond."""

from __future__ import annotations

from dataclasses import dataclass, field
from time import time_ns
from typing import TYPE_CHECKING, Any, final
from zlib import crc32

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pennyweight.serve.watch.reference import Reference

    Passing = tuple[str, int, NDArray[Any] | None, NDArray[Any]]

MOST_ANSWERS = 10_000
"""Answers that wait for a look; what comes then is not kept, and its labels join nothing."""
MOST_BYTE = 16 * 2**20
"""Bytes of rows and answers that wait for a look."""
SAMPLE = 512
"""Rows of inputs that wait for a look; of what comes then only answers are kept."""
_EACH_BYTE = 256  # of Python's own for one request


@dataclass(slots=True, eq=False)
class Passed:
    """Requests in the order they were answered: id, nanosecond, rows (B, …) or None, answers (B, …); and room left."""

    requests: list[Passing] = field(default_factory=list)
    answers: int = MOST_ANSWERS
    byte: int = MOST_BYTE
    rows: int = SAMPLE
    missed: int = 0  # answers that there was no room for


@final
@dataclass(slots=True, eq=False)
class Seen:
    """What the event loop leaves for who watches a version, with the `reference` that was recorded with it.

    `keep` is the share of requests whose answers are kept, so that labels can be joined; the inputs are sampled
    whatever it is. One thread adds, another may take.
    """

    keep: float = 1.0
    reference: Reference | None = None
    now: Passed = field(default_factory=Passed, init=False)

    def add(self, request: str, rows: NDArray[Any], answers: NDArray[Any]) -> None:
        """Remember a request, its rows (B, …) and the answers (B, …) to them, while there is room."""
        now, count = self.now, len(answers)
        if count > now.answers:
            now.missed += count
            return
        size = rows.nbytes + answers.nbytes + _EACH_BYTE
        if now.rows > 0 and size <= now.byte:
            now.rows -= count
            now.answers -= count
            now.byte -= size
            now.requests.append((request, time_ns(), rows, answers))
        elif self.keep >= 1 or drawn(request, self.keep):
            self._answers_only(now, request, answers)

    def _answers_only(self, now: Passed, request: str, answers: NDArray[Any]) -> None:
        size = answers.nbytes + _EACH_BYTE
        if size > now.byte:
            now.missed += len(answers)
            return
        now.answers -= len(answers)
        now.byte -= size
        # A part of a batch holds all of it: where the other parts are not kept, a copy is smaller.
        kept = answers if self.keep >= 1 else answers.copy()
        now.requests.append((request, time_ns(), None, kept))

    def take(self) -> Passed:
        """Everything since the last time; what is added from now on is for the next."""
        found, self.now = self.now, Passed()
        return found


def drawn(request: str, share: float) -> bool:
    """Whether a request is among those kept: the same for the same name."""
    return share >= 1 or crc32(request.encode()) < share * 2**32
