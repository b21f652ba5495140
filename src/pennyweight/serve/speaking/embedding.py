"""Texts as vectors, sold by the token: reserve, compute in turn, record, and only then reply."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, final

import numpy as np

from pennyweight.errors import BadInputError, CorruptError
from pennyweight.runtimes.hf.embedding import calls
from pennyweight.serve.answering.pace import Pace
from pennyweight.serve.refused import RefusedError, bad
from pennyweight.store.team.usage import Units

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Executor

    from numpy.typing import NDArray

    from pennyweight.runtimes.hf.embedding import TorchEmbedder
    from pennyweight.runtimes.tokens import Tokenizer
    from pennyweight.serve.answering.shelf import Served
    from pennyweight.serve.answering.teller import Teller
    from pennyweight.serve.wire.openai_asked import Embed
    from pennyweight.store.team.tenants import Caller
    from pennyweight.store.team.usage import Request

_NS = 1_000_000_000
_MARGIN = 10  # compute that is reserved, as a multiple of what is expected; what is beyond is not charged
_PATIENCE_S, _LONGEST_S = 10.0, 120.0
_ALIKE = 0.02  # in bfloat16 sums depend on how many there are


@final
@dataclass(slots=True, eq=False)
class Embedder:
    """What makes vectors of texts with one loaded model; `pool` computes, one request after the other."""

    model: TorchEmbedder
    tokenizer: Tokenizer
    pool: Executor
    pace: Pace = field(default_factory=lambda: Pace(1e-4))  # seconds by the token
    _waiting: int = field(default=0, init=False)  # tokens

    def tokens(self, ask: Embed) -> list[NDArray[np.int64]]:
        """What is asked, as tokens; raises `RefusedError` (400) for what the model cannot read."""
        try:
            found = [self.tokenizer.encode(each) if isinstance(each, str) else np.array(each) for each in ask.inputs]
        except BadInputError as error:
            raise bad(f"{error.problem.rstrip('.')}.") from None
        if any(not len(each) or not 0 <= each.min() <= each.max() < self.tokenizer.size for each in found):
            raise bad(f"Every input must have tokens, and they are 0 to {self.tokenizer.size - 1}.")
        longest = max(map(len, found))
        if longest > self.model.context:
            why = f"This model's maximum context length is {self.model.context} tokens: {longest} are given."
            raise RefusedError(400, why, code="context_length_exceeded")
        return found

    async def embed(self, texts: Sequence[NDArray[np.int64]]) -> tuple[NDArray[np.float32], int]:
        """Vectors (N, D), and the nanoseconds that they took; others have their turns in between.

        Raises `RefusedError`: 429 if they would come too late, 413 if they are too much for one request.
        """
        size = sum(map(len, texts))
        if self.pace.expected_s(size) > _LONGEST_S:
            raise RefusedError(413, "That is too much for one request: ask for a part of it at a time.")
        wait_s = self.pace.expected_s(self._waiting) if self._waiting else 0.0
        if wait_s > _PATIENCE_S:
            raise RefusedError(429, "Too many requests wait.", retry_s=wait_s)
        self._waiting += size
        try:
            return await self._by_turns(texts)
        except Exception as error:
            raise RefusedError(500, "The model failed.") from error
        finally:
            self._waiting -= size

    async def _by_turns(self, texts: Sequence[NDArray[np.int64]]) -> tuple[NDArray[np.float32], int]:
        """One call of the model after the other, each in line with what else the pool has to do."""
        loop, took_ns = asyncio.get_running_loop(), 0
        found: dict[int, NDArray[np.float32]] = {}
        for rows in calls(texts):
            told, call_ns = await loop.run_in_executor(self.pool, self._timed, [texts[row] for row in rows])
            self.pace.saw(sum(len(texts[row]) for row in rows), call_ns / _NS)
            found.update(zip(rows, told, strict=True))
            took_ns += call_ns
        return np.stack([found[row] for row in range(len(texts))]), took_ns

    def prove(self, name: str) -> None:
        """Raise `CorruptError` unless texts are the same alone and together; then it is warm, and its pace known."""
        rng = np.random.default_rng(0)
        texts = [rng.integers(0, self.tokenizer.size, size) for size in (1, min(8, self.model.context))]
        together, took_ns = self._timed(texts)
        alone = np.concatenate([self.model.embed([each]) for each in texts])
        self.pace.saw(sum(map(len, texts)), took_ns / _NS)
        drift = float(np.abs(together - alone).max())
        if not drift <= _ALIKE:
            raise CorruptError(
                f"{name} makes other vectors of texts together than alone (by {drift:.2g}).", "use another model."
            )

    def _timed(self, texts: Sequence[NDArray[np.int64]]) -> tuple[NDArray[np.float32], int]:
        begin_ns = time.perf_counter_ns()
        return self.model.embed(texts), time.perf_counter_ns() - begin_ns


async def sold(teller: Teller, caller: Caller, served: Served, ask: Embed) -> tuple[NDArray[np.float32], Request]:
    """Vectors of texts and their row, which is on the disk; raises `RefusedError` as texts that are continued do."""
    embedder = served.embedder
    if embedder is None:
        raise bad("This model makes no embeddings.")
    texts = await asyncio.to_thread(embedder.tokens, ask)
    fed = sum(map(len, texts))
    reserved_ns = int(_MARGIN * _NS * embedder.pace.expected_s(fed)) if served.price.second_nusd else 0
    hold = await teller.hold(caller, served.price.of(Units(fed, 0, compute_ns=reserved_ns)))
    try:
        found, took_ns = await embedder.embed(texts)
        request = teller.request(caller, served, teller.units(fed, took_ns, 0), hold.nusd)
    except BaseException:
        teller.purse.give_back(hold, 0)
        raise
    try:
        await teller.book.write(request, hold)
    finally:
        teller.purse.give_back(hold, request.cost_nusd)
    return found, request
