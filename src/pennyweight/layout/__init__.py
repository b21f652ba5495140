"""Hardware and parallelism: how long a step takes, whether it fits, which layout and which offer."""
