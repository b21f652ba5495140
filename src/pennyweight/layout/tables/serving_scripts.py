"""What the scripts of a public benchmark set that moves first tokens: chunks of prompts, passes they are held for.

Rows of one source were measured by scripts that are published with it (github SemiAnalysisAI/InferenceX@843c6254,
`benchmarks/`, and their history by date), so what these set is known, though no column says it. Three settings decide
when a prompt is let in: SGLang looks for new requests every so many passes, TensorRT-LLM waits so many passes for more
prompts to come, and a pass takes so many tokens of prompts at most. A fourth, how long passes vLLM records, decides
what a short prompt costs the host. Models with no script that is read here have what
engines are shipped with.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from pennyweight.layout.serving.fleet import CHUNK
from pennyweight.layout.tables.serving_names import drawn

if TYPE_CHECKING:
    from pennyweight.layout.serving.fleet import Serving

_DAY = re.compile(r"measured=(\d{4}-\d{2}-\d{2})")
_UNDATED = "9999"  # as of now
_R1, _LLAMA, _GPT_OSS = "deepseek-v3", "llama-3.1-70b", "gpt-oss-120b"  # DeepSeek-R1 has the first's dimensions
_POLLED = {_R1, "qwen3.5-397b-a17b"}  # with SGLang on Blackwell
_POLLS, _MANY_POLLS, _MANY = 10.0, 30.0, 16.0  # passes between two looks, and from how many users on they are more
_TRT_CHUNK = {_GPT_OSS: 20_000.0, _LLAMA: 16_384.0}
_SGLANG_CHUNK = 16_384.0
_CAPTURED = 2048.0  # tokens of the largest pass that vLLM records, where scripts raise it
_CAPTURED_SINCE = {"minimax-m2.5 fp8": "2026-04-03", "minimax-m2.5 nvfp4": "2026-04-08"}
_WIDER = "2026-01-21"  # until then a pass took one prompt of DeepSeek-R1
_WAITS = "2026-01-29"  # from then on its short prompts of a crowd waited for each other
_CROWD, _BRIEF = 64.0, 1024.0


def as_scripted(case: Serving, family: str, source: str) -> Serving:
    """The deployment with what the script of its row's source set; unchanged where there is none."""
    if case.prefill is not None or not drawn(source):
        return case
    found = _DAY.search(source)
    day = found.group(1) if found else _UNDATED
    chunk, held, captured = (said(case, family, day) for said in (_chunk, _held, _captured))
    return replace(case, chunk=chunk, held=held, captured=captured)


def mean_wait(passes: float, come: float) -> float:
    """Passes that a prompt waits on average, where the first waits for `passes`, and those that come meanwhile with it.

    With `come` prompts per pass, N · come follow the first, and wait half as long on average.
    """
    more = passes * come
    return passes * (1 + more / 2) / (1 + more)


def _chunk(case: Serving, family: str, day: str) -> float:
    if case.engine == "sglang":
        return _SGLANG_CHUNK
    if case.engine != "trtllm":
        return 2 * case.prompt if _captured(case, family, day) else CHUNK
    return case.prompt if family == _R1 and day < _WIDER else _TRT_CHUNK.get(family, CHUNK)


def _captured(case: Serving, family: str, day: str) -> float:
    """Those of gpt-oss are recorded as far, but models left out were told worse for it: its passes are short anyway."""
    since = _CAPTURED_SINCE.get(f"{family} {case.moe}", _UNDATED) if case.accelerator.name == "b200" else _UNDATED
    return _CAPTURED if case.engine == "vllm" and since <= day < _UNDATED else 0.0


def _held(case: Serving, family: str, day: str) -> float:
    """Half the passes between two looks; or those that a prompt waits for others: a user asks once per answer."""
    if case.engine == "sglang":
        return _polls(case, family) / 2
    if case.engine != "trtllm" or case.prompt != case.output or case.prompt > _BRIEF:
        return 0.0
    passes = _waited(case, family, day)
    return mean_wait(passes, case.concurrency / case.decode.workers / case.output)


def _polls(case: Serving, family: str) -> float:
    if not _newer(case) or family not in _POLLED:
        return 0.0
    small = family == _R1 and case.moe != "nvfp4" and case.decode.tp < 8
    return _POLLS if small or case.concurrency < _MANY else _MANY_POLLS


def _waited(case: Serving, family: str, day: str) -> float:
    if family == _LLAMA and case.decode.tp < 8:
        return 20.0
    crowd = family == _R1 and _newer(case) and case.moe != "nvfp4" and case.concurrency >= _CROWD
    return 40.0 if crowd and day >= _WAITS else 0.0


def _newer(case: Serving) -> bool:
    return "fp4" in case.accelerator.flop_s
