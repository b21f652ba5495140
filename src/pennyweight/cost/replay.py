"""Recorded measurements played back in place of a meter, so that tests see the same numbers on every machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from pennyweight.cost.meter import Measurement
from pennyweight.errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping


class Replayed:
    """A window whose measurement was made before."""

    def __init__(self, records: Iterator[Measurement]) -> None:
        self._records = records
        self._measured: Measurement | None = None

    @property
    def measured(self) -> Measurement:
        """The recorded measurement, once the window is closed."""
        if self._measured is None:
            raise BadInputError("The window is still open.", "read what was measured after the with block.")
        return self._measured

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        found = next(self._records, None)
        if found is None:
            raise BadInputError("More windows were opened than measurements recorded.", "record the whole run again.")
        self._measured = found


class Replay:
    """Stands in for `meter`: each window that closes has the next of the recorded measurements."""

    def __init__(self, records: Iterable[Measurement]) -> None:
        self._records = iter(records)

    def __call__(self, *, children: bool = False, device: object = None) -> Replayed:
        """A window; what is asked of a real meter is taken and means nothing here."""
        del children, device
        return Replayed(self._records)


def replay(records: Iterable[Measurement | Mapping[str, Any]]) -> Replay:
    """A stand-in for the meter that measures what was recorded, in the order in which windows close."""
    return Replay(each if isinstance(each, Measurement) else Measurement.from_dict(each) for each in records)
