"""Rounding a checkpoint's weights by llm-compressor or AutoRound, run by an interpreter that has them.

    python bench/shrink_peers.py llm-compressor|auto-round FOLDER TOKENS.npy OUT.safetensors

Whole numbers of 4 bits around zero, groups of 128, each the way its own manual says. OUT holds the weights as they are
after rounding; what the rounding took, without imports and loading, is printed as JSON.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer


def by_llm_compressor(model: Any, tokenizer: Any, tokens: np.ndarray) -> Any:
    """GPTQ, block after block, inputs in the order of their activations (its default)."""
    from datasets import Dataset
    from llmcompressor import oneshot
    from llmcompressor.modifiers.gptq import GPTQModifier

    rows = Dataset.from_dict({"input_ids": tokens.tolist(), "attention_mask": np.ones_like(tokens).tolist()})
    recipe = GPTQModifier(targets="Linear", scheme="W4A16", ignore=["lm_head"])
    return oneshot(
        model=model,
        tokenizer=tokenizer,
        dataset=rows,
        recipe=recipe,
        max_seq_length=tokens.shape[1],
        num_calibration_samples=len(tokens),
        shuffle_calibration_samples=False,
    )


def by_auto_round(model: Any, tokenizer: Any, tokens: np.ndarray) -> Any:
    """Rounding learnt by the sign of gradients, 200 steps for each block (its default)."""
    from auto_round import AutoRound

    batches = torch.utils.data.DataLoader(torch.from_numpy(tokens), batch_size=8)
    made = AutoRound(
        model,
        tokenizer,
        scheme="W4A16",
        dataset=batches,
        nsamples=len(tokens),
        seqlen=tokens.shape[1],
        device_map="cpu",
        enable_torch_compile=False,
    )
    return made.quantize()[0]


PEERS = {"llm-compressor": by_llm_compressor, "auto-round": by_auto_round}


def main() -> None:
    name, folder, tokens, out = sys.argv[1:]
    model = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    rows = np.load(tokens)
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    made = PEERS[name](model, tokenizer, rows)
    took = {"wall_s": time.perf_counter() - wall_s, "cpu_s": time.process_time() - cpu_s}
    weights = {key: each.float().contiguous() for key, each in made.state_dict().items() if key.endswith("proj.weight")}
    save_file(weights, out)
    print(json.dumps(took))


if __name__ == "__main__":
    main()
