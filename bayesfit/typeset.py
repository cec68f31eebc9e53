"""Print a formula for people (LaTeX), for the browser (JavaScript), and as it would be typed."""

from __future__ import annotations

import re
from collections.abc import Mapping

from bayesfit.errors import FormulaError
from bayesfit.expression import Binary, Call, Expression, Name, Negative, Node, Number

_GREEK = frozenset(
    {"alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda", "mu", "nu", "xi"}
    | {"pi", "rho", "sigma", "tau", "upsilon", "phi", "chi", "psi", "omega", "Gamma", "Delta", "Theta", "Lambda"}
    | {"Xi", "Pi", "Sigma", "Upsilon", "Phi", "Psi", "Omega"}
)
_SUMMARY_LATEX = {
    "ref": "0",
    "min": r"\min",
    "max": r"\max",
    "median": r"\mathrm{med}",
    "mean": r"\mathrm{mean}",
    "seen": r"\mathrm{seen}",
}

# How tightly each kind of node binds; a part that binds less tightly than its place needs parentheses.
_SUM, _PRODUCT, _POWER, _ATOM = range(4)


def latex(expression: Expression, symbols: Mapping[str, str] | None = None) -> str:
    r"""Typeset a formula.

    Parameters
    ----------
    expression
        The formula.
    symbols
        LaTeX for names that have a usual symbol, such as ``{"params": "N"}``.

    Returns
    -------
    str
        LaTeX for math mode, without dollar signs. It stays within what KaTeX and matplotlib's
        mathtext both know.

    Examples
    --------
    >>> from bayesfit.expression import parse_expression
    >>> print(latex(parse_expression("E + a*(params/ref.params)**-alpha"), {"params": "N"}))
    E + a \left(\frac{N}{N_{0}}\right)^{-\alpha}
    """
    return _latex(expression.node, symbols or {})[0]


def latex_name(name: str, symbols: Mapping[str, str]) -> str:
    """Typeset one name: its own symbol, a Greek letter, or upright text with subscripts."""
    summary, _, column = name.partition(".")
    if column:
        shown = latex_name(column, symbols)
        # braces, since a name may have a subscript of its own
        return f"{f'{{{shown}}}' if '_' in shown or '^' in shown else shown}_{{{_SUMMARY_LATEX[summary]}}}"
    if name in symbols:
        return symbols[name]
    head, _, tail = name.partition("_")
    shown = f"\\{head}" if head in _GREEK else head if len(head) == 1 else rf"\mathrm{{{head}}}"
    if not tail:
        return shown
    subscript = ",".join(f"\\{part}" if part in _GREEK else part for part in tail.split("_"))
    return f"{shown}_{{{subscript if len(tail) == 1 or tail in _GREEK else rf'\mathrm{{{subscript}}}'}}}"


def plain(node: Node) -> str:
    """Return the text of a formula's tree, in the language of formulas.

    Examples
    --------
    >>> from bayesfit.expression import parse_expression
    >>> plain(parse_expression("E + (a/b)*-c**2").node)
    'E + ((a/b)*(-(c**2)))'
    """

    def at(part: Node) -> str:
        text = plain(part)
        return text if isinstance(part, Name | Number | Call) else f"({text})"

    match node:
        case Number(value=value):
            return repr(float(value)).removesuffix(".0")
        case Name(name=name):
            return name
        case Negative(operand=operand):
            return f"-{at(operand)}"
        case Binary(operator="+", left=Binary(operator="+" | "-") as left, right=right):
            return f"{plain(left)} + {at(right)}"
        case Binary(operator=operator, left=left, right=right):
            spaced = operator if operator in ("*", "/", "**") else f" {operator} "
            return f"{at(left)}{spaced}{at(right)}"
        case Call(function="sum", arguments=(argument,), dim=dim):
            return f"sum({plain(argument)}, {dim})"
        case Call(function=function, arguments=arguments):
            return f"{function}({', '.join(plain(argument) for argument in arguments)})"


