"""Vector code over weights in blocks of 8 or 4 bits (blocks.py), built with LLVM's IR builder: a
block is read from memory once and is numbers only in registers.
"""

import numpy as np
from llvmlite import ir
from numba import types
from numba.core.cgutils import get_or_insert_function
from numba.extending import intrinsic

from tinygrad_llm.blocks import BLOCK, Q4_0, Q4_1, Q8_0
from tinygrad_llm.kernels import simd
from tinygrad_llm.kernels.simd import FLOAT, FLOAT_BYTES, INT, POINTER

FLOATS = np.dtype([("q", "<f4", BLOCK)])  # 32 numbers that are wide already
_HALF = BLOCK // 2  # numbers in a vector, which LLVM fits to any host
_WIDE, _WORDS = ir.VectorType(FLOAT, _HALF), ir.VectorType(ir.IntType(32), _HALF)


def dot_rows(dtype, count):
    """An intrinsic (w, blocks, x, x_stride, y, y_stride): y[r] = w x[r] for `count` rows of x.

    w: where a row of so many blocks of the dtype lies, at least one. Strides: bytes from row to row
    of x and from number to number of y. Each number of a y is summed in an order that depends on
    `blocks` alone.
    """

    @intrinsic
    def dot(typing, w, blocks, x, x_stride, y, y_stride):
        def generate(context, builder, signature, arguments):
            w, blocks, x, x_stride, y, y_stride = arguments
            rows = [builder.add(x, builder.mul(x_stride, INT(r))) for r in range(count)]
            before, loop = builder.block, builder.append_basic_block("blocks")
            builder.branch(loop)
            builder.position_at_end(loop)
            starts = [INT(0), *[ir.Constant(_WIDE, None)] * (2 * count)]
            k, *sums = phis = [builder.phi(start.type) for start in starts]
            block = builder.add(w, builder.mul(k, INT(dtype.itemsize)))
            halves, scale = _numbers(builder, dtype, block)
            new = []
            for r, row in enumerate(rows):
                parts = [simd._load(builder, _WIDE, row, k, BLOCK, i) for i in (0, _HALF)]
                new += _added(builder, halves, scale, parts, sums[2 * r : 2 * r + 2])
            k_next = builder.add(k, INT(1))
            for phi, start, value in zip(phis, starts, [k_next, *new]):
                phi.add_incoming(start, before)
                phi.add_incoming(value, loop)
            after = builder.append_basic_block("sums")
            builder.cbranch(builder.icmp_signed("<", k_next, blocks), loop, after)
            builder.position_at_end(after)
            for r in range(count):
                total = _sum(builder, builder.fadd(*new[2 * r : 2 * r + 2]))
                simd._store(builder, total, builder.add(y, builder.mul(y_stride, INT(r))))
            return context.get_dummy_value()

        return types.void(*[types.intp] * 6), generate

    return dot


def widen_block(dtype):
    """An intrinsic (w, x): the 32 numbers of the block at w become float32 numbers at x."""

    @intrinsic
    def widen(typing, w, x):
        def generate(context, builder, signature, arguments):
            w, x = arguments
            halves, scale = _numbers(builder, dtype, w)
            for i, half in enumerate(halves):
                half = half if scale is None else builder.fmul(half, scale)
                simd._store(builder, half, builder.add(x, INT(i * _HALF * FLOAT_BYTES)))
            return context.get_dummy_value()

        return types.void(types.intp, types.intp), generate

    return widen


def _added(builder, halves, scale, x, sums):
    """The sums plus the products of a block's halves with those of x."""
    low, high = halves
    if scale is None:
        return [simd._multiply_add(builder, *each) for each in zip(halves, x, sums)]
    products = simd._multiply_add(builder, high, x[1], builder.fmul(low, x[0]))
    return [simd._multiply_add(builder, products, scale, sums[0]), sums[1]]


def _numbers(builder, dtype, block):
    """(two vectors, scale) of a block: its numbers are those of the vectors times the scale, or
    where that is None, the vectors' own.
    """
    if dtype == FLOATS:
        return [simd._load(builder, _WIDE, block, offset=i) for i in (0, _HALF)], None
    d = _spread(builder, _float16(builder, block, dtype, "d"))
    place = builder.add(block, INT(dtype.fields["q"][1]))
    if dtype == Q8_0:
        signed = (builder.sext(_bytes(builder, place, i), _WORDS) for i in (0, _HALF))
        return [builder.sitofp(q, _WIDE) for q in signed], d
    q = builder.zext(_bytes(builder, place, 0), _WORDS)
    low, high = builder.and_(q, _words(15)), builder.lshr(q, _words(4))
    if dtype == Q4_0:
        centred = (builder.sub(q, _words(8)) for q in (low, high))
        return [builder.sitofp(q, _WIDE) for q in centred], d
    m = _spread(builder, _float16(builder, block, Q4_1, "m"))
    q = (builder.sitofp(q, _WIDE) for q in (low, high))
    return [simd._multiply_add(builder, half, d, m) for half in q], None


def _float16(builder, block, dtype, field):
    place = builder.inttoptr(builder.add(block, INT(dtype.fields[field][1])), POINTER)
    return builder.fpext(builder.load(place, align=2, typ=ir.HalfType()), FLOAT)


def _bytes(builder, place, offset):
    place = builder.inttoptr(builder.add(place, INT(offset)), POINTER)
    return builder.load(place, align=1, typ=ir.VectorType(ir.IntType(8), _HALF))


def _words(value):
    return ir.Constant(_WORDS, [value] * _HALF)


def _spread(builder, number):
    return simd._spread(builder, number, _WIDE)


def _sum(builder, vector):
    """The sum of a vector's numbers, halves added to halves."""
    kind = ir.FunctionType(FLOAT, [FLOAT, _WIDE])
    function = get_or_insert_function(builder.module, kind, f"llvm.vector.reduce.fadd.v{_HALF}f32")
    return builder.call(function, [ir.Constant(FLOAT, 0.0), vector], fastmath=["reassoc"])
