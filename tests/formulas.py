"""Random formulas, their text, and what they are worth, with a bound of the rounding errors.

Formulas are small trees of this file, written out as text with random parentheses and whitespace. The reference is
this file's own evaluation of the tree it drew, so that parsing is tested too. It carries a running error bound: the
rounding of each step (8 units in the last place, of the value and of the largest number that the step takes
differences of) and, to first order, what earlier steps left.
A backend's value may differ from the reference by

- 1e-9 of the value where the bound is smaller than that ("well conditioned"; the tests count how often);
- four times the bound where digits cancel, as in ``a - a*(1 + 1e-12)``;
- anything only where rounding decides what the value is: a comparison of equals, a branch point, the edge of overflow.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from hypothesis import strategies as st
from scipy import special

from bayesfit.expression import (
    FUNCTIONS,
)

# ---------------------------------------------------------------------------------------------------------------------
# Random formulas

#: Each name's dims. Arrays are laid out as (family, run).
NAMES: Mapping[str, tuple[str, ...]] = {
    "E": (),
    "a": (),
    "ref.params": (),
    "max.loss": (),
    "alpha": ("family",),
    "w_2": ("family",),
    "params": ("run",),
    "tokens": ("run",),
}
SIZES = {"family": 2, "run": 3}
COMPARISONS = ("<", "<=", ">", ">=")
LEVELS = {**dict.fromkeys(COMPARISONS, 0), "+": 1, "-": 1, "*": 2, "/": 2, "**": 4}
UNARY, ATOM = 3, 5
NUMBERS = ("0", "1", "2", "3.", ".5", "0.25", "1e1", "2.5E-1", "1e-3", "7e+0", "0.0")

#: ("number", text) | ("name", name) | ("-", part) | (operator, left, right) | (function, *parts) | ("sum", part, dim)
Tree = tuple[Any, ...]


def parts_of(tree: Tree) -> tuple[Tree, ...]:
    return tuple(part for part in tree[1:] if isinstance(part, tuple))


def names_of(tree: Tree) -> frozenset[str]:
    return frozenset({tree[1]}) if tree[0] == "name" else frozenset().union(*map(names_of, parts_of(tree)))


def kinds_of(tree: Tree) -> frozenset[str]:
    return frozenset({tree[0]}).union(*map(kinds_of, parts_of(tree)))


def dims_of(tree: Tree) -> frozenset[str]:
    """Return the dims along which a formula varies."""
    if tree[0] == "name":
        return frozenset(NAMES[tree[1]])
    varies = frozenset[str]().union(*map(dims_of, parts_of(tree)))
    return varies - {tree[2]} if tree[0] == "sum" else varies


@st.composite
def trees(draw: st.DrawFn, depth: int = 4) -> Tree:
    if depth == 0 or draw(st.integers(0, 9)) < 2:
        if draw(st.integers(0, 3)) == 0:
            literals = st.sampled_from(NUMBERS) | st.floats(0.01, 50).map(repr)
            return ("number", draw(literals))
        return ("name", draw(st.sampled_from(sorted(NAMES))))
    below = trees(depth - 1)
    kind = draw(st.sampled_from(("+", "-", "*", "/", "**", "+", "-", "*", "/", "**", "negative", "<", *FUNCTIONS)))
    if kind == "sum":
        part = draw(below)
        if not dims_of(part):
            part = ("*", ("name", draw(st.sampled_from(("alpha", "w_2", "params", "tokens")))), part)
        return ("sum", part, draw(st.sampled_from(sorted(dims_of(part)))))
    if kind == "negative":
        tree: Tree = ("-", draw(below))
    elif kind in FUNCTIONS:
        tree = (kind, *(draw(below) for _ in range(FUNCTIONS[kind])))
        if kind in ("betaln", "gammaln", "log") and draw(st.integers(0, 4)):
            # mostly of something positive
            tree = (kind, *(part if len(part) == 2 and part[0] != "-" else ("softplus", part) for part in tree[1:]))
    else:
        operator = draw(st.sampled_from(COMPARISONS)) if kind == "<" else kind
        tree = (operator, draw(below), draw(below))
    # constants without a finite value are refused, which has a test of its own
    return tree if names_of(tree) or constant_is_safe(tree) else ("name", "a")


def constant_is_safe(tree: Tree) -> bool:
    value, error = reference(tree, {})
    return bool(np.isfinite(value) and np.isfinite(error) and abs(value) < 1e100)


def written(tree: Tree, draw: st.DrawFn, gap: st.SearchStrategy[str], spare: st.SearchStrategy[bool]) -> str:
    """Write a formula with the parentheses that Python's precedence needs, and some more."""

    def write(part: Tree, least: int) -> str:
        text, own = body(part)
        if draw(spare) and part[0] != "number":
            text, own = f"+{draw(gap)}{text}" if own >= UNARY else text, min(own, UNARY)
        while own < least or draw(spare):
            text, own = f"({draw(gap)}{text}{draw(gap)})", ATOM
        return text

    def body(part: Tree) -> tuple[str, int]:
        kind = part[0]
        if kind in ("number", "name"):
            return part[1], ATOM
        if kind == "-" and len(part) == 2:
            return f"-{draw(gap)}{write(part[1], UNARY)}", UNARY
        if kind == "sum":
            return f"sum{draw(gap)}({write(part[1], 0)},{draw(gap)}{part[2]})", ATOM
        if kind in FUNCTIONS:
            return f"{kind}({draw(gap)}{f'{draw(gap)},{draw(gap)}'.join(write(p, 0) for p in part[1:])})", ATOM
        level = LEVELS[kind]
        left, right = {0: (1, 1), 4: (ATOM, UNARY)}.get(level, (level, level + 1))
        return f"{write(part[1], left)}{draw(gap)}{kind}{draw(gap)}{write(part[2], right)}", level

    return write(tree, 0)


