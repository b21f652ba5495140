import secrets
from itertools import islice

import numpy as np
import pytest

from pennyweight.data.columnar import Packed, TokenStream, pack, pack_tokens
from pennyweight.errors import BadInputError, CorruptError


@pytest.fixture(params=["path", "memory"])
def place(request, tmp_path):
    """A place of either kind."""
    return str(tmp_path / "p") if request.param == "path" else f"memory://{secrets.token_hex(8)}"


def stream(place, n=1000, vocabulary=100):
    tokens = np.random.default_rng(0).integers(0, vocabulary, n)
    pack_tokens({"train": tokens}, place, vocabulary, shard_byte=256)
    return tokens, TokenStream(Packed.at(place))


@pytest.mark.parametrize(("vocabulary", "byte"), [(256, 1), (257, 2), (65_536, 2), (65_537, 4)])
def test_a_token_takes_as_few_bytes_as_the_vocabulary_allows(place, vocabulary, byte):
    made = pack_tokens({"train": np.array([0, vocabulary - 1])}, place, vocabulary)
    assert made.byte == 2 * byte
    assert TokenStream(Packed.at(place)).between(0, 2).tolist() == [0, vocabulary - 1]


def test_tokens_come_back_within_a_shard_and_across_shards(place):
    tokens, found = stream(place)
    assert len(found) == 1000
    assert found.vocabulary == 100
    for start, stop in ((0, 1000), (250, 260), (255, 256), (256, 256), (999, 1000)):
        assert np.array_equal(found.between(start, stop), tokens[start:stop])
    starts = np.array([0, 250, 511, 980])
    assert np.array_equal(found.windows(starts, 20), np.stack([tokens[at : at + 20] for at in starts]))


def test_a_window_of_one_shard_is_a_view_of_the_mapped_file(tmp_path):
    _, found = stream(tmp_path / "p")
    base = found.between(3, 9)
    while base.base is not None and not isinstance(base, np.memmap):
        base = base.base
    assert isinstance(base, np.memmap)


def test_batches_are_inputs_and_what_follows_and_go_on_from_any_step(place):
    _, found = stream(place)
    first = list(islice(found.batches(4, 16, seed=5), 6))
    later = list(islice(found.batches(4, 16, seed=5, first=3), 3))
    for (x, y), (again, _) in zip(first[3:], later, strict=True):
        assert np.array_equal(x, again)
        assert np.array_equal(x[:, 1:], y[:, :-1])


def test_batches_can_be_tensors(place):
    torch = pytest.importorskip("torch")
    _, found = stream(place)
    x, y = next(found.batches(4, 16, torch=True))
    assert x.dtype == torch.int64
    assert x.shape == y.shape == (4, 16)


def test_tokens_outside_the_vocabulary_are_refused(place):
    with pytest.raises(BadInputError, match="tokens from 0 to 5, the vocabulary has 5"):
        pack_tokens({"train": np.array([0, 5])}, place, 5)
    with pytest.raises(BadInputError, match="no stream of tokens"):
        pack_tokens({"train": np.zeros((2, 2), int)}, place, 5)


def test_a_damaged_shard_of_tokens_is_named(tmp_path):
    _, found = stream(tmp_path / "p")
    (tmp_path / "p" / "train-00001.tokens").write_bytes(b"0" * 256)
    assert len(found.between(0, 256)) == 256
    with pytest.raises(CorruptError, match=r"train-00001\.tokens"):
        found.between(250, 260)
    assert len(Packed.at(tmp_path / "p").check()) == 1


def test_rows_are_no_stream_and_a_short_stream_has_no_window(place, tmp_path):
    pack({"train": {"x": np.arange(3)}}, tmp_path)
    with pytest.raises(BadInputError, match="read it with Stream"):
        TokenStream(Packed.at(tmp_path))
    _, found = stream(place, n=8)
    with pytest.raises(BadInputError, match="no window of 17"):
        next(found.batches(1, 16))
