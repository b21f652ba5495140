"""Rows of measured serving as deployments: what ran, how it was spread, and how much of it the row says."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

import numpy as np

from pennyweight.catalog.accelerators import accelerator
from pennyweight.errors import BadInputError, UnknownNameError
from pennyweight.layout.serving.fleet import BYTE, ENGINES, Fleet, Pool, Serving, fleet_of
from pennyweight.layout.tables.serving_models import dims_of, family_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pennyweight.core.dims import Dims
    from pennyweight.layout.rows import Rows

_QUANT = {"fp4": "nvfp4", "int4_wo": "int4", "int8_wo": "int8", "bfloat16": "bf16", "float16": "fp16"}
_QUANT |= {"fp8_static": "fp8", "w4a16_mxfp4": "mxfp4", "w4a8_mxfp4_mxfp8": "mxfp4", "w4afp8": "int4"}
_DRAWN = 0.9  # prompts and answers are 80 to 100% of the length named, in benchmarks of these sources
_DRAWN_IN = ("db-dump", "2026-03-25.csv", "2026-04-06.csv", "gap-analysis.csv")
_SQUARED_IN = ("db-dump", "2026-04-06.csv")
_MOST_TP = 16
_CONCURRENCY = re.compile(r"concurrency=(\d+(?:\.\d+)?)")
_IN_NAME = re.compile(r"_c(\d+)(?:_|$)")
_MEASURED = re.compile(r"measured=(\d{4}-\d{2})")


@dataclass(frozen=True, slots=True)
class Read:
    """What was read of n rows: the m deployments of those that could be, and which rows these are (`at`).

    Of these m: the `family` of models of equal dimensions, the engine's `release`, and `drafts`, NaN where speculative
    decoding is possible and not said. Of all n: what is missing or wrong (`why`; nothing in complete rows).
    """

    fleet: Fleet
    at: NDArray[np.int64]
    family: NDArray[np.str_]
    release: NDArray[np.str_]
    drafts: NDArray[np.float64]
    why: NDArray[np.str_]

    @property
    def complete(self) -> NDArray[np.bool_]:
        """Which of the m rows say everything that matters, without a contradiction."""
        return np.asarray(np.char.str_len(self.why[self.at]) == 0)

    def take(self, chosen: NDArray[np.bool_]) -> Self:
        """The deployments (m,) chosen by a mask."""
        parts = {name: getattr(self, name)[chosen] for name in ("at", "family", "release", "drafts")}
        return replace(self, fleet=self.fleet.take(chosen), **parts)


def read(rows: Rows) -> Read:
    """Read all rows; one whose model, system or engine is unknown is not answered, and `why` says the fix."""
    table = _Fields.of(rows)
    cases, at, why = [], [], []
    for row in range(len(rows)):
        try:
            case, lacks = _case(table.row(row))
        except BadInputError as error:
            why.append(str(error))
            continue
        cases.append(case)
        at.append(row)
        why.append(lacks)
    if not cases:
        raise BadInputError("No row of this table could be read.", str(why[0]))
    said = [table.row(row) for row in at]
    return Read(
        fleet=fleet_of(cases),
        at=np.array(at, dtype=np.int64),
        family=np.array([family_of(row["model_path"]) for row in said]),
        release=np.array([_release(row) for row in said]),
        drafts=np.array(list(map(_drafts, said, cases))),
        why=np.array(why),
    )


@dataclass(frozen=True, slots=True)
class _Fields:
    """The columns that matter, as lists of texts; those missing are empty."""

    columns: dict[str, list[str]]

    @classmethod
    def of(cls, rows: Rows) -> _Fields:
        named = {name: [str(text) for text in rows.text(name)] for name in rows.columns}
        named["source"] = named.get("silicon_data_source", [""] * len(rows))
        return cls(named)

    def row(self, at: int) -> dict[str, str]:
        return {name: texts[at] for name, texts in self.columns.items()}


def _case(row: dict[str, str]) -> tuple[Serving, str]:
    """The deployment of one row, and what the row lacks to be complete (nothing: empty)."""
    dims = dims_of(row)
    device = accelerator(row["system"])
    if row["backend"] not in ENGINES:
        raise UnknownNameError.of("engine", row["backend"], ENGINES)
    apart = row.get("mode", "agg") == "disagg"
    users = _users(row)
    decode, prefill, lacks = _disaggregated(row) if apart else (*_aggregated(row, users, dims), "")
    if users is None:
        users = _number(row, "decode_batch_size" if apart else "batch_size", 1.0) * decode.attention_dp * decode.workers
    lacks = lacks or _contradiction(dims, decode)
    gemm, moe = _precisions(row, dims)
    share = _DRAWN if any(name in row["source"] for name in _DRAWN_IN) else 1.0
    case = Serving(
        model=dims,
        accelerator=device,
        engine=row["backend"],
        gemm=gemm,
        moe=moe,
        kv="bf16" if row.get("precision") == "bf16" else "fp8",
        decode=decode,
        prefill=prefill,
        concurrency=users,
        prompt=_number(row, "isl", 0.0) * share,
        output=_number(row, "osl", 0.0) * share,
        drafts=_number(row, "drafts", 0.0),
        prefix_hit=_number(row, "prefix_hit", 0.0),
    )
    return case, lacks


def _users(row: dict[str, str]) -> float | None:
    found = _CONCURRENCY.search(row["source"]) or _IN_NAME.search(row.get("id", ""))
    return float(row["concurrency"]) if row.get("concurrency") else float(found.group(1)) if found else None


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
        return Pool(tp=tp, pp=_count(row, "pp_size"), attention_dp=adp, expert_parallel=ep), None
    batch = _number(row, "batch_size", 0.0)
    copies = max(round(users / batch / adp), 1) if users and batch else 1
    if copies == tp > 1 and dims.experts:  # batch is that of one of tp groups
        tp, adp, copies = 1, tp, 1
    return Pool(tp=tp, pp=_count(row, "pp_size"), attention_dp=adp, expert_parallel=ep, workers=copies), None


def _disaggregated(row: dict[str, str]) -> tuple[Pool, Pool, str]:
    pools = []
    for side in ("decode", "prefill"):
        tp, pp, groups, experts = (
            _count(row, f"{side}_{name}_size") for name in ("tp", "pp", "attention_dp", "moe_ep")
        )
        pools.append(Pool(tp, pp, groups, experts, _count(row, f"{side}_num_workers")))
    missing = [name for name in ("decode_num_workers", "prefill_num_workers", "decode_batch_size") if not row.get(name)]
    lacks = f"the row lacks {missing[0]}: give it, or it is taken as one" if missing else ""
    return pools[0], pools[1], lacks


def _contradiction(dims: Dims, pool: Pool) -> str:
    if dims.heads % pool.tp and pool.tp > 1:
        return f"{dims.heads} heads cannot be split over {pool.tp} devices: correct tp_size"
    if pool.tp > _MOST_TP:
        return f"attention is not split over {pool.tp} devices: that is all devices of a deployment; correct tp_size"
    return ""


def _precisions(row: dict[str, str], dims: Dims) -> tuple[str, str]:
    said = _QUANT.get(row.get("precision", "") or "bf16", row.get("precision", "") or "bf16")
    gemm, moe = (
        _QUANT.get(row.get(name) or said, row.get(name) or said) for name in ("gemm_quant_mode", "moe_quant_mode")
    )
    if "gpt-oss" in dims.name.lower():  # its experts are published in mxfp4, the rest in bf16
        gemm, moe = "bf16", "mxfp4"
    for each in (gemm, moe):
        if each not in BYTE:
            raise UnknownNameError.of("precision", each, BYTE)
    return gemm, moe


def _drafts(row: dict[str, str], case: Serving) -> float:
    """Tokens drafted ahead: as said, none where nothing can draft, NaN where it is possible and not said."""
    if row.get("drafts"):
        return float(row["drafts"])
    possible = case.model.mtp_layers > 0 and case.engine in {"sglang", "trtllm"} and "db-dump" not in row["source"]
    return np.nan if possible else 0.0


def _release(row: dict[str, str]) -> str:
    """Engine, image or version, and month: what runs of one release share."""
    image = re.search(r"([\w.-]+:[\w.-]+)$", row["source"])
    month = _MEASURED.search(row["source"])
    what = image.group(1) if image else row.get("backend_version", "")
    return "|".join((row["backend"], what, month.group(1) if month else ""))


def _count(row: dict[str, str], name: str) -> int:
    return max(round(_number(row, name, 1.0)), 1)


def _number(row: dict[str, str], name: str, default: float) -> float:
    text = row.get(name, "")
    try:
        return float(text) if text else default
    except ValueError as error:
        raise BadInputError(f"{text!r} in column {name} is no number.", "correct it.") from error
