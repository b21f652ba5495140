"""The columns by which rows of MLPerf inference results are alike, and the rate that is ideal."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from pennyweight.catalog.accelerators import accelerator
from pennyweight.cost.nearest_model import nearest_model
from pennyweight.cost.transformer import active_parameters, forward_flop, kv_byte_token, parameters
from pennyweight.errors import UnknownNameError
from pennyweight.layout.tables.accelerators import named, unknown

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from pennyweight.catalog.accelerators import Accelerator
    from pennyweight.cost.learn.process import Columns
    from pennyweight.layout.rows import Rows

# Mean tokens of a prompt and of an answer in the data set of the benchmark, roughly: where learning starts.
_LENGTHS = {
    "llama2-70b": (290, 290),
    "llama3.1-405b": (9400, 680),
    "llama3.1-8b": (780, 130),
    "mixtral-8x7b": (300, 145),
    "deepseek-r1": (800, 3900),
}
_USUAL_LENGTHS = (800, 300)
# Kind and FLOP of a sample. Counted from layers, as in `mlperf_work`: RetinaNet, DLRM-DCNv2 and 3D U-Net, of which one
# window of 128 voxels a side, though volumes have several. A sample of DLRM is 270 pairs on average (dist_quantile.txt
# of github mlcommons/inference), one of Stable Diffusion 20 steps of two passes each, and a pass is rough. Of Whisper a
# token is counted, and its share of the encoder: 1,500 frames through 32 layers 1,280 wide, 2.3e12, for some hundred
# tokens in 30 seconds. The others are rough too.
_OTHERS = {
    "whisper": ("speech", 2.5e10),
    "stable-diffusion-xl": ("diffusion", 2.4e14),
    "retinanet": ("vision", 4.0e11),
    "resnet": ("vision", 8e9),
    "dlrm-v2": ("recommender", 270 * 3.2e7),
    "3d-unet": ("volume", 9.6e11),
    "rgat": ("graph", 2e9),
}
_LANGUAGE, _ENCODER = "language", "encoder"
_CACHE_BYTE = 1  # keys and values are kept in eight bits
_WEIGHT_BYTE = {"fp4": 0.5, "int4": 0.5, "int8": 1.0, "fp8": 1.0, "bf16": 2.0, "fp16": 2.0, "fp32": 4.0}
_USABLE = 0.9  # of the memory
_LEAST_ROOM = 0.02  # of the weights, where they do not fit
_PRECISIONS = {
    "fp4": "fp4",
    "uint4": "int4",
    "int4": "int4",
    "int8": "int8",
    "fp8": "fp8",
    "bf16": "bf16",
    "fp16": "fp16",
    "fp32": "fp32",
}


def bare(names: Iterable[str]) -> NDArray[np.str_]:
    """Models (n,) without the quality and the place they are asked for with: `llama2-70b-99.9` is `llama2-70b`."""
    return np.array([re.sub(r"(-interactive)?(-99(\.9)?)?(-edge)?$", "", str(name)) for name in names], dtype=np.str_)


def language(rows: Rows) -> NDArray[np.bool_]:
    """Which rows (n,) are of language models."""
    return np.array([_work(str(each))[0] == _LANGUAGE for each in bare(rows.text("Model"))], dtype=np.bool_)


def models_standing(rows: Rows) -> NDArray[np.str_]:
    """What stands in (n,) for the language model of each row; nothing for those of the catalog, and for all others."""
    names = [str(each) for each in bare(rows.text("Model"))]
    notes = [nearest_model(each).note if _work(each)[0] == _LANGUAGE else "" for each in names]
    return np.array(notes, dtype=np.str_)


def systems(rows: Rows) -> NDArray[np.str_]:
    """Whose system (n,) each row is: a submitter and its name for it."""
    return np.char.add(np.char.add(rows.text("Submitter"), " "), rows.text("System"))


def problems_of(rows: Rows) -> NDArray[np.str_]:
    """Why rows (n,) cannot be counted; nothing where they can."""
    problems = unknown(rows.text("Accelerator")).astype(object)
    problems[~(_counts(rows) > 0)] = "The number of accelerators is not stated."
    return problems.astype(np.str_)


def ideal_rates(rows: Rows) -> NDArray[np.float64]:
    """Tokens or samples per second (n,) that all accelerators could do at their peaks of compute and of memory."""
    chips = (named(str(each)).name for each in rows.text("Accelerator"))
    asked = zip(bare(rows.text("Model")), chips, _precisions(rows), _devices(rows), strict=True)
    seconds = [_seconds(str(name), chip, str(precision), float(devices)) for name, chip, precision, devices in asked]
    return np.asarray(_counts(rows) / np.array(seconds), dtype=np.float64)


def labels(rows: Rows) -> NDArray[np.str_]:
    """What to call each row (n,)."""
    names = zip(rows.text("Model"), rows.text("Scenario"), _counts(rows), rows.text("Accelerator"), strict=True)
    return np.array([f"{what} {how} on {count:.0f} × {chip}" for what, how, count, chip in names], dtype=np.str_)


def alike(rows: Rows) -> Columns:
    """Names and numbers (n,) by which rows are alike."""
    chips = [named(str(each)) for each in rows.text("Accelerator")]
    models = bare(rows.text("Model"))
    works = [_work(str(each)) for each in models]
    texts = {
        "model": models,
        "benchmark": rows.text("Model"),
        "used": bare(rows.text("UsedModel")) if "UsedModel" in rows.columns else models,
        "kind": np.array([kind for kind, _ in works], dtype=np.str_),
        "scenario": rows.text("Scenario"),
        "accelerator": np.array([each.name for each in chips], dtype=np.str_),
        "vendor": np.array([each.vendor for each in chips], dtype=np.str_),
        "precision": _precisions(rows),
        "engine": _engines(rows),
        "system": systems(rows),
        "submitter": rows.text("Submitter"),
        "category": rows.text("Category") if "Category" in rows.columns else np.full(len(rows), "closed"),
    }
    numbers = {
        "count": np.log(_counts(rows) / 8),
        "nodes": np.log(rows.number("Nodes", 1.0)),
        "peak": np.log(_peaks(rows)),
        "hbm": np.log([each.hbm_byte_s for each in chips]),
        "memory": np.log([each.memory_byte for each in chips]),
        "size": np.log([flop for _, flop in works]),
        "sparse": np.log([_sparse(str(each)) for each in models]),
    }
    return {**texts, **numbers}


@cache
def _work(name: str) -> tuple[str, float]:
    """The kind of a model, and the FLOP of one token generated, its share of the prompt included, or of one sample.

    What is not listed, and no model of the catalog stands in for, is said to be its own kind.
    """
    if name in _OTHERS:
        return _OTHERS[name]
    try:
        dims = nearest_model(name).dims
    except UnknownNameError:
        return name, 1e11
    prompt, answer = _LENGTHS.get(name, _USUAL_LENGTHS)
    read = forward_flop(dims, prompt).total
    if not dims.causal:
        return _ENCODER, float(read)
    written = forward_flop(dims, answer, prompt + answer, absorbed=True).total
    return _LANGUAGE, float(read + written) / answer


@cache
def _sparse(name: str) -> float:
    """How many times a token's parameters a model has."""
    if _work(name)[0] != _LANGUAGE:
        return 1.0
    dims = nearest_model(name).dims
    return float(parameters(dims) / active_parameters(dims))


