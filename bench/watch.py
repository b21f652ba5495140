"""How soon the monitor sees what went wrong, and how often it cries wolf: simulated traffic, hundreds of weeks of it.

`python -m bench.watch [--quick]`. Canaries lose 5% of requests as their rival does, or one point more; every verdict is
that of `serve.watch`, looked at again and again. Weeks without any change count false alarms.
"""

from __future__ import annotations

import sys
import time

from bench.report import emit
from bench.watch_canary import canaries, sums
from bench.watch_digits import unlabelled
from bench.watch_weeks import costs, drift, floors


def main() -> None:
    """Print the tables; the last line is JSON."""
    repeats = 100 if "--quick" in sys.argv else 500
    figures: dict[str, float] = {}
    for part in (canaries, sums, floors, drift, costs, unlabelled):
        began = time.process_time()
        figures |= part(repeats)
        print(f"({part.__name__}: {time.process_time() - began:.0f} CPU s)\n", flush=True)
    emit("watch", figures, repeats)


if __name__ == "__main__":
    main()
