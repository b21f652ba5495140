"""Joules and watts: of tokens served, of devices under a limit."""
