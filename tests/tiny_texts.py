"""A tiny model of the recipe tiny_llama, trained for a moment on text that is at hand."""

import sysconfig
from dataclasses import replace
from pathlib import Path

from pennyweight import Shop, train_job
from recipes.tiny_llama import TRAINING, Shape, job_of

SHAPE = Shape(vocabulary=320, layers=2, width=64, heads=4, kv_heads=2, hidden=128, context=32)


def text(characters: int = 60_000) -> str:
    """Source of the standard library, plain characters only."""
    folder = Path(sysconfig.get_path("stdlib"))
    whole = "".join((folder / name).read_text(errors="ignore") for name in ("argparse.py", "typing.py", "inspect.py"))
    return "".join(filter(str.isascii, whole))[:characters]


def tiny_job(*, epochs: float = 1.0, **changes):
    """The recipe's job with two layers of width 64 and 320 tokens; `changes` are of its shape."""
    return job_of(text(), replace(SHAPE, **changes), replace(TRAINING, epochs=epochs))


def trained_artifact(home, **changes):
    """What training it for a moment makes."""
    shop = Shop.at(home)
    return shop.artifacts.get(train_job(tiny_job(**changes), shop=shop).artifact)
