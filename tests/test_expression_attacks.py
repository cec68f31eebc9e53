"""Formulas from strangers: whatever is not of the language is refused, at once, and nothing of it runs."""

from __future__ import annotations

import builtins
import gc
import itertools
import os
import sys
import time
import tracemalloc
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bayesfit.errors import FormulaError
from bayesfit.expression import FUNCTIONS, MAX_LENGTH, SUMMARIES, parse_equations, parse_expression
from bayesfit.typeset import javascript, latex

Parse = Callable[[Any], object]
PARSERS: tuple[Parse, ...] = (parse_equations, parse_expression)
LONGEST_MESSAGE = 1_500
SECONDS = 1.0

#: Calls that leave a mark if they run: a file, a variable of the process, a flag in builtins.
TOUCH = "open('CANARY', 'w')"
FLAG = "canary()"

#: Each stands for an expression; it is tried alone and as the right side of an equation.
EXPRESSIONS = {
    # running something
    "import function": "__import__('os').system('touch CANARY')",
    "import function, no string": "__import__(os)",
    "open": TOUCH,
    "open, no string": "open(canary)",
    "canary": FLAG,
    "canary in an argument": f"exp({FLAG})",
    "canary in a sum": f"sum({FLAG}, family)",
    "canary as a dim": f"sum(x, {FLAG})",
    "canary in a power": f"a**{FLAG}",
    "canary after a comparison": f"a < {FLAG}",
    "canary called twice": "canary()()",
    "canary by parentheses": "(canary)(x)",
    "canary by keyword": "exp(x=canary())",
    "function by keyword": "exp(x=1)",
    "star": "exp(*a)",
    "star of a call": f"exp(*{FLAG})",
    "double star": "exp(**a)",
    "double star of a call": f"exp(**{FLAG})",
    "eval": "eval(a)",
    "eval of text": "eval('canary()')",
    "exec": "exec(a)",
    "compile": "compile(a, b, c)",
    "getattr": "getattr(a, b)",
    "setattr": "setattr(a, b, c)",
    "globals": "globals()",
    "vars": "vars()",
    "input": "input()",
    "breakpoint": "breakpoint()",
    "exit": "exit()",
    "help": "help()",
    "type": "type(a)",
    "print": "print(a)",
    "method": "a.mean()",
    "method of a summary": "ref.params()",
    "method of a summary's column": "ref.params.item()",
    "numpy": "np.exp(a)",
    "module": "os.system(a)",
    "call of a call": "exp(a)(b)",
    "call of a number": "1(2)",
    "call of a sum": "(a + b)(c)",
    # reaching in
    "class": "a.__class__",
    "class of a summary": "ref.__class__",
    "bases": "().__class__.__bases__[0].__subclasses__()",
    "attribute of a number": "1 .real",
    "attribute of a parenthesis": "(a + b).c",
    "attribute of a call": "exp(a).b",
    "attribute of a column": "ref.x.y",
    "summary of a summary": "ref.ref.x",
    "not a summary": "std.params",
    "summary of a parenthesis": "ref.(x)",
    "summary alone": "ref + 1",
    "summary called": "min(a, b)",
    "dim by attribute": "sum(x, ref.family)",
    "dim by number": "sum(x, 0)",
    "dim by import": "sum(x, __import__)",
    "dim by formula": "sum(x, a + b)",
    "dim twice": "sum(x, a, b)",
    "no dim": "sum(x)",
    "subscript": "a[0]",
    "slice": "a[1:2]",
    "subscript of a summary": "ref[x]",
    "private name": "_a",
    "dunder name": "__name__",
    "builtins": "__builtins__",
    "dunder column": "ref.__dict__",
    "function alone": "exp",
    "function as number": "exp + 1",
    "function as argument": "log(exp)",
    # other syntax
    "lambda": "lambda: 1",
    "lambda called": f"(lambda: {FLAG})()",
    "lambda with argument": "lambda x: x",
    "if else": "a if b else c",
    "list": "[a, b]",
    "empty list": "[]",
    "tuple": "a, b",
    "tuple in parentheses": "(a, b)",
    "tuple of one": "(a,)",
    "empty tuple": "()",
    "set": "{a}",
    "dict": "{a: b}",
    "empty dict": "{}",
    "list comprehension": f"[{FLAG} for x in y]",
    "generator": f"({FLAG} for x in y)",
    "generator argument": f"exp({FLAG} for x in y)",
    "set comprehension": "{x for x in y}",
    "dict comprehension": "{x: x for x in y}",
    "walrus": "(a := 1)",
    "walrus of a call": f"(a := {FLAG})",
    "starred": "*a",
    "starred in parentheses": "(*a, b)",
    "await": "await a",
    "yield": "yield a",
    "yield in parentheses": "(yield)",
    "yield from": "(yield from a)",
    "not": "not a",
    "and": "a and b",
    "or": "a or b",
    "in": "a in b",
    "is": "a is b",
    "equals": "(a == b)",
    "differs": "a != b",
    "chained comparison": "a < b < c",
    "chained equality": "a < b == c",
    "floor division": "a // b",
    "remainder": "a % b",
    "matrix product": "a @ b",
    "bit and": "a & b",
    "bit or": "a | b",
    "bit xor": "a ^ b",
    "bit not": "~a",
    "left shift": "a << b",
    "right shift": "a >> b",
    "arrow": "a -> b",
    "ellipsis": "...",
    "ellipsis as argument": "exp(...)",
    "true": "True",
    "false in a sum": "False + 1",
    "none": "None",
    "debug": "__debug__",
    "question mark": "a ? b",
    "dollar": "$a",
    "backquote": "`a`",
    # strings
    "string": "'a'",
    "double quoted": '"a"',
    "triple quoted": '"""a"""',
    "unfinished string": "'a",
    "raw string": "r'a'",
    "bytes": "b'a'",
    "raw bytes": "rb'a'",
    "unicode string": "u'a'",
    "f-string": f"f'{{{FLAG}}}'",
    "nested f-string": "f'{f\"{canary()}\"}'",
    "template string": f"t'{{{FLAG}}}'",
    "joined strings": "'a' 'b'",
    "format": "'{0.__class__}'.format(a)",
    "modulo format": "'%s' % a",
    # numbers
    "complex": "1j",
    "complex in a sum": "1 + 2.5J",
    "hexadecimal": "0xff",
    "octal": "0o17",
    "binary": "0b1",
    "underscores": "1_000",
    "leading zero": "007",
    "huge exponent": "1e999",
    "huge exponent's digits": "1e" + "9" * 4_000,
    "huge literal": "9" * 400,
    "huge literal beyond Python's limit": "9" * 4_900,
    "leading zeros beyond Python's limit": "0" * 4_900 + "7",
    "two numbers": "1 2",
    "two points": "1.2.3",
    "number and name": "2a",
    "number and function": "2exp(a)",
    "number and keyword": "1if a else 2",
    "number and or": "0or a",
    "infinity by overflow": "1e308*10",
    "tower of powers": "9**9**9**9",
    "huge power": "10**400",
    "power beyond the limit": "a**65",
    "negative power beyond the limit": "a**-1000",
    "divided by zero": "a + 1/0",
    "nothing divided by nothing": "0/0",
    "logarithm of zero": "log(0)",
    "root of minus one": "(-1)**0.5",
    "sum of a constant": "sum(1, family)",
    # wrong shape
    "too few arguments": "exp()",
    "too many arguments": "exp(a, b)",
    "one of two arguments": "logaddexp(a)",
    "missing operand": "a +",
    "missing operator": "a b",
    "operator first": "* a",
    "double operator": "a */ b",
    "three stars": "a *** b",
    "open parenthesis": "(a",
    "closed parenthesis": "a)",
    "inside out": ")a(",
    "comma": ",",
    "comma last": "a,",
    "point": "a.",
    "point first": ".a",
    # characters
    "null": "a\0",
    "null between": "a\0+ b",
    "escape sequence": "\x1b[31ma",
    "bell": "a\x07",
    "backspace": "a\x08",
    "delete": "a\x7f",
    "form feed": "a +\x0cb",
    "form feed at the end": "a\x0c",
    "vertical tab": "a\x0b+ b",
    "carriage return": "a +\rb",
    "file separator at the start": "\x1ca",
    "next line": "a\x85",
    "backslash": "\\",
    "line continuation": "a + \\\nb",
    "comment": "a # b",
    "type comment": "a # type: ignore",
    "encoding": "# -*- coding: utf-7 -*-",
    "semicolon": "a; b",
    "cyrillic a": "\u0430 + b",
    "greek alpha": "\u03b1",
    "full width letters": "\uff45\uff58\uff50(a)",
    "mathematical bold": "\U0001d41a",
    "ligature": "\ufb01",
    "superscript": "a\u00b2",
    "minus sign": "a \u2212 b",
    "multiplication sign": "a \u00d7 b",
    "division slash": "a \u2215 b",
    "asterisk operator": "a \u2217 b",
    "arabic digits": "\u0661\u0662",
    "full width digit": "a + \uff11",
    "digit inside a name": "a\u0661",
    "zero width space": "a\u200b",
    "zero width space inside": "ex\u200bp(a)",
    "zero width joiner": "a\u200db",
    "no-break space": "a\u00a0+ b",
    "no-break space at the end": "a\u00a0",
    "ideographic space at the start": "\u3000a",
    "byte order mark": "\ufeffa",
    "right-to-left override": "a \u202e+ b",
    "line separator": "a\u2028b",
    "paragraph separator": "a\u2029",
    "combining accent": "a\u0301",
    "lone surrogate": "a\ud800",
    "emoji": "\U0001f600",
    "tag characters": "a\U000e0041",
    # depth: as deep as the length allows, and beyond
    "10,000 parentheses": "(" * 10_000 + "a" + ")" * 10_000,
    "parentheses": "(" * 2_400 + "a" + ")" * 2_400,
    "101 parentheses": "(" * 101 + "a" + ")" * 101,
    "parentheses without end": "(" * 100,
    "10,000 minus signs": "-" * 10_000 + "a",
    "minus signs": "-" * 4_900 + "a",
    "plus signs": "+" * 4_900 + "a",
    "10,000 powers": "a**" * 10_000 + "a",
    "powers": "a**" * 1_600 + "a",
    "powers of minus": "a**-" * 1_200 + "a",
    "10,000 calls": "exp(" * 10_000 + "a" + ")" * 10_000,
    "calls": "exp(" * 980 + "a" + ")" * 980,
    "101 calls": "exp(" * 101 + "a" + ")" * 101,
    "calls in a row": "exp" + "(a)" * 1_600,
    "attributes": "ref" + ".a" * 2_400,
    "attributes called": "ref" + ".a" * 2_400 + "(a)",
    "sums": "a+" * 2_400 + "a",
    "products": "a*" * 2_400 + "a",
    "comparisons": "a<" * 2_400 + "a",
    "nested mistakes": "exp(a=(" * 50 + "a b" + "))" * 50,
    "nested stars": "exp(*(" * 50 + "a" + "))" * 50,
    "not not not": "not " * 1_200 + "a",
    # length
    "ten megabytes": "a+" * 5_000_000 + "a",
    "ten megabytes of digits": "1" * 10_000_000,
    "ten megabytes of space": " " * 10_000_000 + "a",
    "ten megabytes of lines": "\n" * 10_000_000,
    "one too long": "a" + " " * (MAX_LENGTH - 1) + "b",
    "long name": "a" * 4_900,
    "long name called": "a" * 4_800 + "(1)",
    "long function": "a" * 65,
    "long column": "ref." + "a" * 65,
    "empty": "",
    "blank": " \t\n \n",
}

