"""Steps and memory of forty training runs, pinned: no refactoring may move one; a change is to be reviewed as such.

After a change that is meant to move them, ``python tests/golden/test_training_runs.py`` writes them anew.
"""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from pennyweight.catalog.accelerators import accelerator
from pennyweight.catalog.models import model
from pennyweight.core.layout import Layout
from pennyweight.layout.plans import weighing
from pennyweight.layout.plans.searching import Field, Site
from pennyweight.layout.plans.spreading import Choices
from pennyweight.layout.plans.training import TrainWork

PINNED = Path(__file__).with_name("training_runs.json")
HOW = "If it was meant to move, run `python tests/golden/test_training_runs.py` and say why in the commit."
DEVICES = ("h100", "a100-80gb", "b200", "gb200", "mi300x")
WIDE = Layout(tp=8, pp=16, dp=8, chunks=4, zero=1, sequence_parallel=True)
RUNS = {
    "llama-3-8b tp 2": ("llama-3-8b", 8192, 512, Layout(tp=2, dp=4, zero=1, sequence_parallel=True)),
    "llama-3-8b sharded": ("llama-3-8b", 8192, 512, Layout(dp=64, zero=3, recompute="full")),
    "llama-3-70b fp8": ("llama-3-70b", 8192, 512, Layout(tp=4, pp=4, dp=16, zero=1, chunks=5, sequence_parallel=True)),
    "llama-3-70b long": ("llama-3-70b", 32768, 128, Layout(tp=8, cp=4, dp=8, zero=2, sequence_parallel=True)),
    "llama-3.1-405b": ("llama-3.1-405b", 8192, 2048, WIDE),
    "deepseek-v3": ("deepseek-v3", 4096, 15360, Layout(pp=8, dp=64, ep=64, zero=1, recompute="full")),
    "qwen3-30b-a3b": ("qwen3-30b-a3b", 4096, 1024, Layout(dp=64, ep=8, zero=1, micro_batch=2)),
    "mixtral-8x7b": ("mixtral-8x7b", 4096, 1024, Layout(tp=2, pp=4, dp=8, ep=8, zero=1, sequence_parallel=True)),
}


def run(name: str, device: str) -> dict[str, float]:
    of, sequence, batch, layout = RUNS[name]
    work = TrainWork(model(of), 1e12, sequence, batch, "fp8" if "fp8" in name else "bf16")
    site = Site.usual(accelerator(device))
    field = Field.of(work, [layout.devices], site.domain, Choices.of(replace(layout, precision=work.precision)))
    whole, high = weighing.held(field.total, field.spread, site.device)
    step_s = field.timed(site, "megatron")
    return {"step_s": float(step_s[0, 0]), "byte": float(whole[0, 0]), "high_byte": float(high[0, 0])}


def cases() -> dict[str, dict[str, float]]:
    return {f"{name} on {device}": run(name, device) for name in RUNS for device in DEVICES}


@pytest.mark.parametrize("name", [f"{name} on {device}" for name in RUNS for device in DEVICES])
def test_no_training_run_has_moved(name):
    pinned = json.loads(PINNED.read_text())
    assert len(pinned) == 40
    found = run(*name.split(" on "))
    assert found == pytest.approx(pinned[name], rel=1e-6), f"{name}: {HOW}"


if __name__ == "__main__":
    PINNED.write_text(json.dumps(cases(), indent=1) + "\n")