@cache
def _seconds(name: str, chip: str, precision: str, devices: float) -> float:
    """Seconds of one accelerator for one token or sample, at its peak and the bandwidth of its memory.

    A token computes, reads the keys and values of what came before it, and its share of all weights, which are read
    once for as many sequences as fit into the memory that weights leave of `devices` accelerators.
    """
    kind, flop = _work(name)
    device = accelerator(chip)
    computing = flop / _peak(device, precision)
    if kind != _LANGUAGE:
        return computing
    prompt, answer = _LENGTHS.get(name, _USUAL_LENGTHS)
    dims, context = nearest_model(name).dims, prompt + answer
    kept = float(kv_byte_token(dims, _CACHE_BYTE, context))
    weights = float(parameters(dims)) * _WEIGHT_BYTE[precision]
    room = max(_USABLE * devices * device.memory_byte - weights, weights * _LEAST_ROOM)
    reading = kept * (prompt + answer / 2) + weights / max(room / (kept * context), 1.0)
    return computing + reading / device.hbm_byte_s


def _counts(rows: Rows) -> NDArray[np.float64]:
    return _devices(rows) * rows.number("Nodes", 1.0)


def _devices(rows: Rows) -> NDArray[np.float64]:
    """Accelerators of a node (n,); where that is not stated, the `8x` that a system's name says, or one."""
    said = [re.search(r"(?<![\w.])(\d{1,3})x(?=\s*[A-Za-z])", str(each)) for each in rows.text("System")]
    counts = np.array([float(each[1]) if each else 1.0 for each in said])
    stated = rows.number("a#")
    return np.where(np.isnan(stated), counts, stated)


def _precisions(rows: Rows) -> NDArray[np.str_]:
    """The narrowest precision (n,) that weights are said to have, or the model used is named after; fp16 otherwise."""
    stated = rows.text("weight_data_types") if "weight_data_types" in rows.columns else np.full(len(rows), "")
    used = rows.text("UsedModel") if "UsedModel" in rows.columns else np.full(len(rows), "")
    return np.array(
        [_precision(str(one)) or _precision(str(other)) or "fp16" for one, other in zip(stated, used, strict=True)]
    )


def _precision(text: str) -> str:
    return next((meant for said, meant in _PRECISIONS.items() if said in text.lower()), "")


def _peaks(rows: Rows) -> NDArray[np.float64]:
    pairs = zip(rows.text("Accelerator"), _precisions(rows), strict=True)
    return np.array([_peak(named(str(chip)), str(precision)) for chip, precision in pairs])


def _peak(chip: Accelerator, precision: str) -> float:
    """Products of weights of four bits and of 32 run in 16 here: nobody computes them in anything else."""
    return chip.peak("fp16" if precision in {"fp32", "int4"} else precision)


def _engines(rows: Rows) -> NDArray[np.str_]:
    """The first word (n,) of the software."""
    if "Software" not in rows.columns:
        return np.full(len(rows), "")
    bare_names = (re.sub(r"^todo: *", "", str(each).lower()) for each in rows.text("Software"))
    return np.array([re.split(r"[ ,\d]", each)[0] for each in bare_names], dtype=np.str_)
