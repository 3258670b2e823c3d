"""Vector code that Numba cannot write itself, built with LLVM's IR builder: the heart of the matrix
product.

Intrinsics over raw addresses (integers that count bytes): a register tile of fused multiply-adds,
and the copies that pack its operands. LLVM legalizes vectors of any length, so this text serves
SSE, AVX2, AVX-512 and NEON.
"""

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.core.cgutils import get_or_insert_function
from numba.extending import intrinsic

FLOAT, INT, POINTER = ir.FloatType(), ir.IntType(64), ir.PointerType()
FLOAT_BYTES, CACHE_LINE = 4, 64
VECTORS = 2  # in a row of the tile


def host_tile(features):
    """(lanes, rows): float32 numbers in a vector register of a host with these LLVM features, rows
    of its tile.

    The sums, VECTORS of them a row, stay in registers: 12 of 16, or 24 of 32.
    """
    if features.get("avx512f"):
        return 16, 12
    if features.get("neon"):
        return 4, 12
    return (8 if features.get("avx") else 4), 6


LANES, ROWS = host_tile(llvm.get_host_cpu_features())
COLUMNS = VECTORS * LANES


@intrinsic(prefer_literal=True)
def multiply_tile(typing, rows, vectors, lanes, a, b, depth, c, c_stride, add, fetch):
    """c = a^T b, or c += a^T b where `add` is not 0; c has rows x (vectors lanes) numbers, c_stride
    bytes a row.

    a (depth, rows) and b (depth, vectors lanes) are contiguous, depth >= 1. fetch: None, or what to
    fetch into the caches meanwhile: for each k the row of c's width at (address, step, rate), that
    is at address + step (k rate // 2^16).
    """
    tile = rows.literal_value, vectors.literal_value, lanes.literal_value
    step = rows.literal_value * FLOAT_BYTES

    def generate(context, builder, signature, arguments):
        a, *more = arguments[3:]
        _multiply_tile(builder, *tile, a, INT(FLOAT_BYTES), INT(step), *more)
        return context.get_dummy_value()

    return types.void(rows, vectors, lanes, *[types.intp] * 6, fetch), generate


@intrinsic(prefer_literal=True)
def multiply_rows(typing, rows, vectors, lanes, a, a_stride, b, depth, c, c_stride, add, fetch):
    """The same with c = a b of an a (rows, depth) as it lies, a_stride bytes from row to row."""
    tile = rows.literal_value, vectors.literal_value, lanes.literal_value

    def generate(context, builder, signature, arguments):
        a, a_stride, *more = arguments[3:]
        _multiply_tile(builder, *tile, a, a_stride, INT(FLOAT_BYTES), *more)
        return context.get_dummy_value()

    return types.void(rows, vectors, lanes, *[types.intp] * 7, fetch), generate


@intrinsic
def pointer(typing, address):
    """The address as a pointer to float32 numbers: `pointer(x)[0]`, or an array by
    `numba.carray(pointer(x), n)`.
    """
    kind = types.CPointer(types.float32)

    def generate(context, builder, signature, arguments):
        return builder.inttoptr(arguments[0], context.get_value_type(kind))

    return kind(types.intp), generate


