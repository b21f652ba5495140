"""The rows of a serving-energy table as services: which model, device, batch and task each of them is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pennyweight.cost.nearest_model import nearest_model
from pennyweight.cost.transformer import active_parameters, parameters
from pennyweight.errors import UnknownNameError
from pennyweight.layout.energy.services import BYTES, Use, served_of
from pennyweight.layout.energy.shapes import shape_called
from pennyweight.layout.rows import Rows
from pennyweight.layout.tables.accelerators import named, stood_in, unknown
from pennyweight.layout.tables.standing import joined

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pennyweight.layout.energy.joules import Served
    from pennyweight.layout.energy.shapes import Shape

_BITS = {
    "bfloat16": "bf16",
    "bf16": "bf16",
    "float32": "fp32",
    "fp32": "fp32",
    "mxfp8": "mxfp8",
    "fp8": "fp8",
    "float8": "fp8",
    "e4m3": "fp8",
    "nvfp4": "nvfp4",
    "fp4": "mxfp4",
    "int8": "int8",
    "w8": "int8",
    "int4": "int4",
    "w4": "int4",
    "awq": "int4",
    "gptq": "int4",
    "float16": "fp16",
    "fp16": "fp16",
    "half": "fp16",
}
_NO_TOKENS = ("text-to-image", "text-to-video", "image-to-video")
_NEEDED = ("total_params_billions", "activated_params_billions", "num_gpus", "max_num_seqs", "avg_output_len")
_SEQUENCES, _OUTPUT = 256.0, 500.0  # where nothing says them: vLLM's default, and answers in a chat


def tokens(rows: Rows) -> NDArray[np.bool_]:
    """Which rows (n,) make tokens; others make images or videos."""
    return ~np.isin(rows.text("task"), _NO_TOKENS)


def completed(rows: Rows) -> tuple[Rows, NDArray[np.str_]]:
    """The rows with numbers that follow from others filled in, and what (n,) was assumed that does not follow.

    Counts of parameters follow from the model's name, devices from the degrees of parallelism.
    """
    numbers = {name: rows.number(name) for name in _NEEDED}
    notes = np.full(len(rows), "", dtype=object)
    lacking = np.any([np.isnan(each) for each in numbers.values()], axis=0) & tokens(rows)
    parallel = rows.number("tensor_parallel", 1.0) * np.maximum(rows.number("data_parallel", 1.0), 1.0)
    for at in np.flatnonzero(lacking).tolist():
        usual = {"num_gpus": float(parallel[at]), "max_num_seqs": _SEQUENCES, "avg_output_len": _OUTPUT}
        usual |= _counts(str(rows.text("model_id")[at]))
        for name in (each for each in _NEEDED if np.isnan(numbers[each][at]) and each in usual):
            numbers[name][at] = usual[name]
            notes[at] += f"{'; ' if notes[at] else ''}its {name} is taken as {usual[name]:.4g}"
    texts = {name: np.array([f"{value:.17g}" for value in each.tolist()]) for name, each in numbers.items()}
    bits = precisions(rows)
    unsaid = np.where(np.char.str_len(bits) == 0, "its weight_precision is taken as bf16", "")
    texts["weight_precision"] = np.where(np.char.str_len(bits) == 0, "bf16", bits)
    return Rows({**rows.columns, **texts}, rows.lines), joined(notes.astype(np.str_), unsaid)


def _counts(name: str) -> dict[str, float]:
    """Billions of parameters, all and active, as the name says; nothing where it says none."""
    try:
        dims = nearest_model(name).dims
    except UnknownNameError:
        return {}
    every, active = (float(each(dims)) / 1e9 for each in (parameters, active_parameters))
    return {"total_params_billions": every, "activated_params_billions": active}


def problems(rows: Rows) -> NDArray[np.str_]:
    """Why (n,) a completed row cannot be answered: what it lacks, or a device that is none; otherwise nothing."""
    said = unknown(rows.text("gpu_model")).astype(object)
    every, active = (rows.number(f"{name}_params_billions") for name in ("total", "activated"))
    said[active > every] = "More of its parameters are active than there are."
    for name in _NEEDED:
        said[~(rows.number(name) > 0)] = f"It has no {name}."
    for name in ("num_gpus", "max_num_seqs", "avg_output_len"):
        said[(rows.number(name) > 0) & (rows.number(name) < 1)] = f"Its {name} is less than one."
    said[~tokens(rows)] = "It makes images or videos, and no tokens."
    return np.array(said, dtype=np.str_)


def services(rows: Rows, batch: str) -> Served:
    """The services (n,) of rows without problems; the batch is what the column `batch` says."""
    numbers = [rows.number("num_gpus"), rows.number(batch), rows.number("avg_output_len")]
    texts = [rows.text("task"), precisions(rows)]
    replicas = np.maximum(rows.number("data_parallel", 1.0), 1.0)
    uses = [
        Use(float(a), float(b), float(c), str(task), str(bits), float(d))
        for a, b, c, task, bits, d in zip(*numbers, *texts, replicas, strict=True)
    ]
    return served_of(_shapes(rows), [named(text) for text in rows.text("gpu_model")], uses)


def standing(rows: Rows) -> NDArray[np.str_]:
    """What stands in (n,) for the model and the device of each row without problems."""
    guessed = np.array([each.guessed for each in _shapes(rows)], dtype=np.bool_)
    notes = np.where(guessed, "the catalog does not have this model: its sizes are guessed from its parameters", "")
    return joined(notes, stood_in(rows.text("gpu_model"), np.full(len(rows), "")))


def _shapes(rows: Rows) -> list[Shape]:
    total, active = (1e9 * rows.number(f"{name}_params_billions") for name in ("total", "activated"))
    hybrid = np.char.find(np.char.lower(rows.text("architecture")), "mamba") >= 0
    return [
        shape_called(str(name), float(a), float(b), recurrent=bool(c))
        for name, a, b, c in zip(rows.text("model_id"), total, active, hybrid, strict=True)
    ]


def precisions(rows: Rows) -> NDArray[np.str_]:
    """The precision (n,) of the weights, by the names used everywhere; nothing where none is said that is known."""
    return np.array([_precision(str(each).lower()) for each in rows.text("weight_precision")], dtype=np.str_)


def _precision(said: str) -> str:
    if said in BYTES:
        return said
    return next((meant for each, meant in _BITS.items() if each in said), "")


def labels(rows: Rows) -> NDArray[np.str_]:
    """What to call each row (n,)."""
    columns = [rows.text(name) for name in ("model_id", "task", "num_gpus", "gpu_model", "max_num_seqs")]
    return np.array([f"{a}, {b}, {c} × {d}, {e} sequences" for a, b, c, d, e in zip(*columns, strict=True)])


def outer(rows: Rows) -> NDArray[np.bool_]:
    """Which rows (n,) have the fewest, the middle or the most sequences of their service: enough to be near it."""
    names = [rows.text(name) for name in ("model_id", "task", "num_gpus", "gpu_model")]
    _, codes = np.unique(np.array(list(map("|".join, zip(*names, strict=True)))), return_inverse=True)
    batch, found = rows.number("max_num_seqs"), np.zeros(len(rows), dtype=np.bool_)
    for code in range(codes.max() + 1):
        at = np.flatnonzero(codes == code)
        at = at[np.argsort(batch[at], kind="stable")]
        found[at[[0, len(at) // 2, -1]]] = True
    return found
