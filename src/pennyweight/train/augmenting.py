"""Ways to change a batch so that its labels still hold: images, signals, tables and tokens, drawn anew every time."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from pennyweight.core import Kind, Task
from pennyweight.errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from pennyweight.core import Spec

    Change = Callable[[Tensor, float], Tensor]
    Augment = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]

WAYS: dict[str, dict[str, float]] = {
    "image": {"flip": 0.5, "shift": 1.0, "rotate": 10.0, "scale": 0.1, "jitter": 0.2, "noise": 0.1, "mixup": 0.2},
    "signal": {"shift": 0.1, "pitch": 0.1, "stretch": 0.1, "jitter": 0.2, "noise": 0.1, "mixup": 0.2},
    "table": {"noise": 0.1, "swap": 0.1, "mixup": 0.2},
    "tokens": {"drop": 0.1, "replace": 0.1},
}
"""For each kind of rows the ways to change them, and how much where nothing is said."""

_MOST_SHARE = 1.0  # of what is a chance or a share


def kind_of(spec: Spec) -> str:
    """What one row is: an image (C, H, W), a signal (C, T), a table's row (K,) or tokens (T,); empty if neither."""
    if spec.data.task is Task.LANGUAGE or spec.has(Kind.EMBED):
        return "tokens"
    return {3: "image", 2: "signal", 1: "table"}.get(len(spec.data.shape), "")


