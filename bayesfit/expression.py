"""The formula language: parse, check, evaluate.

A law is a text such as ``loss = E + a*(params/ref.params)**-alpha``. The text is cut into tokens
from a short list, parsed with :mod:`ast`, and turned node by node into the small tree of this
module; whatever is not on the list is refused. Nothing is ever passed to ``eval`` or ``exec``, so
a formula from a stranger cannot run code.

Grammar: ``+ - * / **``, unary minus, ``< <= > >=`` (worth 1 or 0), the functions of `FUNCTIONS`,
numbers, names, the data summaries ``ref.x``, ``min.x``, ``max.x``, ``median.x``, ``mean.x``, and ``seen.x``, what a run
showed of an output.
"""

from __future__ import annotations

import ast
import keyword
import re
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bayesfit.errors import FormulaError, nearest

MAX_LENGTH = 5_000
MAX_DEPTH = 100
MAX_LITERAL_EXPONENT = 64
MAX_NAME = 64

#: Data summaries over the fitted runs: geometric mean, smallest, largest, median, arithmetic mean.
SUMMARIES = ("ref", "min", "max", "median", "mean")

#: ``seen.x``: what a run showed of an output, where another equation gives what the law says of it.
SEEN = "seen"
_DOTTED = (*SUMMARIES, SEEN)

#: Function name to number of arguments; ``sum(x, dim)`` takes the name of a dim.
FUNCTIONS: Mapping[str, int] = {
    "exp": 1,
    "log": 1,
    "log10": 1,
    "log1p": 1,
    "expm1": 1,
    "sqrt": 1,
    "expit": 1,
    "softplus": 1,
    "gammaln": 1,
    "logaddexp": 2,
    "minimum": 2,
    "maximum": 2,
    "boxcox": 2,
    "betaln": 2,
    "sum": 2,
}

_TOKEN = re.compile(
    r"(?P<number>(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)"
    r"|(?P<name>[A-Za-z_][A-Za-z0-9_]*)"
    r"|(?P<operator>\*\*|//|==|<=|>=|<<|>>|[-+*/(),.<>=])"
    r"|(?P<space>[ \t\n]+)"
)
_REFUSED_OPERATORS = {
    "//": "floor division is not part of the language; use /",
    "==": "equality is not part of the language; compare with < <= > >=",
    "<<": "bit operators are not part of the language",
    ">>": "bit operators are not part of the language",
}
_REFUSED_CHARACTERS = {
    "^": "'^' is not a power here; write **",
    "%": "'%' is not part of the language",
    "[": "subscripts and lists are not part of the language",
    "{": "braces are not part of the language",
    ":": "':' is not part of the language (no lambda, slice or walrus)",
    "'": "strings are not part of the language",
    '"': "strings are not part of the language",
    "#": "comments are not part of the language",
    ";": "put each equation on a line of its own instead of using ';'",
    "@": "'@' is not part of the language",
    "\\": "backslashes are not part of the language; a line may go on inside parentheses",
    "!": "'!' is not part of the language",
}


@dataclass(frozen=True, slots=True)
class Number:
    """A finite literal."""

    value: float
    span: tuple[int, int] = field(compare=False)


@dataclass(frozen=True, slots=True)
class Name:
    """An input, parameter, other equation, or summary such as ``ref.params``."""

    name: str
    span: tuple[int, int] = field(compare=False)


@dataclass(frozen=True, slots=True)
class Negative:
    """Unary minus."""

    operand: Node
    span: tuple[int, int] = field(compare=False)


@dataclass(frozen=True, slots=True)
class Binary:
    """One of ``+ - * / **`` or a comparison, which is worth 1.0 or 0.0."""

    operator: str
    left: Node
    right: Node
    span: tuple[int, int] = field(compare=False)


@dataclass(frozen=True, slots=True)
class Call:
    """A function of `FUNCTIONS`; `dim` is set for ``sum`` alone."""

    function: str
    arguments: tuple[Node, ...]
    dim: str | None
    span: tuple[int, int] = field(compare=False)


Node = Number | Name | Negative | Binary | Call

#: One implementation per function and operator; see `NUMPY` for the keys.
Backend = Mapping[str, Callable[..., Any]]


