"""Formulas as LaTeX, checked by eye once and by two typesetters, and as JavaScript, checked against scipy."""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.mathtext import MathTextParser
from scipy import special

from bayesfit.errors import FormulaError
from bayesfit.expression import FUNCTIONS, parse_expression
from bayesfit.typeset import JAVASCRIPT_PRELUDE, javascript, latex, latex_name

SYMBOLS = {"params": "N", "tokens": "D", "flops": "C", "critical": "N_{c}", "best": "E^{*}"}

# Read as mathematics by hand, and rendered with KaTeX 0.19 in strict mode.
GOLDEN = {
    # the laws
    "E + a*(params/ref.params)**-alpha + b*(tokens/ref.tokens)**-beta": (
        r"E + a \left(\frac{N}{N_{0}}\right)^{-\alpha} + b \left(\frac{D}{D_{0}}\right)^{-\beta}"
    ),
    "exp(alpha_D*logaddexp(alpha_N/alpha_D*log(N_c/params), log(D_c/tokens)))": (
        r"e^{\alpha_{D} \ln\left(e^{\frac{\alpha_{N}}{\alpha_{D}} \ln\left(\frac{N_{c}}{N}\right)}"
        r" + e^{\ln\left(\frac{D_{c}}{D}\right)}\right)}"
    ),
    "E + b*exp(-c_0*log(x/ref.x) - c_1*f*softplus((log(x/ref.x) - d)/f))": (
        r"E + b e^{-c_{0} \ln\left(\frac{x}{x_{0}}\right)"
        r" - c_{1} f \ln\left(1 + e^{\frac{\ln\left(\frac{x}{x_{0}}\right) - d}{f}}\right)}"
    ),
    # fractions
    "a/b/c": r"\frac{\frac{a}{b}}{c}",
    "a/(b/c)": r"\frac{a}{\frac{b}{c}}",
    "(a + b)/(c*d)": r"\frac{a + b}{c d}",
    "a/b*c": r"\frac{a}{b} c",
    "-a/b": r"\frac{-a}{b}",
    "-(a/b)": r"-\frac{a}{b}",
    "(a/b)**c": r"\left(\frac{a}{b}\right)^{c}",
    "3*(2/3)": r"3 \cdot \frac{2}{3}",
    # powers
    "a**b**c": r"a^{b^{c}}",
    "(a**b)**c": r"\left(a^{b}\right)^{c}",
    "2**-x**2": r"2^{-x^{2}}",
    "-x**2": r"-x^{2}",
    "(-a)**b": r"\left(-a\right)^{b}",
    "(a*b)**c": r"\left(a b\right)^{c}",
    "a*b**c": r"a b^{c}",
    "a**(b + c)": r"a^{b + c}",
    "a**(b/2)": r"a^{\frac{b}{2}}",
    "exp(x)**2": r"\left(e^{x}\right)^{2}",
    "log(x)**2": r"\left(\ln\left(x\right)\right)^{2}",
    "sqrt(a + b)**2": r"\sqrt{a + b}^{2}",
    "sum(a, family)**2": r"\left(\sum_{\mathrm{family}} a\right)^{2}",
    "1e9**2": r"\left(10^{9}\right)^{2}",
    "best**2": r"{E^{*}}^{2}",
    # sums and minus signs
    "a - (b - c)": r"a - \left(b - c\right)",
    "a - (b + c)": r"a - \left(b + c\right)",
    "a - b - c": r"a - b - c",
    "a + (b - c)": r"a + b - c",
    "a*(b + c)": r"a \left(b + c\right)",
    "(a - b)*(c - d)": r"\left(a - b\right) \left(c - d\right)",
    "a*-b": r"a \left(-b\right)",
    "a - -b": r"a - \left(-b\right)",
    "a + -b*c": r"a + \left(-b c\right)",
    "--a": r"-\left(-a\right)",
    "-(a + b)": r"-\left(a + b\right)",
    "-a*b": r"-a b",
    # factors
    "a*2": r"a \cdot 2",
    "2*a": r"2 a",
    "2*3**x": r"2 \cdot 3^{x}",
    "6*size*data": r"6 \mathrm{size} \, \mathrm{data}",
    "a*log(x)*b": r"a \ln\left(x\right) b",
    "expm1(x)*a": r"\left(e^{x} - 1\right) a",
    # numbers
    "1e9": r"10^{9}",
    "6.5e22*a": r"6.5 \cdot 10^{22} a",
    "a*1e-7": r"a \cdot 10^{-7}",
    "999999.0 + 0.0001": r"999999 + 0.0001",
    "0.1 + 1234567": r"0.1 + 1.234567 \cdot 10^{6}",
    "0*a": r"0 a",
    # names
    "alpha_D*sigma_max + Gamma": r"\alpha_{D} \sigma_{\mathrm{max}} + \Gamma",
    "val_loss": r"\mathrm{val}_{\mathrm{loss}}",
    "a_1_beta": r"a_{\mathrm{1,\beta}}",
    "ref.alpha_D/ref.critical": r"\frac{{\alpha_{D}}_{0}}{{N_{c}}_{0}}",
    "min.params**2": r"N_{\min}^{2}",
    "max.val_loss - median.x": r"{\mathrm{val}_{\mathrm{loss}}}_{\max} - x_{\mathrm{med}}",
    # functions
    "sum(w*x, data_source) + b": r"\sum_{\mathrm{data}_{\mathrm{source}}} w x + b",
    "sum(-w + x, family)*b": r"\left(\sum_{\mathrm{family}} \left(-w + x\right)\right) b",
    "log1p(x - y)": r"\ln\left(1 + x - y\right)",
    "log1p(-x)": r"\ln\left(1 + \left(-x\right)\right)",
    "boxcox(log(x), c - 2)": r"\frac{e^{\left(c - 2\right) \ln\left(x\right)} - 1}{c - 2}",
    "minimum(a, maximum(b, -c))": r"\min\left(a, \max\left(b, -c\right)\right)",
    "log10(x)*expit(-x)": r"\log_{10}\left(x\right) \operatorname{expit}\left(-x\right)",
    "betaln(a, b + 1) - gammaln(a)": r"\ln\mathrm{B}\left(a, b + 1\right) - \ln\Gamma\left(a\right)",
    "a*(b < c) + (b >= c)**2": r"a \left[b < c\right] + \left[b \geq c\right]^{2}",
    "(a <= b) > c": r"\left[\left[a \leq b\right] > c\right]",
}


