"""The formula language: one formula has one value, whoever computes it.

Formulas are drawn as small trees of this file, written out as text with random parentheses and whitespace, parsed, and
evaluated by numpy, xarray, PyMC and JavaScript. The reference is this file's own evaluation of the tree it drew, so
that parsing is tested too. The reference carries a running error bound: the rounding of each step (8 units in the last
place, of the value and of the largest number that the step takes differences of) and, to first order, what earlier
steps left.
A backend's value may differ from the reference by

- 1e-9 of the value where the bound is smaller than that ("well conditioned"; the tests count how often);
- four times the bound where digits cancel, as in ``a - a*(1 + 1e-12)``;
- anything only where rounding decides what the value is: a comparison of equals, a branch point, the edge of overflow.
"""

from __future__ import annotations

import itertools
import json
import math
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, Phase, event, given, settings
from hypothesis import strategies as st
from scipy import special

from bayesfit.errors import FormulaError
from bayesfit.expression import (
    FUNCTIONS,
    MAX_DEPTH,
    NUMPY,
    SUMMARIES,
    Binary,
    Call,
    Expression,
    Name,
    Negative,
    Number,
    parse_equations,
    parse_expression,
    walk,
)
from bayesfit.typeset import JAVASCRIPT_PRELUDE, javascript

settings.register_profile("expression", deadline=None, derandomize=True, database=None)
quick = settings(settings.get_profile("expression"), max_examples=150)

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


# ---------------------------------------------------------------------------------------------------------------------
# Numpy and xarray


def labelled(values: Mapping[str, np.ndarray]) -> dict[str, Any]:
    return {
        name: xr.DataArray(array.reshape([SIZES[dim] for dim in NAMES[name]]), dims=NAMES[name])
        for name, array in values.items()
    }


def laid_out(found: xr.DataArray | float) -> np.ndarray:
    """Return a labelled result as (family, run)."""
    array = found if isinstance(found, xr.DataArray) else xr.DataArray(found)
    missing = [dim for dim in SIZES if dim not in array.dims]
    return array.expand_dims(missing).transpose(*SIZES).to_numpy()


@quick
@given(formulas(), inputs(USUAL) | inputs(SPECIAL))
def test_numpy_gives_the_value(formula: tuple[Tree, str], values: dict[str, np.ndarray]) -> None:
    tree, text = formula
    expression = parse_expression(text)
    if "sum" in kinds_of(tree):
        with pytest.raises(FormulaError, match="needs a labelled array"):
            expression.evaluate(values)
    else:
        event(compare(expression.evaluate(values), tree, values, text).most_common(1)[0][0])


@quick
@given(formulas(), inputs(USUAL) | inputs(SPECIAL))
def test_xarray_gives_the_value_over_the_dims_of_the_formula(
    formula: tuple[Tree, str], values: dict[str, np.ndarray]
) -> None:
    tree, text = formula
    found = parse_expression(text).evaluate(labelled(values))
    assert set(getattr(found, "dims", ())) == dims_of(tree)
    compare(laid_out(found), tree, values, text)


@pytest.mark.parametrize("function", [name for name in FUNCTIONS if name != "sum"])
def test_each_function_keeps_the_labels_of_arrays(function: str) -> None:
    run = xr.DataArray([0.5, 1.5, 2.5], dims="run", coords={"run": ["x", "y", "z"]})
    family = xr.DataArray([0.25, 2.0], dims="family", coords={"family": ["p", "q"]})
    found = parse_expression(f"{function}({'a, b' if FUNCTIONS[function] == 2 else 'a*b'})").evaluate(
        {"a": run, "b": family}
    )
    assert dict(found.sizes) == {"run": 3, "family": 2}
    assert list(found["run"].values) == ["x", "y", "z"]
    scalars = [[parse_expression(f"{function}({'a, b' if FUNCTIONS[function] == 2 else 'a*b'})").evaluate(
        {"a": float(a), "b": float(b)}) for b in family] for a in run]  # fmt: skip
    np.testing.assert_allclose(found.transpose("run", "family"), scalars, rtol=1e-14)


