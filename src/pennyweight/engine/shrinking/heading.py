"""Behind the last block: words drawn as the model itself would, and how their surprise reacts to the states.

The head is read in slabs of rows, each passed over all texts, twice: first for the sum of exponentials and the word
that is drawn, then for the gradients. A word is drawn with the probability the model gives it by taking the largest of
its scores plus Gumbel noise (Gumbel 1954), so no more than one slab of scores is held.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

from pennyweight.engine.shrinking.reading import raw, slab, values
from pennyweight.engine.shrinking.texts import SLAB
from pennyweight.errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor as Values

    from pennyweight.store.checkpoints import Checkpoint, Tensor

_NORM, _HEADS = "norm.weight", ("lm_head.weight", "embed_tokens.weight")
_EPS = 1e-6  # of a config that says none


@final
@dataclass(frozen=True, slots=True)
class Head:
    """The last norm and the matrix of words of a checkpoint."""

    norm: Tensor
    table: Tensor
    eps: float

    @classmethod
    def of(cls, source: Checkpoint) -> Head:
        """As the checkpoint has it; raises `BadInputError` if it has none, as an encoder."""
        norm = next((e for n, e in source.tensors.items() if n in {_NORM, f"model.{_NORM}"}), None)
        tables = (e for end in _HEADS for n, e in source.tensors.items() if n.endswith(end))
        table = next(tables, None)
        if norm is None or table is None or table.shape[1:] != norm.shape:
            raise BadInputError("The model has no norm and head behind its blocks.", "give one that continues texts.")
        return cls(norm, table, float(source.config.get("rms_norm_eps") or _EPS))

    def gradients(self, states: Values, seed: int) -> Values:
        """The gradients (N, hidden) of the surprise at a word drawn for each of `states` (N, hidden).

        The surprise is -log p in nats; `seed` decides what is drawn.
        """
        import torch

        scale = values(raw(self.norm), self.norm.dtype)
        given = states.requires_grad_()
        normed = given * (given.square().mean(-1, keepdim=True) + self.eps).rsqrt() * scale
        slope = self._slope(normed.detach(), torch.Generator().manual_seed(seed))
        (found,) = torch.autograd.grad(normed, given, slope)
        return found

    def _slope(self, normed: Values, generator: Any) -> Values:
        """What the surprise has for a gradient where the matrix is multiplied: expected row minus the row drawn."""
        import torch

        total = torch.full((len(normed),), -torch.inf)
        best, drawn = total.clone(), torch.zeros(len(normed), dtype=torch.int64)
        for begin, rows in self._slabs():
            scores = normed @ rows.t()
            total = torch.logaddexp(total, scores.logsumexp(-1))
            noise = torch.rand(scores.shape, generator=generator).clamp_(1e-30).log_().neg_().log_().neg_()
            most, place = scores.add_(noise).max(-1)
            drawn = torch.where(most > best, place + begin, drawn)
            best = torch.maximum(best, most)
        slope = torch.zeros_like(normed)
        for begin, rows in self._slabs():
            shares = (normed @ rows.t()).sub_(total[:, None]).exp_()
            mine = ((drawn >= begin) & (drawn < begin + len(rows))).nonzero().squeeze(1)
            shares[mine, drawn[mine] - begin] -= 1
            slope.addmm_(shares, rows)
        return slope

    def _slabs(self) -> Iterator[tuple[int, Values]]:
        for begin in range(0, self.table.shape[0], SLAB):
            yield begin, slab(self.table, begin, min(begin + SLAB, self.table.shape[0]))