@pytest.mark.parametrize(("text", "expected"), GOLDEN.items(), ids=GOLDEN)
def test_latex(text: str, expected: str) -> None:
    assert latex(parse_expression(text), SYMBOLS) == expected


def test_the_golden_list_has_every_function_and_operator() -> None:
    used = " ".join(GOLDEN)
    assert [name for name in FUNCTIONS if f"{name}(" not in used] == []
    assert [sign for sign in ("+", "-", "*", "/", "**", "<", "<=", ">", ">=") if sign not in used] == []


def test_whatever_is_in_parentheses_in_the_text_has_its_own_latex() -> None:
    """Formulas that differ in value differ in print."""
    texts = ["(a/b)**c", "a/b**c", "a**(b/c)", "a**b/c", "-a**2", "(-a)**2", "a**-2", "a-b-c", "a-(b-c)", "2*3", "23"]
    texts += ["exp(a)**b", "exp(a**b)", "log(a)**b", "log(a**b)", "log(a)*b", "log(a*b)", "sum(a*b,f)", "sum(a,f)*b"]
    texts += ["a*10**9", "(a*10)**9", "sqrt(a)**b", "sqrt(a**b)", "min.a**2", "minimum(a, 2)", "x_1", "x_1_2"]
    assert len({latex(parse_expression(text)) for text in texts}) == len(texts)


_LEAVES = st.sampled_from(["a", "alpha_D", "val_loss", "critical", "best", "ref.params", "ref.x_1_y", "min.best", "2"])