@st.composite
def formulas(draw: st.DrawFn) -> tuple[Tree, str]:
    tree = draw(trees())
    inside = draw(st.booleans())
    gap = st.sampled_from(("", "", "", " ", "  ", "\t", *(("\n", "\n  ") if inside else ())))
    text = written(tree, draw, gap, st.integers(0, 11).map(lambda n: n == 11))
    return tree, f"({text})" if inside else text


USUAL = st.floats(0.05, 20) | st.floats(0.5, 3) | st.floats(-3, 3).map(lambda x: round(x, 3))
SPECIAL = st.sampled_from((0.0, 1.0, -1.0, 2.0, 0.5, -0.5, 1e-9, 1e9, math.inf, -math.inf, math.nan))


@st.composite
def inputs(draw: st.DrawFn, values: st.SearchStrategy[float]) -> dict[str, np.ndarray]:
    """Draw an array for each name, of one number, ``(family, 1)`` or ``(1, run)``."""
    return {
        name: np.array(
            [
                draw(values if name in ("E", "w_2") else values.map(abs))
                for _ in range(math.prod(SIZES[dim] for dim in dims))
            ]
        ).reshape([SIZES[dim] if dim in dims else 1 for dim in SIZES])
        for name, dims in NAMES.items()
    }


# ---------------------------------------------------------------------------------------------------------------------
# The reference

ULPS = 8 * np.finfo(float).eps
TINY = 1e-300

Bounded = tuple[np.ndarray, np.ndarray]


def reference(tree: Tree, values: Mapping[str, np.ndarray]) -> Bounded:
    """Return the value of a formula and a bound on its rounding error, infinite where rounding decides."""
    with np.errstate(all="ignore"):
        return _reference(tree, values)


def _reference(tree: Tree, values: Mapping[str, np.ndarray]) -> Bounded:
    kind = tree[0]
    if kind == "number":
        return np.array(float(tree[1])), np.zeros(())
    if kind == "name":
        return values[tree[1]], np.zeros_like(values[tree[1]])
    if kind == "sum":
        value, error = _reference(tree[1], values)
        axis = list(SIZES).index(tree[2])
        total = value.sum(axis, keepdims=True)
        return total, _settled(total, error.sum(axis, keepdims=True) + 3 * _ulps(value).sum(axis, keepdims=True))
    arguments = [_reference(part, values) for part in parts_of(tree)]
    if kind == "-" and len(arguments) == 1:
        return -arguments[0][0], arguments[0][1]
    value, error = RULES[kind](*(number for argument in arguments for number in argument))
    # what rounding decides upstream, it decides here
    for _, before in arguments:
        error = np.where(np.isinf(before), np.inf, error)
    # nothing finite became infinite, save at the exact pole of a rule, which says so with an error of zero
    finite = np.logical_and.reduce(np.broadcast_arrays(*(np.isfinite(number) for number, _ in arguments)))
    return value, _settled(value, np.where(np.isinf(value) & finite & ~(error == 0), np.inf, error))


def _settled(value: np.ndarray, error: np.ndarray) -> np.ndarray:
    error = np.where(np.isfinite(value) & (np.abs(value) > 1e290), np.inf, error)
    return np.where(
        np.isfinite(value), np.where(np.isnan(error), np.inf, error), np.where(error == np.inf, np.inf, 0.0)
    )


def _ulps(number: Any) -> Any:
    return ULPS * np.where(np.isfinite(number), np.abs(number), 0)


def _add(a: Any, ea: Any, b: Any, eb: Any) -> Bounded:
    return a + b, ea + eb + _ulps(a + b)


