"""What a name says of a model: its other spellings, its family, and how many parameters it has."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_LONGEST = 200  # characters of a name that are looked at
_ENDINGS = (
    r"(fp4|fp8|nvfp4|mxfp4|mxfp6|mxfp8|bf16|fp16|int4|int8|4bit|8bit|awq|gptq|gguf|w4a16|w4a8|w8a8|w8a16|w4afp8|kv|kv8"
    r"|static|dynamic|pertensor|tensor|per|block|channel|quantized|quark|autoround"
    r"|instruct|chat|base|it|pt|sft|dpo|thinking|reasoning|preview|hf|exp|original"
    r"|maxtext|maxdiffusion|pytorch|tensorflow|jax|nemo|megatron|mcore|diffusers"
    r"|bf16-v\d+|v\d|v\d\.\d|\d{4}|\d{6}|\d{8})"
)
_BEFORE = r"(meta|nvidia|amd|hf|google|microsoft|mistralai|deepseek-ai|openai|qwen|intel)"
_COUNT = r"(\d+(?:\.\d+)?)"
_SEVERAL = rf"(?<![a-z0-9.])(\d+)x{_COUNT}([bm])(?![a-z0-9])"
_EXPERTS = r"(?<![a-z0-9.])(\d+)e(?![a-z0-9])"
_ACTIVE = rf"(?<![a-z0-9.])a{_COUNT}([bm])(?![a-z0-9])"
_SINGLE = rf"(?<![\d.])e?{_COUNT}([bmt])(?![a-z0-9])"
_UNIT = {"m": 1e6, "b": 1e9, "t": 1e12}
# Of `8x7B`: experts share attention, so the whole is less than eight times seven; two experts and what is shared of it
# are active. Of `17B-128E`: so many times the 17 billion active ones. From Mixtral and Llama 4.
_WHOLE, _TWO = 0.82, 1.8
_FEW, _PER_EXPERT = 3.0, 0.16
_MOST = 1e14  # parameters: a larger number in a name is not one of them


@dataclass(frozen=True, slots=True)
class Said:
    """The family that a name says, as letters and digits, and its parameters: all, and those active; 0: not said."""

    family: str
    parameters: float
    active: float

    @property
    def sparse(self) -> bool:
        """Whether it has experts."""
        return 0 < self.active < self.parameters


def plain(text: str) -> str:
    """A name in lower case with hyphens only, without remarks in parentheses."""
    bare = re.sub(r"\([^)]*\)", " ", text[:_LONGEST].lower())
    return re.sub(r"[\s_-]+", "-", bare).strip("-. ")


def spellings(text: str) -> Iterator[str]:
    """Names that mean the same model, from the whole to shorter ones: without the owner, and what its ends say.

    Endings say a precision, a date, a release, a framework, or how it was trained further.
    """
    yield plain(text)
    for name in _shortened(text):
        yield name
        yield f"meta-{name}"


def keys(name: str) -> list[str]:
    """What is left of each spelling when points and hyphens mean nothing; sizes are kept apart.

    `Llama 3.1-8B` and `llama31_8b` are one, `gemma-3-1b` and `gemma-31b` are not.
    """
    return ["|".join([_family(each), *(match[0] for match in _sizes(each))]) for each in _shortened(name)]


def said(text: str) -> Said:
    """What a name says."""
    bare = [plain(text).rpartition("/")[2], *_shortened(text)][-1]
    found = _counts(bare)
    every, active = found if 0 < found[1] <= found[0] < _MOST else (0.0, 0.0)
    return Said(_family(bare), every, active)


def _shortened(text: str) -> Iterator[str]:
    """The name without its owner, and what is left as endings and then makers at its front are taken off."""
    name = plain(text).rpartition("/")[2]
    while name:
        yield name
        shorter = re.sub(rf"[-.:]{_ENDINGS}$", "", name)
        name = shorter if shorter != name else _fronted(name)


def _fronted(name: str) -> str:
    """The name without its maker at the front; nothing where there is none."""
    shorter = re.sub(rf"^{_BEFORE}-(?=.)", "", name)
    return shorter if shorter != name else ""


def _counts(bare: str) -> tuple[float, float]:
    several, active, single = (re.search(each, bare) for each in (_SEVERAL, _ACTIVE, _SINGLE))
    if several:
        one = float(several[2]) * _UNIT[several[3]]
        every = _WHOLE * int(several[1]) * one
        return every, min(_TWO * one, every)
    without = re.sub(_ACTIVE, "-", bare)
    single = re.search(_SINGLE, without)
    sent = float(active[1]) * _UNIT[active[2]] if active else 0.0
    if single is None:
        return (sent * 10 if sent else 0.0), sent
    whole = float(single[1]) * _UNIT[single[2]]
    experts = re.search(_EXPERTS, bare)
    if experts and not active:
        return whole * (_FEW + _PER_EXPERT * int(experts[1])), whole
    return max(whole, sent), sent or whole


def _sizes(bare: str) -> list[re.Match[str]]:
    found = (re.finditer(each, bare) for each in (_SEVERAL, _EXPERTS, _ACTIVE, _SINGLE))
    return sorted((match for each in found for match in each), key=lambda match: match.start())


def _family(bare: str) -> str:
    for each in (_SEVERAL, _EXPERTS, _ACTIVE, _SINGLE):
        bare = re.sub(each, "-", bare)
    return re.sub(r"[^a-z0-9]+", "", bare)
