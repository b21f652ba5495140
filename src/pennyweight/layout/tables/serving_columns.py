"""Rows of measured serving as deployments: what ran, how it was spread, and how much of it the row says."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Self

import numpy as np

from pennyweight.errors import BadInputError, UnknownNameError
from pennyweight.layout.rows import plain
from pennyweight.layout.serving.fleet import BYTE, Fleet, Pool, Serving, fleet_of
from pennyweight.layout.tables.accelerators import named
from pennyweight.layout.tables.serving_models import DIMENSIONS, dims_of, family_of
from pennyweight.layout.tables.serving_names import drawn, engine_of, notes_on, release_of
from pennyweight.layout.tables.serving_scripts import as_scripted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from pennyweight.core.dims import Dims
    from pennyweight.layout.rows import Rows

_QUANT = {"fp4": "nvfp4", "int4_wo": "int4", "int8_wo": "int8", "bfloat16": "bf16", "float16": "fp16"}
_QUANT |= {"fp8_static": "fp8", "w4a16_mxfp4": "mxfp4", "w4a8_mxfp4_mxfp8": "mxfp4", "w4afp8": "int4"}
_DRAWN = 0.9  # prompts and answers are 80 to 100% of the length named, in benchmarks of these sources
_WARM = 0.3  # other sources let users go on for longer, or start one after the other
_SQUARED_IN = ("db-dump", "2026-04-06.csv")
_MOST_TP = 16
_DEGREES = ("tp_size", "pp_size", "attention_dp_size", "moe_tp_size", "moe_ep_size")
_READ = frozenset(
    {
        *("id", "silicon_data_source", "backend", "backend_version", "model_path", "system", "precision", "mode"),
        *("isl", "osl", "drafts", "prefix_hit", "concurrency", "batch_size", "gemm_quant_mode", "moe_quant_mode"),
        *_DEGREES,
        *(f"{side}_{name}" for side in ("prefill", "decode") for name in (*_DEGREES, "batch_size", "num_workers")),
        *DIMENSIONS,
    }
)
_CONCURRENCY = re.compile(r"concurrency=(\d+(?:\.\d+)?)")
_IN_NAME = re.compile(r"_c(\d+)(?:_|$)")


@dataclass(frozen=True, slots=True)
class Read:
    """What was read of n rows: the m deployments of those that could be, and which rows these are (`at`).

    Of these m: the `family` of models of equal dimensions, the engine's `release`, `drafts`, NaN where speculative
    decoding is possible and not said, how far all users began at once (`cold`), and what is `standing` in for a model
    or a device that is in no catalog. Of all n: what is missing or wrong (`why`; nothing in complete rows).
    """

    fleet: Fleet
    at: NDArray[np.int64]
    family: NDArray[np.str_]
    release: NDArray[np.str_]
    drafts: NDArray[np.float64]
    cold: NDArray[np.float64]
    standing: NDArray[np.str_]
    why: NDArray[np.str_]

    @property
    def complete(self) -> NDArray[np.bool_]:
        """Which of the m rows say everything that matters, without a contradiction."""
        return np.asarray(np.char.str_len(self.why[self.at]) == 0)

    def take(self, chosen: NDArray[np.bool_]) -> Self:
        """The deployments (m,) chosen by a mask."""
        names = ("at", "family", "release", "drafts", "cold", "standing")
        parts = {name: getattr(self, name)[chosen] for name in names}
        return replace(self, fleet=self.fleet.take(chosen), **parts)


def read(rows: Rows) -> Read:
    """Read all rows; one whose model, system or engine is unknown is not answered, and `why` says the fix."""
    cases, said, at, why = [], [], [], []
    for row, fields in enumerate(_fields(rows)):
        try:
            case, lacks = _case(fields)
        except BadInputError as error:
            why.append(str(error))
            continue
        cases.append(case)
        said.append(_said(fields, case))
        at.append(row)
        why.append(lacks)
    if not cases:
        raise BadInputError("No row of this table could be read.", str(why[0]))
    family, release, drafts, cold, standing = zip(*said, strict=True)
    return Read(
        fleet=fleet_of(cases),
        at=np.array(at, dtype=np.int64),
        family=np.array(family),
        release=np.array(release),
        drafts=np.array(drafts, dtype=np.float64),
        cold=np.array(cold, dtype=np.float64),
        standing=np.array(standing),
        why=np.array(why),
    )


def _fields(rows: Rows) -> Iterator[dict[str, str]]:
    """The columns that are read of each row; those that are missing are not there."""
    known = {plain(name): name for name in rows.columns}
    names = [name for name in known if name in _READ]
    for texts in zip(*(rows.text(known[name]).tolist() for name in names), strict=True):
        fields = dict(zip(names, texts, strict=True))
        fields["source"] = fields.get("silicon_data_source", "")
        yield fields


def _said(row: dict[str, str], case: Serving) -> tuple[str, str, float, float, str]:
    """The family, the release, what is drafted, how cold the start was, and what stands in for what."""
    release = release_of(case.engine, row.get("backend_version", ""), row["source"])
    cold = 1.0 if drawn(row["source"]) else _WARM
    standing = notes_on(dims_of(row)[1], row["system"])
    return family_of(row["model_path"]), release, _drafts(row, case), cold, standing


def _case(row: dict[str, str]) -> tuple[Serving, str]:
    """The deployment of one row, and what the row lacks to be complete (nothing: empty)."""
    dims, _ = dims_of(row)
    apart = row.get("mode", "agg").lower() == "disagg"
    users = _users(row)
    decode, prefill, lacks = _disaggregated(row) if apart else (*_aggregated(row, users, dims), "")
    if users is None:
        users = _number(row, "decode_batch_size" if apart else "batch_size", 1.0) * decode.attention_dp * decode.workers
    lacks = lacks or _contradiction(dims, decode)
    gemm, moe = _precisions(row, dims)
    share = _DRAWN if drawn(row["source"]) else 1.0
    case = Serving(
        model=dims,
        accelerator=named(row["system"]),
        engine=engine_of(row["backend"]),
        gemm=gemm,
        moe=moe,
        kv="bf16" if row.get("precision", "").lower() == "bf16" else "fp8",
        decode=decode,
        prefill=prefill,
        concurrency=users,
        prompt=_number(row, "isl", 0.0) * share,
        output=_number(row, "osl", 0.0) * share,
        drafts=_number(row, "drafts", 0.0),
        prefix_hit=_number(row, "prefix_hit", 0.0),
    )
    return as_scripted(case, family_of(row["model_path"]), row["source"]), lacks


def _users(row: dict[str, str]) -> float | None:
    found = _CONCURRENCY.search(row["source"]) or _IN_NAME.search(row.get("id", ""))
    if row.get("concurrency"):
        return _number(row, "concurrency", 0.0)
    return float(found.group(1)) if found else None


def _aggregated(row: dict[str, str], users: float | None, dims: Dims) -> tuple[Pool, None]:
    """The pool of an aggregated row.

    In some sources tensor times expert parallelism was written where tensor parallelism belongs, or where attention
    data parallelism does: a row whose experts are split as many ways by both is one pool of that many devices.
    """
    tp, adp = _count(row, "tp_size"), _count(row, "attention_dp_size")
    split, ep = _count(row, "moe_tp_size"), _count(row, "moe_ep_size")
    if any(name in row["source"] for name in _SQUARED_IN) and (
        (split == ep > 1) or (split == 1 and ep > 1 and tp == adp)
    ):
        devices = split if split > 1 else tp
        tp, adp, ep = (1, devices, devices) if adp > 1 else (devices, 1, devices)
        return _pool(tp, _count(row, "pp_size"), adp, ep), None
    batch = _number(row, "batch_size", 0.0)
    copies = max(round(users / batch / adp), 1) if users and batch else 1
    if copies == tp > 1 and dims.experts:  # batch is that of one of tp groups
        tp, adp, copies = 1, tp, 1
    return _pool(tp, _count(row, "pp_size"), adp, ep, copies), None


def _disaggregated(row: dict[str, str]) -> tuple[Pool, Pool, str]:
    pools = []
    for side in ("decode", "prefill"):
        tp, pp, groups, experts = (
            _count(row, f"{side}_{name}_size") for name in ("tp", "pp", "attention_dp", "moe_ep")
        )
        pools.append(_pool(tp, pp, groups, experts, _count(row, f"{side}_num_workers")))
    missing = [name for name in ("decode_num_workers", "prefill_num_workers", "decode_batch_size") if not row.get(name)]
    lacks = f"the row lacks {missing[0]}: give it, or it is taken as one" if missing else ""
    return pools[0], pools[1], lacks


@lru_cache(maxsize=4096)
def _pool(tp: int, pp: int, groups: int, experts: int, workers: int = 1) -> Pool:
    return Pool(tp, pp, groups, experts, workers)


@lru_cache(maxsize=4096)
def _contradiction(dims: Dims, pool: Pool) -> str:
    if dims.heads % pool.tp and pool.tp > 1:
        return f"{dims.heads} heads cannot be split over {pool.tp} devices: correct tp_size"
    if pool.tp > _MOST_TP:
        return f"attention is not split over {pool.tp} devices: that is all devices of a deployment; correct tp_size"
    return ""


def _precisions(row: dict[str, str], dims: Dims) -> tuple[str, str]:
    said = row.get("precision") or "bf16"
    gemm, moe = (_precision(row.get(name) or said) for name in ("gemm_quant_mode", "moe_quant_mode"))
    # The experts of gpt-oss are published in mxfp4, the rest in bf16.
    return ("bf16", "mxfp4") if "gpt-oss" in dims.name.lower() else (gemm, moe)


@lru_cache(maxsize=256)
def _precision(text: str) -> str:
    found = _QUANT.get(text.lower(), text.lower())
    if found not in BYTE:
        raise UnknownNameError.of("precision", text, BYTE)
    return found


def _drafts(row: dict[str, str], case: Serving) -> float:
    """Tokens drafted ahead: as said, none where nothing can draft, NaN where it is possible and not said."""
    if row.get("drafts"):
        return _number(row, "drafts", 0.0)
    possible = case.model.mtp_layers > 0 and case.engine in {"sglang", "trtllm"} and "db-dump" not in row["source"]
    return np.nan if possible else 0.0


def _count(row: dict[str, str], name: str) -> int:
    return max(round(_number(row, name, 1.0)), 1)


def _number(row: dict[str, str], name: str, default: float) -> float:
    text = row.get(name, "")
    try:
        return float(text) if text else default
    except ValueError as error:
        raise BadInputError(f"{text!r} in column {name} is no number.", "correct it.") from error
