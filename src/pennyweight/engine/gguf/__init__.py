"""A checkpoint as one GGUF file for llama.cpp: planned from heads alone, streamed, read back before it has its name."""

from pennyweight.engine.gguf.planning import Plan, plan
from pennyweight.engine.gguf.reading import Found
from pennyweight.engine.gguf.run import Receipt, needed_byte, write

__all__ = ["Found", "Plan", "Receipt", "needed_byte", "plan", "write"]
