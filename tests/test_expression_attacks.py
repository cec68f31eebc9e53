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
from tests.hostile import FORMULAS, NOT_TEXT, PARSERS, Parse, cases

LONGEST_MESSAGE = 1_500
SECONDS = 1.0

# ---------------------------------------------------------------------------------------------------------------------
# Watching the interpreter. An audit hook stays for the life of the process, so it only looks while it is told to.

EVENTS: list[tuple[str, Any]] = []
_watching = False


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if _watching:
        EVENTS.append((event, arguments[0] if arguments else None))


@pytest.fixture(scope="module", autouse=True)
def _prepared() -> Iterator[None]:
    # imports that a first evaluation of a constant does
    parse_expression("gammaln(3) + expit(2)*betaln(2, 3) + boxcox(2, 1)")
    sys.addaudithook(_hook)
    # the parser's time is measured: what it leaves to collect is part of it, but not what earlier tests left, which
    # takes a second to look through
    gc.freeze()
    yield
    gc.unfreeze()


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
