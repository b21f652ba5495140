"""How far predictions of cost are off on whole models, layouts and systems that were never seen, table by table.

    python -m bench.predict [--data DIR] [--only NAME …]

Every `bench/heldout_*.py` is one domain: it learns on all groups but some, predicts those, and goes around. Beside it
stand what others reach, as measured out of sample by us (Calculon, AIConfigurator) or in the same rows (one constant
utilisation, in the domain's own lines).
"""

from __future__ import annotations

import argparse
import math
import time
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from bench.heldout import DATA, show
from bench.report import emit, table

if TYPE_CHECKING:
    from bench.heldout import Line

PEERS = (
    ("Calculon", "SC21 Table 1 / 109 multi-node A100 rows / 1,440 single-node rows", "10.3% / 15.3% / 38.9%"),
    ("llm-analysis", "the same; asks for the efficiency", "7.9% / 24.5% / 59.9%"),
    ("vTrain, as claimed", "multi-node / single-node, with a profile", "14.7% / 8.4%"),
    ("AIConfigurator 0.12", "5,221 serving rows: TPOT / TTFT", "32.5% / 54%"),
    (
        "one utilisation",
        "SC21 / MPT / dense NeMo / MoE / multi-node / single-node",
        "5.9 / 8.7 / 6.6 / 17.7 / 17.5 / 59%",
    ),
)


def main() -> None:
    """Run every domain, or those that are named."""
    domains = sorted(path.stem.removeprefix("heldout_") for path in Path(__file__).parent.glob("heldout_*.py"))
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--data", type=Path, default=DATA, help="the folder of measured tables")
    options.add_argument("--only", nargs="*", choices=domains, default=domains, help="domains")
    asked = options.parse_args()
    found: list[Line] = []
    for domain in asked.only:
        began = time.process_time()
        lines = list(import_module(f"bench.heldout_{domain}").results(asked.data))
        print(f"{domain} ({time.process_time() - began:.0f} CPU s)")
        show(lines)
        print()
        found += lines
    print("Others, out of sample:")
    table(["peer", "on", "mean error"], [list(row) for row in PEERS])
    emit("predict", figures(found), sum(line.rows for line in found))


def figures(found: list[Line]) -> dict[str, float]:
    """Errors and coverages by table, target and split, and how many bars are met."""
    told: dict[str, float] = {}
    above = ""
    for line in found:
        indented = line.name.startswith(" ")  # a baseline of the line above it
        above = above if indented else line.name
        name = f"{above}, {line.name.strip()}" if indented else line.name
        key = f"{name}_{line.target}_{line.split}".replace(" ", "_")
        told[f"{key}_mape"] = line.mape
        if not math.isnan(line.covered):
            told[f"{key}_covered"] = line.covered
    barred = [line for line in found if line.wanted is not None]
    met = sum(line.mape <= (line.wanted or 0.0) for line in barred)
    return told | {"bars": len(barred), "bars_met": met}


if __name__ == "__main__":
    main()
