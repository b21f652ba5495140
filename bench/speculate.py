"""Whether guesses change what is said, and what they save: ``python -m bench.speculate [--quick]``.

Exact: two tiny models of four tokens, in torch, one of which guesses for the other; 10^5 tokens are drawn in texts of
four, at several temperatures and `top_p`, through the same loop that a server runs, and the counts of all 256 texts are
held against their exact chances (chi-square). The same with guesses from the text itself. Then texts without chance are
held token for token against those without a draft, in OpenVINO and in torch.

Cost: CPU seconds of this process per token, without a draft and with one, in turn; `speculation_ratio` is the median
of without over with. The larger model has random weights, in which a token hears mostly itself, then the first layer,
and the others least: so its own first layer, cut out as a checkpoint, guesses most of what it says. The prompt holds
a text that it has made, and the beginning of that text again: most of what it goes on with has been there, as in an
edit or a summary, which is what guessing from the text lives on. How much of a draft holds is thereby made, not
found: it is told beside (`accepted`). Give `--model` and `--draft` for checkpoints of your own, and `--prompt` for a
file to go on with.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import chisquare

from bench.report import emit, table
from pennyweight.core import ServeSpec
from pennyweight.runtimes.drafting import ModelDraft
from pennyweight.runtimes.guessing import NgramDraft
from pennyweight.runtimes.hf.chorus import TorchChorus
from pennyweight.runtimes.hf.opening import open_drafted, runtime_for
from pennyweight.runtimes.tokens import Characters
from pennyweight.serve.speaking.choir import Choir, Limits
from pennyweight.serve.speaking.drawing import Draw
from pennyweight.serve.speaking.guessing import Guessing
from pennyweight.serve.speaking.opening import prove_alike, prove_checked
from pennyweight.serve.speaking.part import Wanted

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Executor

    from numpy.typing import NDArray

    from pennyweight.runtimes.chorus import Checking
    from pennyweight.runtimes.guessing import Draft
    from pennyweight.runtimes.tokens import Tokenizer
    from pennyweight.serve.speaking.part import Part

ALPHABET, LONG, TOGETHER = "abcd", 4, 1000
CASES = ((1.0, 1.0), (0.7, 1.0), (1.2, 0.9))
LOUD, WHISPER = 0.1, 0.04  # how loud the first layer is, and all others
CONTEXT = 1024


@dataclass(frozen=True)
class Effort:
    """How much is done: tokens of the exact test, rounds of the race, the larger model's width and layers."""

    tokens: int
    rounds: int
    most: int
    width: int
    layers: int
    vocabulary: int


FULL, QUICK = Effort(100_000, 7, 256, 1024, 12, 8000), Effort(12_000, 2, 96, 256, 8, 1000)


@dataclass
class Spent:
    """CPU seconds per token of each round, and how many guesses there were and held."""

    cpu_s: list[float] = field(default_factory=list)
    guessed: int = 0
    right: int = 0

    @property
    def accepted(self) -> float:
        """The share that held."""
        return self.right / self.guessed if self.guessed else 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a rough answer: fewer tokens, a small model")
    parser.add_argument("--model", type=Path, help="a checkpoint of your own")
    parser.add_argument("--draft", type=Path, help="a smaller one with the same tokenizer")
    parser.add_argument("--prompt", type=Path, help="a text to go on with")
    asked = parser.parse_args()
    effort = QUICK if asked.quick else FULL
    with tempfile.TemporaryDirectory(prefix="pennyweight-bench-") as place, ThreadPoolExecutor(1) as pool:
        figures = exact(effort, pool)
        large, small = (asked.model, asked.draft) if asked.model and asked.draft else checkpoints(Path(place), effort)
        text = asked.prompt.read_text(encoding="utf-8") if asked.prompt else ""
        figures |= same(large, small, pool)
        figures |= race(large, small, effort, text, pool)
    table(("figure", "value"), figures.items())
    emit("speculate", figures, effort.rounds)