def _multiply(a: Any, ea: Any, b: Any, eb: Any) -> Bounded:
    unsure = (np.isinf(a) & (np.abs(b) <= eb) & (eb > 0)) | (np.isinf(b) & (np.abs(a) <= ea) & (ea > 0))
    product = np.where(ea > 0, np.abs(b) * ea, 0) + np.where(eb > 0, np.abs(a) * eb, 0) + ea * eb
    exact = ((a == 0) & (ea == 0) & np.isfinite(b)) | ((b == 0) & (eb == 0) & np.isfinite(a))
    return a * b, np.where(unsure, np.inf, np.where(exact, 0.0, product + _ulps(a * b) + TINY))


def _divide(a: Any, ea: Any, b: Any, eb: Any) -> Bounded:
    value = a / b
    error = (ea + np.abs(value) * eb) / (np.abs(b) - eb) + _ulps(value) + TINY
    error = np.where(np.isinf(b), TINY, error)
    error = np.where((np.abs(b) <= eb) & (eb > 0), np.inf, error)
    error = np.where((a == 0) & (ea == 0) & (np.abs(b) > eb), 0.0, error)
    # the pole, and 0/0, are exact where both sides are
    return value, np.where((b == 0) & (eb == 0), np.where((np.abs(a) <= ea) & (ea > 0), np.inf, 0.0), error)


def _power(a: Any, ea: Any, b: Any, eb: Any) -> Bounded:
    value = a**b
    size = np.abs(a)
    exponent = np.where(b == 0, 0.0, b * np.log(size))
    spread = np.where(ea > 0, np.abs(b) * ea / (size - ea), 0) + np.where(eb > 0, np.abs(np.log(size)) * eb, 0)
    error = np.where(spread < 1, np.abs(value) * (2 * spread + ULPS), np.inf) + TINY
    sure_overflow = (exponent > 1000) & (spread < 1)
    error = np.where(sure_overflow, 0.0, np.where(exponent > 600, np.inf, error))
    unsure = ((size <= ea) & (ea > 0)) | ((size == 1) & np.isinf(b) & (ea > 0)) | ((np.abs(b) <= eb) & (eb > 0))
    # numpy takes a square root where it sees that the exponent is 0.5, and the root of -inf is NaN
    unsure |= np.isneginf(a) & (b == 0.5)
    # a negative base needs to know whether the exponent is whole, and odd
    unsure |= (a < 0) & (eb > 0) & (np.abs(b - np.round(b)) <= eb)
    exact = (ea == 0) & (eb == 0) & ((a == 0) | np.isinf(a) | np.isinf(b))
    exact |= (a < 0) & (np.abs(b - np.round(b)) > eb) & np.isfinite(b) & (size > ea)
    return value, np.where(unsure, np.inf, np.where(exact, 0.0, error))


def _smooth(
    function: Callable[[Any], Any], slope: Callable[[Any], Any], low: float = -np.inf, over: float = np.inf
) -> Callable[[Any, Any], Bounded]:
    """Make the rule of a function of one number, whose `slope` bounds its derivative nearby, defined above `low`."""

    def rule(a: Any, ea: Any) -> Bounded:
        value = function(a)
        error = np.where(ea > 0, np.where(np.abs(a - low) > 4 * ea, 2 * slope(a) * ea, np.inf), 0)
        error = error + _ulps(value) + TINY
        error = np.where((ea > 1e-3 * (1 + np.abs(a))) | ((ea > 0.1) & np.isfinite(over)), np.inf, error)
        error = np.where((a > over - 10) & (a < over + 10), np.inf, error)
        error = np.where((a >= over + 10) | ((value == 0) & (ea == 0)), 0.0, error)
        return value, np.where((ea == 0) & (a == low), 0.0, np.where((a < low) & (low - a > 4 * ea), 0.0, error))

    return rule


def _gammaln(a: Any, ea: Any) -> Bounded:
    value = special.gammaln(a)
    pole = np.where(a < 0.5, np.abs(a - np.minimum(np.round(a), 0)), np.inf)
    terms = 1 + np.abs(a) + np.abs(special.xlogy(a, np.abs(a)))
    error = _ulps(value) + _ulps(terms) + np.where(ea > 0, 2 * np.abs(special.digamma(a)) * ea, 0)
    # near a negative pole the sine of pi*a has an error of its own
    error = error + np.where((a < 0) & (pole > 0), ULPS * np.abs(a) / pole, 0)
    error = np.where((pole < 1e-6) & (a < -0.1) & (pole > 0), np.inf, error)
    return value, np.where((pole == 0) & (ea == 0), 0.0, np.where((pole <= 100 * ea) & (ea > 0), np.inf, error))