#: Each stands for a whole text of equations.
TEXTS = {
    "import": "import os",
    "import from": "from os import system",
    "del": "del a",
    "pass": "pass",
    "return": "return a",
    "raise": "raise a",
    "assert": "assert a",
    "global": "global a",
    "with": f"with {TOUCH}: pass",
    "for": "for x in y: z = 1",
    "while": "while True: a = 1",
    "while, no keyword value": "while 1:\n  a = 1",
    "if": "if a: b = 1",
    "try": "try:\n a = 1\nexcept: b = 1",
    "def": f"def f(): return {FLAG}",
    "async def": "async def f(): await a",
    "class": "class A: a = 1",
    "decorator": "@canary\ndef f(): pass",
    "match": "match a:\n    case 1: b = 1",
    "type statement": "type x = a",
    "print statement": "print a",
    "exec statement": "exec 'a'",
    "no equation": "a + b",
    "call": FLAG,
    "annotation": "a: int = 1",
    "annotation by a call": f"a: {FLAG} = 1",
    "annotation alone": "a: b",
    "plus equals": "a += 1",
    "minus equals": "a -= 1",
    "power equals": "a **= 2",
    "matrix equals": "a @= b",
    "two targets": "a = b = 1",
    "tuple target": "a, b = 1, 2",
    "tuple target in parentheses": "(a, b) = c",
    "list target": "[a, b] = c",
    "starred target": "*a, b = c",
    "starred target alone": "*a = c",
    "attribute target": "a.b = 1",
    "summary target": "ref.params = 1",
    "class target": "a.__class__ = b",
    "subscript target": "a[0] = 1",
    "call target": f"{FLAG} = 1",
    "function call target": "exp(a) = 1",
    "number target": "1 = a",
    "negative target": "-a = 1",
    "formula target": "a + b = 1",
    "function target": "exp = 1",
    "sum target": "sum = a",
    "summary name target": "ref = 1",
    "private target": "_a = 1",
    "dunder target": "__builtins__ = 1",
    "keyword target": "lambda = 1",
    "true target": "True = 1",
    "walrus": "a := 1",
    "equals": "a == 1",
    "no left side": "= 1",
    "no right side": "a =",
    "two statements": "a = 1; b = 2",
    "a statement after": "a = 1; import os",
    "a call on the next line": f"a = 1\n{FLAG}",
    "an import on the next line": "a = 1\nimport os",
    "line continuation": "a = 1 + \\\n 2",
    "comment": "a = 1 # canary",
    "unexpected indent": "a = 1\n    b = 2",
    "tabs and spaces": "a = 1\n\tb = 2\n        c = 3",
    "goes on without parentheses": "a = b +\n c",
    "open parenthesis": "a = (b\nc = d",
    "carriage returns": "a = 1\r\nb = 2",
    "null line": "a = 1\n\0\nb = 2",
    "set twice": "a = 1\na = 2",
    "circle": "a = b\nb = a",
    "own circle": "a = a",
    "long circle": "\n".join(f"a{i}=a{(i + 1) % 480}" for i in range(480)),
    "long target": "a" * 4_900 + " = 1",
    "empty": "",
    "bare star": "*",
}

