"""COLUMNS float32 numbers side by side as a Numba type, where the compiler makes no vector code.

`load`, `store` and `spread` make vectors; + - * / work between two of them and between one and a
float32 number. The other functions take vectors or numbers. LLVM fits the vectors to any host.
"""

import operator

from llvmlite import ir
from numba import types
from numba.core.cgutils import get_or_insert_function
from numba.extending import intrinsic, models, overload, register_model

from tinygrad_llm.kernels.simd import COLUMNS, FLOAT, FLOAT_BYTES, POINTER


class Vector(types.Type):
    """The type of COLUMNS float32 numbers that are computed with side by side."""

    def __init__(self):
        super().__init__(name=f"Vector({COLUMNS})")


VECTOR = Vector()
_REGISTER, _INT = ir.VectorType(FLOAT, COLUMNS), ir.IntType(32)


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager, kind):
        super().__init__(manager, kind, _REGISTER)


@intrinsic
def load(typing, address):
    """The COLUMNS numbers from an address on."""

    def generate(context, builder, signature, arguments):
        place = builder.inttoptr(arguments[0], POINTER)
        return builder.load(place, align=FLOAT_BYTES, typ=_REGISTER)

    return VECTOR(types.intp), generate


@intrinsic
def store(typing, vector, address):
    """Write the numbers to an address and those behind it."""

    def generate(context, builder, signature, arguments):
        vector, address = arguments
        builder.store(vector, builder.inttoptr(address, POINTER), align=FLOAT_BYTES)
        return context.get_dummy_value()

    return types.void(VECTOR, types.intp), generate


@intrinsic
def spread(typing, number):
    """A vector of one number."""

    def generate(context, builder, signature, arguments):
        return _spread(builder, arguments[0])

    return VECTOR(types.float32), generate


@intrinsic
def lane(typing, vector, i):
    """The i-th number of a vector."""

    def generate(context, builder, signature, arguments):
        vector, i = arguments
        return builder.extract_element(vector, builder.trunc(i, _INT))

    return types.float32(VECTOR, types.intp), generate


@intrinsic
def larger(typing, a, b):
    """The larger of a and b; NaN if one is NaN."""

    def generate(context, builder, signature, arguments):
        kind = arguments[0].type
        name = f"llvm.maximum.v{COLUMNS}f32" if kind == _REGISTER else "llvm.maximum.f32"
        function = ir.FunctionType(kind, [kind] * 2)
        return builder.call(get_or_insert_function(builder.module, function, name), arguments)

    return a(a, a), generate


@intrinsic
def clamp(typing, x, low, high):
    """x moved into [low, high], which are numbers; NaN stays NaN."""

    def generate(context, builder, signature, arguments):
        x, low, high = _alike(builder, *arguments)
        x = builder.select(builder.fcmp_ordered("<", x, low), low, x)
        return builder.select(builder.fcmp_ordered(">", x, high), high, x)

    return x(x, types.float32, types.float32), generate


@intrinsic
def at_least(typing, x, low):
    """The larger of x and low, which is a number; NaN stays NaN."""

    def generate(context, builder, signature, arguments):
        x, low = _alike(builder, *arguments)
        return builder.select(builder.fcmp_ordered("<", x, low), low, x)

    return x(x, types.float32), generate


@intrinsic
def only(typing, x, first, end, fill):
    """The vector x in its lanes from `first` to `end` - 1, the number `fill` in the others."""

    def generate(context, builder, signature, arguments):
        x, first, end, fill = arguments
        kind = ir.VectorType(_INT, COLUMNS)
        lanes = ir.Constant(kind, list(range(COLUMNS)))
        first, end = (_spread_int(builder, builder.trunc(n, _INT), kind) for n in (first, end))
        inside = builder.and_(
            builder.icmp_signed(">=", lanes, first), builder.icmp_signed("<", lanes, end)
        )
        return builder.select(inside, x, _spread(builder, fill))

    return VECTOR(VECTOR, types.intp, types.intp, types.float32), generate


@intrinsic
def scale_by_power(typing, x, shifted):
    """x 2^n for shifted = n + 1.5 2^23, where n is from -125 to 128.

    It is 2 (x 2^(n - 1)), because 2^128 is no float32 though x 2^128 may be one.
    """

    def generate(context, builder, signature, arguments):
        x, shifted = arguments
        kind = ir.VectorType(_INT, COLUMNS) if x.type == _REGISTER else _INT
        biased = builder.sub(builder.bitcast(shifted, kind), _constant(kind, 0x4B400000 - 126))
        power = builder.bitcast(builder.shl(biased, _constant(kind, 23)), x.type)
        half = builder.fmul(x, power)
        return builder.fadd(half, half)

    return x(x, x), generate


@intrinsic
def add_to_exponent(typing, x, shifted):
    """x 2^n for shifted = n + 1.5 2^23, where x and x 2^n are numbers of normal size."""

    def generate(context, builder, signature, arguments):
        x, shifted = arguments
        kind = ir.VectorType(_INT, COLUMNS) if x.type == _REGISTER else _INT
        # of the bits of 1.5 2^23 none is left when n has reached the exponent's place
        n = builder.shl(builder.bitcast(shifted, kind), _constant(kind, 23))
        return builder.bitcast(builder.add(builder.bitcast(x, kind), n), x.type)

    return x(x, x), generate


@intrinsic
def zero_below(typing, y, x, limit):
    """y, but 0 where x is below a limit, which is a number."""

    def generate(context, builder, signature, arguments):
        y, x, limit = _alike(builder, *arguments)
        return builder.select(builder.fcmp_ordered("<", x, limit), ir.Constant(y.type, None), y)

    return y(y, x, types.float32), generate


def _arithmetic(symbol, instruction):
    """Let `symbol` work on vectors."""

    @intrinsic
    def compute(typing, a, b):
        def generate(context, builder, signature, arguments):
            # flags: a product and a sum may become one instruction that rounds once
            return getattr(builder, instruction)(*_alike(builder, *arguments), flags=["contract"])

        return VECTOR(a, b), generate

    @overload(symbol)
    def implementation(a, b):
        if VECTOR in (a, b) and {a, b} <= {VECTOR, types.float32}:
            return lambda a, b: compute(a, b)


for _symbol, _instruction in (
    (operator.add, "fadd"),
    (operator.sub, "fsub"),
    (operator.mul, "fmul"),
    (operator.truediv, "fdiv"),
):
    _arithmetic(_symbol, _instruction)


def _alike(builder, *values):
    """The values, with numbers spread where another value is a vector."""
    if all(value.type == FLOAT for value in values):
        return values
    return [_spread(builder, value) if value.type == FLOAT else value for value in values]


def _spread(builder, number):
    one = builder.insert_element(ir.Constant(_REGISTER, ir.Undefined), number, _INT(0))
    return builder.shuffle_vector(one, one, _constant(ir.VectorType(_INT, COLUMNS), 0))


def _spread_int(builder, number, kind):
    one = builder.insert_element(ir.Constant(kind, ir.Undefined), number, _INT(0))
    return builder.shuffle_vector(one, one, ir.Constant(kind, [0] * kind.count))


def _constant(kind, value):
    return ir.Constant(kind, value if kind == _INT else [value] * COLUMNS)
