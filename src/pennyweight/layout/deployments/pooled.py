"""What a pool that only reads prompts takes and costs beside the one that answers, and how sure that is."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pennyweight.layout.deployments.joined import Part, packed
from pennyweight.layout.deployments.rent import machine_usd, rented

if TYPE_CHECKING:
    from pennyweight.layout.deployments.rent import Rent
    from pennyweight.layout.deployments.search import Found, Search
    from pennyweight.layout.serving.fleet import Serving

# How far off, in logarithms, composed pools may be beside what is said of measured ones: set so that nine in ten of the
# 156 measured deployments whose readers are busy for less than 80% of the time are within (tests/layout/serving).
OFF = {"ttft": 1.5, "tpot": 0.3}
_MIXED_OFF = 0.3  # of accelerators of two kinds, which no measured row has: as what kinds of kernels differ by


@dataclass(frozen=True, slots=True)
class ReadPool:
    """`replicas` of a deployment that only reads prompts, for another that answers.

    No `rent`: they are on the machines of that one. `wait_s` is the mean a prompt waits to be read, `move_s` what its
    keys and values take to the other pool, queue included; `busy` and `network` are the shares of time that instances
    read and that the links between the pools are taken.
    """

    serving: Serving
    replicas: int
    rent: Rent | None
    wait_s: float
    move_s: float
    busy: float
    network: float

    @property
    def devices(self) -> int:
        """Devices of one instance."""
        return devices_of(self.serving)

    def deployed(self, longest: float) -> Serving:
        """All instances as one deployment, for requests of up to `longest` tokens."""
        return deployed(self.serving, self.replicas, longest)


def deployed(serving: Serving, replicas: int, longest: float) -> Serving:
    """So many replicas as one deployment, for requests of up to `longest` tokens."""
    pool, users = replace(serving.decode, workers=replicas), serving.concurrency * replicas
    return replace(serving, decode=pool, concurrency=users, prompt=longest - serving.output)


def devices_of(serving: Serving) -> int:
    """Devices of one replica."""
    return serving.decode.tp * serving.decode.attention_dp


def pool_of(one: Found, search: Search) -> ReadPool | None:
    """The pool that reads for what was found, if there is one."""
    reading = one.reading
    if reading is None:
        return None
    sent = reading.sent
    return ReadPool(
        serving=search.choices.serving[reading.at],
        replicas=reading.instances,
        rent=reading.rent,
        wait_s=float(sent.wait_s.mean()),
        move_s=float(sent.move_s.mean()),
        busy=sent.reading,
        network=sent.moving,
    )


def told_as(serving: Serving, pool: ReadPool | None, replicas: int, running: float, rate_s: float) -> Serving:
    """The deployment as measured ones are told: `running` requests in each replica, and those that are being read."""
    if pool is None:
        return replace(serving, concurrency=running)
    users = running * replicas + rate_s * (pool.wait_s + pool.move_s) + pool.busy * pool.replicas
    prefill = replace(pool.serving.decode, workers=pool.replicas)
    decode = replace(serving.decode, workers=replicas)
    return replace(serving, decode=decode, prefill=prefill, concurrency=users)


def off_of(serving: Serving, pool: ReadPool | None, what: str) -> float:
    """How far off, in logarithms, seconds may be beside all else because two pools were composed."""
    if pool is None:
        return 0.0
    mixed = pool.serving.accelerator.name != serving.accelerator.name
    return math.hypot(OFF[what], _MIXED_OFF * mixed)


def scaled_usd(rent: Rent, serving: Serving, replicas: int, pool: ReadPool | None, times: float) -> float:
    """Dollars an hour of so many times the replicas of all pools, on machines of the same offers."""
    count, way = max(math.ceil(replicas * times), 1), (rent.offer, rent.spare)
    if pool is None:
        return rented(way, devices_of(serving), count).usd_hour
    others = max(math.ceil(pool.replicas * times), 1)
    if pool.rent is None:
        parts = (Part("", pool.devices, others), Part("", devices_of(serving), count))
        return packed(rent.offer.devices, *parts) * machine_usd(rent.offer, spare=rent.spare)
    beside = rented((pool.rent.offer, pool.rent.spare), pool.devices, others)
    return rented(way, devices_of(serving), count).usd_hour + beside.usd_hour


def pool_split(one: Found, pool: ReadPool, devices: float, used: float) -> dict[str, float]:
    """Dollars an hour by what is paid for: the pools do one thing each, `used` being that share of what answers."""
    device_usd = {rent: rent.offer.device_hour_usd(spare=rent.spare) for rent in (one.rent, pool.rent) if rent}
    plain = sum(usd * rent.machines * rent.offer.devices for rent, usd in device_usd.items())
    reading = device_usd[pool.rent or one.rent] * pool.devices * pool.replicas
    answering = device_usd[one.rent] * devices * one.replicas
    return {
        "answers": answering * used,
        "prompts": reading * pool.busy,
        "room kept free": answering * (1 - used) + reading * (1 - pool.busy),
        "devices without a replica": plain - reading - answering,
        "starting again": max(one.usd_hour - plain, 0.0),
    }
