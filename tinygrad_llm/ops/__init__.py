"""The table of operations: each name once, each a function of arrays that returns (y, backward)."""

from tinygrad_llm.ops import (
    activations,
    attention,
    elementwise,
    feed_forward,
    losses,
    matmul,
    normalize,
    reductions,
    rotary,
    selection,
    shapes,
    swiglu,
)

_NAMES = {
    elementwise: "add subtract multiply divide power negative exp log sqrt abs clip "
    "maximum minimum",
    activations: "relu sigmoid tanh silu gelu",
    reductions: "sum mean var max min",
    shapes: "reshape transpose permute squeeze unsqueeze broadcast_to concatenate stack "
    "split getitem",
    selection: "where masked_fill embedding dropout",
    matmul: "matmul linear linear_residual",
    feed_forward: "feed_forward",
    swiglu: "swiglu",
    normalize: "softmax log_softmax layer_norm rms_norm",
    attention: "scaled_dot_product_attention split_heads join_heads",
    rotary: "rotary",
    losses: "cross_entropy linear_cross_entropy mse_loss",
}

TABLE = {name: getattr(room, name) for room, names in _NAMES.items() for name in names.split()}