def _latex(node: Node, symbols: Mapping[str, str]) -> tuple[str, int]:
    """Return the LaTeX of a node and how tightly it binds."""

    def at(part: Node, level: int) -> str:
        text, own = _latex(part, symbols)
        return text if own >= level else rf"\left({text}\right)"

    def after(part: Node, level: int) -> str:
        """Like `at`, for a part that follows an operator: a minus there needs parentheses."""
        text = at(part, level)
        return rf"\left({text}\right)" if text.startswith("-") else text

    match node:
        case Number(value=value):
            return _latex_number(value)
        case Name(name=name):
            return latex_name(name, symbols), _ATOM
        case Negative(operand=operand):
            return f"-{after(operand, _PRODUCT)}", _PRODUCT
        case Binary(operator="/", left=left, right=right):
            return rf"\frac{{{at(left, _SUM)}}}{{{at(right, _SUM)}}}", _POWER
        case Binary(operator="**", left=left, right=right):
            base = at(left, _ATOM)
            return f"{f'{{{base}}}' if isinstance(left, Name) and '^' in base else base}^{{{at(right, _SUM)}}}", _POWER
        case Binary(operator="*", left=left, right=right):
            return _latex_product(at(left, _PRODUCT), after(right, _POWER)), _PRODUCT
        case Binary(operator="-", left=left, right=right):
            return f"{at(left, _SUM)} - {after(right, _PRODUCT)}", _SUM
        case Binary(operator="+", left=left, right=right):
            return f"{at(left, _SUM)} + {after(right, _SUM)}", _SUM
        case Binary(operator=operator, left=left, right=right):
            sign = {"<=": r"\leq", ">=": r"\geq"}.get(operator, operator)
            return rf"\left[{at(left, _SUM)} {sign} {at(right, _SUM)}\right]", _ATOM
        case Call(function="sum", arguments=(argument,), dim=dim):
            return rf"\sum_{{{latex_name(str(dim), {})}}} {after(argument, _PRODUCT)}", _SUM
        case Call(function="exp", arguments=(argument,)):
            return rf"e^{{{at(argument, _SUM)}}}", _POWER
        case Call(function="sqrt", arguments=(argument,)):
            return rf"\sqrt{{{at(argument, _SUM)}}}", _ATOM
        case Call(function=function, arguments=arguments) if function in _HEADS:
            inside = ", ".join(at(argument, _SUM) for argument in arguments)
            return rf"{_HEADS[function]}\left({inside}\right)", _POWER
        case Call():
            return _latex(_written_out(node), symbols)


_HEADS: Mapping[str, str] = {
    "log": r"\ln",
    "log10": r"\log_{10}",
    "expit": r"\operatorname{expit}",
    "gammaln": r"\ln\Gamma",
    "betaln": r"\ln\mathrm{B}",
    "minimum": r"\min",
    "maximum": r"\max",
}


def _written_out(call: Call) -> Node:
    """Return what a function without a symbol of its own stands for."""

    def apply(function: str, argument: Node) -> Node:
        return Call(function, (argument,), None, call.span)

    def join(left: Node, operator: str, right: Node) -> Node:
        return Binary(operator, left, right, call.span)

    one = Number(1.0, call.span)
    match call.function, call.arguments:
        case "log1p", (x,):
            return apply("log", join(one, "+", x))
        case "expm1", (x,):
            return join(apply("exp", x), "-", one)
        case "softplus", (x,):
            return apply("log", join(one, "+", apply("exp", x)))
        case "logaddexp", (x, y):
            return apply("log", join(apply("exp", x), "+", apply("exp", y)))
        case "boxcox", (z, c):
            return join(join(apply("exp", join(c, "*", z)), "-", one), "/", c)
    raise AssertionError(f"{call.function} has neither a symbol nor a way to write it out")


def _latex_product(left: str, right: str) -> str:
    """Join two factors so that they read as two."""
    if right[0].isdigit() or (left[-1].isdigit() and right.startswith(r"\frac")):
        return rf"{left} \cdot {right}"
    words = right.startswith(r"\mathrm") or re.search(r"\\mathrm\{[^{}]*\}$", left)
    return rf"{left} \, {right}" if words and not left[-1].isdigit() else f"{left} {right}"


def _latex_number(value: float) -> tuple[str, int]:
    if value == 0 or 1e-4 <= value < 1e6:
        return f"{value:.12g}", _ATOM
    mantissa, _, exponent = f"{value:.11e}".partition("e")
    mantissa, power = mantissa.rstrip("0").rstrip("."), f"10^{{{int(exponent)}}}"
    return (power, _POWER) if mantissa == "1" else (rf"{mantissa} \cdot {power}", _PRODUCT)


