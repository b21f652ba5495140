"""Carry out one plan: the only place where effects are sequenced, and where every one of them is metered."""

from pennyweight.engine.book import Book
from pennyweight.engine.engine import Engine
from pennyweight.engine.evidence import Evidence
from pennyweight.engine.exercise import exercise
from pennyweight.engine.shop import Shop, Watcher, exercise_home, silence

__all__ = ["Book", "Engine", "Evidence", "Shop", "Watcher", "exercise", "exercise_home", "silence"]
