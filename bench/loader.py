"""Mini-batches of MNIST's images, kept in several ways: ``python -m bench.loader --data DIR [--quick]``.

DIR holds mnist.npz. Every way ends in the same float32 tensors, shuffled batches of 128 in [0, 1], with labels:
PyTorch's DataLoader over one PNG file per image, over one .npy file per image (each opened and turned into a tensor
when it is asked for, as tutorials do) and over the arrays of mnist.npz held in memory; and ours, over Parquet shards.
All run in this process (ours with a thread ahead, whose CPU seconds count), files in the page cache, in turn, after one
pass that is not counted. `ours` has opened its shards and holds the images as bytes, `streamed` reads and decodes every
shard in every pass, `first` also opens the folder and checks every shard's SHA-256, as the first pass of a training
does. Rows per CPU second and per second of the clock, medians over the repeats. Bytes are those of the files; `raw` is
what the rows take as float32, `npz` the same images and labels by numpy.savez_compressed.
"""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from bench.report import emit, table
from pennyweight.data.columnar import Flow, Packed, Stream, pack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

BATCH = 128


@dataclass(frozen=True, slots=True)
class Pace:
    """Rows per CPU second of this process, all its threads, and per second of the clock."""

    cpu: float
    wall: float


class Pictures(Dataset[tuple[torch.Tensor, int]]):
    """One file per image, in a folder per class; opened when asked for."""

    def __init__(self, folder: Path) -> None:
        self.files = sorted(folder.glob("*/*"))

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, at: int) -> tuple[torch.Tensor, int]:
        path = self.files[at]
        if path.suffix == ".npy":
            pixels = np.load(path)
        else:
            with Image.open(path) as image:
                pixels = np.asarray(image)
        return torch.from_numpy(pixels.astype(np.float32)[None] / 255), int(path.parent.name)


class Held(Dataset[tuple[torch.Tensor, int]]):
    """Arrays in memory; each row is turned into a tensor when asked for."""

    def __init__(self, x: np.ndarray, y: np.ndarray) -> None:
        self.x, self.y = x, y

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, at: int) -> tuple[torch.Tensor, int]:
        return torch.from_numpy(self.x[at].astype(np.float32)[None] / 255), int(self.y[at])


