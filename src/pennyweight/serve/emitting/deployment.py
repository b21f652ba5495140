"""What a deployment is written from: what is served, how much of it, what one replica needs and what it can do."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pennyweight.errors import BadInputError
from pennyweight.serve.emitting.capacity import request_usd
from pennyweight.serve.place import Watch
from pennyweight.units import seconds, usd

if TYPE_CHECKING:
    from pennyweight.serve.emitting.capacity import Capacity

_MIB = 2**20
_STEP_MIB = 16
_SPARE = 1.25
_ASKED_BYTE = 64 * _MIB  # the longest body
_LONGEST = 36  # a name of Kubernetes has 63 characters, and its pods' names add to it
_RANGE = re.compile(r"([1-9]\d{0,3})(?:\.\.([1-9]\d{0,3}))?")


@dataclass(frozen=True, slots=True)
class Need:
    """What one process needs, measured by loading what it serves.

    `held_byte` are resident when it is ready, of which a version is `version_byte`: while one takes another's place,
    both are held. `extras` are those of this package that the runtimes need, `folders` hold the artifacts (local
    paths; none where they are at a URL).
    """

    held_byte: float
    version_byte: float
    extras: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Machine:
    """Where a replica runs: the device's name, dollars per core-hour and per GB-hour of memory, and their source."""

    device: str
    core_hour_usd: float
    gb_hour_usd: float
    source: str


@dataclass(frozen=True, slots=True)
class Size:
    """Replicas at least and at most, and the processes of each."""

    least: int = 2
    most: int = 10
    workers: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.least <= self.most:
            raise BadInputError(
                f"Between {self.least} and {self.most} replicas there is nothing.", "say at least one, as in 2..10."
            )


@dataclass(frozen=True, slots=True)
class Deployment:
    """Models as `serve` is told them, and everything else that its files say.

    `store` is the address of the database without a password, a path for SQLite.
    """

    models: tuple[str, ...]
    need: Need
    capacity: Capacity
    machine: Machine
    size: Size = Size()
    port: int = 8000
    store: str = ""
    hosts: tuple[str, ...] = ()
    uncertified: bool = False
    watch: Watch = field(default_factory=Watch)
    api: str = ""
    otel: bool = False

    @property
    def name(self) -> str:
        """What it is called in all files: a DNS label."""
        plain = re.sub(r"[^a-z0-9]+", "-", "-".join(self.models).lower()).strip("-")[:_LONGEST].strip("-")
        return f"pennyweight-{plain}" if plain else "pennyweight"

    @property
    def rate_s(self) -> float:
        """Requests a second that one replica answers in time."""
        return self.capacity.rate_s * self.size.workers

    @property
    def request_mib(self) -> int:
        """Memory of a replica that is ready, in MiB."""
        return _mib(self.need.held_byte * self.size.workers)

    @property
    def limit_mib(self) -> int:
        """Memory of a replica at most: two versions while one takes the other's place, and what is being asked."""
        return _mib((_SPARE * (self.need.held_byte + self.need.version_byte) + _ASKED_BYTE) * self.size.workers)

    @property
    def usd_hour(self) -> float:
        """Dollars per hour of one replica: its cores and the memory that is kept free for it."""
        gigabytes = self.request_mib * _MIB / 1e9
        return self.size.workers * self.machine.core_hour_usd + gigabytes * self.machine.gb_hour_usd

    @property
    def request_usd(self) -> float:
        """What a request costs when a replica is as full as the objective allows."""
        return request_usd(self.usd_hour, self.rate_s)

    @property
    def words(self) -> tuple[str, ...]:
        """The words after `pennyweight serve`, but for where to listen."""
        workers = ("--workers", str(self.size.workers)) if self.size.workers > 1 else ()
        names = tuple(word for host in self.hosts for word in ("--name", host))
        flags = {"--uncertified": self.uncertified, "--otel": self.otel, "--no-watch": not self.watch.on}
        said = {"--api": self.api, **self._watched()}
        return (
            *(*self.models, *workers, *names),
            *(word for pair in said.items() if pair[1] for word in pair),
            *(flag for flag, on in flags.items() if on),
        )

    def _watched(self) -> dict[str, str]:
        """How it watches, where that is not as usual."""
        usual = Watch()
        every = f"{self.watch.every_s:g}s" if self.watch.every_s != usual.every_s else ""
        return {
            "--watch-every": every,
            "--keep-answers": f"{100 * self.watch.keep:g}%" if self.watch.keep != usual.keep else "",
        }

    def reasons(self) -> tuple[str, ...]:
        """Lines that say how many replicas and why."""
        batch_s, each_s = seconds(self.capacity.batch_s), seconds(self.capacity.each_s)
        return (
            f"One replica: {self.size.workers} process(es) on {self.machine.device}, {self.request_mib} MiB of memory,",
            f"{usd(self.usd_hour)} per hour ({self.machine.source}).",
            f"A batch takes {batch_s} and each request of it {each_s} more, so 99 of 100 requests are answered",
            f"within {seconds(self.capacity.slo_s)} up to rate = {self.rate_s:.4g} requests/s of one replica. Then",
            "    replicas = arrivals / rate",
            f"    cost per request = usd_hour / (3600 * rate) = {usd(self.request_usd)}",
            "which is the least that the objective allows: a replica that is less full costs more per request,",
            "one that is fuller answers too late. Measure the rate under your own load, and write it here instead.",
        )


def replicas(text: str) -> tuple[int, int]:
    """Read "2..10", or "2" for always two; raises `BadInputError`."""
    found = _RANGE.fullmatch(text)
    if found is None:
        raise BadInputError(f"{text!r} says no number of replicas.", "write 2..10, or 3 for always three.")
    return int(found[1]), int(found[2] or found[1])


def _mib(byte: float) -> int:
    return math.ceil(byte / _MIB / _STEP_MIB) * _STEP_MIB
