"""The operators a stored torch graph may use: pure tensor arithmetic, nothing that reads a file or foreign memory."""

from __future__ import annotations

GRAPH_SCHEMA = 1
PACKED_SCHEMA = 2  # some tensors are stored in parts; the rest is as in schema 1
GRAPH_FILE = "graph.json"
WEIGHTS_FILE = "weights.safetensors"

_LAYERS = """
    adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d
    addbmm addmm alpha_dropout avg_pool1d avg_pool2d avg_pool3d baddbmm batch_norm bilinear bmm channel_shuffle
    conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d convolution cosine_similarity dot dropout
    einsum embedding embedding_bag feature_dropout fold group_norm gru im2col instance_norm layer_norm linear lstm
    matmul max_pool1d max_pool2d max_pool2d_with_indices max_pool3d mm mv native_batch_norm native_group_norm
    native_layer_norm outer pad constant_pad_nd pixel_shuffle pixel_unshuffle reflection_pad1d reflection_pad2d
    replication_pad1d replication_pad2d rms_norm rnn_relu rnn_tanh scaled_dot_product_attention unfold
    upsample_bilinear2d upsample_nearest1d upsample_nearest2d upsample_bicubic2d upsample_linear1d
    gru_cell lstm_cell rnn_relu_cell rnn_tanh_cell feature_alpha_dropout local_response_norm
"""
_POINTWISE = """
    abs acos add addcdiv addcmul asin atan atan2 bitwise_and bitwise_not bitwise_or bitwise_xor ceil celu clamp
    clamp_max clamp_min cos cosh div elu eq erf erfc erfinv exp exp2 expm1 floor floor_divide fmod frac ge gelu glu gt
    hardshrink hardsigmoid hardswish hardtanh isfinite isinf isnan le leaky_relu lerp log log10 log1p log2 log_sigmoid
    logaddexp logical_and logical_not logical_or logical_xor logit lt maximum minimum mish mul nan_to_num ne neg pow
    prelu reciprocal relu relu6 remainder round rsqrt rsub selu sgn sigmoid sign silu sin sinh softplus softshrink
    softsign sqrt square sub tan tanh tanhshrink threshold trunc where xlogy
    masked_fill
"""
_INPLACE = """
    add_ celu_ clamp_ clamp_max_ clamp_min_ copy_ div_ dropout_ elu_ exp_ fill_ hardsigmoid_ hardswish_ hardtanh_
    leaky_relu_ masked_fill_ mish_ mul_ neg_ pow_ relu6_ relu_ rsqrt_ selu_ sigmoid_ silu_ sqrt_ sub_ tanh_ zero_
    unsqueeze_ squeeze_ transpose_ feature_dropout_ alpha_dropout_ detach_ index_put_ scatter_ threshold_
"""
_SHAPES = """
    alias arange argmax argmin argsort broadcast_to cat chunk clone contiguous concat concatenate detach diagonal dstack
    empty_like expand expand_as eye flatten flip full full_like gather hstack index index_add index_put index_select
    linspace movedim moveaxis narrow new_full new_ones new_zeros one_hot ones ones_like permute ravel repeat
    repeat_interleave reshape reshape_as roll rot90 scalar_tensor scatter scatter_add select slice slice_scatter
    select_scatter sort split split_with_sizes squeeze stack sym_numel sym_size swapaxes swapdims t tensor_split tile to
    topk transpose tril triu type_as unbind unflatten unsqueeze view view_as vstack zeros zeros_like _to_copy
    lift_fresh_copy lift_fresh take_along_dim numpy_T meshgrid _unsafe_view
"""
_REDUCTIONS = """
    all amax amin any cummax cumprod cumsum log_softmax logcumsumexp logsumexp max mean median min norm prod softmax
    _softmax _log_softmax std std_mean sum var var_mean linalg_vector_norm aminmax cdist count_nonzero
    normalize softmin
"""

ATEN: frozenset[str] = frozenset((_LAYERS + _POINTWISE + _INPLACE + _SHAPES + _REDUCTIONS).split())
ARITHMETIC: frozenset[str] = frozenset({"add", "sub", "mul", "floordiv", "truediv", "mod", "neg", "pow", "getitem"})


def part_name(name: str, part: str) -> str:
    """What a part of the packed tensor `name` is called in the file; no tensor of a model has an empty name inside."""
    return f"{name}..{part}"
