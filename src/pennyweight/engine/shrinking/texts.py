"""How much of a text is used to choose widths, and how much of the head is held at a time."""

TOKENS, LENGTH = 8192, 128  # at most, of all texts together and of one
SLAB = 4096  # rows of the head that are held at a time