def test_a_sum_removes_its_dim() -> None:
    share = xr.DataArray([[0.25, 0.75], [0.5, 0.5], [1.0, 0.0]], dims=("run", "domain"))
    loss = xr.DataArray([1.0, 2.0], dims="domain")
    found = parse_expression("sum(share*loss, domain)").evaluate({"share": share, "loss": loss})
    assert found.dims == ("run",)
    np.testing.assert_allclose(found, [1.75, 1.5, 1.0])
    nested = parse_expression("sum(loss/sum(loss, domain), domain)").evaluate({"loss": loss})
    assert float(nested) == pytest.approx(1.0)
    with pytest.raises(FormulaError, match="'domain'"):
        parse_expression("sum(a, domain)").evaluate({"a": xr.DataArray([1.0], dims="run")})


def test_whole_numbers_are_taken_as_floats() -> None:
    """So counts do not overflow, and nothing depends on whether a column was read as int."""
    counts = np.array([2, 7_000_000_000], dtype=np.int64)
    tokens = np.array([3, 15_000_000_000_000], dtype=np.int64)
    np.testing.assert_allclose(parse_expression("p*d").evaluate({"p": counts, "d": tokens}), [6.0, 1.05e23], rtol=1e-15)
    np.testing.assert_allclose(parse_expression("p**-k").evaluate({"p": counts, "k": 2}), [0.25, 7e9**-2.0])
    array = xr.DataArray(counts, dims="run")
    np.testing.assert_allclose(parse_expression("p**-k").evaluate({"p": array, "k": 2}), [0.25, 7e9**-2.0])


@pytest.mark.parametrize(
    ("text", "value"),
    [("a/b", math.inf), ("-a/b", -math.inf), ("b/b", math.nan), ("(-a)**0.5", math.nan), ("c**c", math.inf),
     ("b**-a", math.inf), ("log(b)", -math.inf), ("log(-a)", math.nan), ("exp(c)", math.inf), ("c*c*1e300", math.inf)],
)  # fmt: skip
def test_outside_its_domain_a_formula_of_numbers_is_nan_or_infinite(text: str, value: float) -> None:
    found = parse_expression(text).evaluate({"a": 1.0, "b": 0, "c": 1e6})
    assert isinstance(found, float)
    np.testing.assert_equal(found, value)


# ---------------------------------------------------------------------------------------------------------------------
# PyMC and JavaScript: many formulas at once, since starting a process or compiling a graph costs more than all of them


@dataclass(frozen=True)
class Batch:
    """Formulas, and inputs to evaluate each of them at: usual ones, then special ones."""

    formulas: Sequence[tuple[Tree, Expression]]
    inputs: Sequence[dict[str, np.ndarray]]


