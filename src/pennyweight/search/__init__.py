"""Strategies that choose which plan to try next; one file is one strategy."""

from pennyweight.search.base import Scope, Strategy
from pennyweight.search.find import load, names

__all__ = ["Scope", "Strategy", "load", "names"]
