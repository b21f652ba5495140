"""What finished models answer, in no more room than the answer takes."""

import numpy as np

from pennyweight.core import Artifact
from pennyweight.engine.answers import answer, judged, probes, with_probes


class Wide:
    """A session that answers a wide row of logits for every token, and remembers how many rows it was asked at once."""

    def __init__(self, words):
        self.words, self.most = words, 0

    def predict(self, x):
        self.most = max(self.most, len(x))
        return np.sin(x[..., None] + np.arange(self.words), dtype=np.float32)


def wide(words, tokens):
    meta = {"input_dtype": "int64", "outputs": "logits", "classes": words, "input_shape": [tokens], "task": "language"}
    artifact = Artifact("torch", (("a.json", b"{}"),), tuple(sorted(meta.items())))
    return Wide(words), artifact, np.arange(12 * tokens).reshape(12, tokens) % words


def test_likelihoods_of_a_large_vocabulary_are_asked_for_a_few_rows_at_a_time():
    session, artifact, x = wide(2**15, 128)
    told = judged(session, artifact, x, x, "perplexity")
    assert (told.shape, session.most) == ((12, 128), 4)
    whole = session.predict(x[:1]).astype(np.float64)
    wanted = np.take_along_axis(whole, x[:1, :, None], 2)[..., 0] - np.log(np.exp(whole).sum(2))
    assert np.allclose(told[:1], wanted)
    small, other, rows = wide(50, 4)
    assert judged(small, other, rows, rows, "log_loss").shape == (12, 4)
    assert small.most == 12
    assert judged(small, other, rows, rows, "accuracy").shape == answer(small, other, rows).shape == (12, 4, 50)


def test_probes_of_a_large_vocabulary_are_few_and_of_a_small_one_eight():
    for (session, artifact, x), count in ((wide(2**14, 64), 2), (wide(2**15, 128), 1), (wide(50, 4), 8)):
        rows, answers = probes(with_probes(artifact, session, x))
        assert len(rows) == len(answers) == count
        assert answers.nbytes < 40e6
        assert np.array_equal(rows, x[:count])
