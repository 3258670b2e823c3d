"""Rotary positions: pairs of a vector's numbers are turned by angles that grow with its place.

Su et al. 2021, arXiv 2104.09864, section 3.4.2. The pairs are (x_i, x_{i + D/2}), as in the weights
that transformers reads; the paper's neighbours (x_2i, x_2i+1) are the same up to an order of i.
"""

import numpy as np

from tinygrad_llm.checks import check_rotary


def rotary(x, /, *, cos, sin):
    """With x = (a, b), two halves of D/2: y = (a cos - b sin, b cos + a sin);   dx: dy turned back.

    x (..., T, D), cos and sin (T, D/2) of the angles of each place. A turn keeps lengths, and the
    product of two turned vectors depends on the distance of their places alone.
    """
    check_rotary(x, cos, sin)
    cos, sin = np.asarray(cos, x.dtype), np.asarray(sin, x.dtype)

    def backward(dy):
        return (_turned(dy, cos, -sin),)

    return _turned(x, cos, sin), backward


def _turned(x, cos, sin):
    a, b = np.split(x, 2, axis=-1)
    return np.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)