@dataclass(frozen=True)
class Expression:
    """A checked formula.

    Parameters
    ----------
    source
        The text it was parsed from, with whatever other equations stand there.
    node
        Its tree.
    """

    source: str = field(compare=False)
    node: Node

    @property
    def text(self) -> str:
        """The formula as written, on one line: parentheses that let it go on over several may lie outside."""
        return " ".join(self.source[slice(*self.node.span)].split())

    @property
    def names(self) -> frozenset[str]:
        """Every name the formula uses, summaries (``ref.params``) among them."""
        return frozenset(node.name for node in walk(self.node) if isinstance(node, Name))

    @property
    def dims(self) -> frozenset[str]:
        """Every dim that a ``sum`` of the formula runs over."""
        return frozenset(node.dim for node in walk(self.node) if isinstance(node, Call) and node.dim)

    def check(self, known: Iterable[str]) -> None:
        """Refuse any name outside `known`.

        Raises
        ------
        FormulaError
            Names the unknown name, underlines it and suggests the nearest known one.
        """
        allowed = frozenset(known)
        for node in walk(self.node):
            if isinstance(node, Name) and node.name not in allowed:
                raise FormulaError(
                    f"unknown name '{node.name}'{nearest(node.name, allowed)}; "
                    f"known here: {', '.join(sorted(allowed)) or 'none'}",
                    self.source,
                    *node.span,
                )

    def evaluate(self, values: Mapping[str, Any], backend: Backend | None = None) -> Any:
        """Return the value of the formula.

        Parameters
        ----------
        values
            A number, numpy array, DataArray, or (with a backend for it) tensor for each name.
            Labelled arrays broadcast by dim. Whole numbers are taken as floats, so that token
            counts cannot overflow and ``0**-1`` is infinite.
        backend
            Implementations of the functions and operators; numpy and xarray by default.

        Returns
        -------
        Any
            What the backend's operators return for these values. Outside the domain of a function
            the value is NaN or infinite, without a warning; callers check.
        """
        with np.errstate(all="ignore"):
            return _evaluate(self.node, values, NUMPY if backend is None else backend)


@dataclass(frozen=True)
class Equation:
    """``target = expression``."""

    target: str
    expression: Expression


def parse_expression(text: str) -> Expression:
    """Parse one formula without a target, such as ``6*params*tokens``.

    Raises
    ------
    FormulaError
        For anything outside the language; nothing is evaluated.
    """
    source = _screened(text)
    tree = _python_tree(source, "eval")
    assert isinstance(tree, ast.Expression)
    return _expression(source, tree.body)


def parse_equations(text: str) -> tuple[Equation, ...]:
    """Parse one equation a line, such as ``loss = E + a*(params/ref.params)**-alpha``.

    A line may go on inside parentheses. Equations may use each other's targets; order is free.

    Raises
    ------
    FormulaError
        For anything outside the language, a target set twice, or a circle of equations.
    """
    source = _screened(text)
    tree = _python_tree(source, "exec")
    assert isinstance(tree, ast.Module)
    equations: list[Equation] = []
    for statement in tree.body:
        span = _span(source, statement)
        if not (isinstance(statement, ast.Assign) and len(statement.targets) == 1):
            raise FormulaError("expected an equation such as 'loss = E + a*params**-alpha'", source, *span)
        target = statement.targets[0]
        if not isinstance(target, ast.Name) or target.id in FUNCTIONS or target.id in _DOTTED:
            raise FormulaError("the left side of '=' must be one plain name", source, *_span(source, target))
        if any(equation.target == target.id for equation in equations):
            raise FormulaError(f"'{target.id}' is set twice", source, *_span(source, target))
        equations.append(Equation(target.id, _expression(source, statement.value)))
    if not equations:
        raise FormulaError("expected an equation such as 'loss = E + a*params**-alpha', found none")
    return _in_order(source, equations)


def walk(node: Node) -> Iterator[Node]:
    """Yield `node` and everything below it, parents first."""
    waiting = [node]
    while waiting:
        node = waiting.pop()
        yield node
        waiting.extend(reversed(_parts(node)))


