"""The health of a training: gradients that vanish or explode, dead units, loss spikes, told with the layer's name."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any, final

from pennyweight.train.finding import Cure, Finding, Ill
from pennyweight.train.spikes import Spikes

if TYPE_CHECKING:
    from torch import Tensor, nn

    from pennyweight.train.how import Progress

__all__ = ["Cure", "Finding", "Health", "Ill", "Watcher"]

_IN_A_ROW = 3


@dataclass(frozen=True, slots=True)
class Health:
    """How closely to watch: a look at gradients and activations every `every` steps.

    Gradients explode when their norm is `burst` times its median over the looks so far; they vanish where a layer's are
    a `fade`-th of the largest layer's, number for number; a layer is dead where more than the share `dead` of its
    units answered nothing to every row of three looks in a row. With `keep`, the weights of the last healthy look are
    kept, at the price of a copy of the model.
    """

    every: int = 25
    burst: float = 100.0
    fade: float = 1e5
    dead: float = 0.5
    spike: float = 8.0
    keep: bool = False

    def watch(self) -> Watcher:
        """A watcher of one training; give its `after_step` and `told` to the loop's `How`."""
        return Watcher(self)


@final
class Watcher:
    """Watches one training: ``How(after_step=watcher.after_step, watch=watcher.told)``.

    `findings` is what was found so far, each ailment once per layer. Between looks a step costs one comparison.
    """

    def __init__(self, health: Health) -> None:
        self.health = health
        self.findings: list[Finding] = []
        self.model: nn.Module | None = None
        self.good: dict[str, Tensor] | None = None
        self.good_step = 0
        self.step = 0
        self._norms: deque[float] = deque(maxlen=64)
        self._faint: dict[str, int] = {}
        self._silent: dict[str, tuple[int, Tensor]] = {}
        self._hooks: list[Any] = []
        self._spikes = Spikes(health.spike)
        self._weighted, self._channels_second = "", False

    def after_step(self, model: nn.Module) -> None:
        """Take in a change of the weights; their gradients must still be there."""
        self.model, self.step = model, self.step + 1
        if self._hooks:
            self._disarm()
        if self.step % self.health.every == 0:
            self._look(model)
        elif self.step % self.health.every == self.health.every - 1:
            self._arm(model)

    def told(self, progress: Progress) -> bool:
        """Take in the loss of a step; never stops a training."""
        if self._spikes.is_spike(progress.loss):
            self._find(Ill.SPIKE, "the loss", progress.loss, Cure.RELOAD)
        return True

    def _look(self, model: nn.Module) -> None:
        import torch

        named = [(name, each.grad) for name, each in model.named_parameters() if each.grad is not None]
        if not named:
            return
        norms = torch.stack([torch.linalg.vector_norm(grad) for _, grad in named]).tolist()
        whole = math.hypot(*norms)
        for (name, _), norm in zip(named, norms, strict=True):
            if not math.isfinite(norm):
                self._find(Ill.NOT_A_NUMBER, name, norm, Cure.CLIP)
                return
        usual = median(self._norms) if len(self._norms) >= _IN_A_ROW else math.inf
        if whole > self.health.burst * usual:
            worst = named[norms.index(max(norms))][0]
            self._find(Ill.EXPLODING, worst, whole / usual, Cure.CLIP)
        else:
            self._norms.append(whole)
            self._keep(model)
        self._vanishing(
            [
                (name, norm / math.sqrt(grad.numel()))
                for (name, grad), norm in zip(named, norms, strict=True)
                if grad.ndim > 1
            ]
        )

    def _vanishing(self, sizes: list[tuple[str, float]]) -> None:
        """Layers whose gradients are tiny beside the largest ones, three looks in a row."""
        top = max((size for _, size in sizes), default=0.0)
        for name, size in sizes:
            faint = size * self.health.fade < top
            self._faint[name] = self._faint.get(name, 0) + 1 if faint else 0
            if self._faint[name] == _IN_A_ROW:
                self._find(Ill.VANISHING, name, size / top, Cure.RESCALE)

    def _keep(self, model: nn.Module) -> None:
        if self.health.keep and not any(each.what is Ill.SPIKE and each.since == self.step for each in self.findings):
            self.good = {name: each.detach().clone() for name, each in model.state_dict().items()}
            self.good_step = self.step

    def _arm(self, model: nn.Module) -> None:
        """Listen to the next forward: what every rectifier lets through, named by the weights before it."""
        from torch import nn

        for name, each in model.named_modules():
            if isinstance(each, nn.ReLU | nn.ReLU6):
                self._hooks.append(each.register_forward_hook(self._listener()))
            elif any(True for _ in each.parameters(recurse=False)):
                self._hooks.append(each.register_forward_pre_hook(self._namer(name)))

    def _namer(self, name: str) -> Any:
        from torch import nn

        def passing(module: nn.Module, _inputs: Any) -> None:
            self._weighted = name
            self._channels_second = isinstance(module, nn.Conv1d | nn.BatchNorm1d)

        return passing

    def _listener(self) -> Any:
        def heard(_module: nn.Module, _inputs: Any, out: Tensor) -> None:
            units = 1 if self._channels_second or out.ndim > 3 else out.ndim - 1
            silent = (out.detach() <= 0).transpose(0, units).flatten(1).all(1)
            self._silence(self._weighted or "the input", silent)

        return heard

    def _silence(self, name: str, silent: Tensor) -> None:
        times, before = self._silent.get(name, (0, silent))
        both = before & silent if before.shape == silent.shape else silent
        self._silent[name] = (times + 1, both)
        if times + 1 >= _IN_A_ROW:
            share = float(both.float().mean())
            if share > self.health.dead:
                self._find(Ill.DEAD, name, share, Cure.LOWER)
            del self._silent[name]

    def _disarm(self) -> None:
        for each in self._hooks:
            each.remove()
        self._hooks.clear()

    def _find(self, what: Ill, where: str, value: float, cure: Cure) -> None:
        if not any(each.what is what and each.where == where for each in self.findings):
            self.findings.append(Finding(what, where, self.step, value, cure))
