"""Weights of large models as arrays: which of them are linear, how they are rounded, and how they lie in files."""
