"""Rotary positions: pairs of a vector's numbers are turned by angles that grow with its place.

Su et al. 2021, arXiv 2104.09864, section 3.4.2. The pairs are (x_i, x_{i + D/2}), as in the weights
that transformers reads; the paper's neighbours (x_2i, x_2i+1) are the same up to an order of i.
"""

import numpy as np

from tinygrad_llm.checks import check_floats


def rotary(x, /, *, cos, sin):
    """With x = (a, b), two halves of D/2: y = (a cos - b sin, b cos + a sin);   dx: dy turned back.

    x (..., T, D), cos and sin (T, D/2) of the angles of each place. A turn keeps lengths, and the
    product of two turned vectors depends on the distance of their places alone.
    """
    check_floats("rotary", x)
    _check(x, cos, sin)
    cos, sin = np.asarray(cos, x.dtype), np.asarray(sin, x.dtype)

    def backward(dy):
        return (_turned(dy, cos, -sin),)

    return _turned(x, cos, sin), backward


def _turned(x, cos, sin):
    a, b = np.split(x, 2, axis=-1)
    return np.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)


def _check(x, cos, sin):
    half = (*x.shape[-2:-1], x.shape[-1] // 2) if x.ndim >= 2 else None
    if half is None or x.shape[-1] % 2 or np.shape(cos) != half or np.shape(sin) != half:
        raise ValueError(
            f"rotary: x of shape {x.shape} does not fit cos {np.shape(cos)} and sin {np.shape(sin)}"
            "; x (..., T, D) needs both (T, D/2), D even"
        )
