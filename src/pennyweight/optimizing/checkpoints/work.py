"""The work folder of a search: what was measured is kept as soon as it is known, so that a killed search goes on."""

from __future__ import annotations

import io
import json
import os
import shutil
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self, final

import numpy as np

from pennyweight.core import Cost
from pennyweight.errors import BadInputError, StorageError
from pennyweight.store.disk import explained, put, read

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from pennyweight.cost.meter import Measurement

STATE = "search.json"
_LOCK, _MOST_BYTE = ".lock", 50_000_000


@final
@dataclass(frozen=True, slots=True)
class Spent:
    """One thing that the search took: seconds of a core, seconds on the clock, joules, the most memory held."""

    what: str
    cpu_s: float
    wall_s: float
    joule: float
    peak_byte: float

    @property
    def cost(self) -> Cost:
        """The same as a cost without dollars."""
        return Cost(self.cpu_s, self.wall_s, self.joule)

    @classmethod
    def of(cls, what: str, measured: Measurement) -> Self:
        """What a window measured."""
        return cls(what, measured.cpu_s, measured.wall_s, measured.joule, measured.peak_byte)


@final
class Work:
    """The folder `place` of the search called `key`; no other process works there while it is open.

    Facts are JSON by name, losses arrays by name. A `fresh` one forgets what was there. Raises `BadInputError` if the
    folder holds something else or the search of another key, `StorageError` if another process is at it.
    """

    def __init__(self, place: Path, key: str, *, fresh: bool = False) -> None:
        self.place, self._key, self._fresh = place, key, fresh
        self._handle = -1
        self._facts: dict[str, Any] = {}
        self._spent: list[Spent] = []

    def __enter__(self) -> Self:
        with explained(self.place, "the search"):
            if self.place.is_dir() and any(self.place.iterdir()) and not (self.place / _LOCK).exists():
                raise BadInputError(f"{self.place} holds something else.", "move it, or give another --out.")
            self.place.mkdir(parents=True, exist_ok=True)
            self._handle = os.open(self.place / _LOCK, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        try:
            self._lock()
            self._begin()
        except BaseException:
            os.close(self._handle)
            raise
        return self

    def __exit__(self, *error: object) -> None:
        os.close(self._handle)

    @property
    def spent(self) -> tuple[Spent, ...]:
        """All that was measured of the search so far, by runs before too."""
        return tuple(self._spent)

    def spend(self, spent: Spent) -> None:
        """Count what something took."""
        self._spent.append(spent)
        self._write()

    def recall(self, name: str) -> Any:
        """The fact of that name, None if it is not known."""
        return self._facts.get(name)

    def know(self, name: str, fact: Any) -> None:
        """Keep a fact."""
        self._facts[name] = fact
        self._write()

    def losses(self, name: str) -> NDArray[np.float64] | None:
        """The array of that name, None if there is none."""
        path = self.place / f"{name}.npy"
        return np.load(path, allow_pickle=False) if path.is_file() else None

    def keep(self, name: str, losses: NDArray[np.float64]) -> None:
        """Keep an array."""
        body = io.BytesIO()
        np.save(body, losses, allow_pickle=False)
        put(self.place / f"{name}.npy", body.getvalue(), "losses")

    def remove(self) -> None:
        """Forget the search."""
        with explained(self.place, "the search"):
            shutil.rmtree(self.place)

    def _begin(self) -> None:
        said = {} if self._fresh else self._read()
        if said.get("key") not in {None, self._key}:
            raise BadInputError(
                f"{self.place} holds the search of another checkpoint or another text.",
                "give the same again, --fresh to forget it, or another --out.",
            )
        if not said:
            self._clear()
        self._facts = dict(said.get("facts", {}))
        self._spent = [Spent(**each) for each in said.get("spent", ())]
        self._write()

    def _clear(self) -> None:
        with explained(self.place, "the search"):
            for path in self.place.iterdir():
                if path.is_dir():
                    shutil.rmtree(path)
                elif path.name != _LOCK:
                    path.unlink()

    def _read(self) -> dict[str, Any]:
        if not (self.place / STATE).exists():
            return {}
        with explained(self.place / STATE, "the search"):
            body = read(self.place, STATE, _MOST_BYTE)
        try:
            said: dict[str, Any] = json.loads(body)
            _ = said["key"], dict(said["facts"]), [Spent(**each) for each in said["spent"]]
        except (KeyError, TypeError, ValueError) as error:
            raise BadInputError(f"{self.place / STATE} is damaged.", "give --fresh to begin again.") from error
        return said

    def _write(self) -> None:
        said = {"key": self._key, "facts": self._facts, "spent": [asdict(each) for each in self._spent]}
        put(self.place / STATE, (json.dumps(said, indent=1) + "\n").encode(), "the search")

    def _lock(self) -> None:
        import fcntl

        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StorageError(f"Another process works in {self.place}.", "wait until it is done.") from error
