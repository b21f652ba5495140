"""The whole product in one loop: for jobs of recipes (`loop`), and for folders of language models (`checkpoints`)."""

from pennyweight.optimizing.loop import Search, foresee, optimize, scope_of

__all__ = ["Search", "foresee", "optimize", "scope_of"]
