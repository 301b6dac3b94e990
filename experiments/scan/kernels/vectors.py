"""A vector type for compiled code, with the operations that products need.

LLVM does not vectorise loops that write several rows of a matrix, as it cannot tell whether they
overlap. Code with explicit vectors does not depend on that.
"""

from __future__ import annotations

from typing import Any, cast

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model

VECTOR_BYTES = 64


class _Vector(types.Type):  # type: ignore[misc]
    """A vector of `VECTOR_BYTES` bytes of one scalar type; exists only in compiled code."""

    def __init__(self, dtype: Any) -> None:
        self.dtype = dtype
        self.lanes = 8 * VECTOR_BYTES // dtype.bitwidth
        super().__init__(f"vector({dtype}, {self.lanes})")

    @property
    def llvm_suffix(self) -> str:
        """Suffix of LLVM's functions on this type."""
        return f"v{self.lanes}f{self.dtype.bitwidth}"


@register_model(_Vector)
class _VectorModel(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, vector: Any) -> None:
        element = ir.FloatType() if vector.dtype == types.float32 else ir.DoubleType()
        kind = ir.VectorType(element, vector.lanes)
        super().__init__(manager, vector, kind)  # type: ignore[no-untyped-call]


def _address(context: Any, builder: Any, array: Any, arguments: Any, vector: Any) -> Any:
    """Return the address of `array[row, column]`; rows are contiguous."""
    value, row, column = arguments
    made = context.make_array(array)(context, builder, value)
    stride = builder.extract_value(made.strides, 0)
    width = ir.Constant(column.type, array.dtype.bitwidth // 8)
    start = builder.bitcast(made.data, ir.IntType(8).as_pointer())
    place = builder.gep(start, [builder.add(builder.mul(row, stride), builder.mul(column, width))])
    return builder.bitcast(place, context.get_value_type(vector).as_pointer())


def _declare(builder: Any, name: str, signature: Any) -> Any:
    """Declare an LLVM intrinsic."""
    declare: Any = cgutils.get_or_insert_function
    return declare(builder.module, signature, name)


@intrinsic
def _lanes(_context: Any, array: Any) -> Any:
    """Return the number of array elements in a vector, known at compile time."""
    count = _Vector(array.dtype).lanes

    def build(context: Any, _builder: Any, signature: Any, _arguments: Any) -> Any:
        return context.get_constant(signature.return_type, count)

    return types.intp(array), build


@intrinsic
def _load(_context: Any, array: Any, row: Any, column: Any) -> Any:
    """Read the vector that starts at `array[row, column]`."""
    vector = _Vector(array.dtype)

    def build(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        read = builder.load(_address(context, builder, array, arguments, vector))
        read.align = array.dtype.bitwidth // 8
        return read

    return vector(array, types.intp, types.intp), build


@intrinsic
def _store(_context: Any, array: Any, row: Any, column: Any, vector: Any) -> Any:
    """Write a vector to the array, starting at `array[row, column]`."""

    def build(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        place = _address(context, builder, array, arguments[:3], vector)
        builder.store(arguments[3], place).align = array.dtype.bitwidth // 8
        return context.get_dummy_value()

    return types.none(array, types.intp, types.intp, vector), build


@intrinsic
def _splat(_context: Any, scalar: Any) -> Any:
    """Return a vector of equal elements."""
    vector = _Vector(scalar)

    def build(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        kind = context.get_value_type(vector)
        undefined = ir.Constant(kind, ir.Undefined)
        index = ir.IntType(32)
        first = builder.insert_element(undefined, arguments[0], ir.Constant(index, 0))
        zeros = ir.Constant(ir.VectorType(index, vector.lanes), [0] * vector.lanes)
        return builder.shuffle_vector(first, undefined, zeros)

    return vector(scalar), build


@intrinsic
def _multiply_add(_context: Any, a: Any, b: Any, c: Any) -> Any:
    """Return the vector a * b + c, rounded once if the processor can."""

    def build(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        kind = context.get_value_type(a)
        name = f"llvm.fmuladd.{a.llvm_suffix}"
        function = _declare(builder, name, ir.FunctionType(kind, [kind] * 3))
        return builder.call(function, arguments)

    return a(a, a, a), build


@intrinsic
def _total(_context: Any, vector: Any) -> Any:
    """Return the sum of the elements of a vector."""

    def build(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        kind = context.get_value_type(vector)
        name = f"llvm.vector.reduce.fadd.{vector.llvm_suffix}"
        function = _declare(builder, name, ir.FunctionType(kind.element, [kind.element, kind]))
        zero = ir.Constant(kind.element, -0.0)
        return builder.call(function, [zero, arguments[0]], fastmath=("reassoc",))

    return vector.dtype(vector), build


# numba supplies the first argument of each.
lanes, load, store, splat = (cast(Any, f) for f in (_lanes, _load, _store, _splat))
multiply_add, total = cast(Any, _multiply_add), cast(Any, _total)
