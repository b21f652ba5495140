"""Methods of rounding to 4 bits, seconds and errors: ``python -m bench.shrink_methods --text FILE [--width 1024]``.

A Llama of that width (or ``--folder DIR``, a checkpoint with its tokenizer) is rounded in groups of 128 by each of our
methods and by peers, with the same tokens of ``--text``. Peers are run by the interpreter ``--peers PYTHON`` of an
environment of their own (python -m venv .pennyweight/bench/rounding-peers, then pip install llmcompressor==0.14.0
auto-round==0.15.1); who is absent is said. Seconds and CPU seconds are of rounding, ours with reading and writing.
`error` is how far logits of text that nobody saw are from the original's, as a share of their length.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.report import emit, table

if TYPE_CHECKING:
    from collections.abc import Mapping

HOME = Path(".pennyweight/bench/shrink-methods")
PEERS = Path(".pennyweight/bench/rounding-peers/bin/python")
METHODS = ("rtn", "hqq", "awq", "gptq")
UNSEEN = 8  # sequences that nobody is calibrated with
OURS = """
import json, sys, time
from pathlib import Path
from pennyweight.engine.shrinking import Calibration, Wish, plan, shrink
folder, text, tokens, method, out = sys.argv[1:]
import pennyweight.engine.shrinking.blocks, transformers.models.llama.modeling_llama
wall_s, cpu_s = time.perf_counter(), time.process_time()
wish = Wish("int4", method=method, calibration=Calibration(Path(text), int(tokens)))
receipt = shrink(plan(Path(folder), wish), Path(out))
print(json.dumps({"wall_s": time.perf_counter() - wall_s, "cpu_s": time.process_time() - cpu_s}))
"""


def main() -> None:
    """Round, compare, print a table and the figures as the last line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--text", type=Path, required=True)
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--layers", type=int, default=1)
    parser.add_argument("--tokens", type=int, default=16_384)
    parser.add_argument("--peers", type=Path, default=PEERS)
    parser.add_argument("--only", nargs="*", default=(*METHODS, "llm-compressor", "auto-round"))
    asked = parser.parse_args()
    shutil.rmtree(HOME, ignore_errors=True)
    HOME.mkdir(parents=True)
    text = asked.text.read_text(encoding="utf-8")
    seen = HOME / "seen.txt"
    seen.write_text(text[: len(text) * 4 // 5], encoding="utf-8")
    folder = asked.folder or drawn(asked.width, asked.layers, seen)
    found = {name: rounded(name, folder, seen, asked) for name in asked.only}
    report(folder, text[len(text) * 4 // 5 :], {name: took for name, took in found.items() if took})


def report(folder: Path, unseen: str, found: Mapping[str, dict[str, float]]) -> None:
    from transformers import AutoTokenizer

    ids = AutoTokenizer.from_pretrained(folder, local_files_only=True)(unseen)["input_ids"]
    length = min(256, len(ids) // UNSEEN)
    rows = np.array(ids[: UNSEEN * length]).reshape(UNSEEN, length)
    given = logits(folder, None, rows)
    figures: dict[str, float] = {}
    lines = []
    for name, took in found.items():
        error = float((logits(folder, name, rows) - given).norm() / given.norm())
        lines.append((name, took["wall_s"], took["cpu_s"], f"{error:.5f}"))
        key = name.replace("-", "_")
        figures |= {f"{key}_s": took["wall_s"], f"{key}_cpu_s": took["cpu_s"], f"{key}_error": error}
    table(("method", "seconds", "CPU seconds", "error of logits"), lines)
    emit("shrink_methods", figures, 1)


def rounded(name: str, folder: Path, text: Path, asked: argparse.Namespace) -> dict[str, float] | None:
    """What it took, None if that method is not there."""
    out, environment = HOME / name, {**os.environ, "PENNYWEIGHT_HOME": str(HOME / "home"), "HF_HUB_OFFLINE": "1"}
    if name in METHODS:
        command = [sys.executable, "-c", OURS, str(folder), str(text), str(asked.tokens), name, str(out)]
    elif asked.peers.is_file():
        np.save(HOME / "tokens.npy", calibrated(folder, text, asked.tokens))
        script = str(Path(__file__).with_name("shrink_peers.py"))
        command = [str(asked.peers), script, name, str(folder), str(HOME / "tokens.npy"), f"{out}.safetensors"]
    else:
        print(f"{name} is absent: there is no {asked.peers}.", flush=True)
        return None
    with (HOME / f"{name}.log").open("w") as log:
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=log, text=True, check=False)
    if done.returncode:
        print(f"{name} did not work, see {HOME / name}.log.", flush=True)
        return None
    took: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return took


def calibrated(folder: Path, text: Path, tokens: int) -> np.ndarray:
    """The tokens that ours is calibrated with."""
    from pennyweight.engine.shrinking import Calibration

    return Calibration(text, tokens).sequences(folder, json.loads((folder / "config.json").read_text()))


def logits(folder: Path, name: str | None, rows: np.ndarray) -> Any:
    """What a model says to `rows`: the original, or with the weights that a method made."""
    import torch
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM

    at = HOME / name if name in METHODS else folder
    model = AutoModelForCausalLM.from_pretrained(at, local_files_only=True, dtype=torch.float32).eval()
    if name is not None and name not in METHODS:
        model.load_state_dict(load_file(f"{HOME / name}.safetensors"), strict=False)
    with torch.no_grad():
        return torch.cat([model(torch.from_numpy(row[None])).logits for row in rows])


def drawn(width: int, layers: int, text: Path) -> Path:
    """A Llama of random weights with a tokenizer that has learnt the text."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    words = Tokenizer(models.BPE())
    words.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=4096, show_progress=False, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    words.train([str(text)], trainer)
    torch.manual_seed(0)
    shape = LlamaConfig(
        hidden_size=width,
        intermediate_size=width * 11 // 4 // 128 * 128,
        num_hidden_layers=layers,
        num_attention_heads=width // 64,
        num_key_value_heads=width // 128,
        vocab_size=4096,
        max_position_embeddings=2048,
    )
    folder, began = HOME / "drawn", time.perf_counter()
    model = LlamaForCausalLM(shape)
    with torch.no_grad():
        table_ = model.model.embed_tokens.weight
        table_.mul_(torch.randn(width).exp())  # as in trained models, some numbers of a state are far larger
    model.to(torch.bfloat16).save_pretrained(folder)
    PreTrainedTokenizerFast(tokenizer_object=words).save_pretrained(folder)
    print(f"A checkpoint was drawn in {time.perf_counter() - began:.0f} s.", flush=True)
    return folder


if __name__ == "__main__":
    main()
