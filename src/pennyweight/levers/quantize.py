"""Compute in 8-bit integers instead of 32-bit floats, with ranges seen on training rows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self, final

import numpy as np

from pennyweight import backends
from pennyweight.backends import onnx_quantize
from pennyweight.core import YES, Form, Kind, Lever, Op, Stage, Task, no
from pennyweight.errors import BadInputError, NoEffectError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from pennyweight.core import Job, Spec, Verdict, Work

_HOW = ("static", "dynamic", "blocks")
_FEWEST_ROWS = 16
_PRODUCTS = frozenset({Kind.CONV, Kind.LINEAR})
_PASSED_ON = frozenset({Kind.POINTWISE, Kind.POOL, Kind.COPY})
_BATCH_NORM = 4  # values per channel: scale, shift, running mean, running variance


@final
@dataclass(frozen=True, slots=True)
class Quantize(Lever):
    """Post-training quantisation of convolutions and matrix products; `how` says where the ranges come from.

    "static": weights and activations in 8 bits, the ranges of activations seen on `rows` training rows, as
    `calibration` keeps them ("minmax", "entropy", "percentile"); with `float_stem` the first convolution stays float.
    "dynamic": weights in 8 bits, ranges found at every call. "blocks": weights in `bits` (8 or 4) with a scale per
    block, for models that answer few rows at a time.
    """

    how: str = "static"
    bits: int = 8
    rows: int = 256
    calibration: str = "minmax"
    float_stem: bool = True

    stage: ClassVar[Stage] = Stage.COMPRESS
    source: ClassVar[str] = (
        "Jacob et al. 2018, Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only "
        "Inference (arXiv:1712.05877); Nagel et al. 2021, A White Paper on Neural Network Quantization "
        "(arXiv:2106.08295)"
    )
    trust: ClassVar[float] = 0.02

    def __post_init__(self) -> None:
        allowed = (8, 4) if self.how == "blocks" else (8,)
        if self.how not in _HOW or self.bits not in allowed:
            raise BadInputError(
                f"There is no way to quantise {self.how!r} in {self.bits} bits.",
                f"use {', '.join(_HOW)} in 8 bits, or blocks in 4.",
            )
        if self.calibration not in onnx_quantize.CALIBRATIONS or self.rows < _FEWEST_ROWS:
            raise BadInputError(
                f"{self.rows} rows cannot be calibrated by {self.calibration!r}.",
                f"use {_FEWEST_ROWS} rows or more and one of {', '.join(onnx_quantize.CALIBRATIONS)}.",
            )

    @classmethod
    def choices(cls, job: Job) -> Iterator[Self]:
        """Language models: weights first. Others: calibrated, the first convolution in floats and then in integers."""
        if job.spec.data.task is Task.LANGUAGE:
            yield cls("blocks")
            yield cls("dynamic")
        yield cls()
        if job.spec.has(Kind.CONV):
            yield cls(float_stem=False)

    def fits(self, spec: Spec) -> Verdict:
        """Fits networks that still compute in floats."""
        products = [op for op in spec.ops if op.kind in _PRODUCTS]
        if spec.form is Form.ESTIMATOR:
            return no("a scikit-learn estimator has no layers to quantise; prune_trees or sparse_code make it smaller")
        if not products:
            return no("the model has no convolution and no matrix of weights")
        if any(op.weight_bits <= 8 or op.act_bits <= 8 for op in products):
            return no("the model is quantised already; pull quantize once")
        if not any(self._changes(op, products[0]) for op in products):
            return no("the only convolution is the first one, which stays float; set float_stem to False")
        return YES

    def rewrite(self, spec: Spec) -> Spec:
        """Give products fewer bits; the model becomes a graph, which torch cannot serve."""
        runs = "onnxruntime" if spec.serve.runtime in {"torch", "compiled"} else spec.serve.runtime
        return replace(
            spec,
            form=Form.GRAPH,
            ops=self._fewer(spec),
            serve=replace(spec.serve, runtime=runs),
            tune_rows=spec.tune_rows + (self.rows if self.how == "static" else 0),
        )

    def pull(self, work: Work) -> Work:
        """Write the model as a graph and quantise that; rows for calibration are drawn from the training split."""
        if not work.trained:
            raise BadInputError("An untrained network has no ranges worth keeping.", "train it first.")
        given = backends.load("torch").export(work, "onnx")
        graph = given.file("model.onnx")
        if self.how == "static":
            rows = _drawn(work, self.rows).astype(given.facts["input_dtype"], copy=False)
            made = onnx_quantize.static(graph, rows, calibration=self.calibration, float_stem=self.float_stem)
        else:
            made = onnx_quantize.dynamic(graph) if self.how == "dynamic" else onnx_quantize.blocks(graph, self.bits)
        if not onnx_quantize.has_integers(made):
            raise NoEffectError(
                "No operator of the graph could be quantised.", "use the static way, or leave quantisation out."
            )
        return work.having(model=made, spec=self.rewrite(work.spec))

    def _fewer(self, spec: Spec) -> tuple[Op, ...]:
        """The rows as a runtime executes them.

        Batch norm is part of the convolution before it; an activation function is part of the integer product before
        it, and what passes integers on (pooling, a sum of two) moves a quarter of the bytes.
        """
        kept: list[Op] = []
        whole, convolves = False, self.how == "static" and spec.has(Kind.CONV)
        first = next(op for op in spec.ops if op.kind in _PRODUCTS)
        for op in spec.ops:
            last = kept[-1] if kept else None
            if op.kind is Kind.NORM and op.per_out == _BATCH_NORM and last is not None and last.kind is Kind.CONV:
                kept[-1] = replace(last, per_out=1)
            elif self._changes(op, first):
                kept.append(self._narrow(op))
                whole = self.how == "static"
            elif not (whole and last is not None and op.kind is Kind.POINTWISE and op.intake == 1):
                whole = whole and convolves and op.kind in _PASSED_ON
                kept.append(replace(op, act_bits=8) if whole else op)
        return tuple(kept)

    def _narrow(self, op: Op) -> Op:
        act_bits = 8 if self.how == "static" else op.act_bits
        return replace(op, weight_bits=self.bits, disk_bits=self.bits, act_bits=act_bits, density=1.0)

    def _changes(self, op: Op, first: Op) -> bool:
        if op.kind is Kind.LINEAR:
            return True
        return op.kind is Kind.CONV and self.how == "static" and not (self.float_stem and op is first)


def _drawn(work: Work, rows: int) -> NDArray[np.generic]:
    x = work.data.train.x
    index = np.random.default_rng(work.seed).permutation(len(x))[:rows]
    drawn: NDArray[np.generic] = x[np.sort(index)]
    return drawn
