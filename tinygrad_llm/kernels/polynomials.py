"""exp and what follows from it as polynomials, which the compiler can turn into vector code.

libm's functions take one number at a time. Here the coefficients are minimax fits made for this
file, and the reduction of exp is that of Cody and Waite 1980, "Software manual for the elementary
functions". exp is within 1e-7 of the true value, relative; normal_tail within 4e-7 for x < 1. What
float32 could hold only as a subnormal number, below 1e-37, is 0: arithmetic with those is a hundred
times slower.
"""

import math

from numba import njit
from numpy import float32

from tinygrad_llm.kernels.compiling import INNER
from tinygrad_llm.kernels.vectors import (
    add_to_exponent,
    at_least,
    clamp,
    larger,
    scale_by_power,
    zero_below,
)

_LOG2_E = float32(1 / math.log(2))
_LN2_HIGH = float32(0.693359375)  # short enough for its products with n to be exact
_LN2_LOW = float32(math.log(2) - 0.693359375)
_ROUND = float32(1.5 * 2**23)  # adding it leaves no bits for a fraction
_LOWEST, _HIGHEST = float32(-86), float32(89)  # beyond them exp is 0 and inf
_EXP = tuple(map(float32, (0.00138146112, 0.00836871003, 0.0416683874, 0.166665207, 0.499999935)))
_ERFC = tuple(
    map(
        float32,
        (
            -0.000326578894,
            -0.00048558403,
            0.00307979076,
            -0.00122520997,
            -0.0268393474,
            0.119528867,
            -0.310466084,
            0.59022831,
            -0.883394484,
            1.07400691,
        ),
    )
)
_ZERO, _ONE, _HALF, _THREE, _SQRT_HALF = map(float32, (0, 1, 0.5, 3, math.sqrt(0.5)))
_FINITE, _INFINITE, _FLAT = float32(3e38), float32(math.inf), float32(9)
_DENSITY = float32(1 / math.sqrt(2 * math.pi))
# In GELU's tanh form (1 + tanh u) / 2 = sigmoid(2 u), and 2 u = x (LINEAR + CUBIC x^2).
LINEAR = float32(2 * math.sqrt(2 / math.pi))
CUBIC = float32(2 * math.sqrt(2 / math.pi) * 0.044715)


# Not FASTMATH: reordered, the rounding and the two-part ln 2 would cancel out of the program.
@njit(fastmath={"contract"}, **INNER)
def exp(x):
    """e^x of a float32 or of a vector of them; 0 below -86, inf above 88.8, NaN of NaN."""
    p, shifted = _reduced(clamp(x, _LOWEST, _HIGHEST))
    return zero_below(scale_by_power(p, shifted), x, _LOWEST)


@njit(fastmath={"contract"}, **INNER)
def exp_of_negative(x):
    """The same for x below 88, in fewer steps."""
    p, shifted = _reduced(at_least(x, _LOWEST))
    return zero_below(add_to_exponent(p, shifted), x, _LOWEST)


@njit(fastmath={"contract"}, **INNER)
def exp_of_small(x):
    """The same for x from -86 to 88, in fewer steps still."""
    return add_to_exponent(*_reduced(x))


@njit(fastmath={"contract"}, **INNER)
def _reduced(x):
    """(exp r, n + 1.5 2^23) for n = round(x / ln 2), r = x - n ln 2:   exp x = 2^n exp r.

    exp r = 1 + r (1 + r p(r)).
    """
    shifted = x * _LOG2_E + _ROUND
    n = shifted - _ROUND
    r = x - n * _LN2_HIGH - n * _LN2_LOW
    p = r * _EXP[0] + _EXP[1]
    p = p * r + _EXP[2]
    p = p * r + _EXP[3]
    p = p * r + _EXP[4]
    p = p * r + _ONE
    return p * r + _ONE, shifted


@njit(fastmath={"contract"}, **INNER)
def sigmoid(x):
    """1 / (1 + e^-x)."""
    return _ONE / (_ONE + exp(_ZERO - x))


@njit(fastmath={"contract"}, **INNER)
def gelu(x):
    """x P(Z < x) of a standard normal Z, which is max(x, 0) - |x| P(Z > |x|)."""
    size = clamp(larger(x, _ZERO - x), _ZERO, _FINITE)
    return clamp(x, _ZERO, _INFINITE) - size * normal_tail(size, exp(x * x * -_HALF))


@njit(fastmath={"contract"}, **INNER)
def gelu_tanh(x):
    """x (1 + tanh u) / 2 = x sigmoid(2 u)."""
    z = clamp(x, -_FLAT, _FLAT)
    return x * _sigmoid_tanh(x, exp_of_small(z * (z * z * -CUBIC - LINEAR)))


@njit(fastmath={"contract"}, **INNER)
def gelu_and_slope(x):
    """gelu(x), and its slope P(Z < x) + x p(x), p the density of Z."""
    gaussian = exp(x * x * -_HALF)
    size = clamp(larger(x, _ZERO - x), _ZERO, _FINITE)
    tail = normal_tail(size, gaussian)
    below = zero_below(_ONE - (tail + tail), x, _ZERO) + tail
    return clamp(x, _ZERO, _INFINITE) - size * tail, below + x * (gaussian * _DENSITY)


@njit(fastmath={"contract"}, **INNER)
def gelu_tanh_and_slope(x):
    """x s with s = sigmoid(2 u), and its slope s + x s (1 - s) 2 u'."""
    z = clamp(x, -_FLAT, _FLAT)
    square = z * z
    e = exp_of_small(z * (square * -CUBIC - LINEAR))
    s = _sigmoid_tanh(x, e)
    return x * s, s + z * s * (e * s) * (square * (_THREE * CUBIC) + LINEAR)


@njit(fastmath={"contract"}, **INNER)
def _sigmoid_tanh(x, e):
    """1 / (1 + e), where e is exp(-2 u) of x; 0 where that is below 1e-28, however large x is."""
    return zero_below(_ONE / (_ONE + e), x, -_FLAT)


@njit(fastmath={"contract"}, **INNER)
def normal_tail(x, gaussian):
    """P(Z > x) of a standard normal Z for x >= 0, given gaussian = exp(-x^2 / 2).

    That is erfc(z) / 2, z = x / sqrt 2, where erfc(z) = exp(-z^2) q(s) / (z + 3) with
    s = (z - 3) / (z + 3), which lies in [-1, 1), and a polynomial q of degree 9.
    """
    z = x * _SQRT_HALF
    inverse = _ONE / (z + _THREE)
    s = (z - _THREE) * inverse
    q = s * _ERFC[0] + _ERFC[1]
    for i in range(2, len(_ERFC)):
        q = q * s + _ERFC[i]
    return _HALF * gaussian * q * inverse