def exact(effort: Effort, pool: Executor) -> dict[str, float]:
    """The least likely of all cases, by chi-square, and how many tokens were drawn."""
    large, small = tiny(3), tiny(4)
    drafts: dict[str, Draft] = {"draft": ModelDraft(small, len(ALPHABET)), "ngram": NgramDraft()}
    prompts = {"draft": np.array([1, 2]), "ngram": np.array([0, 1, 2, 3, 0, 1, 3, 0, 2, 1, 0, 1])}
    groups = -(-effort.tokens // (len(drafts) * len(CASES) * LONG * TOGETHER))
    found, tokens = {}, 0.0
    for name, draft in drafts.items():
        limits = Limits(
            most_texts=TOGETHER,
            most_waiting=TOGETHER,
            most_read=TOGETHER * CONTEXT,
            inline_s=60.0,
            patience_s=600.0,
            longest_s=600.0,
        )
        choir = Choir(large, Characters(ALPHABET), pool, limits, guessing=Guessing(draft, 2))
        for case in CASES:
            counts = sum(drawn(choir, prompts[name], case, group) for group in range(groups))
            chances = all_chances(large, prompts[name], Draw(*case))
            found[f"exact_p_{name}_t{case[0]:g}_p{case[1]:g}"] = tested(np.asarray(counts), chances)
            tokens += float(np.sum(counts)) * LONG
    return {"exact_tokens": tokens, "exact_p_least": min(found.values())} | found


def drawn(choir: Choir, prompt: NDArray[np.int64], case: tuple[float, float], group: int) -> NDArray[np.float64]:
    """How often each text came, of so many together."""
    asked = []
    for at in range(TOGETHER):
        draw = Draw(*case)
        draw._chance = np.random.default_rng((group, at))  # ruff: ignore[private-member-access] - a seed that is asked for leaves no guess to chance
        asked.append(Wanted(prompt, LONG, draw))
    counts = np.zeros((len(ALPHABET),) * LONG)
    for part in sung(choir, asked):
        counts[tuple(part.made)] += 1
    return counts


def all_chances(chorus: Checking, prompt: NDArray[np.int64], how: Draw) -> NDArray[np.float64]:
    """The exact chance of every text."""
    found = np.zeros((len(ALPHABET),) * LONG)
    for text in np.ndindex(found.shape):
        logits = [chorus.prefill([np.array([*prompt, *text[:at]])])[0][0] for at in range(LONG)]
        found[text] = np.prod([how.chances(each)[token] for each, token in zip(logits, text, strict=True)])
    return found


def tested(counts: NDArray[np.float64], chances: NDArray[np.float64]) -> float:
    """How likely counts so far from the chances are, rare texts taken together; 0 if one came that cannot."""
    if counts[chances == 0].any():
        return 0.0
    due = chances * counts.sum()
    often = due > 5
    seen, wanted = [*counts[often]], [*due[often]]
    if due[~often].sum() > 1:
        seen, wanted = [*seen, counts[~often].sum()], [*wanted, due[~often].sum()]
    return float(chisquare(seen, np.array(wanted) * sum(seen) / sum(wanted)).pvalue)


def same(large: Path, small: Path, pool: Executor) -> dict[str, float]:
    """How many texts without chance differ from those without a draft, of how many."""
    found = {"greedy_texts": 0.0, "greedy_differ": 0.0}
    for runtime in ("torch", "openvino"):
        if runtime == "openvino" and runtime_for(large) != runtime:
            continue
        chorus, tokenizer, model = open_drafted(large, ServeSpec(runtime), small)
        rng = np.random.default_rng(0)
        prompts = [rng.integers(0, tokenizer.size, size) for size in rng.integers(1, 40, 16)]
        asked = [Wanted(each, 40, Draw(0.0)) for each in prompts]
        plain = [each.made for each in sung(Choir(chorus, tokenizer, pool), asked)]
        for draft in (model, NgramDraft()):
            mine = sung(Choir(chorus, tokenizer, pool, guessing=Guessing(draft, 4)), asked)
            found["greedy_texts"] += len(plain)
            found["greedy_differ"] += sum(part.made != text for part, text in zip(mine, plain, strict=True))
    return found


def race(large: Path, small: Path, effort: Effort, text: str, pool: Executor) -> dict[str, float]:
    """What tokens cost without a draft, with guesses from the text, and with the smaller model, in turn."""
    chorus, tokenizer, model = open_drafted(large, ServeSpec(runtime_for(large)), small)
    drafts: dict[str, Draft | None] = {"plain": None, "ngram": NgramDraft(), "draft": model}
    choirs = {name: begun(chorus, tokenizer, draft, pool) for name, draft in drafts.items()}
    spent = {name: Spent() for name in choirs}
    for number in range(effort.rounds + 1):
        prompt = tokenizer.encode(text) if text else again(choirs["plain"], effort.most, number)
        for name, choir in choirs.items():
            begin_s = time.process_time()
            (part,) = sung(choir, [Wanted(prompt, effort.most, Draw(0.0))])
            if number:
                spent[name].cpu_s.append((time.process_time() - begin_s) / len(part.made))
                spent[name].guessed += part.guessed
                spent[name].right += part.right
    found = {f"{name}_cpu_ms_per_token": 1000 * median(each.cpu_s) for name, each in spent.items()}
    for name in ("ngram", "draft"):
        pairs = zip(spent["plain"].cpu_s, spent[name].cpu_s, strict=True)
        found[f"speculation_ratio_{name}"] = median(a / b for a, b in pairs)
        found[f"accepted_{name}"] = spent[name].accepted
    return found


def again(choir: Choir, most: int, seed: int) -> NDArray[np.int64]:
    """A text that the model has made, and its beginning."""
    begin = np.random.default_rng(seed).integers(0, choir.tokenizer.size, 4)
    (part,) = sung(choir, [Wanted(begin, most, Draw(0.0))])
    return np.concatenate([begin, part.made, begin])


def begun(chorus: Checking, tokenizer: Tokenizer, draft: Draft | None, pool: Executor) -> Choir:
    """A choir that knows what its steps take, as a server's does."""
    patient = Limits(patience_s=600.0, longest_s=600.0)
    made = Choir(chorus, tokenizer, pool, patient, guessing=Guessing(draft) if draft else None)
    prove_alike("it", made)
    prove_checked("it", made)
    return made


def sung(choir: Choir, asked: Sequence[Wanted]) -> list[Part]:
    """All texts, made together."""

    async def sing() -> list[Part]:
        parts = [choir.begin(each) for each in asked]
        for each in parts:
            await each.over()
        return parts

    return asyncio.run(sing())


def tiny(seed: int) -> TorchChorus:
    """A model of four tokens that is rather sure of what it says."""
    import torch

    model = llama(seed, 16, 1, len(ALPHABET))
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(12.0 if weight.dim() > 1 else 1.0)
    return TorchChorus(model, 32)


def checkpoints(place: Path, effort: Effort) -> tuple[Path, Path]:
    """The larger model, and its own first layer between the same embedding and head."""
    import torch
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    large = llama(0, effort.width, effort.layers, effort.vocabulary)
    with torch.no_grad():
        large.model.embed_tokens.weight.mul_(50.0)
        for at, layer in enumerate(large.model.layers):
            layer.self_attn.o_proj.weight.mul_(WHISPER if at else LOUD)
            layer.mlp.down_proj.weight.mul_(WHISPER if at else LOUD)
    small = llama(0, effort.width, 1, effort.vocabulary)
    small.load_state_dict({name: each for name, each in large.state_dict().items() if name in small.state_dict()})
    for name, model in (("large", large), ("small", small)):
        model.save_pretrained(place / name)
    words(place / "large" / "tokenizer.json", effort.vocabulary)
    shutil.copy(place / "large" / "tokenizer.json", place / "small" / "tokenizer.json")
    return place / "large", place / "small"


def llama(seed: int, width: int, layers: int, vocabulary: int) -> Any:
    """Random weights in Llama's shape; no token ends a text."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    heads = max(2, width // 64)
    config = LlamaConfig(
        hidden_size=width,
        intermediate_size=width * 11 // 4,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads // 2,
        vocab_size=vocabulary,
        max_position_embeddings=CONTEXT,
        eos_token_id=None,
        bos_token_id=None,
    )
    torch.manual_seed(seed)
    return LlamaForCausalLM(config).eval()


def words(path: Path, count: int) -> None:
    """A tokenizer of so many made-up words."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace

    made = Tokenizer(WordLevel({f"w{each}": each for each in range(count)}))
    made.pre_tokenizer = Whitespace()
    made.save(str(path))


if __name__ == "__main__":
    main()
