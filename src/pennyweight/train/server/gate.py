"""Bounded staleness: who may begin a step, so that no gradient misses more than S steps of another worker."""

from __future__ import annotations

from typing import final


@final
class Gate:
    """Lets workers begin steps while every gradient under way stays at most `staleness` steps of each other old.

    Ho et al. (2013, stale synchronous parallel) count steps from the start of the training, so that one worker that is
    always slow holds up all others in the end. Here rows are handed out as workers ask for them, and what is bounded is
    what their convergence theorem needs: the changes by any one other worker between reading weights and changing them.
    """

    def __init__(self, staleness: int) -> None:
        self._staleness = staleness
        self._done: dict[int, int] = {}
        self._seen: dict[int, dict[int, int]] = {}  # for each step under way, what was done when it began

    def may_begin(self, worker: int) -> bool:
        """Whether a step of `worker` could end now without making a gradient under way too old."""
        done = self._done.get(worker, 0)
        others = (seen for each, seen in self._seen.items() if each != worker)
        return all(done - seen.get(worker, 0) < self._staleness for seen in others)

    def begin(self, worker: int) -> None:
        """Say that `worker` reads the weights now."""
        self._seen[worker] = dict(self._done)

    def end(self, worker: int) -> int:
        """Say that the weights were changed by `worker`; how many changes by others it had not seen."""
        seen = self._seen.pop(worker)
        missed = sum(count - seen.get(each, 0) for each, count in self._done.items() if each != worker)
        self._done[worker] = self._done.get(worker, 0) + 1
        return missed

    def leave(self, worker: int) -> None:
        """Say that the step of `worker` will not end."""
        self._seen.pop(worker, None)
