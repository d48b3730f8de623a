"""How rules and kernels are compiled: the one place that holds numba's options and signatures.

A *rule* is one function of a game (`deal`, `step`, ...), compiled with the fixed signature below. A *kernel* is a loop
over many states or trees that takes rules as arguments. Because both have explicit signatures, a kernel compiles once
for all games, a game compiles apart, and both are kept in numba's on-disk cache beside their source file, until that
or a source that it imports is changed (see `compiled_cache`).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numba import types
from numba.core import cgutils
from numba.core import config as numba_config
from numba.experimental.function_type import FunctionModel
from numba.extending import NativeValue, intrinsic, overload, register_model, typeof_impl, unbox
from numba.np.arrayobj import make_array

from scoundrel_ray.compiled_cache import stamp_all_sources

STATE = types.int32[::1]
RNG = types.uint64[::1]
ACTIONS = types.int16[::1]
OBSERVATION = types.int8[::1]
SCORES = types.float32[::1]

DEAL = types.int64(STATE, RNG)
REDEAL = types.int64(STATE, types.int64, RNG)
SEAT = types.int64(STATE)
LEGAL = types.int64(STATE, ACTIONS)
STEP = types.int64(STATE, types.int64)
RETURNS = types.int64(STATE, SCORES)
OBSERVE = types.int64(STATE, types.int64, OBSERVATION)
INFORMATION_KEY = types.uint64(STATE, types.int64)
HEURISTIC = types.int64(STATE, RNG)
PLAYOUT = HEURISTIC


stamp_all_sources()

_njit: Any = numba.njit  # its hints lack two of the options used here


def interpreted() -> bool:
    """Whether NUMBA_DISABLE_JIT is set: then all rules and kernels run as plain Python."""
    return bool(numba_config.DISABLE_JIT)  # pyright: ignore[reportAttributeAccessIssue]


class RuleType(types.FunctionType):
    """Type of a rule inside a kernel: the address of a compiled function.

    numba's own first-class function type looks the address up through Python at every call of a kernel (9 us a
    function, measured); this one reads an attribute (0.1 us). And it calls the compiled function itself: the wrapper
    for C copies all arguments once more, 7 words an array, which took a fifth of the time of stepping a world.
    """


register_model(RuleType)(FunctionModel)


class Rule:
    """One compiled function of a game, callable from Python and, by address, from kernels.

    Attributes:
        signature: numba signature it was compiled with.
        py_func: the plain Python function, its twin in tests.
        address: of the compiled function.

    Raises:
        TypeError: for a function of another number of arguments than its signature has.
    """

    def __init__(self, signature: Any, py_func: Callable[..., Any], makes_arrays: bool = True) -> None:
        got = list(inspect.signature(py_func).parameters)
        if len(got) != len(signature.args):
            raise TypeError(f"rule {py_func.__name__}({', '.join(got)}) has {len(got)} arguments, wanted {signature}")
        self.signature = signature
        self.numba_type = RuleType(signature)
        self.py_func = py_func
        self.__name__ = py_func.__name__
        self.__doc__ = py_func.__doc__
        self._dispatcher = _njit(signature, cache=True, nogil=True, error_model="numpy", _nrt=makes_arrays)(py_func)
        if interpreted():  # the pure-Python side of a benchmark
            self.address = 0
            return
        (compiled,) = self._dispatcher.overloads.values()
        self.address = compiled.library.get_pointer_to_function(compiled.fndesc.llvm_func_name)

    def __call__(self, *arguments: Any) -> Any:
        return self._dispatcher(*arguments)

    def __reduce__(self) -> Any:
        raise TypeError(
            f"rule {self.__name__} holds a machine address and cannot be sent to another process; send the game's "
            "config and build it there"
        )


@typeof_impl.register(Rule)
def _type_of_rule(rule: Rule, _context: Any) -> RuleType:
    return rule.numba_type


@unbox(RuleType)
def _unbox_rule(_typ: Any, rule: Any, c: Any) -> NativeValue:
    function = cgutils.create_struct_proxy(_typ)(c.context, c.builder)
    address = c.pyapi.object_getattr_string(rule, "address")
    function.jit_addr = c.pyapi.long_as_voidptr(address)
    c.pyapi.decref(address)
    null = c.context.get_constant_null(types.voidptr)
    function.py_addr = null
    function.c_addr = null  # looked at only where there is no jit_addr
    return NativeValue(function._getvalue())


def _drop_owner(_typing: Any, array: Any) -> Any:
    def forget(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        view = make_array(signature.return_type)(context, builder, value=arguments[0])
        view.meminfo = context.get_constant_null(types.voidptr)
        return view._getvalue()

    return array(array), forget


_without_owner: Any = intrinsic(_drop_owner)


def borrowed(array: np.ndarray) -> np.ndarray:
    """In a kernel: the same array, of which no references are counted; who passes it on must hold it.

    A rule that looks at its state as bytes (`state.view(np.int8)`) counts references by atomic instructions, each of
    which waits for all writes before it: a third of the time of stepping a world. Of a borrowed array there are none.
    """
    return array


@overload(borrowed, inline="always")
def _borrowed_in_kernels(array):
    def in_kernels(array):
        return _without_owner(array)

    return in_kernels


def rule(signature: Any, makes_arrays: bool = True) -> Callable[[Callable[..., Any]], Rule]:
    """Decorator that compiles one function of a game or a world with an explicit signature.

    Args:
        signature: of this module or of `scoundrel_ray.world`.
        makes_arrays: False for a rule that makes no arrays and calls nothing that does: it counts no references.
    """
    return lambda py_func: Rule(signature, py_func, makes_arrays)


def inner(py_func: Callable[..., Any]) -> Any:
    """Decorator for a helper that rules or kernels call; inlined or not as LLVM sees fit."""
    return numba.njit(py_func, cache=True, nogil=True, error_model="numpy")


def loop(py_func: Callable[..., Any]) -> Any:
    """Decorator for the loop of a kernel: like `inner`, but it may make no arrays.

    Without allocation numba needs no reference counts, whose atomic instructions took a third of a search's time; the
    kernel around it makes the scratch.
    """
    return _njit(py_func, cache=True, nogil=True, error_model="numpy", _nrt=False)


def inlined(py_func: Callable[..., Any]) -> Any:
    """Like `loop`, always inlined: for helpers that take a whole forest, whose arrays would be copied at a call."""
    return _njit(py_func, cache=True, nogil=True, error_model="numpy", _nrt=False, forceinline=True)


def kernel(signature: Any) -> Callable[[Callable[..., Any]], Any]:
    """Decorator that compiles a kernel with an explicit signature.

    The returned function checks its arguments' types; its attribute `launch` is the compiled entry itself, which does
    not (0.5 us instead of 15-60 us a call), for callers that own the arrays they pass.
    """

    def decorate(py_func: Callable[..., Any]) -> Any:
        dispatcher: Any = numba.njit(signature, cache=True, nogil=True, error_model="numpy")(py_func)
        if interpreted():
            dispatcher.launch = dispatcher
        else:
            (compiled,) = dispatcher.overloads.values()
            dispatcher.launch = compiled.entry_point
        return dispatcher

    return decorate
