"""Print a formula for people (LaTeX) and for the browser (JavaScript)."""

from __future__ import annotations

from collections.abc import Mapping

from bayesfit.expression import Binary, Call, Expression, Name, Negative, Node, Number

_GREEK = frozenset(
    {"alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda", "mu", "nu", "xi"}
    | {"pi", "rho", "sigma", "tau", "upsilon", "phi", "chi", "psi", "omega", "Gamma", "Delta", "Theta", "Lambda"}
    | {"Xi", "Pi", "Sigma", "Upsilon", "Phi", "Psi", "Omega"}
)
_SUMMARY_LATEX = {"ref": "{}_{{0}}", "min": r"\min {}", "max": r"\max {}", "median": r"\operatorname{{med}} {}"}

# How tightly each kind of node binds; a part that binds less tightly than its place needs parentheses.
_COMPARISON, _SUM, _PRODUCT, _UNARY, _POWER, _ATOM = range(6)
_LEVEL = {"<": 0, "<=": 0, ">": 0, ">=": 0, "+": _SUM, "-": _SUM, "*": _PRODUCT, "/": _ATOM, "**": _POWER}


def latex(expression: Expression, symbols: Mapping[str, str] | None = None) -> str:
    """Typeset a formula.

    Parameters
    ----------
    expression
        The formula.
    symbols
        LaTeX for names that have a usual symbol, such as ``{"params": "N"}``.

    Returns
    -------
    str
        LaTeX for math mode, without dollar signs.

    Examples
    --------
    >>> from bayesfit.expression import parse_expression
    >>> print(latex(parse_expression("E + a*(params/ref.params)**-alpha"), {"params": "N"}))
    E + a \\left(\\frac{N}{N_{0}}\\right)^{-\\alpha}
    """
    return _latex(expression.node, symbols or {})[0]


def latex_name(name: str, symbols: Mapping[str, str]) -> str:
    """Typeset one name: its own symbol, a Greek letter, or upright text with subscripts."""
    summary, _, column = name.partition(".")
    if column:
        return _SUMMARY_LATEX[summary].format(latex_name(column, symbols))
    if name in symbols:
        return symbols[name]
    head, _, tail = name.partition("_")
    shown = f"\\{head}" if head in _GREEK else head if len(head) == 1 else rf"\mathrm{{{head}}}"
    if not tail:
        return shown
    subscript = ",".join(f"\\{part}" if part in _GREEK else part for part in tail.split("_"))
    return f"{shown}_{{{subscript if len(tail) == 1 or tail in _GREEK else rf'\mathrm{{{subscript}}}'}}}"


def _latex(node: Node, symbols: Mapping[str, str]) -> tuple[str, int]:
    """Return the LaTeX of a node and how tightly it binds."""

    def at(part: Node, level: int) -> str:
        text, own = _latex(part, symbols)
        return text if own >= level else rf"\left({text}\right)"

    match node:
        case Number(value=value):
            return _latex_number(value)
        case Name(name=name):
            return latex_name(name, symbols), _ATOM
        case Negative(operand=operand):
            return f"-{at(operand, _PRODUCT)}", _UNARY if isinstance(operand, Name | Number) else _SUM
        case Binary(operator="/", left=left, right=right):
            return rf"\frac{{{at(left, 0)}}}{{{at(right, 0)}}}", _ATOM - 1
        case Binary(operator="**", left=left, right=right):
            return f"{at(left, _ATOM)}^{{{at(right, 0)}}}", _POWER
        case Binary(operator="*", left=left, right=right):
            # a minus or a digit on the right would read as a subtraction or a longer number
            second = at(right, _POWER)
            return f"{at(left, _PRODUCT)} {r'\cdot ' if second[0].isdigit() else ''}{second}", _PRODUCT
        case Binary(operator="-", left=left, right=right):
            return f"{at(left, _SUM)} - {at(right, _PRODUCT)}", _SUM
        case Binary(operator="+", left=left, right=right):
            return f"{at(left, _SUM)} + {at(right, _PRODUCT)}", _SUM
        case Binary(operator=operator, left=left, right=right):
            sign = {"<=": r"\le", ">=": r"\ge"}.get(operator, operator)
            return rf"\left[{at(left, _SUM)} {sign} {at(right, _SUM)}\right]", _ATOM
        case Call(function="sum", arguments=(argument,), dim=dim):
            return rf"\sum_{{\mathrm{{{dim}}}}} {at(argument, _PRODUCT)}", _SUM
        case Call(function=function, arguments=arguments):
            return _latex_call(function, [at(argument, 0) for argument in arguments])


def _latex_number(value: float) -> tuple[str, int]:
    text = f"{value:.12g}"
    mantissa, _, exponent = text.partition("e")
    if not exponent:
        return text, _ATOM
    power = f"10^{{{int(exponent)}}}"
    return (power, _POWER) if mantissa == "1" else (rf"{mantissa} \cdot {power}", _PRODUCT)