def _grown(parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    pair = st.tuples(parts, parts)
    calls = st.sampled_from([(name, count) for name, count in FUNCTIONS.items() if name != "sum"])
    return st.one_of(
        st.tuples(pair, st.sampled_from(["+", "-", "*", "/", "**", "<", "<=", ">", ">="])).map(
            lambda t: f"({t[0][0]}){t[1]}({t[0][1]})"
        ),
        parts.map(lambda part: f"-({part})"),
        parts.map(lambda part: f"sum(({part})*u, data_source)"),
        st.tuples(calls, pair).map(lambda t: f"{t[0][0]}({', '.join(('v + ' + p) for p in t[1][: t[0][1]])})"),
    )


@settings(deadline=None, derandomize=True, database=None, max_examples=150)
@given(st.recursive(_LEAVES, _grown, max_leaves=8).map(lambda text: f"v*({text})"))
def test_plots_can_show_any_formula(text: str) -> None:
    try:
        expression = parse_expression(text)
    except FormulaError:
        # a constant part without a finite value
        return
    shown = latex(expression, SYMBOLS)
    assert MathTextParser("path").parse(f"${shown}$").width > 0
    depth = np.cumsum([(c == "{") - (c == "}") for c in shown])
    assert depth[-1] == 0
    assert depth.min() >= 0
    assert shown.count(r"\left") == shown.count(r"\right")


@pytest.mark.parametrize("text", GOLDEN, ids=GOLDEN)
def test_plots_can_show_the_golden_list(text: str) -> None:
    assert MathTextParser("path").parse(f"${GOLDEN[text]}$").width > 0


GREEK = """alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau upsilon phi chi
psi omega Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega"""


@pytest.mark.parametrize("name", sorted(GREEK.split()))
def test_greek_names(name: str) -> None:
    assert latex_name(name, {}) == f"\\{name}"
    assert latex_name(f"{name}_0", {}) == f"\\{name}_{{0}}"
    assert MathTextParser("path").parse(f"${latex_name(name, {})}$").width > 0


def test_names() -> None:
    assert latex_name("E", {}) == "E"
    assert latex_name("c0", {}) == r"\mathrm{c0}"
    assert latex_name("omicron", {}) == r"\mathrm{omicron}"
    assert latex_name("loss", {"loss": "L"}) == "L"
    assert latex_name("ref.loss", {"loss": "L"}) == "L_{0}"
    assert latex_name("ref.loss", {}) == r"\mathrm{loss}_{0}"


# ---------------------------------------------------------------------------------------------------------------------
# JavaScript. Random formulas are in test_expression.py; here are the functions at their hard places.


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a*params**-alpha", '(v["a"] * bf.pow(v["params"], (-v["alpha"])))'),
        ("-x**2", '(-bf.pow(v["x"], 2.0))'),
        ("a - (b - ref.c)", '(v["a"] - (v["b"] - v["ref.c"]))'),
        ("(a <= 1e22)*exp(b)", '((v["a"] <= 1e+22 ? 1 : 0) * Math.exp(v["b"]))'),
        ("minimum(a, softplus(1e-7))", 'Math.min(v["a"], bf.softplus(1e-07))'),
        ("sum(w*a, family)", 'bf.sum(v["n_family"], (i_family) => (v["w"][i_family] * v["a"]))'),
    ],
)
def test_javascript(text: str, expected: str) -> None:
    assert javascript(parse_expression(text), {"w": "family"}) == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("w*a", "along family"),
        ("w*sum(w, family)", "along family"),
        ("sum(w*u, family)", "along run"),
        ("sum(a, family)", "nothing in it varies"),
        ("sum(u, family)", "nothing in it varies"),
    ],
)
def test_what_is_no_number_in_javascript_is_refused(text: str, reason: str) -> None:
    with pytest.raises(FormulaError, match=reason):
        javascript(parse_expression(text), {"w": "family", "u": "run"})


def evaluated(calls: list[str]) -> list[float]:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not on the path: the JavaScript functions were not run")
    script = f"{JAVASCRIPT_PRELUDE}\nconsole.log(JSON.stringify([{', '.join(f'String({call})' for call in calls)}]));"
    process = subprocess.run([node, "-"], input=script, capture_output=True, text=True, timeout=60)
    assert process.returncode == 0, process.stderr[-2000:]
    return [float(text.replace("Infinity", "inf")) for text in json.loads(process.stdout)]


