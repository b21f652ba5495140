"""What a deployment needs, found by doing it here: every version is loaded, proved and timed as a server would."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from pennyweight.catalog import load_prices
from pennyweight.catalog.devices import load_device, machine
from pennyweight.cost.keeping import bytes_kept
from pennyweight.cost.memory import resident
from pennyweight.serve.emitting.capacity import REQUEST_S, Capacity
from pennyweight.serve.emitting.deployment import Machine, Need
from pennyweight.serve.versions.checkpoints import facts_of
from pennyweight.serve.versions.loading import ready
from pennyweight.serve.versions.registering import fetch
from pennyweight.store.team import registry
from pennyweight.store.team.usage import Price

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection

    from pennyweight.store.team.registry import Version

_EXTRAS = {"onnxruntime": "onnx", "openvino": "openvino", "torch": "torch", "compiled": "torch"}


@dataclass(frozen=True, slots=True)
class Found:
    """What one process holds, and the slowest of its models: seconds a batch, and for each of its rows, here."""

    need: Need
    batch_s: float
    row_s: float


def measured(versions: Sequence[Version]) -> Found:
    """Load versions in this process, and time them on their own probes; takes as long as a server takes to start.

    Raises what loading raises: `CorruptError` for a version that does not answer as recorded, and others.
    """
    import_module("pennyweight.serve.running")  # what a server holds before any model
    largest_byte, kept = 0.0, []
    with ThreadPoolExecutor(1) as pool:
        for each in versions:
            start_byte = resident()
            kept.append(ready(each, Price(each.model), pool))
            largest_byte = max(largest_byte, resident() - start_byte)
    kept_byte = sum(map(_kept_byte, versions))  # not there yet: answers are kept when they were given
    need = Need(resident() + kept_byte, largest_byte + kept_byte, _extras(versions), _folders(versions))
    lines = [each.lane.pace.line for each in kept]
    return Found(need, max(line[0] for line in lines), max(line[1] for line in lines))


def capacity(found: Found, slo_s: float, device: str = "") -> Capacity:
    """What a process can do on a device of the catalog, as fast as its arithmetic is beside this machine's."""
    scale = machine().rate("float32") / load_device(device).rate("float32") if device else 1.0
    return Capacity(scale * found.batch_s, scale * (found.row_s + REQUEST_S), slo_s)


def machine_of(device: str, prices: str) -> Machine:
    """The device's name and the prices of a sheet."""
    sheet = load_prices(prices)
    name = load_device(device).name if device else machine().name
    return Machine(name, sheet.core_hour_usd, sheet.gb_hour_usd, f"price sheet {sheet.id} of {sheet.date}")


def versions(link: Connection, models: Sequence[str]) -> tuple[Version, ...]:
    """What is asked for, as `serve` would find it; raises `UnknownNameError` if there is no such thing."""
    return tuple(registry.get(link, each) for each in models)


def _extras(found: Sequence[Version]) -> tuple[str, ...]:
    facts = [_facts(each) for each in found]
    needed = {_EXTRAS[each["serve"]["runtime"]] for each in facts if each["serve"]["runtime"] in _EXTRAS}
    needed |= {"llm"} if any("family" in each for each in facts) else set()
    return tuple(sorted(needed | ({"data"} if any("://" in each.place for each in found) else set())))


def _facts(version: Version) -> Mapping[str, Any]:
    """The facts about a version; a checkpoint is not read for it."""
    return facts_of(version) or fetch(version).facts


def _kept_byte(version: Version) -> float:
    """What the answers that a version keeps will take."""
    facts = _facts(version)
    return bytes_kept(facts["serve"].get("cache", 0), 4.0 * math.prod(facts["input_shape"]), facts.get("classes", 1))


def _folders(found: Sequence[Version]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(each.place for each in found if "://" not in each.place))
