"""Tables of published measurements: one file reads one layout of columns, and knows how to learn from it."""
