"""What is kept: the ledger of every cost, and finished models named by their content."""

from pennyweight.store.place import home

__all__ = ["home"]