def augmenter(spec: Spec) -> Augment | None:
    """What changes the inputs and labels of a batch as `spec.data.augment` says, in that order; None without a way.

    A way is a name of `WAYS`, and how much behind a colon: "shift:2". Raises `BadInputError` for another.
    """
    ways = [_parsed(text, spec) for text in spec.data.augment]
    if not ways:
        return None
    classes = spec.data.classes if spec.data.task is Task.CLASSIFY else 0

    def augment(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        for change, amount in ways:
            x, y = _mixed(x, y, amount, classes) if change is None else (change(x, amount), y)
        return x, y

    return augment


def check_ways(spec: Spec) -> None:
    """Raise `BadInputError` if `spec.data.augment` holds what cannot be done with its rows."""
    for text in spec.data.augment:
        _parsed(text, spec)


def _parsed(text: str, spec: Spec) -> tuple[Change | None, float]:
    kind = kind_of(spec)
    known = WAYS.get(kind, {})
    name, _, amount = text.partition(":")
    if name not in known or (name == "mixup" and spec.data.task is Task.LANGUAGE):
        raise BadInputError(
            f"There is no way {text!r} to change {kind or 'such rows'}.", f"use some of: {', '.join(known) or 'none'}."
        )
    try:
        much = float(amount) if amount else known[name]
    except ValueError:
        raise BadInputError(f"{text!r} says no number.", f"write {name}:{known[name]:g}, for example.") from None
    if not 0 < much < math.inf or (name in _SHARES and much > _MOST_SHARE):
        raise BadInputError(f"{text!r} is out of bounds.", f"write {name}:{known[name]:g}, for example.")
    change = None if name == "mixup" else _CHANGES[kind][name]
    return change, much


def _mixed(x: Tensor, y: Tensor, alpha: float, classes: int) -> tuple[Tensor, Tensor]:
    """Each row with a share of another, answers likewise (Zhang et al. 2018, mixup); classes become probabilities."""
    import torch
    from torch.nn import functional

    share = torch.distributions.Beta(alpha, alpha).sample((len(x),))
    share = torch.maximum(share, 1 - share)  # a row's weight in the loss is that of its larger half
    partner = torch.randperm(len(x))
    answers = functional.one_hot(y, classes).to(x.dtype) if classes else y
    return _blend(x, x[partner], share), _blend(answers, answers[partner], share)


def _blend(one: Tensor, other: Tensor, share: Tensor) -> Tensor:
    share = share.view(-1, *[1] * (one.dim() - 1))
    return share * one + (1 - share) * other


def _per_row(x: Tensor, amount: float) -> Tensor:
    """A number between -amount and amount for each row, (N, 1, …)."""
    import torch

    return ((2 * torch.rand(len(x)) - 1) * amount).view(-1, *[1] * (x.dim() - 1))


def _flip(x: Tensor, chance: float) -> Tensor:
    import torch

    return torch.where(torch.rand(len(x)).view(-1, 1, 1, 1) < chance, x.flip(-1), x)


def _shift(x: Tensor, pixels: float) -> Tensor:
    """Cut another window out of the image, padded by its rim: a random crop."""
    import torch
    from torch.nn import functional

    far = max(1, round(pixels))
    wide = functional.pad(x, (far, far, far, far), mode="replicate")
    start = torch.randint(2 * far + 1, (2, len(x), 1))
    down = start[0] + torch.arange(x.shape[2])
    across = start[1] + torch.arange(x.shape[3])
    rows = torch.arange(len(x)).view(-1, 1, 1)
    # Channels come last where indices stand on both sides of a slice.
    return wide[rows, :, down[:, :, None], across[:, None, :]].permute(0, 3, 1, 2)


def _rotate(x: Tensor, degrees: float) -> Tensor:
    angle = _per_row(x, math.radians(degrees)).flatten()
    return _warped(x, angle.cos(), angle.sin())


def _scale(x: Tensor, share: float) -> Tensor:
    import torch

    size = _per_row(x, share).flatten().exp()
    return _warped(x, size, torch.zeros_like(size))


def _warped(x: Tensor, along: Tensor, beside: Tensor) -> Tensor:
    """The image turned and scaled: each point looks at ``along`` its own place and `beside` it."""
    import torch
    from torch.nn import functional

    nothing, ratio = torch.zeros_like(along), x.shape[2] / x.shape[3]
    rows = [torch.stack([along, -beside * ratio, nothing], 1), torch.stack([beside / ratio, along, nothing], 1)]
    grid = functional.affine_grid(torch.stack(rows, 1), list(x.shape), align_corners=False)
    return functional.grid_sample(x, grid, padding_mode="border", align_corners=False)


def _jitter(x: Tensor, share: float) -> Tensor:
    """Contrast and brightness; the loudness of a signal."""
    if x.dim() == 3:
        return x * (1 + _per_row(x, share))
    middle = x.mean(dim=tuple(range(1, x.dim())), keepdim=True)
    return middle * (1 + _per_row(x, share)) + (x - middle) * (1 + _per_row(x, share))


def _noise(x: Tensor, share: float) -> Tensor:
    """Normal noise, `share` of the deviation of each column, or of the whole batch of images or signals."""
    import torch

    deviation = x.std(dim=0, keepdim=True, correction=0) if x.dim() == 2 else x.std(correction=0)
    return x + share * deviation * torch.randn_like(x)


def _swap(x: Tensor, chance: float) -> Tensor:
    """Values of another row of the batch in the place of some."""
    import torch

    return torch.where(torch.rand_like(x) < chance, x[torch.randperm(len(x))], x)


def _roll(x: Tensor, share: float) -> Tensor:
    """Later or earlier by at most a share of the time; what leaves at one end is lost, silence comes in."""
    import torch

    steps = _per_row(x, share * x.shape[-1]).round().long()
    place = torch.arange(x.shape[-1]) + steps
    inside = (place >= 0) & (place < x.shape[-1])
    taken = torch.gather(x, -1, place.clamp(0, x.shape[-1] - 1).expand_as(x))
    return torch.where(inside, taken, torch.zeros_like(x))


def _pitch(x: Tensor, share: float) -> Tensor:
    """Faster and higher or slower and lower: resampled about the middle."""
    import torch

    middle = (x.shape[-1] - 1) / 2
    place = middle + (torch.arange(x.shape[-1]) - middle) * _per_row(x, share).exp()
    low = place.floor().clamp(0, x.shape[-1] - 1)
    rest = (place - low).clamp(0, 1)
    high = (low + 1).clamp(max=x.shape[-1] - 1)
    one, other = (torch.gather(x, -1, each.long().expand_as(x)) for each in (low, high))
    inside = (place >= 0) & (place <= x.shape[-1] - 1)
    return torch.where(inside, one + rest * (other - one), torch.zeros_like(x))


def _stretch(x: Tensor, share: float) -> Tensor:
    """One half faster, the other slower: time is bent, its ends stay."""
    import torch

    time = torch.linspace(0, 1, x.shape[-1])
    place = time ** _per_row(x, share).exp() * (x.shape[-1] - 1)
    low = place.floor().long().clamp(max=max(0, x.shape[-1] - 2))
    high = (low + 1).clamp(max=x.shape[-1] - 1)
    one, other = torch.gather(x, -1, low.expand_as(x)), torch.gather(x, -1, high.expand_as(x))
    return one + (place - low) * (other - one)


def _drop(x: Tensor, chance: float) -> Tensor:
    """Blank noising (Xie et al. 2017): some tokens are replaced by the first of the vocabulary."""
    import torch

    return torch.where(torch.rand(x.shape) < chance, torch.zeros_like(x), x)


def _replace(x: Tensor, chance: float) -> Tensor:
    """Unigram noising (Xie et al. 2017): some tokens are replaced by others of the batch, as often as they occur."""
    import torch

    others = x.flatten()[torch.randint(x.numel(), x.shape)]
    return torch.where(torch.rand(x.shape) < chance, others, x)


_SHARES = frozenset({"flip", "drop", "replace", "swap"})
_CHANGES: dict[str, dict[str, Any]] = {
    "image": {
        "flip": _flip,
        "shift": _shift,
        "rotate": _rotate,
        "scale": _scale,
        "jitter": _jitter,
        "noise": _noise,
    },
    "signal": {"shift": _roll, "pitch": _pitch, "stretch": _stretch, "jitter": _jitter, "noise": _noise},
    "table": {"noise": _noise, "swap": _swap},
    "tokens": {"drop": _drop, "replace": _replace},
}