NOT_TEXT = [None, 1, 1.5, True, b"a = 1", bytearray(b"a"), ["a = 1"], ("a",), {"a": 1}, object(), 1j, ..., Path("a"),
            str, np.array("a = 1"), memoryview(b"a"), range(3), (c for c in "a"), lambda: "a"]  # fmt: skip


def cases() -> Iterator[Any]:
    for name, text in EXPRESSIONS.items():
        yield pytest.param(parse_expression, text, id=f"formula: {name}")
        yield pytest.param(parse_equations, f"loss = {text}", id=f"equation: {name}")
        yield pytest.param(parse_equations, f"loss = E + 2*({text})", id=f"part of an equation: {name}")
    for name, text in TEXTS.items():
        yield pytest.param(parse_equations, text, id=f"equations: {name}")
        # as a formula, none of these is one; a few are when they lose their left side, so all are tried whole
        yield pytest.param(parse_expression, text, id=f"formula: equations: {name}")


#: A formula as such, though no equation.
FORMULAS = {"a + b"}

# ---------------------------------------------------------------------------------------------------------------------
# Watching the interpreter. An audit hook stays for the life of the process, so it only looks while it is told to.

EVENTS: list[tuple[str, Any]] = []
_watching = False


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if _watching:
        EVENTS.append((event, arguments[0] if arguments else None))


