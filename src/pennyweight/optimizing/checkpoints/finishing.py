"""The winner goes to its place with its certificate; what is left of the search are figures of a few kilobytes."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pennyweight.core import Phase
from pennyweight.cost.meter import meter
from pennyweight.engine.booking import book
from pennyweight.store.disk import explained, put

if TYPE_CHECKING:
    from pathlib import Path

    from pennyweight.optimizing.checkpoints.result import Result
    from pennyweight.optimizing.checkpoints.scene import Scene
    from pennyweight.optimizing.checkpoints.work import Work

CERTIFICATE = "certificate.json"


def finish(result: Result, scene: Scene, work: Work) -> Result:
    """Move the winner, with its certificate in it, to where it was asked for; book what came of the search.

    The original is not copied: where it stands, nothing is written. Other candidates are removed.
    """
    out = scene.ask.out if result.held else None
    window = meter()
    with window:
        done = replace(result, out=out)
        if out is not None:
            made = work.place / result.winner
            put(made / CERTIFICATE, _certificate(done, scene), "the certificate")
            with explained(out, "the winner"):
                out.parent.mkdir(parents=True, exist_ok=True)
                made.replace(out)
        _sweep(work.place, [each.name for each in result.tried])
    note = {"held": result.held, "winner": result.winner, "search_usd": result.search.usd}
    book(f"optimize {scene.name}", Phase.FIND, window.measured, f"answer: {result.winner}", note)
    return done


def _certificate(result: Result, scene: Scene) -> bytes:
    """What is certain of the winner, in JSON."""
    test, found = result.passed[result.winner], result.kept
    said = {
        "checkpoint": result.winner,
        "source": {"folder": scene.name, "sha256": result.fingerprint},
        "floor": f"perplexity at most {100 * result.floor.amount:g}% higher than the source's",
        "give_up": result.floor.amount,
        "confidence": result.floor.confidence,
        **asdict(test),
        "text": {"sha256": result.text.sha256, "certify_sha256": scene.parts.fresh_sha256, **_read(scene)},
        "price": {"per": "million generated tokens", **found[1].facts()} if found else None,
        "search": asdict(result.search),
        "at_utc": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    return (json.dumps(said, indent=2, ensure_ascii=False) + "\n").encode()


def _read(scene: Scene) -> dict[str, object]:
    how = scene.windows
    return {"window": how.window, "stride": how.stride, "computed_in": how.dtype, "select": len(scene.parts.select)}


def _sweep(place: Path, names: list[str]) -> None:
    """Remove the weights of candidates; what was measured of them stays."""
    for name in names:
        shutil.rmtree(place / name, ignore_errors=True)
