"""The rows of a serving-energy table as services: which model, device, batch and task each of them is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pennyweight.layout.services import BYTES, Use, served_of
from pennyweight.layout.shapes import shape_called
from pennyweight.layout.tables.accelerators import named, unknown

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pennyweight.layout.serving_energy import Served
    from pennyweight.layout.tables.rows import Rows

_SAME = {"bfloat16": "bf16", "float16": "fp16", "float8": "fp8", "float32": "fp32"}
_NEEDED = ("total_params_billions", "activated_params_billions", "num_gpus", "max_num_seqs", "avg_output_len")


def problems(rows: Rows) -> NDArray[np.str_]:
    """Why (n,) a row cannot be answered: what it lacks, or a device that is not in the catalog; otherwise nothing."""
    said = unknown(rows.text("gpu_model")).astype(object)
    for name in _NEEDED:
        said[~(rows.number(name) > 0)] = f"It has no {name}."
    said[~np.isin(precisions(rows), tuple(BYTES))] = "Its weight_precision is unknown."
    return np.array(said, dtype=np.str_)


def services(rows: Rows, batch: str) -> Served:
    """The services (n,) of rows without problems; the batch is what the column `batch` says."""
    total, active = (1e9 * rows.number(f"{name}_params_billions") for name in ("total", "activated"))
    hybrid = np.char.find(np.char.lower(rows.text("architecture")), "mamba") >= 0
    shapes = [
        shape_called(str(name), float(a), float(b), recurrent=bool(c))
        for name, a, b, c in zip(rows.text("model_id"), total, active, hybrid, strict=True)
    ]
    numbers = [rows.number("num_gpus"), rows.number(batch), rows.number("avg_output_len")]
    texts = [rows.text("task"), precisions(rows)]
    replicas = np.maximum(rows.number("data_parallel", 1.0), 1.0)
    uses = [
        Use(float(a), float(b), float(c), str(task), str(bits), float(d))
        for a, b, c, task, bits, d in zip(*numbers, *texts, replicas, strict=True)
    ]
    return served_of(shapes, [named(text) for text in rows.text("gpu_model")], uses)


def precisions(rows: Rows) -> NDArray[np.str_]:
    """The precision (n,) of the weights, by the names used everywhere."""
    return np.array([_SAME.get(str(each).lower(), str(each).lower()) for each in rows.text("weight_precision")])


def labels(rows: Rows) -> NDArray[np.str_]:
    """What to call each row (n,)."""
    columns = [rows.text(name) for name in ("model_id", "task", "num_gpus", "gpu_model", "max_num_seqs")]
    return np.array([f"{a}, {b}, {c} × {d}, {e} sequences" for a, b, c, d, e in zip(*columns, strict=True)])
