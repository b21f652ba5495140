"""Every way to run one replica of a model: engine, accelerator, how it is spread, precision, requests at once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from pennyweight.catalog.accelerators import accelerator
from pennyweight.errors import BadInputError, UnknownNameError
from pennyweight.layout.deployments.ahead import PLAIN, Ahead
from pennyweight.layout.deployments.lessons import Lessons
from pennyweight.layout.deployments.lines import lines
from pennyweight.layout.memory import serving as memory_serving
from pennyweight.layout.memory.remedies import Serving as Memory
from pennyweight.layout.memory.serving import WEIGHT_BYTE, Setting
from pennyweight.layout.serving.fleet import BYTE, ENGINES, Pool, Serving
from pennyweight.layout.serving.queueing import Server

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from pennyweight.catalog.accelerators import Accelerator
    from pennyweight.core.dims import Dims

    Floats = NDArray[np.float64]

POOLS = ("aggregated", "disaggregated", "both")
PRECISIONS = ("bf16", "fp8", "nvfp4")
AT_ONCE = (8, 16, 32, 64, 128, 256, 512, 1024)  # requests of a replica
MARGIN = 1.08  # as in `layout.fitting`: an engine plans its own memory
_UNITS = {"mxfp8": "fp8", "nvfp4": "fp4", "mxfp4": "bf16", "int4": "bf16"}  # where weights are not unpacked first
# Bytes of a weight: those that memory is counted with, and blocks of 32 four-bit numbers that share a byte of scale.
WEIGHTS = {"mxfp4": BYTE["mxfp4"], **{name: byte for name, byte in WEIGHT_BYTE.items() if name in BYTE}}
_VENDORS = {"vllm": ("nvidia", "amd"), "sglang": ("nvidia", "amd"), "trtllm": ("nvidia",)}
_SPREADS = (1, 2, 4, 8, 16)
_HALF = ("bf16", "fp16")


@dataclass(frozen=True, slots=True)
class Wanted:
    """A model, what its requests are like on average (tokens of prompt and answer), and what it may run on and in.

    `ahead` is what spares work: prompts found in a cache, tokens guessed ahead. `pools` is whether one pool reads and
    answers (aggregated), one does each (disaggregated), or what is cheaper (both).
    """

    model: Dims
    prompt: float
    output: float
    engines: Sequence[str] = ENGINES
    precisions: Sequence[str] = PRECISIONS
    ahead: Ahead = PLAIN
    pools: str = "both"

    def __post_init__(self) -> None:
        self.ahead.check(self.model)
        if self.pools not in POOLS:
            raise UnknownNameError.of("kind of pools", self.pools, POOLS)
        for what, given, names in (("engine", self.engines, ENGINES), ("precision", self.precisions, WEIGHTS)):
            for name in given:
                if name not in names:
                    raise UnknownNameError.of(what, name, names)
        if self.prompt + self.output > self.model.max_context > 0:
            raise BadInputError(
                f"{self.model.name} reads {self.model.max_context:,} tokens at most, and requests have "
                f"{self.prompt + self.output:,.0f} on average.",
                "plan for shorter requests, or for another model.",
            )


@dataclass(frozen=True, slots=True)
class Choices:
    """Ways (n,) to run a replica, and the seconds that follow: see `queueing.Server`; `byte` is what a device holds.

    Several of one `serving` differ in `most`, the requests that a replica takes at once.
    """

    serving: tuple[Serving, ...]
    most: Floats
    devices: Floats
    byte: Floats
    step_s: Floats
    request_s: Floats
    prompt_token_s: Floats
    fixed_s: Floats

    def __len__(self) -> int:
        return len(self.serving)

    def server(self, at: int, replicas: int) -> Server:
        """So many replicas run in one of these ways."""
        return Server(
            step_s=float(self.step_s[at]),
            request_s=float(self.request_s[at]),
            prompt_token_s=float(self.prompt_token_s[at]),
            most=int(self.most[at]),
            fixed_s=float(self.fixed_s[at]),
            replicas=replicas,
        )

    @classmethod
    def of(cls, wanted: Wanted, sold: Mapping[str, int], lessons: Lessons | None = None) -> Self:
        """All ways on accelerators `sold` by name, each with the most devices of one machine, timed as `lessons` say.

        Raises `BadInputError` where none fits, naming what comes nearest.
        """
        cases = [case for name, most in sold.items() for case in _cases(wanted, accelerator(name), most)]
        if not cases:
            raise BadInputError(
                f"Nothing that is rented runs {wanted.model.name} so: engine, accelerator and precision do not match.",
                "allow more of them: --on, --engine, --precision.",
            )
        held = held_byte(cases, wanted.ahead)
        fits = np.array([case.accelerator.memory_byte for case in cases]) * Memory().utilization >= held * MARGIN
        if not fits.any():
            _refuse(wanted, cases, held)
        kept = [case for case, fine in zip(cases, fits.tolist(), strict=True) if fine]
        timed = lines(kept, lessons or Lessons.of(), wanted.ahead)
        return cls(tuple(kept), _at_once(kept), _devices(kept), held[fits], **timed)


def held_byte(cases: Sequence[Serving], ahead: Ahead = PLAIN) -> Floats:
    """Bytes (n,) that a device holds with all requests there, each as long as the average one at its end.

    A model that guesses ahead is held beside it, with its own keys. Prompts that are found in the cache are counted as
    if each request had its own.
    """
    whole = _held(cases, cases[0].model)
    return whole if ahead.draft is None else whole + _held(cases, ahead.draft)


def _held(cases: Sequence[Serving], model: Dims) -> Floats:
    def column(values: list[Any]) -> Floats:
        return np.array(values, dtype=np.float64)

    setting = Setting(
        batch=column([-(-case.concurrency // case.decode.attention_dp) for case in cases]),
        context=column([case.prompt + case.output for case in cases]),
        tp=column([case.decode.tp for case in cases]),
        ep=column([case.decode.expert_parallel for case in cases]),
        weight_byte=column([WEIGHTS[case.gemm] for case in cases]),
        cache_byte=column([WEIGHTS[case.kv] for case in cases]),
    )
    return np.asarray(memory_serving.serving(model, setting).total, dtype=np.float64)


def _cases(wanted: Wanted, device: Accelerator, most: int) -> list[Serving]:
    found = []
    for engine in wanted.engines:
        if device.vendor not in _VENDORS[engine]:
            continue
        for precision in wanted.precisions:
            if _UNITS.get(precision, precision) in device.flop_s:
                base = Serving(
                    wanted.model,
                    device,
                    engine,
                    precision,
                    kv="bf16" if precision in _HALF else "fp8",
                    prompt=wanted.prompt,
                    output=wanted.output,
                    drafts=float(wanted.ahead.tokens),
                    prefix_hit=wanted.ahead.prefix_hit,
                )
                found += [replace(base, decode=pool) for pool in _pools(wanted.model, most) if _shared(wanted, pool)]
    return [replace(case, concurrency=float(users)) for case in found for users in AT_ONCE]


def _pools(model: Dims, most: int) -> list[Pool]:
    """Attention split by heads; experts in parts, or whole ones spread, attention then split or repeated."""
    found = []
    for count in (each for each in _SPREADS if each <= most):
        if model.heads % count == 0 and (model.kv_heads % count == 0 or count % model.kv_heads == 0):
            found.append(Pool(tp=count))
            if count > 1 and model.experts and model.experts % count == 0:
                found.append(Pool(tp=count, expert_parallel=count))
        if count > 1 and model.experts and model.experts % count == 0:
            found.append(Pool(attention_dp=count, expert_parallel=count))
    return found


def _shared(wanted: Wanted, pool: Pool) -> bool:
    """Whether a model that guesses ahead can be split as the one it guesses for."""
    return wanted.ahead.draft is None or wanted.ahead.draft.heads % pool.tp == 0


def _at_once(cases: list[Serving]) -> Floats:
    return np.array([case.concurrency for case in cases])


def _devices(cases: list[Serving]) -> Floats:
    return np.array([case.decode.tp * case.decode.attention_dp for case in cases], dtype=np.float64)


def _refuse(wanted: Wanted, cases: list[Serving], held: Floats) -> None:
    shares = held * MARGIN / np.array([case.accelerator.memory_byte for case in cases]) / Memory().utilization
    at = int(shares.argmin())
    case, devices = cases[at], int(_devices([cases[at]])[0])
    raise BadInputError(
        f"{wanted.model.name} fits on no machine that is looked at: {devices} × {case.accelerator.name} in {case.gemm} "
        f"come nearest, of which each would hold {held[at] / 1e9:.0f} GB and can hold "
        f"{case.accelerator.memory_byte * Memory().utilization / MARGIN / 1e9:.0f} GB.",
        "allow larger machines (--on), a precision of fewer bits (--precision fp8 nvfp4), or shorter requests.",
    )