def _parts(node: Node) -> tuple[Node, ...]:
    match node:
        case Negative(operand=operand):
            return (operand,)
        case Binary(left=left, right=right):
            return left, right
        case Call(arguments=arguments):
            return arguments
        case Number() | Name():
            return ()


def _screened(text: str) -> str:
    """Return the text, its common indent removed, after a first look at every character and token."""
    if not isinstance(text, str):
        raise FormulaError(f"a formula is a text, found {type(text).__name__}")
    if len(text) > MAX_LENGTH:
        raise FormulaError(f"a formula may have {MAX_LENGTH:,} characters, found {len(text):,}")
    source = textwrap.dedent(text).strip(" \t\n").replace("\t", " ")
    if not source:
        raise FormulaError("the formula is empty")
    position = depth = 0
    previous = ""
    while position < len(source):
        match = _TOKEN.match(source, position)
        if match is None:
            raise FormulaError(_character_reason(source[position]), _harmless(source), position, position + 1)
        kind, token = str(match.lastgroup), match.group()
        depth += (token == "(") - (token == ")")
        reason = _token_reason(kind, token, previous, depth)
        if reason:
            raise FormulaError(reason, _harmless(source), match.start(), match.end())
        position, previous = match.end(), kind
    return source


def _harmless(source: str) -> str:
    """Return the text with control and invisible characters, which could act on a terminal, as ``?``."""
    return "".join(character if character.isprintable() or character == "\n" else "?" for character in source)


def _character_reason(character: str) -> str:
    if not character.isascii():
        shown = f"'{character}' (U+{ord(character):04X})" if character.isprintable() else f"U+{ord(character):04X}"
        return f"{shown} is not a plain ASCII character; formulas are plain ASCII"
    if not character.isprintable():
        return f"control character {character!r} is not allowed"
    return _REFUSED_CHARACTERS.get(character, f"'{character}' is not part of the language")


def _token_reason(kind: str, token: str, previous: str, depth: int) -> str:
    if kind == "name":
        if len(token) > MAX_NAME:
            return f"a name may have {MAX_NAME} characters, found {len(token):,}"
        if previous == "number":
            return "a number runs into a name; put an operator between them"
        if token.startswith("_"):
            return f"names may not start with an underscore: '{token}'"
        if keyword.iskeyword(token):
            return f"'{token}' is a Python keyword and not part of the language"
    if kind == "number":
        if previous == "number":
            return "two numbers in a row; put an operator between them"
        if not np.isfinite(float(token)):
            return f"number too large: {token[:20]}"
    if token in _REFUSED_OPERATORS:
        return _REFUSED_OPERATORS[token]
    if depth > MAX_DEPTH:
        return f"nested deeper than {MAX_DEPTH} levels"
    return ""


def _python_tree(source: str, mode: str) -> ast.AST:
    """Parse with Python's own parser, which builds a tree and evaluates nothing."""
    try:
        # the name is of no file: to show the line of a syntax error, Python would open a file of the name given here
        return ast.parse(source, filename="", mode=mode)
    except SyntaxError as error:
        start = _offset(source, error.lineno or 1, max(0, (error.offset or 1) - 1))
        # Python goes on to suggest things that are no part of the language, such as ':='
        raise FormulaError(f"not a formula: {error.msg.partition('.')[0]}", source, start, start + 1) from None
    except (RecursionError, MemoryError):
        raise FormulaError(f"nested deeper than {MAX_DEPTH} levels", source, 0, len(source)) from None


def _expression(source: str, tree: ast.expr) -> Expression:
    node = _node(source, tree, 0)
    _constant(source, node)
    return Expression(source, node)


_BINARY = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.Pow: "**"}
_COMPARE = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">="}