def _latex_call(function: str, arguments: list[str]) -> tuple[str, int]:
    inside = ", ".join(arguments)
    shapes = {
        "exp": (rf"e^{{{inside}}}", _POWER),
        "expm1": (rf"e^{{{inside}}} - 1", _SUM),
        "log1p": (rf"\ln\left(1 + {inside}\right)", _PRODUCT),
        "softplus": (rf"\ln\left(1 + e^{{{inside}}}\right)", _PRODUCT),
        "sqrt": (rf"\sqrt{{{inside}}}", _ATOM),
    }
    if function in shapes:
        return shapes[function]
    if function == "logaddexp":
        return rf"\ln\left(e^{{{arguments[0]}}} + e^{{{arguments[1]}}}\right)", _PRODUCT
    if function == "boxcox":
        return rf"\frac{{e^{{{arguments[1]} \cdot {arguments[0]}}} - 1}}{{{arguments[1]}}}", _ATOM - 1
    heads = {
        "log": r"\ln",
        "log10": r"\log_{10}",
        "expit": r"\operatorname{expit}",
        "gammaln": r"\ln\Gamma",
        "betaln": r"\ln\mathrm{B}",
        "minimum": r"\min",
        "maximum": r"\max",
    }
    return rf"{heads[function]}\left({inside}\right)", _PRODUCT


#: Functions that `javascript` calls and browsers lack; put once before any formula.
JAVASCRIPT_PRELUDE = """\
const bf = {
  expit: (x) => (x >= 0 ? 1 / (1 + Math.exp(-x)) : Math.exp(x) / (1 + Math.exp(x))),
  logaddexp: (a, b) => {
    if (a === b) return a + Math.LN2;
    return Math.max(a, b) + Math.log1p(Math.exp(-Math.abs(a - b)));
  },
  softplus: (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x))),
  boxcox: (z, c) => {
    const t = c * z;
    return Math.abs(t) < 1e-6 ? z * (1 + t / 2 + (t * t) / 6) : (z * Math.expm1(t)) / t;
  },
  // Lanczos approximation, g = 7, n = 9
  gammaln: (x) => {
    if (x < 0.5) return Math.log(Math.PI / Math.abs(Math.sin(Math.PI * x))) - bf.gammaln(1 - x);
    const p = [0.99999999999980993, 676.5203681218851, -1259.1392167224028, 771.32342877765313,
      -176.61502916214059, 12.507343278686905, -0.13857109526572012, 9.9843695780195716e-6,
      1.5056327351493116e-7];
    const y = x - 1, t = y + 7.5;
    let s = p[0];
    for (let i = 1; i < 9; i++) s += p[i] / (y + i);
    return 0.5 * Math.log(2 * Math.PI) + (y + 0.5) * Math.log(t) - t + Math.log(s);
  },
  betaln: (a, b) => bf.gammaln(a) + bf.gammaln(b) - bf.gammaln(a + b),
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

    Examples
    --------
    >>> from bayesfit.expression import parse_expression
    >>> javascript(parse_expression("a*params**-alpha"))
    '(v["a"] * Math.pow(v["params"], (-v["alpha"])))'
    """
    return _javascript(expression.node, dims or {})


_MATH = frozenset({"exp", "log", "log10", "log1p", "expm1", "sqrt"})
_JAVASCRIPT_FUNCTION: Mapping[str, str] = {"minimum": "Math.min", "maximum": "Math.max"}


def _javascript(node: Node, dims: Mapping[str, str]) -> str:
    def inner(part: Node) -> str:
        return _javascript(part, dims)

    match node:
        case Number(value=value):
            return repr(value)
        case Name(name=name):
            return f'v["{name}"][i_{dims[name]}]' if name in dims else f'v["{name}"]'
        case Negative(operand=operand):
            return f"(-{inner(operand)})"
        case Binary(operator="**", left=left, right=right):
            return f"Math.pow({inner(left)}, {inner(right)})"
        case Binary(operator=operator, left=left, right=right) if operator in "+-*/":
            return f"({inner(left)} {operator} {inner(right)})"
        case Binary(operator=operator, left=left, right=right):
            return f"({inner(left)} {operator} {inner(right)} ? 1 : 0)"
        case Call(function="sum", arguments=(argument,), dim=dim):
            return f'bf.sum(v["n_{dim}"], (i_{dim}) => {inner(argument)})'
        case Call(function=function, arguments=arguments):
            prefix = f"Math.{function}" if function in _MATH else _JAVASCRIPT_FUNCTION.get(function, f"bf.{function}")
            return f"{prefix}({', '.join(inner(argument) for argument in arguments)})"