def _betaln(a: Any, ea: Any, b: Any, eb: Any) -> Bounded:
    value = special.betaln(a, b)
    error = np.abs(special.digamma(a) - special.digamma(a + b)) * ea
    error = 2 * (error + np.abs(special.digamma(b) - special.digamma(a + b)) * eb)
    for part in (a, b, a + b):
        error = error + ULPS * (1 + np.abs(part) + np.abs(special.xlogy(part, np.abs(part))) + np.abs(np.log(part)))
    # no law has a beta function of a negative or infinite number
    usual = (a > 100 * ea) & (b > 100 * eb) & np.isfinite(a) & np.isfinite(b) & (a > 0) & (b > 0)
    return value, np.where(usual | np.isnan(value), error, np.inf)


def _logaddexp(a: Any, ea: Any, b: Any, eb: Any) -> Bounded:
    value = np.logaddexp(a, b)
    error = ea + eb + _ulps(value) + _ulps(a) + _ulps(b) + TINY
    # PyMC takes the difference of the two
    return value, np.where(np.isinf(a) & (a == b), np.inf, error)


def _smaller(function: Callable[[Any, Any], Any]) -> Callable[[Any, Any, Any, Any], Bounded]:
    def rule(a: Any, ea: Any, b: Any, eb: Any) -> Bounded:
        value = function(a, b)
        clear = np.abs(a - b) > ea + eb
        return value, np.where(clear, np.where(value == a, ea, eb), ea + eb)

    return rule


def _compare(function: Callable[[Any, Any], Any]) -> Callable[[Any, Any, Any, Any], Bounded]:
    def rule(a: Any, ea: Any, b: Any, eb: Any) -> Bounded:
        unsure = (np.abs(a - b) <= ea + eb) & (ea + eb > 0)
        return 1.0 * function(a, b), np.where(unsure, np.inf, 0.0)

    return rule


def _boxcox(z: Any, ez: Any, c: Any, ec: Any) -> Bounded:
    t, et = _multiply(c, ec, z, ez)
    ratio = np.where(np.abs(t) < 1e-5, 1 + t / 2 + t * t / 6, np.expm1(t) / t)
    steep = np.maximum(1, np.exp(t))
    value = z * np.where(t == np.inf, np.inf, ratio)
    error = np.where(ez > 0, ratio * ez, 0) + np.abs(z) * steep * et + _ulps(value) * (1 + np.abs(t)) + TINY
    # infinite products of c and z mean nothing in a law
    unsure = np.isinf(t) | (et > 0.1) | ((t > 600) & (t < 1000))
    return value, np.where((t >= 1000) & np.isfinite(t) & (et < 1e-3 * t), 0.0, np.where(unsure, np.inf, 2 * error))


RULES: Mapping[str, Callable[..., Bounded]] = {
    "+": _add,
    "-": lambda a, ea, b, eb: _add(a, ea, -b, eb),
    "*": _multiply,
    "/": _divide,
    "**": _power,
    "<": _compare(np.less),
    "<=": _compare(np.less_equal),
    ">": _compare(np.greater),
    ">=": _compare(np.greater_equal),
    "exp": _smooth(np.exp, np.exp, over=709.78),
    "log": _smooth(np.log, lambda a: 1 / np.abs(a), low=0),
    "log10": _smooth(np.log10, lambda a: 1 / np.abs(a), low=0),
    "log1p": _smooth(np.log1p, lambda a: 1 / np.abs(1 + a), low=-1),
    "expm1": _smooth(np.expm1, np.exp, over=709.78),
    "sqrt": _smooth(np.sqrt, lambda a: 1 / np.sqrt(np.abs(a)), low=0),
    "expit": _smooth(special.expit, lambda a: special.expit(a) * special.expit(-a)),
    "softplus": _smooth(lambda a: np.logaddexp(0, a), special.expit),
    "gammaln": _gammaln,
    "logaddexp": _logaddexp,
    "minimum": _smaller(np.minimum),
    "maximum": _smaller(np.maximum),
    "boxcox": _boxcox,
    "betaln": _betaln,
}


def compare(found: Any, tree: Tree, values: Mapping[str, np.ndarray], where: object) -> Counter[str]:
    """Fail where `found` is not the value of the formula; return how it was compared, by kind."""
    value, error = reference(tree, values)
    value, error, found = np.broadcast_arrays(value, error, np.asarray(found, dtype=float))
    tolerance = np.maximum(1e-9 * np.abs(value), 4 * error)
    with np.errstate(invalid="ignore"):
        near = np.abs(found - value) <= tolerance
    same = np.where(np.isfinite(value), near, (found == value) | (np.isnan(found) & np.isnan(value)))
    assert (same | np.isinf(error)).all(), (where, value, error, found, {n: values[n] for n in names_of(tree)})
    kinds = np.select(
        [np.isinf(error), ~np.isfinite(value), error > 1e-9 * np.abs(value) + 1e-290],
        ["rounding decides", "not finite", "cancels"],
        "well conditioned",
    )
    return Counter(kinds.ravel().tolist())
