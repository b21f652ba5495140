"""Carry out one plan: the only place where effects are sequenced, and where every one of them is metered."""

from pennyweight.engine.engine import Engine
from pennyweight.engine.evidence import Evidence
from pennyweight.engine.shop import Shop, Watcher, silence

__all__ = ["Engine", "Evidence", "Shop", "Watcher", "silence"]
