"""Tables of PyTorch modules: what PyTorch's own counter sees, what was worked out by hand, and nothing left behind."""

import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as fn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from pennyweight.core import Kind
from pennyweight.cost.count import flop, weights
from pennyweight.cost.table_module import table_of_module
from pennyweight.errors import BadInputError, UntraceableError

MNIST = (1, 28, 28)


def mnist_cnn():
    return nn.Sequential(
        nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(64, 64, 3), nn.ReLU(), nn.Flatten(), nn.Linear(576, 64), nn.ReLU(), nn.Linear(64, 10),
    )  # fmt: skip


class Block(nn.Module):
    def __init__(self, w):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(w), nn.LayerNorm(w)
        self.qkv, self.proj = nn.Linear(w, 3 * w), nn.Linear(w, w)
        self.up, self.down = nn.Linear(w, 4 * w), nn.Linear(4 * w, w)

    def forward(self, x):
        b, t, w = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(b, t, 3, 4, w // 4).permute(2, 0, 3, 1, 4)
        y = fn.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(b, t, w)
        z = x + self.proj(y)
        return z + self.down(fn.gelu(self.up(self.norm2(z))))


class Gpt(nn.Module):
    def __init__(self, layers, w=16):
        super().__init__()
        self.token, self.place = nn.Embedding(50, w), nn.Embedding(24, w)
        self.blocks, self.norm = nn.ModuleList(Block(w) for _ in range(layers)), nn.LayerNorm(w)
        self.head = nn.Linear(w, 50, bias=False)
        self.head.weight = self.token.weight
        self.register_buffer("mask", torch.ones(24, 24).tril())

    def forward(self, x):
        y = self.token(x) + self.place(torch.arange(x.shape[1]))
        for block in self.blocks:
            y = block(y)
        return self.head(self.norm(y))


class Lambda(nn.Module):
    def __init__(self, forward, **parts):
        super().__init__()
        self.run = forward
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x):
        return self.run(self, x)


def counted_by_torch(model, shape, dtype=torch.float32):
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        model.eval()(torch.zeros((1, *shape), dtype=dtype))
    return counter.get_total_flops()


def total(ops):
    return sum(map(flop, ops))


def by_name(ops):
    return {op.name: op for op in ops}


