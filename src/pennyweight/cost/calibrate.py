"""This machine's ceilings, measured once in a few seconds: matmul rates, memory bandwidth, overheads per runtime."""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from math import sqrt
from typing import TYPE_CHECKING

import numpy as np

from pennyweight.catalog import home, this_cpu
from pennyweight.catalog.devices import identity
from pennyweight.cost.pace import usual
from pennyweight.cost.probes import PROBES, PRODUCTS
from pennyweight.cost.race import race
from pennyweight.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable
    from pathlib import Path

    from pennyweight.catalog import Device

_SIZES = (256, 768)  # large enough for the peak rate, small enough for a few milliseconds
_COPY_BYTE = 1 << 27  # more than the caches of a socket's share
_LAYERS = (2, 18)


def calibrate(runtimes: Iterable[str] | None = None, *, budget_s: float = 8.0) -> Device:
    """Measure this machine, one core: what the catalog says about its processor with measured rates in place.

    All rates are per CPU second, so several threads do not flatter them. Matrix products run in every library of
    `PRODUCTS` that is installed, and the fastest counts. The overheads of `runtimes` (default: all of `PROBES` that are
    installed) come from chains of 8 × 8 linear layers: what each further layer adds is the cost of an operator, what is
    left with none is the cost of a call. About `budget_s` seconds in all.
    """
    wanted = [name for name in PROBES if runtimes is None or name in set(runtimes)]
    probed = [name for name in wanted if PROBES[name].installed]
    share_s = budget_s / (3 + len(probed))
    overheads = {name: _overhead(name, share_s) for name in probed}
    device = this_cpu()
    return replace(
        device,
        name=identity(),
        flop_s=_rounded({**device.flop_s, **_matmul_rates(share_s)}),
        hbm_byte_s=_rounded({"copy": _bandwidth(share_s)})["copy"],
        call_s=_rounded({name: call_s for name, (call_s, _) in overheads.items()}),
        op_s=_rounded({name: op_s for name, (_, op_s) in overheads.items()}),
        pace_s=_rounded(usual(share_s)),
        measured=True,
        source=f"measured by pennyweight calibrate on {datetime.now(UTC):%Y-%m-%d}; power: {device.source}",
    )


def save_machine(device: Device, path: Path | None = None) -> Path:
    """Write `device` as TOML, to where `machine()` finds it unless `path` is given; all of it appears, or nothing."""
    target = path or home() / "machine.toml"
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(_toml(device), encoding="utf-8")
        draft.replace(target)
    except OSError as error:
        with suppress(OSError):
            draft.unlink()
        raise StorageError(
            f"What was measured cannot be kept at {target}: {error.strerror}.",
            "set PENNYWEIGHT_HOME to a folder you may write to, on a disk with room.",
        ) from error
    return target


def _matmul_rates(budget_s: float) -> dict[str, float]:
    """FLOP per CPU second of square products by precision: the best of the libraries and of the sizes."""
    calls = {
        (library, precision, size): call
        for size in _SIZES
        for library, products in PRODUCTS.items()
        for precision, call in products(size).items()
    }
    with _one_thread():
        found = race({"/".join(map(str, key)): call for key, call in calls.items()}, rounds=7, budget_s=budget_s)
    rates: dict[str, float] = {}
    for library, precision, size in calls:
        flop_s = 2 * size**3 / found[f"{library}/{precision}/{size}"].cpu_s
        rates[precision] = max(rates.get(precision, 0.0), flop_s)
    return rates


@contextmanager
def _one_thread() -> Generator[None]:
    """Torch computes on one thread inside; its number of threads is put back."""
    if not PROBES["torch"].installed:
        yield
        return
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _bandwidth(budget_s: float) -> float:
    """Bytes per CPU second that a copy reads and writes."""
    source = np.ones(_COPY_BYTE // 4, dtype=np.float32)
    target = np.empty_like(source)
    copy = race({"copy": lambda: np.copyto(target, source)}, rounds=9, budget_s=budget_s, width=0.03)["copy"]
    return 2 * _COPY_BYTE / copy.cpu_s


def _overhead(runtime: str, budget_s: float) -> tuple[float, float]:
    """CPU seconds of a call without operators, and of one operator."""
    few, many = _LAYERS
    with _one_thread():
        calls = {str(layers): PROBES[runtime].chain(layers) for layers in _LAYERS}
        found = race(calls, rounds=21, budget_s=budget_s, width=0.02)
    few_s, many_s = found[str(few)].cpu_s, found[str(many)].cpu_s
    # An operator costs something, and a call no less than an operator: noise must not say otherwise.
    op_s = max((many_s - few_s) / (many - few), 1e-9)
    return max(few_s - few * op_s, sqrt(op_s * 1e-9)), op_s


def _rounded(figures: dict[str, float]) -> dict[str, float]:
    """Four digits are more than the noise allows."""
    return {name: float(f"{value:.4g}") for name, value in figures.items()}


def _toml(device: Device) -> str:
    """The fields of a device, one per line, a table for each mapping."""
    plain = ("name", "kind", "cores", "hbm_byte_s", "idle_w", "busy_w", "memory_byte", "source", "measured")
    lines = ["# This machine, per core: FLOP/s, byte/s, watts; seconds per call and per operator by runtime."]
    lines += [f"{name} = {_value(getattr(device, name))}" for name in plain]
    for name in ("flop_s", "call_s", "op_s", "pace_s"):
        lines += ["", f"[{name}]", *(f"{_value(key)} = {_value(each)}" for key, each in getattr(device, name).items())]
    return "\n".join(lines) + "\n"


def _value(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        safe = value.replace("\\", "\\\\").replace('"', '\\"')
        return '"' + "".join(each if each.isprintable() else " " for each in safe) + '"'
    return repr(value)