#: Functions that `javascript` calls and browsers lack; put once before any formula.
JAVASCRIPT_PRELUDE = """\
const bf = {
  // Math.pow gives NaN for 1**NaN, 1**Infinity and (-1)**Infinity, everything else here 1
  pow: (a, b) => (a === 1 || (a === -1 && Math.abs(b) === Infinity) ? 1 : Math.pow(a, b)),
  expit: (x) => (x >= 0 ? 1 / (1 + Math.exp(-x)) : Math.exp(x) / (1 + Math.exp(x))),
  logaddexp: (a, b) => {
    if (a === b) return a + Math.LN2;
    return Math.max(a, b) + Math.log1p(Math.exp(-Math.abs(a - b)));
  },
  softplus: (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x))),
  boxcox: (z, c) => {
    const t = c * z;
    if (Math.abs(t) < 1e-6) return z * (1 + t / 2 + (t * t) / 6);
    return z * (t === Infinity ? t : Math.expm1(t) / t);
  },
  // Lanczos approximation, g = 7, n = 9
  gammaln: (x) => {
    if (Math.abs(x) === Infinity) return x;
    if (x <= 0 && x === Math.floor(x)) return Infinity;
    if (x < 0.5) {
      const sine = Math.abs(Math.sin(Math.PI * (x - Math.round(x))));
      return Math.log(Math.PI) - Math.log(sine) - bf.gammaln(1 - x);
    }
    const p = [0.99999999999980993, 676.5203681218851, -1259.1392167224028, 771.32342877765313,
      -176.61502916214059, 12.507343278686905, -0.13857109526572012, 9.9843695780195716e-6,
      1.5056327351493116e-7];
    const y = x - 1, t = y + 7.5;
    let s = p[0];
    for (let i = 1; i < 9; i++) s += p[i] / (y + i);
    return 0.5 * Math.log(2 * Math.PI) + (y + 0.5) * Math.log(t) - t + Math.log(s);
  },
  betaln: (a, b) => {
    const s = Math.min(a, b), l = Math.max(a, b), g = s * (1 - s);
    // the difference of two large numbers loses its digits; this series does not
    if (l > 1e6 && l > 1e6 * Math.abs(s))
      return bf.gammaln(s) - s * Math.log(l) + (g / (2 * l)) * (1 + (1 - 2 * s) / (6 * l) - g / (6 * l * l));
    return bf.gammaln(a) + bf.gammaln(b) - bf.gammaln(a + b);
  },
  sum: (n, term) => { let s = 0; for (let i = 0; i < n; i++) s += term(i); return s; },
};
"""


def javascript(expression: Expression, dims: Mapping[str, str] | None = None) -> str:
    """Translate a formula to a JavaScript expression.

    Parameters
    ----------
    expression
        The formula.
    dims
        For each name that is an array, the dim it runs along.

    Returns
    -------
    str
        An expression over an object ``v`` that holds a number for each name, an array for each
        name in `dims`, and the length of each dim under ``n_<dim>``. Needs `JAVASCRIPT_PRELUDE`.

    Raises
    ------
    FormulaError
        For an array outside a ``sum`` over its dim, or a ``sum`` over what does not vary.

    Examples
    --------
    >>> from bayesfit.expression import parse_expression
    >>> javascript(parse_expression("a*params**-alpha"))
    '(v["a"] * bf.pow(v["params"], (-v["alpha"])))'
    """
    text, loose = _javascript(expression.node, dims or {})
    if loose:
        raise FormulaError(
            f"the formula gives an array along {', '.join(sorted(loose))}; in JavaScript it must give one number",
            expression.source,
            *expression.node.span,
        )
    return text


_MATH = frozenset({"exp", "log", "log10", "log1p", "expm1", "sqrt"})
_JAVASCRIPT_FUNCTION: Mapping[str, str] = {"minimum": "Math.min", "maximum": "Math.max"}


def _javascript(node: Node, dims: Mapping[str, str]) -> tuple[str, frozenset[str]]:
    """Return the JavaScript of a node and the dims along which it varies."""
    loose = frozenset[str]()

    def inner(part: Node) -> str:
        nonlocal loose
        text, varies = _javascript(part, dims)
        loose |= varies
        return text

    match node:
        case Number(value=value):
            text = repr(value)
        case Name(name=name) if name in dims:
            text, loose = f'v["{name}"][i_{dims[name]}]', frozenset({dims[name]})
        case Name(name=name):
            text = f'v["{name}"]'
        case Negative(operand=operand):
            text = f"(-{inner(operand)})"
        case Binary(operator="**", left=left, right=right):
            text = f"bf.pow({inner(left)}, {inner(right)})"
        case Binary(operator=operator, left=left, right=right) if operator in "+-*/":
            text = f"({inner(left)} {operator} {inner(right)})"
        case Binary(operator=operator, left=left, right=right):
            text = f"({inner(left)} {operator} {inner(right)} ? 1 : 0)"
        case Call(function="sum", arguments=(argument,), dim=dim):
            text = f'bf.sum(v["n_{dim}"], (i_{dim}) => {inner(argument)})'
            if dim not in loose:
                raise FormulaError(f"sum(..., {dim}): nothing in it varies over '{dim}'")
            loose -= {dim}
        case Call(function=function, arguments=arguments):
            prefix = f"Math.{function}" if function in _MATH else _JAVASCRIPT_FUNCTION.get(function, f"bf.{function}")
            text = f"{prefix}({', '.join(inner(argument) for argument in arguments)})"
    return text, loose
