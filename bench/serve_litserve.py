"""LitServe around the network, as its manual shows it; run by bench.serve in an environment with LitServe, not by hand.

python serve_litserve.py MODEL.onnx PORT BATCH
"""

import sys

import litserve
import numpy as np
import onnxruntime

MODEL, PORT, BATCH = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])


class Network(litserve.LitAPI):
    """Rows in, probabilities out."""

    def setup(self, device: str) -> None:
        """Load the model, on one thread."""
        del device
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(MODEL, options, providers=["CPUExecutionProvider"])

    def decode_request(self, request: dict) -> np.ndarray:
        """The row of a request."""
        return np.asarray(request["input"], np.float32)

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Probabilities of one row, or of as many as were batched."""
        x = np.asarray(x)
        logits = self.session.run(None, {"x": x if x.ndim == 2 else x[None]})[0]
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        return shares if x.ndim == 2 else shares[0]

    def encode_response(self, output: np.ndarray) -> dict:
        """A list of probabilities."""
        return {"output": output.tolist()}


if __name__ == "__main__":
    batched = {"max_batch_size": BATCH, "batch_timeout": 0.001} if BATCH > 1 else {}
    server = litserve.LitServer(Network(**batched), accelerator="cpu", workers_per_device=1)
    server.run(host="127.0.0.1", port=PORT, log_level="warning", access_log=False, generate_client_file=False)
