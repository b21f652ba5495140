"""What goes into linear layers while texts pass through a block: second moments, and a few tokens as they are."""

from __future__ import annotations

from traceback import clear_frames
from typing import TYPE_CHECKING, Any, final

from pennyweight.errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from torch import Tensor

SAMPLE = 512  # tokens that are kept as they are, of those that are seen and of those held out


class _Enough(Exception):  # ruff: ignore[error-suffix-on-exception-name] - no error: the rest of a block is not needed
    pass


@final
class Inputs:
    """The inputs of layers that read the same, `width` numbers for each token.

    `hessian` (width, width) is the mean of x x^T over tokens seen, if asked for; `square` and `seen` are the mean of
    x^2 and a sample (tokens, width) of these; `held` is a sample of tokens held out, which nothing is fitted to.
    """

    def __init__(self, width: int, tokens: int, *, moments: bool) -> None:
        import torch

        self._every = max(1, -(-tokens // SAMPLE))
        self._count, self._apart, self._averaged = 0, 0, False
        self._sum = torch.zeros(width, width) if moments else None
        self._squares = torch.zeros(width)
        self._seen: list[Tensor] = []
        self._held: list[Tensor] = []

    def add(self, rows: Tensor, *, held: bool) -> None:
        """Take inputs (tokens, width) in; raises `BadInputError` if some are no finite numbers."""
        squares = rows.square().sum(0)
        if not bool(squares.isfinite().all()):
            raise BadInputError(
                "The text makes the model compute numbers that are infinite or none.",
                "calibrate with another text, or download the model again.",
            )
        if held:
            every = max(1, self._every // 4)
            self._held.append(rows[-self._apart % every :: every].clone())
            self._apart += len(rows)
            return
        self._seen.append(rows[-self._count % self._every :: self._every].clone())
        self._count += len(rows)
        self._squares += squares
        if self._sum is not None:
            self._sum.addmm_(rows.t(), rows)

    @property
    def hessian(self) -> Tensor:
        """The mean of x x^T; nothing is added after it was asked for."""
        if self._sum is None:
            raise ValueError("moments were not asked for")
        if not self._averaged:
            self._averaged = True
            self._sum.div_(self._count)
        return self._sum

    @property
    def square(self) -> Tensor:
        """The mean of x^2."""
        return self._squares / max(self._count, 1)

    @property
    def seen(self) -> Tensor:
        """A sample of tokens seen."""
        import torch

        return torch.cat(self._seen)

    @property
    def held(self) -> Tensor:
        """A sample of tokens held out."""
        import torch

        return torch.cat(self._held)


def gather(
    layer: Any,
    run: Callable[[Tensor], object],
    texts: Iterable[tuple[Tensor, bool]],
    into: Sequence[tuple[str, Inputs]],
) -> None:
    """Pass `texts`, each with whether it is held out, through `layer` by `run`; what goes `into` layers is added up.

    The computing of a block ends with the last of these layers, by the order they are given in.
    """
    now = [False]

    def listener(inputs: Inputs, *, last: bool) -> Callable[[Any, tuple[Tensor, ...]], None]:
        def listen(_: Any, given: tuple[Tensor, ...]) -> None:
            inputs.add(given[0].reshape(-1, given[0].shape[-1]), held=now[0])
            if last:
                raise _Enough

        return listen

    handles = [
        layer.get_submodule(name).register_forward_pre_hook(listener(inputs, last=place == len(into)))
        for place, (name, inputs) in enumerate(into, 1)
    ]
    try:
        for states, held in texts:
            now[0] = held
            try:
                run(states)
            except _Enough as enough:
                clear_frames(enough.__traceback__)  # frames of modules hold each other, and all that they computed
    finally:
        for handle in handles:
            handle.remove()


def moved_share(weights: Tensor, made: Tensor, inputs: Tensor) -> float:
    """How far the outputs of `made` (out, in) are from those of `weights`, as a share of the length of the latter."""
    whole = float((inputs @ weights.t()).norm())
    return float((inputs @ (made - weights).t()).norm()) / whole if whole else 0.0
