"""The formula language: one formula has one value, whoever computes it.

Random formulas (`tests.formulas`) are parsed and evaluated by numpy, xarray, PyMC and JavaScript, and compared with
their own evaluation.
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
from tests.formulas import (
    LEVELS,
    NAMES,
    SIZES,
    SPECIAL,
    USUAL,
    Tree,
    compare,
    dims_of,
    formulas,
    inputs,
    kinds_of,
    names_of,
    parts_of,
    reference,
)

settings.register_profile("expression", deadline=None, derandomize=True, database=None)
quick = settings(settings.get_profile("expression"), max_examples=150)

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