def main() -> None:
    """Write the files, go through them in turn, print a table, and the figures as the last line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--quick", action="store_true", help="6,000 images and three repeats")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    rows, repeats = (6_000, 3) if asked.quick else (60_000, 5)
    with np.load(asked.data / "mnist.npz") as file:
        x, y = file["x_train"][:rows], file["y_train"][:rows]
    with TemporaryDirectory() as name:
        race(Path(name), x, y, repeats)


def race(folder: Path, x: np.ndarray, y: np.ndarray, repeats: int) -> None:
    """Keep the images in every way, and stream them."""
    byte = kept(folder, x, y)
    ways = streams(folder, x, y)
    found: dict[str, list[Pace]] = {name: [] for name in ways}
    for repeat in range(repeats + 1):
        for name, opened in ways.items():
            pace = passed(opened, x, y)
            if repeat:
                found[name].append(pace)
    middle = {name: Pace(median(p.cpu for p in each), median(p.wall for p in each)) for name, each in found.items()}
    listed = [
        (name, round(pace.cpu), round(pace.wall), f"{middle['ours'].cpu / pace.cpu:.3g}x", low_high(found[name]))
        for name, pace in middle.items()
    ]
    table(("loader", "rows / CPU s", "rows / s", "ours is faster", "CPU: lowest to highest"), listed)
    table(("kept as", "bytes", "ours is smaller"), [(n, b, f"{b / byte['ours']:.3g}x") for n, b in byte.items()])
    emit(
        "loader",
        {**figures(middle), **{f"bytes_vs_{n}": byte["ours"] / b for n, b in byte.items() if n != "ours"}},
        repeats,
    )


def kept(folder: Path, x: np.ndarray, y: np.ndarray) -> dict[str, int]:
    """Write every kind of files; the bytes that each takes."""
    for kind in ("png", "npy"):
        for number, (pixels, label) in enumerate(zip(x, y, strict=True)):
            path = folder / kind / str(label) / f"{number:05d}.{kind}"
            path.parent.mkdir(parents=True, exist_ok=True)
            if kind == "npy":
                np.save(path, pixels)
            else:
                Image.fromarray(pixels).save(path)
    np.savez_compressed(folder / "same.npz", x=x, y=y)
    made = pack({"train": {"x": x.astype(np.float32)[:, None] / 255, "y": y.astype(np.int64)}}, folder / "ours")
    files = {kind: sum(each.stat().st_size for each in (folder / kind).glob("*/*")) for kind in ("png", "npy")}
    whole = {"ours": made.byte, "raw": made.raw_byte, "uint8": x.nbytes + y.nbytes}
    return whole | {"npz": (folder / "same.npz").stat().st_size} | files


def streams(folder: Path, x: np.ndarray, y: np.ndarray) -> dict[str, Callable[[], Iterable[Any]]]:
    """What gives batches (x, y) of a whole pass, by name."""
    packed = Packed.at(folder / "ours")
    stream = Stream(packed, "train", Flow(BATCH, torch=True))
    bare = Stream(Packed.at(folder / "ours", hold_byte=0), "train", Flow(BATCH, torch=True))

    def naive(rows: Dataset[Any]) -> Callable[[], Iterable[Any]]:
        return lambda: DataLoader(rows, BATCH, shuffle=True)

    return {
        "png": naive(Pictures(folder / "png")),
        "npy": naive(Pictures(folder / "npy")),
        "held": naive(Held(x, y)),
        "first": lambda: pairs(Stream(Packed.at(folder / "ours", hold_byte=0), "train", Flow(BATCH, torch=True))),
        "streamed": lambda: pairs(bare),
        "ours": lambda: pairs(stream),
    }


def pairs(stream: Stream) -> Iterable[Any]:
    return ((batch["x"], batch["y"]) for batch in stream)


def passed(opened: Callable[[], Iterable[Any]], x: np.ndarray, y: np.ndarray) -> Pace:
    """Go through one pass, and prove afterwards that every image and label came by."""
    rows, seen = 0, []
    wall, cpu = time.perf_counter(), time.process_time()
    for images, labels in opened():
        rows += len(labels)
        seen.append((images[0], labels[0]))
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    if rows != len(x) or any(image.dtype != torch.float32 or image.shape != (1, 28, 28) for image, _ in seen):
        raise AssertionError(f"{rows} of {len(x)} rows came by, or in another form")
    known = {(pixels.tobytes(), int(label)) for pixels, label in zip(x, y, strict=True)}
    for image, label in seen:
        if ((image[0] * 255).round().to(torch.uint8).numpy().tobytes(), int(label)) not in known:
            raise AssertionError("an image came by that is none")
    return Pace(rows / cpu, rows / wall)


def figures(paces: dict[str, Pace]) -> dict[str, float]:
    made = {f"rows_per_cpu_s_{name}": pace.cpu for name, pace in paces.items()}
    for name in ("png", "npy", "held"):
        made[f"cpu_ratio_vs_{name}"] = paces["ours"].cpu / paces[name].cpu
        made[f"wall_ratio_vs_{name}"] = paces["ours"].wall / paces[name].wall
        made[f"streamed_cpu_ratio_vs_{name}"] = paces["streamed"].cpu / paces[name].cpu
        made[f"first_cpu_ratio_vs_{name}"] = paces["first"].cpu / paces[name].cpu
    return made


def low_high(found: list[Pace]) -> str:
    spent = sorted(each.cpu for each in found)
    return f"{spent[0]:,.0f} to {spent[-1]:,.0f}"


if __name__ == "__main__":
    main()