@pytest.fixture(scope="module", autouse=True)
def _prepared() -> None:
    # imports that a first evaluation of a constant does
    parse_expression("gammaln(3) + expit(2)*betaln(2, 3) + boxcox(2, 1)")
    sys.addaudithook(_hook)


@pytest.fixture
def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Parse, Any], FormulaError]]:
    """Yield a function that parses, expects a refusal, and fails if anything ran on the way."""
    global _watching
    monkeypatch.chdir(tmp_path)
    calls: list[object] = []
    monkeypatch.setattr(builtins, "canary", lambda *a, **k: calls.append((a, k)), raising=False)

    def attempt(parse: Parse, text: Any) -> FormulaError:
        global _watching
        environment = dict(os.environ)
        EVENTS.clear()
        started = time.process_time()
        _watching = True
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                parse(text)
        except FormulaError as error:
            refusal = error
        else:
            pytest.fail(f"parsed: {text!r:.200}")
        finally:
            _watching = False
        took = time.process_time() - started
        # ast.parse itself is the event "compile"; running what it gives would be "exec". For a syntax error it looks
        # for a file to quote the line from, which must be of no name
        allowed = [("compile", *EVENTS[0][1:]), ("open", "")] if EVENTS else []
        assert [event for event in EVENTS if event not in allowed] == []
        assert calls == []
        assert list(tmp_path.iterdir()) == []
        assert dict(os.environ) == environment
        assert took < SECONDS, took
        return refusal

    yield attempt
    _watching = False


