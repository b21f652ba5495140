"""`pennyweight run` and `pennyweight explain`: use an artifact, and understand it."""

from __future__ import annotations

import warnings
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np

from pennyweight.cli.screen import say, say_json
from pennyweight.engine.answers import answer, open_session, probes
from pennyweight.errors import BadInputError, CorruptError
from pennyweight.store.artifacts import load
from pennyweight.store.disk import put
from pennyweight.units import percent, seconds, si, usd

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from pennyweight.core import Artifact

_TOLERANCE = 1e-3


def run_artifact(folder: Path, given: Path | None, output: Path | None, *, json: bool) -> None:
    """Answer the given rows, or prove that the artifact still answers its own probes as recorded."""
    artifact = load(folder)
    session = open_session(artifact)
    if given is None:
        x, recorded = probes(artifact)
        y = answer(session, artifact, x)
        drift = float(np.abs(y - recorded).max())
        if not drift <= _TOLERANCE:
            raise CorruptError(
                f"The artifact answers its probes differently than when it was made (by {drift:.2g}).",
                "use the runtime version it was made with, or make it again.",
            )
    else:
        x = _rows(given, tuple(artifact.facts["input_shape"]))
        y = answer(session, artifact, x)
    if output is not None:
        body = BytesIO()
        np.save(body, y, allow_pickle=False)
        put(output, body.getvalue(), "the answers")
    if json:
        say_json({"rows": len(y), "answers": y.tolist() if output is None else str(output), "probes": given is None})
    elif output is not None:
        say(f"{len(y)} answers are in {output}.")
    else:
        _print(y, proved=given is None)


def explain_artifact(folder: Path, *, json: bool) -> None:
    """Tell what the manifest says, in words or as JSON."""
    artifact = load(folder)
    facts = artifact.facts
    if json:
        say_json({"digest": artifact.digest, "disk_byte": artifact.disk_byte, **artifact.manifest})
        return
    for line in _story(artifact, facts):
        say(line)


def _story(artifact: Artifact, facts: dict[str, Any]) -> list[str]:
    run, serve = facts.get("run", {}), facts["serve"]
    lines = [
        f"{facts.get('job', 'A model')} · {artifact.format} · {si(artifact.disk_byte, 'B')} · {artifact.digest[:12]}",
        f"  served by  {serve['runtime']}, {serve['precision']}, {serve['threads']} thread(s), batch {serve['batch']}",
        f"  takes      {tuple(facts['input_shape'])} {facts['input_dtype']}, answers {facts['outputs']}",
    ]
    levers = run.get("levers", [])
    lines += [f"  {lever['stage'].lower():10} {lever['text']}" for lever in levers] or ["  levers     none: as asked"]
    if run:
        unit, score = run["bill"]["unit"], run["score"]
        cost = f"{seconds(unit['device_s'])} CPU and {usd(unit['usd'])} per prediction"
        mean = f"{score['metric']} {score['mean']:.4f} (95% interval {score['low']:.4f} to {score['high']:.4f}"
        lines += [
            f"  costs      {cost}, {usd(run['bill']['total']['usd'])} over the horizon",
            f"  quality    {mean}, {score['n']} examples)",
        ]
    if facts.get("saving") is not None:
        lines.append(f"  saves      {percent(facts['saving'], 1)} of the control's total")
    lines.append(f"  guarantee  {facts['certificate']['text'] if facts.get('certificate') else 'none on file'}")
    return lines


def _rows(given: Path, shape: tuple[int, ...]) -> NDArray[Any]:
    if not given.exists():
        raise BadInputError(f"There is no file {given}.", "give a .npy or .csv file of rows.")
    try:
        x = _numbers(given)
    except (ValueError, OSError) as error:
        raise BadInputError(
            f"{given} holds no plain numbers ({error}).", "give a .npy array, or a .csv of numbers without a header."
        ) from None
    if x.dtype.kind not in "fiub" or x.size == 0:
        what = "nothing" if x.size == 0 else "no real numbers"
        raise BadInputError(f"{given} holds {what}.", "give rows of numbers.")
    if x.shape == shape:
        x = x[None]
    if x.ndim and x.shape[1:] != shape and x[0].size == int(np.prod(shape)):
        x = x.reshape(len(x), *shape)
    if x.ndim == 0 or x.shape[1:] != shape:
        raise BadInputError(f"Rows of shape {x.shape[1:]} do not fit a model that takes {shape}.", "reshape them.")
    if x.dtype.kind == "f" and not np.isfinite(x).all():
        raise BadInputError(f"There is NaN or infinity in {given}.", "fill or drop those rows.")
    return x


def _numbers(given: Path) -> NDArray[Any]:
    """The array in a file; an empty one is no reason to warn here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        plain = given.suffix == ".npy"
        x: NDArray[Any] = np.load(given, allow_pickle=False) if plain else np.loadtxt(given, delimiter=",", ndmin=2)
    return x


def _print(y: NDArray[Any], *, proved: bool) -> None:
    if proved:
        say(f"The artifact answers its {len(y)} probes as recorded:")
    for row in y[:10]:
        if y.ndim == 2:
            say(f"  class {int(row.argmax())}  ({percent(float(row.max()), 1)})")
        else:
            say(f"  {np.array2string(np.asarray(row), precision=4, threshold=8)}")
    if len(y) > 10:
        say(f"  … and {len(y) - 10} more; write all with --output answers.npy")
