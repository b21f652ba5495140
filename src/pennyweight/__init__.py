"""Find the cheapest model that keeps the quality floor, certify it, and keep every receipt."""

# ruff: file-ignore[non-empty-init-module] - the package's door is where its names are looked up

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pennyweight.core import Demand, Floor, Front, Job, Lever, Limits, Plan, Slack, TrainSpec
    from pennyweight.data.splits import Arrays, Splits, split
    from pennyweight.engine import Shop
    from pennyweight.jobs import load_recipe, sklearn_job, torch_job
    from pennyweight.optimizing import Search, foresee, optimize
    from pennyweight.training import Outcome, Training, train_job

__version__ = "0.1.0"

# Where each public name lives. It is imported when first asked for, so `import pennyweight` costs next to nothing.
_HOMES = {
    "pennyweight.core": ("Demand", "Floor", "Front", "Job", "Lever", "Limits", "Plan", "Slack", "TrainSpec"),
    "pennyweight.data.splits": ("Arrays", "Splits", "split"),
    "pennyweight.engine": ("Shop",),
    "pennyweight.jobs": ("load_recipe", "sklearn_job", "torch_job"),
    "pennyweight.optimizing": ("Search", "foresee", "optimize"),
    "pennyweight.training": ("Outcome", "Training", "train_job"),
}

__all__ = [
    "Arrays",
    "Demand",
    "Floor",
    "Front",
    "Job",
    "Lever",
    "Limits",
    "Outcome",
    "Plan",
    "Search",
    "Shop",
    "Slack",
    "Splits",
    "TrainSpec",
    "Training",
    "foresee",
    "load_recipe",
    "optimize",
    "sklearn_job",
    "split",
    "torch_job",
    "train_job",
]


def __getattr__(name: str) -> Any:
    home = next((home for home, names in _HOMES.items() if name in names), None)
    if home is None:
        raise AttributeError(f"module 'pennyweight' has no attribute {name!r}")
    return getattr(import_module(home), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