def _node(source: str, tree: ast.expr, depth: int) -> Node:
    """Turn one Python node into one of ours, or refuse it."""
    span = _span(source, tree)
    if depth > MAX_DEPTH:
        raise FormulaError(f"nested deeper than {MAX_DEPTH} levels", source, *span)
    node: Node
    match tree:
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
            node = Number(float(value), span)
        case ast.Name(id=name):
            if name in FUNCTIONS:
                raise FormulaError(f"'{name}' is a function; give it its arguments in parentheses", source, *span)
            if name in _DOTTED:
                raise FormulaError(f"'{name}' needs a column, as in {name}.params", source, *span)
            node = Name(name, span)
        case ast.Attribute(value=ast.Name(id=summary), attr=column) if summary in _DOTTED:
            node = Name(f"{summary}.{column}", span)
        case ast.Attribute():
            raise FormulaError(f"attributes are refused, except {', '.join(f'{s}.x' for s in _DOTTED)}", source, *span)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            node = Negative(_node(source, operand, depth + 1), span)
        case ast.UnaryOp(op=ast.UAdd(), operand=operand):
            node = _node(source, operand, depth + 1)
        case ast.BinOp(left=left, op=operator, right=right) if type(operator) in _BINARY:
            node = Binary(
                _BINARY[type(operator)], _node(source, left, depth + 1), _node(source, right, depth + 1), span
            )
        case ast.Compare(left=left, ops=[operator], comparators=[right]) if type(operator) in _COMPARE:
            node = Binary(
                _COMPARE[type(operator)], _node(source, left, depth + 1), _node(source, right, depth + 1), span
            )
        case ast.Compare():
            raise FormulaError("only one comparison at a time (< <= > >=)", source, *span)
        case ast.Call():
            node = _call(source, tree, depth, span)
        case _:
            raise FormulaError(f"{type(tree).__name__} is not part of the language", source, *span)
    return node


def _call(source: str, tree: ast.Call, depth: int, span: tuple[int, int]) -> Call:
    if not isinstance(tree.func, ast.Name) or tree.func.id not in FUNCTIONS:
        start, end = _span(source, tree.func)
        found = f"'{source[start:end]}'" if isinstance(tree.func, ast.Name) else "this"
        raise FormulaError(
            f"{found} is not a function of the language{nearest(source[start:end], FUNCTIONS)}; "
            f"functions: {', '.join(FUNCTIONS)}",
            source,
            start,
            end,
        )
    name = tree.func.id
    if tree.keywords or any(isinstance(argument, ast.Starred) for argument in tree.args):
        raise FormulaError("arguments are given by position only", source, *span)
    if len(tree.args) != FUNCTIONS[name]:
        raise FormulaError(f"{name} takes {FUNCTIONS[name]} argument(s), found {len(tree.args)}", source, *span)
    if name != "sum":
        return Call(name, tuple(_node(source, argument, depth + 1) for argument in tree.args), None, span)
    dim = tree.args[1]
    if not isinstance(dim, ast.Name):
        raise FormulaError("sum(x, dim) needs the plain name of a dim", source, *_span(source, dim))
    return Call(name, (_node(source, tree.args[0], depth + 1),), dim.id, span)


def _constant(source: str, node: Node) -> Any:
    """Return the value of a part without names, None for one with; refuse constants and powers that no law has."""
    if isinstance(node, Name):
        return None
    if isinstance(node, Binary) and node.operator == "**":
        exponent = node.right.operand if isinstance(node.right, Negative) else node.right
        if isinstance(exponent, Number) and exponent.value > MAX_LITERAL_EXPONENT:
            raise FormulaError(f"powers beyond {MAX_LITERAL_EXPONENT} are refused", source, *node.right.span)
    values = [_constant(source, part) for part in _parts(node)]
    if any(value is None for value in values):
        return None
    match node:
        case Number(value=number):
            value = np.float64(number)
        case Negative():
            value = -values[0]
        case Call(function="sum", dim=dim):
            raise FormulaError(f"sum(..., {dim}) of a constant: nothing in it varies over '{dim}'", source, *node.span)
        case Binary(operator=operation) | Call(function=operation):
            with np.errstate(all="ignore"):
                value = NUMPY[operation](*values)
    if not np.isfinite(value):
        raise FormulaError("this constant has no finite value", source, *node.span)
    return value


def _offset(source: str, line: int, column: int) -> int:
    lines = source.split("\n")
    return min(len(source), sum(len(text) + 1 for text in lines[: line - 1]) + column)


