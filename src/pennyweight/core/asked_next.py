"""The names by which a graph that asks another about unsure rows is told from others, and taken apart again."""

from __future__ import annotations

SHARE = "share"
"""What the branching node notes: the share of rows that go up."""

NEXT = "next"
"""What the branching node is called."""

TOP, SURE, UNSURE, ROWS, ANY = "up.top", "up.sure", "up.unsure", "up.rows", "up.any"
"""The largest probability of each row, whether that is enough, whether not, which are not, and whether any is not."""

INDEX, GIVEN, PUT = "up.index", "up.given", "up.put"
"""In the branch: the numbers of the rows that go up, the rows themselves, and all answers in their places."""
