"""Traces of requests: when each arrived, how long its prompt and its answer were."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn, Self

import numpy as np

from pennyweight.errors import BadInputError, UnknownNameError
from pennyweight.layout.rows import Rows

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    Numbers = NDArray[np.float64]

PERCENTILES = (50, 90, 95, 99)
ARRIVAL, PROMPT, OUTPUT = "arrival_s", "prompt_tokens", "output_tokens"
# What public traces call the three, without case, blanks and underscores.
_KNOWN = {
    ARRIVAL: ("arrivals", "arrivedat", "arrivaltime", "arrival", "timestamp", "requesttime", "starttime", "time"),
    PROMPT: (
        "prompttokens",
        "contexttokens",
        "numprefilltokens",
        "prefilltokens",
        "inputtokens",
        "requesttokens",
        "inputlength",
        "promptlength",
        "promptlen",
    ),
    OUTPUT: (
        "outputtokens",
        "generatedtokens",
        "numdecodetokens",
        "decodetokens",
        "completiontokens",
        "responsetokens",
        "outputlength",
        "outputlen",
    ),
}
_ZONE = r"(Z|[+-]00:?00)$"


@dataclass(frozen=True, slots=True)
class Lengths:
    """Mean and percentiles of a number of tokens; `at` is by percent."""

    mean: float
    at: Mapping[int, float]


@dataclass(frozen=True, slots=True)
class Summary:
    """A trace in numbers: `rate_s` requests per second; `burstiness` is the coefficient of variation of the gaps.

    Arrivals that know nothing of each other (Poisson) have a burstiness of one, a clock's none.
    """

    requests: int
    seconds: float
    rate_s: float
    burstiness: float
    prompt: Lengths
    output: Lengths


@dataclass(frozen=True, slots=True)
class Trace:
    """Requests in the order they arrived: seconds since the first (n,), tokens of prompt (n,) and of output (n,)."""

    arrival_s: Numbers
    prompt_tokens: Numbers
    output_tokens: Numbers

    def __post_init__(self) -> None:
        sizes = {len(self.arrival_s), len(self.prompt_tokens), len(self.output_tokens)}
        if len(sizes) != 1 or len(self.arrival_s) < 2:
            raise BadInputError(
                f"A trace has {len(self.arrival_s)} arrivals, {len(self.prompt_tokens)} prompts and "
                f"{len(self.output_tokens)} outputs.",
                "give one of each per request, and two requests or more.",
            )
        if not self.arrival_s[-1] > self.arrival_s[0]:
            raise BadInputError("All requests of the trace arrive at once.", "give the times at which they arrive.")

    def __len__(self) -> int:
        return len(self.arrival_s)

    @property
    def rate_s(self) -> float:
        """Requests per second, from the first to the last."""
        return float((len(self) - 1) / (self.arrival_s[-1] - self.arrival_s[0]))

    def summary(self) -> Summary:
        """How many, how often, how evenly, how long."""
        gaps = np.diff(self.arrival_s)
        seconds = float(self.arrival_s[-1] - self.arrival_s[0])
        burstiness = float(gaps.std() / gaps.mean())
        return Summary(
            len(self), seconds, self.rate_s, burstiness, _lengths(self.prompt_tokens), _lengths(self.output_tokens)
        )

    def at_rate(self, rate_s: float) -> Self:
        """The same requests at `rate_s` per second on average: time runs faster or slower, bursts stay bursts."""
        if not 0 < rate_s < np.inf:
            raise BadInputError(f"Requests cannot arrive {rate_s:g} times a second.", "give a rate above zero.")
        return type(self)(self.arrival_s * (self.rate_s / rate_s), self.prompt_tokens, self.output_tokens)

    def resampled(self, requests: int, seed: int = 0, block: int = 100) -> Self:
        """As many `requests`, drawn in blocks of consecutive ones with the gaps before them; the rate is kept.

        Blocks keep bursts together (Künsch 1989); a block that reaches the end goes on at the beginning.
        """
        if requests < 2 or block < 1:
            raise BadInputError(
                f"A trace cannot have {requests} requests in blocks of {block}.",
                "ask for two requests or more, and blocks of one or more.",
            )
        random = np.random.default_rng(seed)
        starts = random.integers(0, len(self) - 1, size=-(-requests // block))
        drawn = ((starts[:, None] + np.arange(block)) % (len(self) - 1)).ravel()[:requests] + 1
        arrival = np.cumsum(np.diff(self.arrival_s)[drawn - 1])
        arrival -= arrival[0]
        return type(self)(arrival, self.prompt_tokens[drawn], self.output_tokens[drawn]).at_rate(self.rate_s)


def read_trace(path: Path, columns: Mapping[str, str] | None = None, rate_s: float | None = None) -> Trace:
    """Read a trace (CSV, also gzipped): columns are known by the names that public traces give them.

    `columns` says what else they are called: `{"arrival_s": "when"}`. Times are seconds, or dates with a time of day.
    A trace of lengths alone needs a `rate_s`, at which its requests then arrive, independent of each other.
    """
    rows = Rows.read(path)
    strange = next((name for name in columns or {} if name not in _KNOWN), None)
    if strange:
        raise UnknownNameError.of("column of a trace", strange, _KNOWN)
    named = {**_found(rows), **(columns or {})}
    wanted = (PROMPT, OUTPUT) if ARRIVAL not in named and rate_s else (ARRIVAL, PROMPT, OUTPUT)
    missing = [name for name in wanted if name not in named]
    if missing:
        _refuse(path, missing, rows)
    prompt, output = (_tokens(rows, named[name]) for name in (PROMPT, OUTPUT))
    if ARRIVAL not in named:
        return Trace(_poisson(len(rows)), prompt, output).at_rate(rate_s or 1.0)
    arrival = _seconds(rows, named[ARRIVAL])
    order = np.argsort(arrival, kind="stable")
    trace = Trace(arrival[order] - arrival[order[0]], prompt[order], output[order])
    return trace.at_rate(rate_s) if rate_s else trace


def _refuse(path: Path, missing: list[str], rows: Rows) -> NoReturn:
    rate = ", or give a rate at which its requests shall arrive" if missing == [ARRIVAL] else ""
    raise BadInputError(
        f"The trace {path} has no column for {' and '.join(missing)}; it has: {', '.join(rows.columns)}.",
        f"call a column {missing[0]}, or say in `columns` which it is{rate}.",
    )


def _found(rows: Rows) -> dict[str, str]:
    plain = {re.sub(r"[^a-z]", "", name.lower()): name for name in reversed([*rows.columns])}
    found = {}
    for meaning, names in _KNOWN.items():
        known = [plain[name] for name in names if name in plain]
        if known:
            found[meaning] = known[0]
    return found


def _tokens(rows: Rows, name: str) -> Numbers:
    tokens = rows.number(name) if name in rows.columns else rows.text(name).astype(np.float64)
    wrong = np.flatnonzero(~((tokens >= 0) & np.isfinite(tokens)))
    if len(wrong):
        raise BadInputError(
            f"The number of tokens in column {name}, line {rows.lines[wrong[0]]}, is missing or below zero.",
            "correct the line or leave it out.",
        )
    return tokens


def _seconds(rows: Rows, name: str) -> Numbers:
    texts = rows.text(name)
    try:
        seconds = texts.astype(np.float64)
    except ValueError:
        seconds = _dates(rows, name)
    wrong = np.flatnonzero(~np.isfinite(seconds))
    if len(wrong):
        raise BadInputError(
            f"The time in column {name}, line {rows.lines[wrong[0]]}, is missing.", "correct the line or leave it out."
        )
    return seconds


def _dates(rows: Rows, name: str) -> Numbers:
    """Seconds (n,) since the first of the dates."""
    try:
        dates = np.array([re.sub(_ZONE, "", str(text)) for text in rows.text(name)], dtype="datetime64[ns]")
    except ValueError as error:
        raise BadInputError(
            f"Column {name} has times that cannot be read: {error}.",
            "write seconds, or dates like 2023-11-16 18:17:03.98.",
        ) from error
    return np.asarray((dates - dates[0]) / np.timedelta64(1, "s"), dtype=np.float64)


def _poisson(requests: int) -> Numbers:
    gaps = np.random.default_rng(0).exponential(size=requests)
    return np.asarray(np.cumsum(gaps) - gaps[0], dtype=np.float64)


def _lengths(tokens: Numbers) -> Lengths:
    return Lengths(float(tokens.mean()), {each: float(np.percentile(tokens, each)) for each in PERCENTILES})
