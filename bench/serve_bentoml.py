"""BentoML around the network, as its manual shows it; started by bench.serve as `bentoml serve`, not by hand."""

import os

import bentoml
import numpy as np
import onnxruntime

BATCHED = {"batchable": True, "max_batch_size": 64, "max_latency_ms": 1000} if os.environ.get("BENCH_BATCH") else {}


@bentoml.service(workers=1, traffic={"timeout": 60, "max_concurrency": 256}, metrics={"enabled": True})
class Network:
    """Rows in, probabilities out."""

    def __init__(self) -> None:
        """Load the model, on one thread."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        model = os.environ["BENCH_MODEL"]
        self.session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    @bentoml.api(**BATCHED)
    def predict(self, x: np.ndarray) -> np.ndarray:
        """Probabilities of rows."""
        logits = self.session.run(None, {"x": x.astype(np.float32)})[0]
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        return shares / shares.sum(axis=1, keepdims=True)
