"""Every way to run one replica of a model: engine, accelerator, how it is spread, precision, requests at once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self, cast

import numpy as np

from pennyweight.catalog.accelerators import accelerator
from pennyweight.errors import BadInputError, UnknownNameError
from pennyweight.layout.deployments.rows import rows_of
from pennyweight.layout.memory import serving as memory_serving
from pennyweight.layout.memory.remedies import Serving as Memory
from pennyweight.layout.memory.serving import WEIGHT_BYTE, Setting
from pennyweight.layout.serving.closed_loop import first_values, settle
from pennyweight.layout.serving.fleet import BYTE, ENGINES, Pool, Serving, fleet_of
from pennyweight.layout.serving.queueing import Server
from pennyweight.layout.tables.finding import shipped
from pennyweight.layout.tables.serving_columns import read

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from pennyweight.catalog.accelerators import Accelerator
    from pennyweight.core.dims import Dims
    from pennyweight.layout.tables.serving import ServingLearnt
    from pennyweight.layout.tables.table import Forecast

    Floats = NDArray[np.float64]

PRECISIONS = ("bf16", "fp8", "nvfp4")
AT_ONCE = (8, 16, 32, 64, 128, 256, 512, 1024)  # requests of a replica
MARGIN = 1.08  # as in `layout.fitting`: an engine plans its own memory
_UNITS = {"mxfp8": "fp8", "nvfp4": "fp4", "int4": "bf16"}
_VENDORS = {"vllm": ("nvidia", "amd"), "sglang": ("nvidia", "amd"), "trtllm": ("nvidia",)}
_SPREADS = (1, 2, 4, 8, 16)
_USUAL_USERS = 16
_HALF = ("bf16", "fp16")
_LEAST_S = 1e-9


@dataclass(frozen=True, slots=True)
class Wanted:
    """A model, what its requests are like on average (tokens of prompt and answer), and what it may run on and in."""

    model: Dims
    prompt: float
    output: float
    engines: Sequence[str] = ENGINES
    precisions: Sequence[str] = PRECISIONS

    def __post_init__(self) -> None:
        known = [each for each in WEIGHT_BYTE if each in BYTE]
        for what, given, names in (("engine", self.engines, ENGINES), ("precision", self.precisions, known)):
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
    def of(cls, wanted: Wanted, sold: Mapping[str, int]) -> Self:
        """All ways on accelerators `sold` by name, each with the most devices of one machine.

        Raises `BadInputError` where none fits, naming what comes nearest.
        """
        cases = [case for name, most in sold.items() for case in _cases(wanted, accelerator(name), most)]
        if not cases:
            raise BadInputError(
                f"Nothing that is rented runs {wanted.model.name} so: engine, accelerator and precision do not match.",
                "allow more of them: --on, --engine, --precision.",
            )
        held = held_byte(cases)
        fits = np.array([case.accelerator.memory_byte for case in cases]) * Memory().utilization >= held * MARGIN
        if not fits.any():
            _refuse(wanted, cases, held)
        kept = [case for case, fine in zip(cases, fits.tolist(), strict=True) if fine]
        return cls(tuple(kept), _at_once(kept), _devices(kept), held[fits], **_lines(kept))


def held_byte(cases: Sequence[Serving]) -> Floats:
    """Bytes (n,) that a device holds with all requests there, each as long as the average one at its end."""

    def column(values: list[Any]) -> Floats:
        return np.array(values, dtype=np.float64)

    setting = Setting(
        batch=column([-(-case.concurrency // case.decode.attention_dp) for case in cases]),
        context=column([case.prompt + case.output for case in cases]),
        tp=column([case.decode.tp for case in cases]),
        ep=column([case.decode.expert_parallel for case in cases]),
        weight_byte=column([WEIGHT_BYTE[case.gemm] for case in cases]),
        cache_byte=column([WEIGHT_BYTE[case.kv] for case in cases]),
    )
    return np.asarray(memory_serving.serving(cases[0].model, setting).total, dtype=np.float64)


def forecasts(cases: Sequence[Serving]) -> Mapping[str, Forecast]:
    """What measured deployments say (n,) of these under a closed loop of as many users, with 90% intervals."""
    return _learnt().predict(rows_of(cases))


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
                )
                found += [replace(base, decode=pool) for pool in _pools(wanted.model, most)]
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


def _lines(cases: list[Serving]) -> dict[str, Floats]:
    """The seconds (n,) of `queueing.Server`, by a line through one request and all of `most`, as `Server.of` has it."""
    physics, fleet = _learnt().physics, fleet_of(cases)
    alone = replace(fleet, concurrency=fleet.adp)
    light, heavy = settle(alone, physics.decode), settle(fleet, physics.decode)
    slope = (heavy.step_s - light.step_s) / np.maximum(heavy.batch - light.batch, _LEAST_S)
    slope = np.where(heavy.batch > light.batch, np.maximum(slope, 0.0), 0.0)
    first_s = physics.first.add_up(first_values(alone, light))
    token, first = _corrections(cases)
    prompt_s = light.prompt_s / fleet.adp
    return {
        "step_s": np.maximum(light.step_s - slope * light.batch, _LEAST_S) * token,
        "request_s": slope / fleet.adp * token,
        "prompt_token_s": prompt_s / fleet.prompt * token,
        "fixed_s": np.maximum(first_s * first - (light.step_s + prompt_s) * token, 0.0),
    }


def _corrections(cases: list[Serving]) -> tuple[Floats, Floats]:
    """By which factors (n,) measured deployments differ from physics, per token and to the first."""
    usual = [replace(case, concurrency=float(_USUAL_USERS * case.decode.attention_dp)) for case in cases]
    kinds = {_name(case): case for case in usual}
    asked = [*kinds.values()]
    rows = rows_of(asked)
    told, physics = _learnt().predict(rows), _learnt().physics.seconds(read(rows).fleet)
    factors = [told[name].value / each for name, each in zip(("tpot_s", "ttft_s"), physics, strict=True)]
    order = {name: at for at, name in enumerate(kinds)}
    at = np.array([order[_name(case)] for case in usual])
    return factors[0][at], factors[1][at]


def _name(case: Serving) -> tuple[str, str, str, Pool]:
    return case.engine, case.accelerator.name, case.gemm, case.decode


def _learnt() -> ServingLearnt:
    return cast("ServingLearnt", shipped("serving"))


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
