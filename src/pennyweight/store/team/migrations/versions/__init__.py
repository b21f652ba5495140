"""One file is one step, named by its number."""
