"""The command line: the library's calls under the library's names."""

from pennyweight.cli.app import main

__all__ = ["main"]