def test_the_watch_sees_what_it_watches_for(watched: Callable[[Parse, Any], FormulaError], tmp_path: Path) -> None:
    """The canary sings when it should: each way of running a payload is noticed."""

    def run(text: str) -> None:
        eval(text)
        raise FormulaError("ran")

    def slow(text: str) -> None:
        end = time.process_time() + SECONDS
        while time.process_time() < end:
            pass
        raise FormulaError("took long")

    def accept(text: str) -> None:
        return

    for parse, text in [(run, "canary()"), (run, "1"), (run, "__import__('os').getcwd()"), (slow, "1")]:
        with pytest.raises(AssertionError):
            watched(parse, text)
    with pytest.raises(pytest.fail.Exception):
        watched(accept, "1")
    with pytest.raises(AssertionError):
        watched(run, "open('CANARY', 'w').close()")
    assert (tmp_path / "CANARY").exists()


@pytest.mark.parametrize(("parse", "text"), list(cases()))
def test_refused(watched: Callable[[Parse, Any], FormulaError], parse: Parse, text: str) -> None:
    if parse is parse_expression and text in FORMULAS:
        assert parse(text)
        return
    error = watched(parse, text)
    message = str(error)
    assert error.reason.strip()
    assert message.startswith(error.reason)
    assert len(message) < LONGEST_MESSAGE
    assert len(message.splitlines()) <= 3
    # the message shows part of the formula: nothing in it may act on a terminal or hide from the eye
    assert all(character.isprintable() or character == "\n" for character in message)
    message.encode()
    # nothing of a large text is kept alive by the error
    assert error.__cause__ is None
    assert error.__suppress_context__ or error.__context__ is None


@pytest.mark.parametrize("thing", NOT_TEXT, ids=lambda thing: type(thing).__name__)
@pytest.mark.parametrize("parse", PARSERS)
def test_what_is_not_text_is_refused(
    watched: Callable[[Parse, Any], FormulaError], parse: Parse, thing: object
) -> None:
    error = watched(parse, thing)
    assert f"found {type(thing).__name__}" in error.reason


def test_what_is_not_text_is_not_asked_anything(watched: Callable[[Parse, Any], FormulaError]) -> None:
    class Hostile:
        def __getattribute__(self, name: str) -> Any:
            if name == "__class__":
                return object.__getattribute__(self, name)
            raise RuntimeError(name)

        def _asked(self, *arguments: object) -> Any:
            raise RuntimeError

        __str__ = __repr__ = __len__ = __iter__ = __bool__ = __eq__ = __hash__ = __index__ = __float__ = _asked

    for parse in PARSERS:
        watched(parse, Hostile())


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a^2", "write **"),
        ("a = b; c = d", "line of its own"),
        ("a == b", "equality"),
        ("a // b", "floor division"),
        ("a < b < c", "one comparison at a time"),
        ("a.b", "ref.x, min.x, max.x, median.x"),
        ("exq(a)", "did you mean 'exp'"),
        ("os.system(a)", "functions: exp, log"),
        ("exp(a, b)", "takes 1 argument(s), found 2"),
        ("exp", "give it its arguments"),
        ("min + 1", "min.params"),
        ("sum(x, 3)", "plain name of a dim"),
        ("2a", "put an operator between"),
        ("lambda + 1", "Python keyword"),
        ("_a", "underscore"),
        ("\u0430", "U+0430"),
        ("a\u200b", "U+200B is not a plain ASCII character"),
        ("a\x00", "control character '\\x00'"),
        ("a**100", "powers beyond 64"),
        ("1/0", "no finite value"),
        ("sum(2, run)", "varies over 'run'"),
        ("a b", "not a formula: invalid syntax"),
        ("a = 1", "not a formula: invalid syntax"),
        ("(" * 101 + "a", "nested deeper than 100"),
        ("-" * 101 + "a", "nested deeper than 100"),
        ("a" * 65, "a name may have 64 characters, found 65"),
        ("a+" * 3_000 + "a", "5,000 characters, found 6,001"),
        ("", "empty"),
    ],
)
def test_the_reason_says_what_to_do(text: str, reason: str) -> None:
    parse = parse_equations if ";" in text else parse_expression
    with pytest.raises(FormulaError) as caught:
        parse(text)
    assert reason in caught.value.reason
    # what Python suggests is not of the language either
    assert ":=" not in caught.value.reason


