"""Watches what is served: drift, quality, canaries, cost; every alarm at a stated chance of being false."""
