"""The smallest share of MNIST's training images from which 98.5% of the test images are learned.

    python -m bench.data_levers --data DIR [--quick] [--seeds 5] [--rows 300]

DIR holds mnist.npz. Images are chosen from the first 50,000: cluster centres of every class to begin with, then, round
by round, images that a network trained on those chosen so far gets wrong, spread over what there is (again by
clusters), the most extreme seventh left out for what may be wrongly labelled. A network of 70,000 weights is trained on
the chosen images alone, changed anew in every batch (turned, scaled, sheared, shifted, bent, their strokes thicker or
thinner), and answers with the mean over five shifts. How many images, how many steps and how much they are changed was
tuned on the last 10,000 training images; the test images are only answered here. `--seeds` trainings on the chosen
images differ in their first weights and in all that is drawn. Beside them: as many images drawn by chance. `--search`
tells what fewer and more images reach on the last 10,000 training images. `--quick`: fewer steps, two seeds.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor, nn

WANTED = 0.985
ALL, POOL = 60_000, 50_000
START, ADDED, ROWS = 100, 50, 300
LOOK_STEPS, STEPS = 500, 1_500
BATCH = 50
_EXTREME = 0.15  # of the images a round looks at, which may be wrongly labelled
_CLUSTERED = 2_000  # images of a class whose clusters are looked for
_ANSWERED = 250  # images at a time, as many as stay in the cache
_SHIFTS = ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1))


@dataclass(frozen=True)
class Digits:
    """Images (N, 1, 28, 28) in [0, 1] and labels (N,)."""

    x: NDArray[np.float32]
    y: NDArray[np.int64]

    def take(self, index: Any) -> Digits:
        """The images at `index`."""
        return Digits(self.x[index], self.y[index])


def main() -> None:
    """Choose, train, answer."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data", type=Path, required=True)
    options.add_argument("--quick", action="store_true")
    options.add_argument("--search", action="store_true")
    options.add_argument("--seeds", type=int, default=5)
    options.add_argument("--rows", type=int, default=ROWS)
    asked = options.parse_args()
    import torch

    torch.set_num_threads(1)
    learn, test = read(asked.data)
    pool, last = learn.take(slice(0, POOL)), learn.take(slice(POOL, None))
    if asked.search:
        _search(pool, last, asked.rows)
    else:
        _bench(pool, test, asked)


def read(folder: Path) -> tuple[Digits, Digits]:
    """The training and the test images."""
    with np.load(folder / "mnist.npz", allow_pickle=False) as file:
        found = [
            Digits(file[f"x_{part}"].astype(np.float32)[:, None] / 255, file[f"y_{part}"].astype(np.int64))
            for part in ("train", "test")
        ]
    return found[0], found[1]


def choose(pool: Digits, rows: int, look_steps: int = LOOK_STEPS) -> NDArray[np.intp]:
    """The positions of `rows` images, in the order in which they were chosen."""
    from pennyweight.data.coresets import picked
    from pennyweight.data.embedding import embedded

    places = embedded(pool.x, components=40)
    chosen = np.concatenate([_centres(places, np.flatnonzero(pool.y == digit)) for digit in range(10)])
    while len(chosen) < rows:
        right = _answers(trained(pool.take(chosen), look_steps, seed=0), pool.x, shifts=_SHIFTS[:1])
        sure = right[np.arange(len(pool.y)), pool.y].copy()
        sure[chosen] = np.inf
        wrong = right.argmax(axis=1) != pool.y
        wrong[chosen] = False
        order = np.argsort(sure, kind="stable")[: max(int(wrong.sum()), 3 * ADDED)]
        candidates = order[round(_EXTREME * len(order)) :]
        new = candidates[picked(places[candidates], min(ADDED, rows - len(chosen)), "kmeans", 0)]
        chosen = np.concatenate([chosen, new])
        print(f"{len(chosen)} images; {int(wrong.sum())} of the others were wrong before", flush=True)
    return chosen[:rows]