def _span(source: str, tree: ast.expr | ast.stmt) -> tuple[int, int]:
    end_line = tree.lineno if tree.end_lineno is None else tree.end_lineno
    end_column = tree.col_offset + 1 if tree.end_col_offset is None else tree.end_col_offset
    return _offset(source, tree.lineno, tree.col_offset), _offset(source, end_line, end_column)


def _in_order(source: str, equations: list[Equation]) -> tuple[Equation, ...]:
    """Sort equations so that each comes after those it uses."""
    waiting = {equation.target: equation for equation in equations}
    uses = {target: equation.expression.names & waiting.keys() for target, equation in waiting.items()}
    ordered: list[Equation] = []
    while waiting:
        ready = [target for target in waiting if not uses[target] & waiting.keys()]
        if not ready:
            circle = [target for target in waiting if _leads_to(target, target, uses)]
            span = waiting[circle[0]].expression.node.span
            raise FormulaError(f"these equations go in a circle: {_some(circle)}", source, *span)
        ordered.extend([waiting.pop(target) for target in ready])
    return tuple(ordered)


def _leads_to(start: str, goal: str, uses: Mapping[str, Iterable[str]]) -> bool:
    seen: set[str] = set()
    waiting = list(uses[start])
    while waiting:
        target = waiting.pop()
        if target not in seen:
            seen.add(target)
            waiting.extend(uses[target])
    return goal in seen


def _some(names: Iterable[str]) -> str:
    """Return the names, the first ten of many."""
    listed = list(names)
    return ", ".join(listed[:10]) + (f" and {len(listed) - 10} more" if len(listed) > 10 else "")


def _evaluate(node: Node, values: Mapping[str, Any], backend: Backend) -> Any:
    match node:
        case Number(value=value):
            # numpy numbers, so that a constant overflow gives inf instead of an exception
            return np.float64(value)
        case Name(name=name):
            return _real(values[name])
        case Negative(operand=operand):
            return -_evaluate(operand, values, backend)
        case Binary(operator=operator, left=left, right=right):
            return backend[operator](_evaluate(left, values, backend), _evaluate(right, values, backend))
        case Call(function="sum", arguments=(argument,), dim=dim):
            return backend["sum"](_evaluate(argument, values, backend), dim)
        case Call(function=function, arguments=arguments):
            return backend[function](*(_evaluate(argument, values, backend) for argument in arguments))


def _real(value: Any) -> Any:
    """Return a Python number or a whole-number array as floats, anything else as it is."""
    if isinstance(value, int | float):
        return np.float64(value)
    dtype = getattr(value, "dtype", None)
    return value.astype(np.float64) if isinstance(dtype, np.dtype) and dtype.kind in "biu" else value


def _numpy_sum(value: Any, dim: str) -> Any:
    if dim not in getattr(value, "dims", ()):
        raise FormulaError(f"sum(..., {dim}) needs a labelled array with the dim '{dim}'")
    # xarray would leave NaN out of a sum, and so make a missing value a zero
    return value.sum(dim, skipna=False)


def _special(name: str) -> Callable[..., Any]:
    """Return a scipy.special function, imported on its first use."""

    def call(*arguments: Any) -> Any:
        from scipy import special

        return getattr(special, name)(*arguments)

    return call


_exprel = _special("exprel")

#: Numpy and xarray: ufuncs keep the dims of labelled arrays.
NUMPY: Backend = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
    "**": lambda a, b: a**b,
    "<": lambda a, b: (a < b) * 1.0,
    "<=": lambda a, b: (a <= b) * 1.0,
    ">": lambda a, b: (a > b) * 1.0,
    ">=": lambda a, b: (a >= b) * 1.0,
    "exp": np.exp,
    "log": np.log,
    "log10": np.log10,
    "log1p": np.log1p,
    "expm1": np.expm1,
    "sqrt": np.sqrt,
    "expit": _special("expit"),
    "softplus": lambda a: np.logaddexp(0.0, a),
    "gammaln": _special("gammaln"),
    "logaddexp": np.logaddexp,
    "minimum": np.minimum,
    "maximum": np.maximum,
    # (exp(c*z) - 1)/c, going to z as c goes to 0
    "boxcox": lambda z, c: z * _exprel(c * z),
    "betaln": _special("betaln"),
    "sum": _numpy_sum,
}
