"""Rounding a checkpoint of a real shape: ``python -m bench.shrink [--shape llama-3.2-1b] [--to int4] [--repeats 3]``.

The checkpoint holds random bfloat16 weights and is written once, kept in .pennyweight/bench/shrink. The control reads
every byte of it and writes as many bytes as come out, in files of the same sizes, each flushed to the disk, with the
same pieces and no more to do; ours is the command line in a process of its own, start-up included. They take turns, and
before each the checkpoint is dropped from the page cache (`--warm`: not). `speed_vs_disk` is the control's seconds over
ours; `peak_gb` the most our process held at a time, `most_gb` what it said beforehand. Medians over the repeats.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.report import emit, table

if TYPE_CHECKING:
    from collections.abc import Iterator

HOME = Path(".pennyweight/bench/shrink")
SHARD_BYTE, PIECE_BYTE = 2_000_000_000, 1 << 23


@dataclass(frozen=True, slots=True)
class Shape:
    """A decoder as its repository describes it."""

    kind: str
    layers: int
    hidden: int
    ffn: int
    heads: int
    kv_heads: int
    head: int
    vocab: int
    tied: bool

    def config(self) -> dict[str, Any]:
        """What its config.json says."""
        return {
            "model_type": self.kind,
            "architectures": [f"{self.kind.capitalize()}ForCausalLM"],
            "hidden_size": self.hidden,
            "intermediate_size": self.ffn,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.kv_heads,
            "head_dim": self.head,
            "vocab_size": self.vocab,
            "tie_word_embeddings": self.tied,
            "torch_dtype": "bfloat16",
        }

    def tensors(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Names and shapes, in the order of the model."""
        yield "model.embed_tokens.weight", (self.vocab, self.hidden)
        for number in range(self.layers):
            for name, shape in self.block():
                yield f"model.layers.{number}.{name}.weight", shape
        yield "model.norm.weight", (self.hidden,)
        if not self.tied:
            yield "lm_head.weight", (self.vocab, self.hidden)

    def block(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """The same of one block."""
        queries, keys = self.heads * self.head, self.kv_heads * self.head
        yield "self_attn.q_proj", (queries, self.hidden)
        yield "self_attn.k_proj", (keys, self.hidden)
        yield "self_attn.v_proj", (keys, self.hidden)
        yield "self_attn.o_proj", (self.hidden, queries)
        if self.kind == "qwen3":
            yield "self_attn.q_norm", (self.head,)
            yield "self_attn.k_norm", (self.head,)
        yield "mlp.gate_proj", (self.ffn, self.hidden)
        yield "mlp.up_proj", (self.ffn, self.hidden)
        yield "mlp.down_proj", (self.hidden, self.ffn)
        yield "input_layernorm", (self.hidden,)
        yield "post_attention_layernorm", (self.hidden,)


SHAPES = {
    "tiny": Shape("llama", 4, 1024, 2816, 16, 4, 64, 8000, tied=False),
    "llama-3.2-1b": Shape("llama", 16, 2048, 8192, 32, 8, 64, 128_256, tied=True),
    "qwen3-8b": Shape("qwen3", 36, 4096, 12_288, 32, 8, 128, 151_936, tied=False),
}


@dataclass(frozen=True, slots=True)
class Took:
    """Seconds on the clock, CPU seconds, and for ours the most bytes held, the bytes promised and those written."""

    wall_s: float
    cpu_s: float
    peak_byte: float = 0.0
    most_byte: float = 0.0
    out_byte: int = 0


def main() -> None:
    """Write the checkpoint if it is not there, let both take turns, print a table and the figures as the last line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=SHAPES, default="llama-3.2-1b")
    parser.add_argument("--to", choices=("int3", "int4", "int8", "mxfp4"), default="int4")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--warm", action="store_true", help="leave the checkpoint in the page cache")
    parser.add_argument("--quick", action="store_true", help="the tiny shape, two repeats")
    asked = parser.parse_args()
    shape, repeats = ("tiny", 2) if asked.quick else (asked.shape, asked.repeats)
    race(checkpoint(shape), asked, repeats)


def race(folder: Path, asked: argparse.Namespace, repeats: int) -> None:
    """Let the control and ours take turns."""
    shards = sorted(folder.glob("*.safetensors"))
    in_byte = sum(path.stat().st_size for path in shards)
    sizes: list[int] = []
    disk: list[Took] = []
    ours: list[Took] = []
    for repeat in range(repeats + 1):
        drop(shards, asked.warm)
        took, sizes = shrunk(folder, asked)
        drop(shards, asked.warm)
        copied = copy(shards, sizes)
        if repeat:  # the first turn fills what is filled once
            ours.append(took)
            disk.append(copied)
    report(in_byte, disk, ours)


def report(in_byte: int, disk: list[Took], ours: list[Took]) -> None:
    gb = in_byte / 1e9
    wall = {"disk": median(t.wall_s for t in disk), "ours": median(t.wall_s for t in ours)}
    cpu = {"disk": median(t.cpu_s for t in disk), "ours": median(t.cpu_s for t in ours)}
    rows = [
        (name, gb, wall[name], gb / wall[name], cpu[name] / gb, f"{min(w):.2f} to {max(w):.2f}")
        for name, w in (("disk", [t.wall_s for t in disk]), ("ours", [t.wall_s for t in ours]))
    ]
    table(("way", "GB in", "seconds", "GB/s in", "CPU s / GB in", "seconds, lowest to highest"), rows)
    peak, most = max(t.peak_byte for t in ours) / 1e9, max(t.most_byte for t in ours) / 1e9
    figures = {
        "speed_vs_disk": wall["disk"] / wall["ours"],
        "peak_gb": peak,
        "most_gb": most,
        "in_gb": gb,
        "out_gb": ours[0].out_byte / 1e9,
        "gb_s": gb / wall["ours"],
        "disk_gb_s": gb / wall["disk"],
        "cpu_s_per_gb": cpu["ours"] / gb,
        "disk_cpu_s_per_gb": cpu["disk"] / gb,
    }
    emit("shrink", figures, len(ours))


def shrunk(folder: Path, asked: argparse.Namespace) -> tuple[Took, list[int]]:
    """Round it with the command line; what it took, and the sizes of the files that came out."""
    out = HOME / "out"
    shutil.rmtree(out, ignore_errors=True)
    program = "from pennyweight.cli import main; main()"
    words = ["shrink", str(folder), "--to", asked.to, "-o", str(out), "--json"]
    environment = {**os.environ, "PENNYWEIGHT_HOME": str(HOME / "home")}
    before, wall_s = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run([sys.executable, "-c", program, *words], env=environment, stdout=subprocess.PIPE, check=True)
    wall_s, after = time.perf_counter() - wall_s, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    facts = json.loads(done.stdout)
    sizes = [path.stat().st_size for path in sorted(out.glob("*.safetensors"))]
    shutil.rmtree(out)
    return Took(wall_s, cpu_s, facts["peak_byte"], facts["most_byte"], sum(sizes)), sizes


def copy(shards: list[Path], sizes: list[int]) -> Took:
    """Read all of `shards` and write files of `sizes`, in step with each other."""
    room, ratio = np.empty(PIECE_BYTE, np.uint8), sum(sizes) / sum(path.stat().st_size for path in shards)
    folder = HOME / "copied"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    pieces, owed = read(shards, room), 0.0
    for number, size in enumerate(sizes):
        with (folder / str(number)).open("wb", buffering=0) as file:
            left = size
            while left:
                while owed < min(left, PIECE_BYTE) and (taken := next(pieces, 0)):
                    owed += taken * ratio
                step = file.write(room.data[: min(left, PIECE_BYTE, max(1, int(owed)) if owed >= 1 else left)])
                left, owed = left - step, owed - step
            os.fsync(file.fileno())
    for _ in pieces:
        pass
    took = Took(time.perf_counter() - wall_s, time.process_time() - cpu_s)
    shutil.rmtree(folder)
    return took


def read(shards: list[Path], room: np.ndarray) -> Iterator[int]:
    """Read files into `room`, piece by piece; how many bytes came."""
    for path in shards:
        with path.open("rb", buffering=0) as file:
            while taken := file.readinto(room.data):
                yield taken


def drop(shards: list[Path], warm: bool) -> None:  # ruff: ignore[boolean-type-hint-positional-argument] - as asked
    """Forget what the page cache holds of the checkpoint."""
    for path in () if warm else shards:
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def checkpoint(name: str) -> Path:
    """The checkpoint of that shape, written if it is not there."""
    folder, shape = HOME / name, SHAPES[name]
    if (folder / "config.json").exists():
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    parts: list[list[tuple[str, tuple[int, ...]]]] = [[]]
    for each in shape.tensors():
        if parts[-1] and sum(2 * int(np.prod(s)) for _, s in [*parts[-1], each]) > SHARD_BYTE:
            parts.append([])
        parts[-1].append(each)
    pool, index = noise(), {}
    for number, part in enumerate(parts, 1):
        file = f"model-{number:05d}-of-{len(parts):05d}.safetensors"
        save(folder / file, part, pool)
        index |= dict.fromkeys((key for key, _ in part), file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))
    (folder / "config.json").write_text(json.dumps(shape.config()))
    return folder


def noise() -> np.ndarray:
    """Normal bfloat16 numbers, to be taken from again and again, each time from another place on."""
    drawn = np.random.default_rng(0).standard_normal(1 << 24, np.float32) * np.float32(0.02)
    return (drawn.view(np.uint32) >> 16).astype(np.uint16).view(np.uint8)


def save(path: Path, part: list[tuple[str, tuple[int, ...]]], pool: np.ndarray) -> None:
    """Write one shard."""
    head, at = {}, 0
    for name, shape in part:
        byte = 2 * int(np.prod(shape))
        head[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [at, at + byte]}
        at += byte
    text = json.dumps(head).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        left, start = at, 2 * (at % 999_983)
        while left:
            start %= len(pool)
            left, start = left - file.write(pool.data[start : min(len(pool), start + left)]), start + 2 * 7919
        file.flush()
        os.fsync(file.fileno())


if __name__ == "__main__":
    main()