def trained(data: Digits, steps: int, seed: int) -> nn.Module:
    """A network trained on `data` alone, for `steps` batches that are changed anew each time."""
    import torch

    from pennyweight.core import Regular, TrainSpec
    from pennyweight.train.loop import How, fit

    torch.manual_seed(seed)
    settings = TrainSpec(
        epochs=steps / -(-len(data.y) // BATCH),
        batch=BATCH,
        optimizer="adamw",
        lr=6e-3,
        weight_decay=1e-2,
        schedule="onecycle",
        regular=Regular(smoothing=0.05),
    )
    return fit(network(), data, settings, how=How(seed=seed, augment=changed)).model


def network() -> nn.Module:
    """Five convolutions with batch normalisation: 70,000 weights."""
    import torch
    from torch import nn

    def layer(n_in: int, n_out: int, *, pad: int = 0, pool: bool = False) -> list[nn.Module]:
        parts = [nn.Conv2d(n_in, n_out, 3, padding=pad, bias=False), *([nn.MaxPool2d(2)] if pool else [])]
        return [*parts, nn.BatchNorm2d(n_out), nn.GELU()]

    layers = [*layer(1, 16, pool=True), *layer(16, 32), *layer(32, 32, pad=1, pool=True), *layer(32, 64)]
    net = nn.Sequential(*layers, *layer(64, 64), nn.Flatten(), nn.Linear(64, 10))
    return net.to(memory_format=torch.channels_last)  # a CPU's convolutions take two thirds of the time


def changed(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Images turned by up to 15 degrees, scaled, sheared, shifted by up to 2.5 pixels, bent, thickened or thinned."""
    import torch
    from torch.nn import functional

    def spread(amount: float, *shape: int) -> Tensor:
        return (2 * torch.rand(len(x), *shape) - 1) * amount

    angle, shear, size, shift = spread(0.26), spread(0.25), spread(0.15, 2).exp(), spread(2.5 / 14, 2)
    across = torch.stack([angle.cos() * size[:, 0], shear - angle.sin(), shift[:, 0]], 1)
    down = torch.stack([angle.sin(), angle.cos() * size[:, 1], shift[:, 1]], 1)
    grid = functional.affine_grid(torch.stack([across, down], 1), list(x.shape), align_corners=False)
    bends = functional.interpolate(0.05 * torch.randn(len(x), 2, 5, 5), x.shape[2:], mode="bicubic", align_corners=True)
    return _stroked(functional.grid_sample(x, grid + bends.permute(0, 2, 3, 1), align_corners=False)), y


def _stroked(x: Tensor) -> Tensor:
    """Half the images with thicker strokes, half with thinner: up to half way to the largest or the least neighbour."""
    import torch
    from torch.nn import functional

    sign = torch.where(torch.rand(len(x), 1, 1, 1) < 0.5, 1.0, -1.0)
    grown = sign * functional.max_pool2d(sign * x, 3, 1, 1)
    return x.lerp(grown, 0.5 * torch.rand(len(x), 1, 1, 1))


def accuracy(model: nn.Module, data: Digits) -> float:
    """The share of images that is right when answers are averaged over five shifts."""
    return float((_answers(model, data.x).argmax(axis=1) == data.y).mean())


def _answers(
    model: nn.Module, x: NDArray[np.float32], shifts: Sequence[tuple[int, int]] = _SHIFTS
) -> NDArray[np.float32]:
    import torch

    with torch.inference_mode():
        parts = [
            sum(model(part.roll(by, (2, 3))).softmax(1) for by in shifts)
            for part in torch.from_numpy(x).split(_ANSWERED)
        ]
    answers: NDArray[np.float32] = torch.cat(parts).numpy()
    return answers


def _centres(places: NDArray[np.float32], members: NDArray[np.intp]) -> NDArray[np.intp]:
    from pennyweight.data.coresets import picked

    some = members[:_CLUSTERED]
    return some[picked(places[some], START // 10, "kmeans", 0)]


def _search(pool: Digits, last: Digits, rows: int) -> None:
    from bench.report import table

    chosen = choose(pool, rows)
    sizes = range(2 * ADDED, rows + 1, ADDED)
    reached = [[accuracy(trained(pool.take(chosen[:n]), STEPS, seed), last) for seed in range(2)] for n in sizes]
    table(["images", "first", "second"], [[n, *found] for n, found in zip(sizes, reached, strict=True)])


def _bench(pool: Digits, test: Digits, asked: argparse.Namespace) -> None:
    from scipy import stats

    from bench.report import emit, table

    seeds, steps, look_steps = (2, 600, 200) if asked.quick else (asked.seeds, STEPS, LOOK_STEPS)
    begun_s = time.process_time()
    chosen = choose(pool, asked.rows, look_steps)
    choosing_s = time.process_time() - begun_s
    ours, chance, train_s = [], [], []
    for seed in range(seeds):
        begun_s = time.process_time()
        model = trained(pool.take(chosen), steps, seed)
        train_s.append(time.process_time() - begun_s)
        ours.append(accuracy(model, test))
        print(f"seed {seed}: {ours[-1]:.4f}", flush=True)
    for seed in range(min(2, seeds)):
        drawn = np.random.default_rng(seed).permutation(POOL)[: asked.rows]
        chance.append(accuracy(trained(pool.take(drawn), steps, seed), test))
    share = partial("{:.2%}".format)
    rows = [["chosen", asked.rows, share(np.mean(ours)), share(min(ours)), len(ours)]]
    rows.append(["by chance", asked.rows, share(np.mean(chance)), share(min(chance)), len(chance)])
    table(["images", "how many", "mean accuracy", "worst", "runs"], rows)
    enough = float(np.mean(ours)) >= WANTED
    figures = {
        "smallest_share": asked.rows / ALL if enough else float("nan"),
        "rows": asked.rows,
        "mean_accuracy": float(np.mean(ours)),
        "worst_accuracy": min(ours),
        "p_value": float(stats.ttest_1samp(ours, WANTED, alternative="greater").pvalue),
        "accuracy_by_chance": float(np.mean(chance)),
        "choosing_cpu_s": choosing_s,
        "train_cpu_s": float(np.median(train_s)),
    }
    emit("data_levers", figures, seeds)


if __name__ == "__main__":
    main()