@pytest.mark.parametrize(
    ("text", "part"),
    [("E + a*(params^2)", "^"), ("loss = E + os.system(1)", "os.system"), ("E +\n  a[0]", "["),
     ("E + (a +\n   b.c + d)", "b.c"), ("E + \u0430*b", "\u0430"), ("a + 1/0", "1/0"), ("x = 2\nexp = 3", "exp"),
     ("x = a\ny = b\nx = c", "x"), ("a +\n lambda", "lambda"), ("a*b\0", "?")],
)  # fmt: skip
def test_the_offending_part_is_underlined(text: str, part: str) -> None:
    with pytest.raises(FormulaError) as caught:
        (parse_equations if "=" in text else parse_expression)(text)
    _, shown, marks = str(caught.value).splitlines()
    assert shown[marks.index("^") : marks.rindex("^") + 1] == part


# ---------------------------------------------------------------------------------------------------------------------
# Time and memory: the longest, deepest and worst texts that the limits let through


def _balanced(leaves: int, leaf: str) -> str:
    return leaf if leaves == 1 else f"({_balanced(leaves // 2, leaf)}+{_balanced(leaves - leaves // 2, leaf)})"


LARGEST = {
    "constant": "1-(" * 80 + _balanced(1_100, "1") + ")" * 80,
    "constant functions": "1-(" * 80 + _balanced(280, "betaln(1,2)") + ")" * 80,
    "constant but for the last name": _balanced(1_100, "1") + "+1" * 80 + "+a",
    "names": _balanced(1_200, "a"),
    "lines": "(" + "\n" * 2_000 + _balanced(700, "a") + ")",
    "deep": "logaddexp(a," * 99 + "a" + ")" * 99,
    "minus": "-" * 100 + "a",
}


@pytest.mark.parametrize("text", LARGEST.values(), ids=LARGEST)
def test_the_largest_formulas_take_no_time(text: str) -> None:
    assert len(text) <= MAX_LENGTH
    started = time.process_time()
    expression = parse_expression(text)
    expression.check({"a"})
    hash(expression)
    assert parse_equations(f"x={text}"[:MAX_LENGTH]) if len(text) + 2 <= MAX_LENGTH else True
    latex(expression)
    javascript(expression)
    assert np.isfinite(expression.evaluate({"a": 0.5}))
    assert time.process_time() - started < 2 * SECONDS


EQUATIONS = {
    "many": "\n".join(f"a{i}=1" for i in range(690)),
    "chain": "\n".join(f"a{i}=a{i + 1}" for i in range(440)),
    "doubling": "\n".join(f"a{i}=a{i + 1}*a{i + 1}" for i in range(290)),
}


@pytest.mark.parametrize("text", EQUATIONS.values(), ids=EQUATIONS)
def test_many_equations_take_no_time(text: str) -> None:
    assert 0.8 * MAX_LENGTH < len(text) <= MAX_LENGTH
    started = time.process_time()
    equations = parse_equations(text)
    assert len(equations) == len(text.splitlines())
    assert time.process_time() - started < SECONDS


NESTINGS = ["(", "exp(", "-(", "a(", "a,(", "a=(", "exp(a,", "exp(a=(", "exp(*(", "exp(**(", "a*(", "a**(", "a<(",
            "(a=(", "sum(x,(", "a.b(", "a(b)(", "exp(a b,(", "(a)=(", ".(", "(a,"]  # fmt: skip
CORES = ["a b", "a", "", "=", "a=b", "*", "a**", "-", "a<b<", ".", "a,", "1 1"]


