"""Arguments of Megatron-LM's functional tests as dimensions: which model each row trains."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pennyweight.core.dims import Dims
from pennyweight.cost.columns import Columns, columns_of
from pennyweight.errors import PennyweightError
from pennyweight.layout.rows import YES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pennyweight.layout.rows import Rows


# Words of a case's name that say what no column says.
WORDS = (
    "1node",
    "_sm",
    "attn_cudagraph",
    "average_in_collective",
    "cross_entropy_loss_fusion",
    "cudagraph",
    "defer_embedding_wgrad",
    "distill",
    "fine_grained_offloading",
    "groupedGEMM",
    "grpo",
    "multi_dist_optimizer_instances",
    "muon",
    "no_create_attention_mask",
    "op_fuser",
    "release",
    "overlap",
    "uneven_pipeline",
    "vp2_account_for",
    "memory_speed",
)
# What a tokenizer's vocabulary is where the arguments do not say.
_GPT2, _BERT, _T5 = 50257, 30522, 29056
_VOCABULARIES = {"GPTSentencePieceTokenizer": 256000, "TikTokenizer": 131072, "Llama2Tokenizer": 32000}
_LATENT = {"kv_rank": 512, "rope_dim": 64, "nope_dim": 128, "v_dim": 128}
_T5_BASE = 768
_NONE = Dims("none", 1, 128, 1, 512, 1024)


def family_of(rows: Rows) -> NDArray[np.str_]:
    """The family (n,) of each case: gpt, moe, bert …, the first folder of its name."""
    return np.array([case.split("/")[0] for case in rows.text("case")], dtype=np.str_)


def said(rows: Rows, word: str) -> NDArray[np.bool_]:
    """Which cases (n,) have a word in their name."""
    return np.char.find(rows.text("case"), word) >= 0


def given(rows: Rows, name: str) -> NDArray[np.bool_]:
    """Which rows (n,) have something in a column."""
    return np.asarray(np.char.str_len(rows.text(name)) > 0)


def dims_of(rows: Rows) -> tuple[Columns, NDArray[np.str_]]:
    """The dimensions (n,) of each row's model; and why (n,) there is no such model, of which nothing is made then.

    An encoder-decoder's layers count as those of one stack with as many parameters: a decoder layer of T5 has a second
    attention. Widths of latent attention that no column names are Megatron-LM's defaults. Arguments that several rows
    share are read once.
    """
    names = [name for name in _ARGUMENTS if name in rows.columns]
    asked = list(zip(*(rows.text(name).tolist() for name in names), strict=True))
    places = {each: at for at, each in enumerate(dict.fromkeys(asked))}
    which = np.array([places[each] for each in asked], dtype=np.int64)
    found = [_model(dict(zip(names, each, strict=True))) for each in places]
    problems = np.array([problem for _, problem in found], dtype=np.str_)
    return columns_of([dims for dims, _ in found]).take(which), problems[which]


def _model(row: dict[str, Any]) -> tuple[Dims, str]:
    """The model of one row, or another and why there is none."""
    try:
        return _dims(row, row["case"].split("/")[0]), ""
    except PennyweightError as error:
        return _NONE, error.problem
    except (ArithmeticError, ValueError):
        return _NONE, "the arguments of the row are those of no model"


_ARGUMENTS = (
    "case",
    "num_layers",
    "hidden_size",
    "num_attention_heads",
    "group_query_attention",
    "num_query_groups",
    "ffn_hidden_size",
    "seq_length",
    "num_experts",
    "moe_router_topk",
    "moe_ffn_hidden_size",
    "swiglu",
    "untie_embeddings_and_output_weights",
    "position_embedding_type",
    "vocab_size",
    "tokenizer_type",
    "multi_latent_attention",
    "mtp_num_layers",
    "normalization",
    "disable_bias_linear",
    "kv_channels",
    "pipeline_model_parallel_size",
)


def _dims(row: dict[str, Any], family: str) -> Dims:
    def whole(name: str, default: int = 0) -> int:
        return int(float(row.get(name) or default))

    hidden, heads = whole("hidden_size", 512), whole("num_attention_heads", 8)
    heads = heads if not hidden % heads else 8
    gated, experts = _yes(row, "swiglu"), whole("num_experts")
    ffn = whole("ffn_hidden_size") or (hidden * 8 // 3 // 64 * 64 if gated else 4 * hidden)
    width = whole("kv_channels") or hidden // heads
    layers = whole("num_layers", _unsaid_layers(family, hidden))
    if "uneven_pipeline" in str(row["case"]):  # the last stage has one layer less
        layers -= whole("pipeline_model_parallel_size", 1)
    latent = _yes(row, "multi_latent_attention")
    if family == "t5":
        layers = round(layers * (1 + (8 * width * heads + 2 * ffn) / (4 * width * heads + 2 * ffn)))
    bias = not _yes(row, "disable_bias_linear")
    more: dict[str, Any] = dict(_LATENT) if latent else {}
    if family == "hybrid" or row.get("position_embedding_type") == "none":
        more |= _mixed(row, layers, hidden)
    return Dims(
        name=str(row["case"]),
        layers=layers + whole("mtp_num_layers"),
        hidden=hidden,
        heads=heads,
        ffn=ffn,
        vocab=_vocabulary(row, family),
        kv_heads=whole("num_query_groups") if _yes(row, "group_query_attention") else 0,
        head_dim=0 if latent else width,
        gated=gated,
        tied=not _yes(row, "untie_embeddings_and_output_weights"),
        bias=bias,
        norm_bias=row.get("normalization") != "RMSNorm",
        positions=whole("seq_length", 1024) if not row.get("position_embedding_type") else 0,
        experts=experts,
        experts_per_token=whole("moe_router_topk", 1) if experts else 0,
        moe_ffn=(whole("moe_ffn_hidden_size") or ffn) if experts else 0,
        **more,
    )


def _yes(row: dict[str, Any], name: str) -> bool:
    return str(row.get(name, "")).lower() in YES


def _unsaid_layers(family: str, hidden: int) -> int:
    """How many layers a case has where no column counts them: the default of its family."""
    return {"t5": 24 if hidden > _T5_BASE else 12, "hybrid": 50}.get(family, 12)


def _mixed(row: dict[str, Any], layers: int, hidden: int) -> dict[str, int]:
    """Layers of one block each: as many recurrences (Mamba-2) as feed-forward blocks, and some attention.

    No column has their order; these are the shares of Nemotron 3, and Mamba-2's default widths. Of its larger model
    experts read fewer values than the rest.
    """
    blocks = round(0.45 * layers)
    inner = 2 * hidden
    latent = {"moe_hidden": 1024} if "nemotron3_super" in str(row["case"]) else {}
    return {
        "norms": 1,
        "mixerless": blocks,
        "ffnless": layers - blocks,
        "linear_layers": blocks,
        "linear_in": 2 * inner + 2 * 8 * 128 + inner // 64,
        "linear_out": inner,
        **latent,
    }


def _vocabulary(row: dict[str, Any], family: str) -> int:
    if row.get("vocab_size"):
        return int(float(row["vocab_size"]))
    if family in {"bert", "t5"}:
        return _BERT if family == "bert" else _T5
    if "mixtral_8x7b" in str(row["case"]):
        return _VOCABULARIES["Llama2Tokenizer"]
    return _VOCABULARIES.get(str(row.get("tokenizer_type")), _GPT2)