def number(value: float) -> str:
    return f"({repr(value).replace('inf', 'Infinity').replace('nan', 'NaN')})"


def test_javascript_functions_at_their_hard_places() -> None:
    inf, nan = math.inf, math.nan
    small = [-1e-300, -1e-12, -1e-7, 0.0, 1e-300, 1e-12, 9.9e-7, 1.1e-6, 1e-5]
    wide = [*small, -800.0, -40.0, -1.0, -0.5, 0.3, 1.0, 36.0, 40.0, 800.0, 1e6, -1e6, 1e9, inf, -inf, nan]
    positive = [x for x in wide if x > 0]
    cases: list[tuple[str, list[tuple[float, ...]], np.ufunc | np.vectorize]] = [
        ("expit", [(x,) for x in wide], special.expit),
        ("softplus", [(x,) for x in wide], np.vectorize(lambda x: np.logaddexp(0.0, x))),
        ("logaddexp", [(x, y) for x in wide for y in wide], np.logaddexp),
        ("pow", [(x, y) for x in wide for y in [*wide, -2.0, 2.0, 3.0, 0.5]], np.float_power),
        ("gammaln", [(x,) for x in [*positive, 2.0, 3.0, 0.25, 170.6, 1e12, 1e300, 0.0, -1.0, -2.0, -1.5, -20.3, nan]],
         special.gammaln),
        ("betaln", [(x, y) for x in [1e-8, 0.3, 1.0, 2.5, 40.0, 1e3] for y in [1e-8, 0.3, 1.0, 7.0, 1e6, 3e9, 1e15]],
         special.betaln),
        ("boxcox", [(z, c) for z in [-3.0, -1e-3, 0.0, 0.1, 2.0, 25.0] for c in [*small, -2.0, -0.1, 0.1, 30.0, 1e3]],
         np.vectorize(lambda z, c: z * special.exprel(c * z))),
    ]  # fmt: skip
    found = iter(evaluated([f"bf.{name}({', '.join(map(number, a))})" for name, points, _ in cases for a in points]))
    for name, points, function in cases:
        for arguments in points:
            with np.errstate(all="ignore"):
                expected = float(function(*arguments))
            # a logarithm near zero is as exact as the number 1 that it is compared with
            absolute = 1e-14 if name in ("gammaln", "betaln", "logaddexp") else 0.0
            assert next(found) == pytest.approx(expected, rel=1e-9, abs=absolute, nan_ok=True), (name, arguments)


def test_javascript_comparisons_of_nan_are_false() -> None:
    texts = ["a < b", "a <= b", "a > b", "a >= b", "1 + minimum(a, b)", "1 + maximum(b, a)"]
    found = evaluated([f"((v) => {javascript(parse_expression(text))})({{a: NaN, b: 1}})" for text in texts])
    expected = [float(parse_expression(text).evaluate({"a": math.nan, "b": 1.0})) for text in texts]
    np.testing.assert_equal(found, expected)


@settings(deadline=None, derandomize=True, database=None, max_examples=150)
@given(st.recursive(_LEAVES, _grown, max_leaves=8).map(lambda text: f"v*({text})"))
def test_javascript_holds_nothing_but_calls_of_the_prelude(text: str) -> None:
    try:
        code = javascript(parse_expression(text), {"u": "data_source"})
    except FormulaError:
        return
    words = set(re.findall(r"[A-Za-z_$][\w$.]*", re.sub(r'v\["[A-Za-z][\w.]*"\]|\d+(\.\d+)?e[-+]?\d+', "", code)))
    functions = {f"bf.{name}" for name in FUNCTIONS} | {f"Math.{name}" for name in (*FUNCTIONS, "min", "max")}
    assert words <= functions | {"bf.pow", "i_data_source"}
    assert not set(code) & set("`'\\;{}$@#!&|")