def drawn(strategy: st.SearchStrategy[Any], count: int) -> list[Any]:
    found: list[Any] = []

    @settings(
        settings.get_profile("expression"),
        max_examples=count,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def gather(example: Any) -> None:
        found.append(example)

    gather()
    return found


@pytest.fixture(scope="module")
def batch() -> Batch:
    a, params = ("name", "a"), ("name", "params")
    singles: list[tuple[Tree, str]] = [
        ((function, *(a, params)[:count]), f"{function}({'a, params' if count == 2 else 'a'})")
        for function, count in FUNCTIONS.items()
        if function != "sum"
    ]
    singles += [((operator, a, params), f"a{operator}params") for operator in LEVELS]
    return Batch(
        [(tree, parse_expression(text)) for tree, text in singles + drawn(formulas(), 200)],
        [*drawn(inputs(USUAL), 4), *drawn(inputs(SPECIAL), 3)],
    )


def assert_it_tested_something(seen: Counter[str], functions: Iterable[str]) -> None:
    total = sum(seen.values())
    assert seen["well conditioned"] > 0.5 * total > 1000, seen
    assert seen["cancels"] + seen["rounding decides"] < 0.35 * total, seen
    assert set(functions) >= {*FUNCTIONS, *LEVELS}


def subtrees(tree: Tree) -> Iterator[Tree]:
    yield tree
    for part in parts_of(tree):
        yield from subtrees(part)


def compare_in_pymc(batch: Batch, mode: Any, skip: Callable[[Tree, Mapping[str, np.ndarray]], bool]) -> Counter[str]:
    import pytensor
    from pytensor.xtensor.type import xtensor

    from bayesfit.build import PYMC

    tensors = {name: xtensor(name, dims=dims, dtype="float64") for name, dims in NAMES.items()}
    used = [(tree, expression) for tree, expression in batch.formulas if names_of(tree)]
    used = [one for one in used if not all(skip(one[0], values) for values in batch.inputs)]
    outputs = [expression.evaluate(tensors, backend=PYMC) for _, expression in used]
    for (tree, expression), output in zip(used, outputs, strict=True):
        assert set(output.dims) == dims_of(tree), expression.text
        assert output.dtype == "float64", expression.text
    inputs = list(tensors.values())
    function = pytensor.function(inputs, [output.values for output in outputs], mode=mode, on_unused_input="ignore")
    seen: Counter[str] = Counter()
    for values in batch.inputs:
        with np.errstate(all="ignore"):
            found = function(*(values[name].reshape([SIZES[dim] for dim in NAMES[name]]) for name in tensors))
        for (tree, expression), output, array in zip(used, outputs, found, strict=True):
            if not skip(tree, values):
                seen += compare(laid_out(xr.DataArray(array, dims=output.dims)), tree, values, expression.text)
    assert_it_tested_something(seen, frozenset().union(*(kinds_of(tree) for tree, _ in used)))
    return seen


def test_pymc_gives_the_value(batch: Batch) -> None:
    """The graph as built, before PyTensor simplifies it."""
    mode = pytest.importorskip("pytensor.compile.mode")
    query = pytest.importorskip("pytensor.graph.rewriting.db").RewriteDatabaseQuery
    seen = compare_in_pymc(batch, mode.Mode("py", query(include=["lower_xtensor"])), lambda tree, values: False)
    assert seen["not finite"] > 100, seen


def test_pymc_gives_the_value_once_simplified(batch: Batch) -> None:
    """PyTensor's algebra is that of real numbers (``x - x`` is 0 for an infinite x), so only where all is finite."""

    def skip(tree: Tree, values: Mapping[str, np.ndarray]) -> bool:
        return not all(np.isfinite(reference(part, values)[0]).all() for part in subtrees(tree))

    compare_in_pymc(batch, "FAST_COMPILE", skip)


def test_javascript_gives_the_value(batch: Batch) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not on the path: the JavaScript of formulas was not run")
    tasks: list[tuple[Tree, Expression, dict[str, np.ndarray], dict[str, int]]] = []
    script = [JAVASCRIPT_PRELUDE, "const read = (x) => Array.isArray(x) ? x.map(read) : Number(x);", "const out = [];"]
    script.append("const run = (f, points) => points.forEach((p) => out.push(String(f(")
    script.append("  Object.fromEntries(Object.entries(p).map(([k, x]) => [k, read(x)]))))));")
    for tree, expression in batch.formulas:
        summed = set(expression.dims)
        arrays = {name: dims[0] for name, dims in NAMES.items() if summed & set(dims)}
        if summed & dims_of(tree):
            # a name both under a sum and beside it is an array there and no one number here
            with pytest.raises(FormulaError, match="must give one number"):
                javascript(expression, arrays)
            continue
        code = javascript(expression, arrays)
        points = []
        for values in batch.inputs:
            for index in itertools.product(*(range(SIZES[dim]) if dim not in summed else (0,) for dim in SIZES)):
                place = dict(zip(SIZES, index, strict=True))
                points.append(_javascript_values(expression.names, values, summed, place))
                tasks.append((tree, expression, values, place))
        script.append(f"run((v) => {code}, {json.dumps(points)});")
    script.append("console.log(JSON.stringify(out));")
    process = subprocess.run([node, "-"], input="\n".join(script), capture_output=True, text=True, timeout=60)
    assert process.returncode == 0, process.stderr[-2000:]
    found = [float({"Infinity": "inf", "-Infinity": "-inf"}.get(text, text)) for text in json.loads(process.stdout)]
    seen: Counter[str] = Counter()
    for (tree, expression, values, place), number in zip(tasks, found, strict=True):
        here = {
            name: array if set(NAMES[name]) & expression.dims else array[_at(NAMES[name], place)]
            for name, array in values.items()
        }
        seen += compare(number, tree, here, expression.text)
    assert_it_tested_something(seen, frozenset().union(*(kinds_of(tree) for tree, *_ in tasks)))
    assert seen["not finite"] > 100, seen


def _at(dims: Sequence[str], place: Mapping[str, int]) -> tuple[slice, ...]:
    return tuple(slice(place[dim], place[dim] + 1) if dim in dims else slice(None) for dim in SIZES)


def _javascript_values(
    names: frozenset[str], values: Mapping[str, np.ndarray], summed: set[str], place: Mapping[str, int]
) -> dict[str, Any]:
    """Return the object `v` of one point, numbers as text since JSON has no infinity."""
    point: dict[str, Any] = {f"n_{dim}": str(SIZES[dim]) for dim in summed}
    for name in names:
        array = values[name][_at(() if summed & set(NAMES[name]) else NAMES[name], place)].ravel()
        texts = [str(number).replace("inf", "Infinity").replace("nan", "NaN") for number in array.tolist()]
        point[name] = texts if summed & set(NAMES[name]) else texts[0]
    return point


# ---------------------------------------------------------------------------------------------------------------------
# Text and tree


@quick
@given(formulas(), inputs(USUAL))
def test_the_text_of_a_formula_parses_to_the_same_formula(
    formula: tuple[Tree, str], values: dict[str, np.ndarray]
) -> None:
    tree, text = formula
    expression = parse_expression(text)
    again = parse_expression(expression.text)
    assert again == expression
    assert hash(again) == hash(expression)
    assert "\n" not in expression.text
    np.testing.assert_array_equal(
        laid_out(again.evaluate(labelled(values))), laid_out(expression.evaluate(labelled(values)))
    )
    (equation,) = parse_equations(f"  target  =  {text}  ")
    assert equation.target == "target"
    assert equation.expression == expression
    assert expression.names == names_of(tree)
    expression.check(names_of(tree))


@st.composite
def flat_formulas(draw: st.DrawFn) -> str:
    """Draw operands, signs and operators in a row, with precedence left to the reader."""
    operand = st.tuples(st.sampled_from(("", "", "", "-", "--", "+", "-+")), st.sampled_from("abc")).map("".join)
    pieces = [draw(operand)]
    for _ in range(draw(st.integers(1, 7))):
        pieces += [draw(st.sampled_from(("+", "-", "*", "/", "**", "**"))), draw(operand)]
    opening = draw(st.integers(0, len(pieces) // 2)) * 2
    closing = draw(st.integers(opening // 2, len(pieces) // 2)) * 2
    return "".join([*pieces[:opening], "(", *pieces[opening : closing + 1], ")", *pieces[closing + 1 :]])


@settings(quick, max_examples=400)
@given(flat_formulas())
def test_precedence_is_that_of_python(text: str) -> None:
    values = {"a": np.float64(1.3), "b": np.float64(-0.7), "c": np.float64(2.0)}
    with np.errstate(all="ignore"):
        expected = eval(text, {"__builtins__": {}}, dict(values))
    np.testing.assert_array_equal(parse_expression(text).evaluate(values), expected)


@pytest.mark.parametrize(
    ("text", "same"),
    [("-x**2", "-(x**2)"), ("2**-x**2", "2**(-(x**2))"), ("a**b**c", "a**(b**c)"), ("a/b/c", "(a/b)/c"),
     ("a-b-c", "(a-b)-c"), ("-a*b", "(-a)*b"), ("a*-b", "a*(-b)"), ("a/b*c", "(a/b)*c"), ("--a", "-(-a)"),
     ("-a**-b", "-(a**(-b))"), ("a+b<c*d", "(a+b)<(c*d)"), ("+a", "a"), ("6e2*a", "600.0*a"), ("ref . x", "ref.x")],
)  # fmt: skip
def test_precedence_of_the_usual_suspects(text: str, same: str) -> None:
    assert parse_expression(text) == parse_expression(same)


def test_power_is_not_commuted_with_minus() -> None:
    assert parse_expression("-x**2").evaluate({"x": 3.0}) == -9.0
    assert parse_expression("(-x)**2").evaluate({"x": 3.0}) == 9.0
    assert parse_expression("2**-x**2").evaluate({"x": 2.0}) == 0.0625
    assert parse_expression("2**3**x").evaluate({"x": 2.0}) == 512.0


def test_the_tree_of_a_formula() -> None:
    expression = parse_expression("E + -a*log(ref.x)")
    span = (0, 0)
    assert expression.node == Binary(
        "+",
        Name("E", span),
        Binary("*", Negative(Name("a", span), span), Call("log", (Name("ref.x", span),), None, span), span),
        span,
    )
    assert [type(node).__name__ for node in walk(expression.node)] == [
        "Binary", "Name", "Binary", "Negative", "Name", "Call", "Name"
    ]  # fmt: skip
    assert parse_expression("1e3").node == Number(1000.0, span)


def test_names_and_dims() -> None:
    expression = parse_expression("E + sum(w*exp(-ref.tokens/min.loss), domain) + sum(E*v, family)*median.x - max.x")
    assert expression.names == {"E", "w", "v", "ref.tokens", "min.loss", "median.x", "max.x"}
    assert expression.dims == {"domain", "family"}
    assert parse_expression("2*3").names == frozenset()


def test_check_names_the_unknown_and_suggests() -> None:
    expression = parse_expression("E + a*(parms/ref.params)**-alpha")
    with pytest.raises(FormulaError) as caught:
        expression.check({"E", "a", "alpha", "params", "ref.params"})
    message = str(caught.value)
    assert "unknown name 'parms' (did you mean 'params'?)" in message
    assert "known here: E, a, alpha, params, ref.params" in message
    shown, marks = message.splitlines()[-2:]
    assert shown[marks.index("^") : marks.rindex("^") + 1] == "parms"
    with pytest.raises(FormulaError, match=r"known here: none"):
        expression.check(())
    expression.check({"E", "a", "alpha", "parms", "ref.params", "spare"})


def test_every_summary_is_a_name() -> None:
    for summary in SUMMARIES:
        assert parse_expression(f"{summary}.params*2").names == {f"{summary}.params"}


# ---------------------------------------------------------------------------------------------------------------------
# Equations


@quick
@given(st.permutations(range(7)), st.randoms(use_true_random=False))
def test_equations_are_sorted_so_that_each_comes_after_what_it_uses(order: list[int], random: Any) -> None:
    # q_i uses some of q_0 .. q_(i-1), written down in any order
    uses = {i: [j for j in range(i) if random.random() < 0.5] for i in range(7)}
    lines = [f"q_{i} = {' + '.join(['x', *(f'2*q_{j}' for j in uses[i])])}" for i in order]
    equations = parse_equations("\n".join(lines))
    assert sorted(equation.target for equation in equations) == [f"q_{i}" for i in range(7)]
    known: dict[str, Any] = {"x": 1.0}
    for equation in equations:
        known[equation.target] = equation.expression.evaluate(known)
    expected: dict[int, float] = {}
    for i in range(7):
        expected[i] = 1.0 + sum(2 * expected[j] for j in uses[i])
    assert {f"q_{i}": value for i, value in expected.items()} == {k: v for k, v in known.items() if k != "x"}


def test_equations_keep_their_order_where_it_is_free() -> None:
    equations = parse_equations("second = a\nfirst = b\nthird = second + first\n")
    assert [equation.target for equation in equations] == ["second", "first", "third"]


@pytest.mark.parametrize(
    "text", ["a = a", "a = b\nb = a", "a = x\nb = c + a\nc = d\nd = 2*b", "loss = E + 0*loss", "a = ref.x\nb = b**2"]
)
def test_a_circle_is_refused(text: str) -> None:
    with pytest.raises(FormulaError, match="circle"):
        parse_equations(text)


def test_a_circle_names_the_equations_but_not_hundreds_of_them() -> None:
    with pytest.raises(FormulaError, match=r"circle: b, c, d\n    b = c \+ a\n        \^{5}$"):
        parse_equations("a = x\nb = c + a\nc = d\nd = 2*b\nloss = d")
    ring = "\n".join(f"a{i} = a{(i + 1) % 300}" for i in range(300))
    with pytest.raises(FormulaError, match=r"circle: a0, .*, a9 and 290 more\n"):
        parse_equations(ring)


def test_a_target_set_twice_is_refused() -> None:
    with pytest.raises(FormulaError, match="'loss' is set twice"):
        parse_equations("loss = a\nx = 2\nloss = b")


def test_an_equation_goes_on_inside_parentheses_and_may_be_indented() -> None:
    text = """
        loss = (E
                + a*params**-alpha)
        accuracy = floor + (1 - floor)*expit(
            k*(mid - loss)
        )
    """
    loss, accuracy = parse_equations(text)
    assert loss.expression.text == "E + a*params**-alpha"
    assert accuracy.expression.text == "floor + (1 - floor)*expit( k*(mid - loss) )"


def test_depth_just_inside_the_limit_parses_and_evaluates() -> None:
    n = MAX_DEPTH
    assert parse_expression("-" * n + "x").evaluate({"x": 2.0}) == 2.0
    assert parse_expression("(" * n + "x" + ")" * n).evaluate({"x": 2.0}) == 2.0
    assert parse_expression("log1p(" * n + "x" + ")" * n).evaluate({"x": 0.0}) == 0.0
    assert parse_expression("x" + "+x" * n).evaluate({"x": 2.0}) == 2.0 * (n + 1)
    with pytest.raises(FormulaError, match=f"nested deeper than {n} levels"):
        parse_expression("-" * (n + 1) + "x")


@pytest.mark.parametrize(
    ("text", "part"),
    [("E + 1/0*a", "1/0"), ("log(0)", "log(0)"), ("a*(2 - 3)**0.5", "(2 - 3)**0.5"), ("1e308*10", "1e308*10"),
     ("-(9**60**2)", "9**60**2"), ("exp(exp(10))", "exp(exp(10))"), ("gammaln(0) + x", "gammaln(0)")],
)  # fmt: skip
def test_a_constant_without_a_finite_value_is_refused_and_underlined(text: str, part: str) -> None:
    with pytest.raises(FormulaError, match="no finite value") as caught:
        parse_expression(text)
    shown, marks = str(caught.value).splitlines()[-2:]
    assert shown[marks.index("^") : marks.rindex("^") + 1] == part


def test_every_function_has_an_implementation() -> None:
    assert NUMPY.keys() >= {*FUNCTIONS, *LEVELS}
    for function in FUNCTIONS:
        with pytest.raises(FormulaError, match=f"{function}.* function|takes"):
            parse_expression(f"{function}(a, b, c)")
        with pytest.raises(FormulaError, match=f"'{function}' is a function"):
            parse_expression(f"{function} + 1")