@pytest.mark.parametrize("nesting", NESTINGS)
def test_no_nesting_makes_the_parser_slow(nesting: str) -> None:
    """Python's parser tries alternatives at each level; none of them may double the work."""
    depth = 99 // nesting.count("(")
    for core, closed, parse in itertools.product(CORES, (True, False), PARSERS):
        text = nesting * depth + core + ")" * (depth * nesting.count("(") if closed else 0)
        started = time.process_time()
        refusal(parse, text)
        assert time.process_time() - started < SECONDS, text


def test_a_large_text_is_refused_without_a_copy() -> None:
    text = "a = (" + "1+\n" * 3_000_000 + "1)"
    gc.collect()
    tracemalloc.start()
    try:
        for parse in PARSERS:
            with pytest.raises(FormulaError, match="characters"):
                parse(text)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1_000_000


def test_a_deep_stack_of_the_caller_is_no_way_in() -> None:
    """Near the recursion limit a formula is refused or parsed, or Python says so; it never half parses."""
    expected = parse_expression("exp(" * 50 + "a" + ")" * 50)

    def down(frames: int) -> object:
        return parse_expression(expected.text) if frames == 0 else down(frames - 1)

    seen = set()
    for frames in range(0, sys.getrecursionlimit(), 50):
        try:
            seen.add(down(frames) == expected)
        except (RecursionError, FormulaError):
            seen.add(None)
    assert seen == {True, None}


# ---------------------------------------------------------------------------------------------------------------------
# Anything at all

TOKENS = [*FUNCTIONS, *SUMMARIES, "a", "x1", "params", "ref.x", "ref.", "loss", "=", "\n", " ", "(", ")", "(", ")",
          "+", "-", "*", "/", "**", "<", ">=", "//", "==", "1", "2.5", ".5", "1e3", "1e", "0", "007", "1e400", "e", "j",
          ".", "..", "[", "]", "{", "}", ":", ":=", ";", "#", "'", '"', "\\", "@", "!", "%", "^", "&", "|", "~", "?",
          "lambda", "if", "else", "for", "in", "import", "True", "None", "await", "yield", "match", "case", "type", "_",
          "__", "not", "is", "\t", "\r", "\0", "\x0c", "\u0430", "\u200b", "\u0661", "f'", "eval", "open", ",",
          "$"]  # fmt: skip
SOUP = st.lists(st.sampled_from(TOKENS), max_size=40).map("".join)
SPACED = st.lists(st.sampled_from(TOKENS), max_size=40).map(" ".join)
CLOSE = st.lists(st.sampled_from([*FUNCTIONS, "a", "ref.x", "(", ")", "+", "-", "*", "**", "<", "2", ",", "=", "\n"]),
                 max_size=14).map("".join)  # fmt: skip
EQUATION = st.tuples(st.sampled_from(["loss = ", "loss = E + ", "a = 1\nb = "]), CLOSE).map("".join)


def refusal(parse: Parse, text: str) -> FormulaError | None:
    try:
        parse(text)
    except FormulaError as error:
        return error
    return None


def parses_or_refuses(text: str) -> None:
    for parse in PARSERS:
        error = refusal(parse, text)
        if error is None:
            assert text.isascii()
            continue
        message = str(error)
        assert error.reason
        assert len(message) < LONGEST_MESSAGE
        assert all(character.isprintable() or character == "\n" for character in message)


fuzz = settings(deadline=None, derandomize=True, database=None, max_examples=300)


@fuzz
@given(st.text())
def test_any_text_parses_or_is_refused(text: str) -> None:
    parses_or_refuses(text)


@fuzz
@given(st.text(st.characters(max_codepoint=127)))
def test_any_ascii_text_parses_or_is_refused(text: str) -> None:
    parses_or_refuses(text)


@settings(fuzz, max_examples=1_000)
@given(SOUP | SPACED | CLOSE | EQUATION)
def test_any_row_of_tokens_parses_or_is_refused(text: str) -> None:
    parses_or_refuses(text)


@fuzz
@given(CLOSE)
def test_what_parses_as_a_formula_is_one_to_python_too(text: str) -> None:
    """Nothing slips through that Python would read as something else: both see the same tree."""
    try:
        expression = parse_expression(text)
    except FormulaError:
        return
    values = {name: np.float64(0.7) for name in expression.names}
    if not expression.dims:
        assert isinstance(expression.evaluate(values), float)
    assert parse_expression(f"(\n{text}\n)") == expression