MODELS = {
    "cnn": (mnist_cnn, MNIST),
    "residual": (
        lambda: Lambda(
            lambda m, x: m.out(m.norm(m.c(fn.relu(m.b(m.a(x)))) + m.a(x)).mean((2, 3))),
            a=nn.Conv2d(3, 8, 3, 2, 1), b=nn.Conv2d(8, 8, 3, padding=1, groups=8), c=nn.Conv2d(8, 8, 1),
            norm=nn.BatchNorm2d(8), out=nn.Linear(8, 5),
        ),
        (3, 12, 12),
    ),
    "upsampling": (
        lambda: nn.Sequential(
            nn.ConvTranspose2d(3, 6, 3, 2, 1, 1), nn.SiLU(), nn.ConvTranspose2d(6, 2, 3), nn.Upsample(scale_factor=2)
        ),
        (3, 5, 5),
    ),
    "signal": (lambda: nn.Sequential(nn.Conv1d(4, 8, 5, dilation=2, padding=8), nn.PReLU(), nn.AvgPool1d(2)), (4, 30)),
    "volume": (lambda: nn.Sequential(nn.Conv3d(1, 4, 3), nn.InstanceNorm3d(4), nn.AdaptiveAvgPool3d(1)), (1, 6, 6, 6)),
    "gru": (lambda: Lambda(lambda m, x: m.gru(x)[0][:, -1], gru=nn.GRU(5, 7, 2, batch_first=True)), (9, 5)),
    "expert": (
        lambda: Lambda(
            lambda m, x: torch.einsum("btw,ewh->beth", x, m.w),
            w=nn.Parameter(torch.zeros(3, 8, 4)),
        ),
        (6, 8),
    ),
    "attention with weights": (
        lambda: Lambda(lambda m, x: m.a(x, x, x)[0], a=nn.MultiheadAttention(8, 2, batch_first=True)),
        (6, 8),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_the_flop_are_those_that_torch_counts(name):
    make, shape = MODELS[name]
    model = make()
    assert total(table_of_module(model, shape)) == counted_by_torch(model, shape) > 0


@pytest.mark.parametrize("name", MODELS)
def test_the_weights_are_the_parameters_and_running_statistics(name):
    make, shape = MODELS[name]
    model = make()
    held = [p.numel() for p in model.parameters()] + [b.numel() for b in model.buffers() if b.is_floating_point()]
    assert sum(map(weights, table_of_module(model, shape))) == sum(held)


@settings(max_examples=8)
@given(st.lists(st.integers(1, 9), min_size=2, max_size=4), st.integers(1, 3), st.integers(1, 2))
def test_any_stack_of_convolutions_counts_as_torch_does(widths, kernel, stride):
    layers = [nn.Conv2d(a, b, kernel, stride) for a, b in zip([3, *widths], widths, strict=False)]
    model = nn.Sequential(*layers)
    assert total(table_of_module(model, (3, 31, 31))) == counted_by_torch(model, (3, 31, 31))


def test_the_mnist_network_is_the_table_one_would_write_by_hand():
    ops = by_name(table_of_module(mnist_cnn(), MNIST))
    convs = [ops[name] for name in ("0", "3", "6")]
    assert [(op.n_in, op.n_out, op.fan, op.positions) for op in convs] == [
        (1, 32, 9, 26 * 26), (32, 64, 9, 11 * 11), (64, 64, 9, 3 * 3),
    ]  # fmt: skip
    assert [(op.reads, op.writes) for op in convs] == [("", "0"), ("0", "3"), ("3", "6")]
    flat, last = ops["9"], ops["11"]
    assert (flat.n_in, flat.fan, flat.reads, flat.writes) == (64, 9, "6", "9")
    assert (last.kind, last.n_in, last.reads, last.writes) == (Kind.LINEAR, 64, "9", "")
    assert (ops["2"].kind, ops["2"].intake) == (Kind.POOL, 4)
    assert "8" not in ops, "flattening is a view and costs nothing"


def test_recurrent_layers_multiply_both_their_matrices_at_every_step():
    steps, n_in, hidden = 11, 5, 7
    model = Lambda(lambda m, x: m.lstm(x)[0], lstm=nn.LSTM(n_in, hidden, 2, batch_first=True, bidirectional=True))
    ops = table_of_module(model, (steps, n_in))
    by_hand = sum(2 * steps * 4 * hidden * (width + hidden) for width in (n_in, n_in, 2 * hidden, 2 * hidden))
    assert total(ops) == by_hand
    assert all(op.positions == steps for op in ops if op.kind is Kind.LINEAR)


def test_attention_is_two_products_over_all_pairs_of_positions():
    ops = by_name(table_of_module(Gpt(1), (20,), dtype="int64"))
    scores, mix = ops["blocks.0.scores"], ops["blocks.0.mix"]
    assert flop(scores) == flop(mix) == 2 * 20 * 20 * 16
    assert (scores.kind, ops["blocks.0.softmax"].kind) == (Kind.MATMUL, Kind.SOFTMAX)


def test_a_hundred_equal_layers_are_as_few_rows_as_one():
    ops = table_of_module(Gpt(12), (20,), dtype="int64")
    assert len(ops) <= 20
    assert by_name(ops)["blocks.*.up"].times == 12
    assert by_name(ops)["blocks.*.up"].writes == by_name(ops)["blocks.*.down"].reads == "blocks.*.up"
    assert total(ops) == counted_by_torch(Gpt(12), (20,), torch.int64)


def test_tied_embeddings_are_stored_once_and_masks_are_no_weights():
    model = Gpt(2)
    ops = table_of_module(model, (24,), dtype="int64")
    assert sum(map(weights, ops)) == sum(p.numel() for p in model.parameters())
    assert (by_name(ops)["token"].kind, by_name(ops)["head"].kind) == (Kind.COPY, Kind.LINEAR)


def test_the_residual_stream_of_a_transformer_keeps_its_width():
    ops = table_of_module(Gpt(2), (20,), dtype="int64")
    assert {op.writes for op in ops} == {"", "blocks.*.up"}


def test_a_layer_used_three_times_is_stored_once_and_multiplied_three_times():
    model = Lambda(lambda m, x: m.a(m.a(m.a(x))), a=nn.Linear(6, 6))
    ops = table_of_module(model, (6,))
    assert sum(map(weights, ops)) == 42
    assert total(ops) == 3 * 72
    assert by_name(ops)["a"].positions == 3


def test_blocks_of_different_width_stay_apart():
    model = nn.ModuleDict({"blocks": nn.ModuleList(nn.Sequential(nn.Linear(4, w), nn.Linear(w, 4)) for w in (8, 9))})
    ops = table_of_module(Lambda(lambda m, x: m.d.blocks[1](m.d.blocks[0](x)), d=model), (4,))
    assert {"d.blocks.0.0", "d.blocks.1.0"} <= {op.writes for op in ops}


def groups_of(run, shape=(3, 8, 8), **parts):
    return {op.name: op.writes for op in table_of_module(Lambda(run, **parts), shape)}


def test_added_maps_share_their_width():
    found = groups_of(
        lambda m, x: m.out(fn.relu(m.a(x) + m.b(x))), a=nn.Conv2d(3, 6, 1), b=nn.Conv2d(3, 6, 1), out=nn.Conv2d(6, 2, 1)
    )
    assert found["a"] == found["b"] == "a"


def test_a_depthwise_convolution_ties_what_comes_in_to_what_goes_out():
    found = groups_of(
        lambda m, x: m.out(m.b(m.a(x))), a=nn.Conv2d(3, 6, 1), b=nn.Conv2d(6, 6, 3, groups=6), out=nn.Conv2d(6, 2, 1)
    )
    assert found["a"] == found["b"] == "a"


@pytest.mark.parametrize(
    "mix",
    [
        lambda m, x: m.out(torch.cat((m.a(x), x), 1)),
        lambda m, x: m.out(m.a(x).view(1, 3, 2, 8, 8).transpose(1, 2).reshape(1, 6, 8, 8)),
        lambda m, x: m.out(m.norm(m.a(x))),
        lambda m, x: m.out(m.a(x).softmax(1)),
        lambda m, x: m.out(m.a(x) * m.scale),
    ],
    ids=["concatenated", "shuffled", "normalised in groups", "softmax", "scaled by a loose parameter"],
)
def test_channels_that_are_mixed_keep_their_width(mix):
    wide = 9 if "cat" in mix.__code__.co_names else 6
    parts = {"a": nn.Conv2d(3, 6, 1), "out": nn.Conv2d(wide, 2, 1), "norm": nn.GroupNorm(2, 6)}
    found = groups_of(mix, **parts, scale=nn.Parameter(torch.ones(6, 1, 1)))
    assert set(found.values()) == {""}


def test_layers_across_positions_may_change_inside_but_not_the_channels_they_run_over():
    def run(m, x):
        return m.out(m.back(m.along(m.a(x).transpose(1, 2))).transpose(1, 2))

    found = groups_of(run, (5, 8), a=nn.Linear(8, 6), along=nn.Linear(5, 7), back=nn.Linear(7, 5), out=nn.Linear(6, 2))
    assert (found["a"], found["along"], found["back"]) == ("", "along", "")


def test_the_model_is_left_as_it_was():
    model = mnist_cnn().train()
    before = {name: (id(p), p.detach().clone()) for name, p in model.named_parameters()}
    table_of_module(model, MNIST)
    assert model.training
    assert all(id(p) == before[name][0] and torch.equal(p, before[name][1]) for name, p in model.named_parameters())


def test_a_model_larger_than_memory_is_counted():
    with torch.device("meta"):
        model = nn.Sequential(nn.Linear(10**6, 10**6), nn.ReLU(), nn.Linear(10**6, 10))
    ops = table_of_module(model, (10**6,))
    assert total(ops) == 2 * (10**12 + 10**7)


def test_half_precision_weights_count_their_bits():
    (op,) = table_of_module(nn.Linear(3, 3).half(), (3,), dtype="float16")
    assert (op.weight_bits, op.act_bits, op.disk_bits) == (16, 16, 16)


def test_blocks_without_gradient_are_walked_like_the_rest():
    def run(m, x):
        with torch.no_grad():
            y = m.a(x).relu()
        return m.b(y)

    model = Lambda(run, a=nn.Linear(4, 6), b=nn.Linear(6, 2))
    assert total(table_of_module(model, (4,))) == 2 * (24 + 12)


def branching(m, x):
    return x if x.sum() > 0 else -x


def selecting(m, x):
    return x[x > 0]


def through_numpy(m, x):
    return torch.from_numpy(x.numpy())


@pytest.mark.parametrize(
    ("run", "words"), [(branching, "torch.where"), (selecting, "torch.where"), (through_numpy, "PyTorch operations")]
)
def test_a_model_whose_path_depends_on_values_is_refused_with_advice(run, words, capfd):
    with pytest.raises(UntraceableError, match=words):
        table_of_module(Lambda(run), (4,))
    assert capfd.readouterr() == ("", ""), "the refusal is the only thing said"


def test_a_wrong_shape_is_refused_with_the_shape():
    with pytest.raises(UntraceableError, match=r"shape \(5,\)"):
        table_of_module(nn.Linear(4, 4), (5,))


def test_an_unknown_type_is_refused():
    with pytest.raises(BadInputError, match="float32"):
        table_of_module(nn.Linear(4, 4), (4,), dtype="real")


def test_encoder_layers_are_not_hidden_by_their_fused_path():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2).requires_grad_(False)
    ops = table_of_module(model, (6, 8))
    by_hand = 2 * (2 * 6 * 8 * (24 + 8 + 16 + 16) + 4 * 6 * 6 * 8)
    assert total(ops) == by_hand
    assert by_name(ops)["layers.*.linear1"].writes == "layers.*.linear1"