def _multiply_tile(
    builder, rows, vectors, lanes, a, a_row, a_k, b, depth, c, c_stride, add, fetch
):
    """a_row, a_k: bytes from row to row and from k to k of a."""
    vector = ir.VectorType(FLOAT, lanes)
    c_rows = [builder.add(c, builder.mul(c_stride, INT(row))) for row in range(rows)]
    for address in c_rows:
        _prefetch(builder, address, vectors * lanes, write=True)
    # A register serves three rows of a: processors add a stride, once or twice, to an address in
    # the load itself.
    offsets = [builder.mul(a_row, INT(i)) for i in range(3)]
    firsts = [builder.add(a, builder.mul(a_row, INT(row))) for row in range(0, rows, 3)]
    zeros = [ir.Constant(vector, None)] * rows * vectors
    before, loop = builder.block, builder.append_basic_block("products")
    builder.branch(loop)
    builder.position_at_end(loop)
    starts = [INT(0), *firsts, *zeros]
    k, *others = phis = [builder.phi(start.type) for start in starts]
    for phi, start in zip(phis, starts):
        phi.add_incoming(start, before)
    places, sums = others[: len(firsts)], others[len(firsts) :]
    if isinstance(fetch.type, ir.ArrayType):
        _fetch(builder, fetch, k, vectors * lanes)
    columns = [_load(builder, vector, b, k, vectors * lanes, v * lanes) for v in range(vectors)]
    new = []
    for row in range(rows):
        place = builder.add(places[row // 3], offsets[row % 3])
        number = _spread(builder, _load(builder, FLOAT, place), vector)
        new += [
            _multiply_add(builder, number, column, sums[row * vectors + v])
            for v, column in enumerate(columns)
        ]
    k_next = builder.add(k, INT(1))
    moved = [builder.add(place, a_k) for place in places]
    for phi, value in zip(phis, [k_next, *moved, *new]):
        phi.add_incoming(value, loop)
    after = builder.append_basic_block("sums")
    builder.cbranch(builder.icmp_signed("<", k_next, depth), loop, after)
    builder.position_at_end(after)
    _store_tile(builder, vector, c_rows, new, add)


def _fetch(builder, fetch, k, count):
    address, step, rate = (builder.extract_value(fetch, i) for i in range(3))
    index = builder.ashr(builder.mul(k, rate), INT(16))
    _prefetch(builder, builder.add(address, builder.mul(index, step)), count, write=False)


def _store_tile(builder, vector, c_rows, sums, add):
    places = [
        builder.add(row, INT(v * vector.count * FLOAT_BYTES))
        for row in c_rows
        for v in range(len(sums) // len(c_rows))
    ]
    _store_or_add(builder, vector, places, sums, add)


def _store_or_add(builder, vector, places, values, add):
    with builder.if_else(builder.icmp_signed("!=", add, INT(0))) as (then, otherwise):
        with then:
            for place, value in zip(places, values):
                _store(builder, builder.fadd(_load(builder, vector, place), value), place)
        with otherwise:
            for place, value in zip(places, values):
                _store(builder, value, place)


@intrinsic(prefer_literal=True)
def copy_row(typing, width, lanes, target, source):
    """target[:width] = source[:width], in whole vectors: up to lanes - 1 numbers beyond the width
    are copied too.
    """
    count = -(-width.literal_value // lanes.literal_value)
    step = lanes.literal_value * FLOAT_BYTES

    def generate(context, builder, signature, arguments):
        target, source = arguments[2:]
        vector = ir.VectorType(FLOAT, lanes.literal_value)
        values = [_load(builder, vector, builder.add(source, INT(i * step))) for i in range(count)]
        for i, value in enumerate(values):
            _store(builder, value, builder.add(target, INT(i * step)))
        return context.get_dummy_value()

    return types.void(width, lanes, types.intp, types.intp), generate


@intrinsic(prefer_literal=True)
def copy_transposed(typing, width, lanes, target, source, stride, rows):
    """target (lanes, width) = transpose of source (rows, lanes), whose rows are `stride` bytes
    apart; rows <= width.

    Rows that the source does not have repeat its last one. Up to lanes - 1 numbers beyond the
    target are written.
    """
    width_, lanes_ = width.literal_value, lanes.literal_value

    def generate(context, builder, signature, arguments):
        target, source, stride, rows = arguments[2:]
        vector = ir.VectorType(FLOAT, lanes_)
        last = builder.sub(rows, INT(1))
        blocks = []
        for first in range(0, width_, lanes_):
            vectors = []
            for row in range(first, first + lanes_):
                if row < width_:
                    there = builder.icmp_signed("<", INT(row), rows)
                    index = builder.select(there, INT(row), last)
                    vectors.append(
                        _load(builder, vector, builder.add(source, builder.mul(index, stride)))
                    )
                else:
                    vectors.append(ir.Constant(vector, ir.Undefined))
            blocks.append(_transpose(builder, vectors))
        # Row by row of the target, so that what one row writes beyond its width the next one
        # overwrites.
        for row in range(lanes_):
            for i, block in enumerate(blocks):
                place = INT((row * width_ + i * lanes_) * FLOAT_BYTES)
                _store(builder, block[row], builder.add(target, place))
        return context.get_dummy_value()

    return types.void(width, lanes, *[types.intp] * 4), generate


@intrinsic(prefer_literal=True)
def transpose_square(typing, lanes, target, target_stride, source, source_stride, add):
    """target (lanes, lanes) = or += transpose of source (lanes, lanes); strides: bytes from row to
    row.
    """
    count = lanes.literal_value

    def generate(context, builder, signature, arguments):
        target, target_stride, source, source_stride, add = arguments[1:]
        vector = ir.VectorType(FLOAT, count)
        sources, targets = (
            [builder.add(start, builder.mul(stride, INT(row))) for row in range(count)]
            for start, stride in ((source, source_stride), (target, target_stride))
        )
        rows = _transpose(builder, [_load(builder, vector, place) for place in sources])
        _store_or_add(builder, vector, targets, rows, add)
        return context.get_dummy_value()

    return types.void(lanes, *[types.intp] * 5), generate


def _transpose(builder, vectors):
    """The vectors of a square block's columns from those of its rows: exchange halves, then
    quarters, and so on.
    """
    vectors, half = list(vectors), len(vectors) // 2
    lanes = range(len(vectors))
    while half:
        low = [j if not j & half else j - half + len(vectors) for j in lanes]
        high = [j + half if not j & half else j + len(vectors) for j in lanes]
        for i in [i for i in lanes if not i & half]:
            pair = vectors[i], vectors[i + half]
            vectors[i], vectors[i + half] = (_shuffle(builder, *pair, mask) for mask in (low, high))
        half //= 2
    return vectors


def _shuffle(builder, first, second, mask):
    indices = ir.Constant(ir.VectorType(ir.IntType(32), len(mask)), mask)
    return builder.shuffle_vector(first, second, indices)


def _spread(builder, number, vector):
    one = builder.insert_element(ir.Constant(vector, ir.Undefined), number, ir.IntType(32)(0))
    return _shuffle(builder, one, one, [0] * vector.count)


def _multiply_add(builder, x, y, z):
    """x y + z in one rounding where the host has the instruction (llvm.fma would call a library
    where not).
    """
    kind = ir.FunctionType(x.type, [x.type] * 3)
    name = f"llvm.fmuladd.v{x.type.count}f32"
    return builder.call(get_or_insert_function(builder.module, kind, name), [x, y, z])


def _load(builder, kind, address, index=None, scale=0, offset=0):
    if index is not None:
        address = builder.add(address, builder.mul(index, INT(scale * FLOAT_BYTES)))
    address = builder.add(address, INT(offset * FLOAT_BYTES))
    pointer = builder.inttoptr(address, POINTER)
    return builder.load(pointer, align=FLOAT_BYTES, typ=kind)


def _store(builder, value, address):
    builder.store(value, builder.inttoptr(address, POINTER), align=FLOAT_BYTES)


def _prefetch(builder, address, count, *, write):
    """Bring the cache lines of `count` numbers close: to write them next, or to read them soon."""
    kind = ir.FunctionType(ir.VoidType(), [POINTER] + [ir.IntType(32)] * 3)
    function = get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
    hints = [ir.IntType(32)(n) for n in ((1, 3, 1) if write else (0, 2, 1))]
    for line in range(0, count * FLOAT_BYTES, CACHE_LINE):
        place = builder.inttoptr(builder.add(address, INT(line)), POINTER)
        builder.call(function, [place, *hints])
