"""What every benchmark prints: aligned tables for people, and one JSON line for programs."""

from __future__ import annotations

import json
import math
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

PACKAGES = (
    "pennyweight",
    "numpy",
    "torch",
    "torch-pruning",
    "onnx",
    "onnxruntime",
    "openvino",
    "nncf",
    "optuna",
    "scikit-learn",
    "skl2onnx",
)


def table(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print `rows` under `headers`, columns aligned: numbers (and text like "3.1x") right, the rest left."""
    cells = [[_text(value) for value in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(headers, *cells, strict=True)]
    rights = [bool(cells) and all(_is_number(row[i]) for row in cells) for i in range(len(headers))]
    for row in (list(headers), ["-" * width for width in widths], *cells):
        line = (
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, rights, strict=True)
        )
        print("  ".join(line).rstrip(), flush=True)


def emit(name: str, figures: Mapping[str, float], runs: int) -> None:
    """Print the last line of benchmark `name`: its `figures`, taken over `runs` repeats, and where they were taken."""
    line = {
        "bench": name,
        "figures": {key: _plain(value) for key, value in figures.items()},
        "hardware": hardware(),
        "versions": versions(),
        "runs": runs,
    }
    print(json.dumps(line, allow_nan=False), flush=True)


def hardware() -> dict[str, Any]:
    """The processor, the cores this process may use, the memory in bytes and the operating system."""
    return {
        "cpu": _cpu_name(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_byte": psutil.virtual_memory().total,
        "system": f"{platform.system()} {platform.machine()}",
    }


def versions() -> dict[str, str]:
    """The installed version of Python and of each package that a figure may depend on."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _plain(value: object) -> float | int | None:
    """A JSON number from a Python or NumPy one; what is not finite becomes null."""
    number = float(value)  # type: ignore[arg-type]
    if not math.isfinite(number):
        return None
    return int(number) if number.is_integer() and abs(number) < 2**53 else number


def _text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if value.is_integer() and abs(value) < 1e15 else f"{value:.4g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return str(value)


def _is_number(cell: str) -> bool:
    body = cell.strip().removesuffix("x").removesuffix("×").removesuffix("%").replace(",", "")
    try:
        float(body)
    except ValueError:
        return body in {"", "-"}
    return True
