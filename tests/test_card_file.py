"""Wrong cards and what they are told; laws from a text; finding laws."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bayesfit import catalog
from bayesfit.card import Input, Law, Output, Parameter, check_values, derived_values, expected
from bayesfit.card_file import card_toml, read_card
from bayesfit.errors import FormulaError, SpecError
from bayesfit.noise import Noise
from bayesfit.priors import Prior

CARD = '''
id = "toy"
title = "A toy"
summary = "For tests."
aliases = ["plaything"]
reference = ["Nobody 2020, Nothing at all, arXiv:2001.00000"]
equations = """
loss = E + a*(params/ref.params)**-alpha
"""

[inputs.params]

[outputs.loss]
unit = "nats/token"

[outputs.loss.noise]
kind = "laplace"
scale = "HalfNormal(0.1)"

[parameters.E]
prior = "LogitNormal(1.5, 1.5, 0, min.loss)"
role = "floor"

[parameters.a]
prior = "LogNormal(log(median.loss), 1)"
role = "amplitude"
spread = 0.4

[parameters.alpha]
prior = "LogNormal(log(0.3), 0.6)"
role = "exponent"
varies = false

[derived.A]
formula = "a*ref.params**alpha"

[derived.log_A]
formula = "log(A)"

[from_paper]
a = "A*ref.params**-alpha"

[published.nobody_2020]
source = "table 1"
verified = "memory"
values = { E = 1.5, A = 100, alpha = 0.25 }
intervals = { E = [1.4, 1.6] }
se = { E = 0.05 }

[[checks]]
published = "nobody_2020"
inputs = { params = 1e8 }
expect = { loss = "2.5000", A = "100.00" }

[limits]
monotone = { params = "decreasing" }
floor = "E"

[recovery]
truth = { E = 1.5, a = 1, alpha = 0.25 }
inputs = { params = [1e6, 1e9] }
runs = 40
sigma = 0.01
'''

#: What is replaced in the good card, by what, and what the message says.
WRONG = {
    # TOML and keys
    "not TOML": ("[inputs.params]", "[inputs.params", "the card is not valid TOML"),
    "nested without end": ('title = "A toy"', "title = " + "[" * 100_000, "is not valid TOML"),
    "unknown key": ("summary =", "sumary =", "unknown key 'sumary' in a card (did you mean 'summary'?)"),
    "unknown key of a parameter": ("varies = false", "vary = 1", "unknown key 'vary' in parameters.alpha"),
    "unknown key of an output": ("[outputs.loss]", "[outputs.loss]\nunits = 1", "did you mean 'unit'?"),
    "unknown key of the noise": ('kind = "laplace"', 'kinds = "laplace"', "'kinds' in outputs.loss.noise"),
    "unknown key of a check": ("expect =", "expected =", "unknown key 'expected' in checks (did you mean 'expect'?)"),
    "unknown key of limits": ('floor = "E"', 'flor = "E"', "unknown key 'flor' in limits (did you mean 'floor'?)"),
    "unknown key of recovery": ("runs = 40", "run = 40", "unknown key 'run' in recovery (did you mean 'runs'?)"),
    "missing id": ('id = "toy"', "", "missing key 'id'"),
    "missing prior": ('prior = "LogNormal(log(0.3), 0.6)"', "", "parameters.alpha needs a prior, such as"),
    "missing formula": ('formula = "log(A)"', "", "derived.log_A needs a formula"),
    "missing source": ('source = "table 1"', "", "published.nobody_2020 needs 'source'"),
    "missing verified": ('verified = "memory"', "", "published.nobody_2020 needs 'verified'"),
    "missing truth": ("truth = {", "#", "recovery needs 'truth'"),
    # types
    "id is a number": ('id = "toy"', "id = 3", "'id' in a card must be a text, found 3"),
    "reference is a text": (
        '["Nobody 2020, Nothing at all, arXiv:2001.00000"]',
        '"Nobody"',
        "must be a list, found 'No",
    ),
    "alias is a number": ('["plaything"]', "[3]", "an entry of 'aliases' in a card must be a text, found 3"),
    "parameter is a text": ("[derived.A]", '[parameters]\nb = "x"\n[derived.A]', "must be a table, found 'x'"),
    "prior is a number": ('"LogNormal(log(0.3), 0.6)"', "0.3", "'prior' in parameters.alpha must be a text, found 0.3"),
    "varies is a number": ("varies = false", "varies = 1", "'varies' in parameters.alpha must be true or false"),
    "spread is true": ("spread = 0.4", "spread = true", "'spread' in parameters.a must be a number, found True"),
    "runs is not whole": ("runs = 40", "runs = 40.5", "'runs' in recovery must be a whole number, found 40.5"),
    "value is a text": ("A = 100,", 'A = "100",', "published.nobody_2020.values.A must be a number, found '100'"),
    "value is not finite": ("A = 100,", "A = inf,", "published.nobody_2020.values.A must be a number, found inf"),
    "interval of one": ("[1.4, 1.6]", "[1.4]", "published.nobody_2020.intervals.E must be [low, high], found [1.4]"),
    "trend is a number": ('"decreasing"', "-1", "monotone.params in limits must be a text, found -1"),
    "expect is a number": ('loss = "2.5000"', "loss = 2.5", "a text with the digits that hold"),
    "expect says nothing": ('{ loss = "2.5000", A = "100.00" }', "{}", "a check needs expect"),
    # names
    "id with capitals": ('"toy"', '"Toy"', "lower-case words joined by underscores, found 'Toy'"),
    "reserved name": ("[inputs.params]", "[inputs.params]\n[inputs.chain]", "the name 'chain' is reserved for fits"),
    "reserved ending": ("[derived.log_A]", "[derived.a_sd_family]", "the name 'a_sd_family' is reserved for fits"),
    "function as name": ("[inputs.params]", "[inputs.params]\n[inputs.exp]", "'exp' cannot be the name of an input"),
    "name with a dash": ("[derived.log_A]", "[derived.log-A]", "'log-A' cannot be the name of an input"),
    "input and parameter": ("[inputs.params]", "[inputs.params]\n[inputs.a]", "'a' is used for two things"),
    "derived and parameter": ("[derived.log_A]", "[derived.alpha]", "'alpha' is used for two things"),
    # equations
    "undeclared name": ("**-alpha\n", "**-alpa\n", "unknown name 'alpa' (did you mean 'alpha'?)"),
    "undeclared summary": ("ref.params)**-alpha\n", "ref.tokens)**-alpha\n", "unknown name 'ref.tokens'"),
    "unused parameter": ("loss = E + a", "loss = a", "'E' is declared and does not occur in the equations"),
    "unused input": ("[inputs.params]", "[inputs.params]\n[inputs.tokens]", "'tokens' is declared and does not occur"),
    "circle": ("loss = E + a", "y = loss\nloss = y + E + a", "these equations go in a circle: y, loss"),
    "set twice": ("loss = E + a", "loss = E\nloss = E + a", "'loss' is set twice"),
    "no equation": ("loss = E + a*", "a*", "expected an equation such as"),
    "bad formula": ("**-alpha\n", "^-alpha\n", "'^' is not a power here; write **"),
    "output without equation": ("[outputs.loss]", "[outputs.accuracy]\n[outputs.loss]", "outputs must be equations"),
    # parameters
    "unknown role": ('"amplitude"', '"amplitud"', "role 'amplitud' of a is unknown (did you mean 'amplitude'?)"),
    "unknown prior": ('"LogNormal(log(0.3)', '"LogNorml(log(0.3)', "'LogNorml' (did you mean 'LogNormal'?)"),
    "prior of another arity": ("(log(0.3), 0.6)", "(log(0.3))", "takes 2 arguments (mu, sigma), found 1"),
    "prior without parentheses": ('"LogNormal(log(0.3), 0.6)"', '"LogNormal"', "expected a prior such as"),
    "prior with a bad formula": ("(log(0.3), 0.6)", "(log(0.3, 0.6)", "not a formula"),
    "prior on a parameter": ("(log(0.3), 0.6)", "(log(E), 0.6)", "a prior may use numbers and data summaries"),
    "prior on an unknown column": ("min.loss)", "min.acc)", "uses min.acc, which is not a summary of its inputs"),
    "spread of nothing": ("spread = 0.4", "spread = 0", "spread of a must be positive, found 0"),
    "above nothing": ("spread = 0.4", 'above = "alpa"', "a has above = 'alpa' (did you mean 'alpha'?); expected"),
    "above itself": ("spread = 0.4", 'above = "a"', "a has above = 'a'"),
    # noise
    "unknown noise": ('"laplace"', '"laplac"', "noise kind 'laplac' is unknown (did you mean 'laplace'?)"),
    "noise of either sign": ("HalfNormal(0.1)", "Normal(0, 0.1)", "the noise scale needs a positive prior"),
    # derived quantities and the way back
    "derived from what comes later": ('"a*ref.params**alpha"', '"exp(log_A)"', "unknown name 'log_A'"),
    "derived from an input": ('"log(A)"', '"log(params)"', "unknown name 'params'"),
    "way back to nothing": ('a = "A*ref', 'b = "A*ref', "no parameter 'b', and no formula below it uses it"),
    "way back by a step below": ("[from_paper]", '[from_paper]\nE = "1.5*c"\nc = "1"', "unknown name 'c'"),
    "way back by a name that is taken": ("[from_paper]", '[from_paper]\nlog_A = "1"\nE = "log_A"', "'log_A' cannot be"),
    "way back from nothing": ('"A*ref.params**-alpha"', '"AA*ref.params**-alpha"', "unknown name 'AA'"),
    "fixed parameter unknown": ("[from_paper]", "[fixed]\nalpa = 1\n[from_paper]", "'alpa' (did you mean 'alpha'?)"),
    # evidence
    "unknown mark": ('"memory"', '"hearsay"', "says verified = 'hearsay'; known: read, form read, abstract, memory"),
    "published nothing": ("A = 100,", "AA = 100,", "gives 'AA', which is neither a parameter nor a derived quantity"),
    "interval of nothing": ("{ E = [1.4", "{ F = [1.4", "gives 'F', which is neither"),
    "check of unknown source": (
        'published = "nobody_2020"',
        'published = "x"',
        "uses coefficients 'x', which the card",
    ),
    "check of two sources": (
        "expect =",
        "parameters = { E = 1 }\nexpect =",
        "needs one of published = and parameters =",
    ),
    "check at unknown input": ("{ params = 1e8 }", "{ prams = 1e8 }", "a check names 'prams' (did you mean 'params'?)"),
    "check without input": ("{ params = 1e8 }", "{}", "a check gives no value for the input params"),
    "check of unknown output": ('loss = "2.5000"', 'los = "2.5000"', "a check names 'los' (did you mean 'loss'?)"),
    "check of no number": ('"2.5000"', '"2.5 nats"', "a check expects loss = '2.5 nats'; expected a number"),
    "trend in nothing": ('{ params = "', '{ tokens = "', "monotone tokens = 'decreasing' needs an input"),
    "trend of no kind": ('"decreasing"', '"falling"', "monotone params = 'falling' needs an input and one of"),
    "floor of nothing": ('floor = "E"', 'floor = "F"', "unknown name 'F'"),
    "truth of nothing": ("a = 1, alpha = 0.25", "b = 1, alpha = 0.25", "the recovery test gives nothing for a"),
    "truth of too much": ("a = 1, alpha", "a = 1, c = 2, alpha", "the recovery test names 'c'"),
    "design upside down": ("[1e6, 1e9]", "[1e9, 1e6]", "needs params = [low, high] or more than two values"),
    "design of one value": ("[1e6, 1e9]", "[1e6]", "found [1000000.0]"),
}


def test_the_good_card_is_good() -> None:
    law = read_card(CARD)
    assert law.id == "toy"
    assert law.aliases == ("plaything",)
    assert law.inputs["params"].unit == "parameters"
    assert law.outputs["loss"].noise.kind == "laplace"
    assert law.parameters["alpha"].varies is False
    assert law.parameters["a"].group_spread == 0.4
    assert law.parameters["alpha"].group_spread == 0.3
    assert law.recovery is not None
    assert law.recovery.inputs == {"params": (1e6, 1e9)}
    assert law.published["nobody_2020"].intervals == {"E": (1.4, 1.6)}


@pytest.mark.parametrize(("old", "new", "message"), WRONG.values(), ids=WRONG)
def test_wrong_card(old: str, new: str, message: str) -> None:
    assert CARD.count(old) == 1, "the case must change one place of the good card"
    with pytest.raises(SpecError) as caught:
        read_card(CARD.replace(old, new))
    assert message in str(caught.value)
    assert str(caught.value).startswith("the card")
    assert len(str(caught.value)) < 1_000


def test_messages_name_the_file() -> None:
    with pytest.raises(SpecError, match=r"^toy\.toml: missing key 'outputs'"):
        read_card('id = "toy"\nequations = "y = a"', origin="toy.toml")


#: Pieces that are put into the card at random: keys, brackets and values of every type.
PIECES = ["", "\n", '"', '"""', "[", "]", "{", "}", "(", ".", "-", "**", "a", "E", "ref.", "1979-05-27"]
PIECES += ["= 3", "= []", "= {}", "= true", '= "x"', "= nan", "[inputs]\n", "[parameters.b]\n", "checks = [3]\n"]
PIECES += ['prior = "Normal(0, 1)"\n']
CUT = st.tuples(st.integers(0, len(CARD)), st.integers(0, 12), st.sampled_from(PIECES))


@settings(max_examples=400, deadline=None)
@given(st.lists(CUT, min_size=1, max_size=3))
def test_a_damaged_card_is_a_law_or_a_spec_error(cuts: list[tuple[int, int, str]]) -> None:
    text = CARD
    for start, length, piece in cuts:
        text = text[:start] + piece + text[start + length :]
    try:
        law = read_card(text)
    except SpecError:
        return
    assert read_card(card_toml(law)) == law


# Writing ---------------------------------------------------------------------------------------------------------


def test_formulas_over_several_lines_are_written_on_one() -> None:
    priors = {"E": "Normal(0, (1 +\n 2))", "a": "HalfNormal(1)", "alpha": "LogNormal(\n 0,\n 1)"}
    law = Law.from_text("loss = (E +\n a*(params/ref.params)**-alpha)", priors=priors)
    assert law.text == "loss = E + a*(params/ref.params)**-alpha"
    assert law.parameters["E"].prior.text == "Normal(0, 1 + 2)"
    assert read_card(card_toml(law)) == law


def test_empty_texts_survive_where_leaving_them_out_would_fill_them_in() -> None:
    law = replace(read_card(CARD), inputs={"params": Input()}, outputs={"loss": Output(unit="")})
    again = read_card(card_toml(law))
    assert again.inputs["params"] == Input(about="", unit="1", symbol="")
    assert again == law


def test_a_fixed_parameter_stays_fixed_in_the_card() -> None:
    law = read_card(CARD).fix(E=0)
    assert read_card(card_toml(law)).fixed == {"E": 0.0}


# Laws ------------------------------------------------------------------------------------------------------------


def test_law_from_text() -> None:
    law = Law.from_text(
        "skill = b*(tokens/ref.tokens)**-beta\nloss = E + skill",
        priors={"E": "HalfNormal(1)", "b": Prior.parse("HalfNormal(1)"), "beta": "LogNormal(log(0.3), 0.6)"},
        noise=Noise(kind="normal"),
        id="mine",
    )
    assert law.id == "mine"
    assert list(law.inputs) == ["tokens"]
    assert law.inputs["tokens"].symbol == "D"
    assert list(law.outputs) == ["loss"]
    assert law.outputs["loss"].noise.kind == "normal"
    means = law.mean({"tokens": np.array([1e9, 1e11]), "ref.tokens": 1e9, "E": 1.0, "b": 2.0, "beta": 0.5})
    np.testing.assert_allclose(means["skill"], [2.0, 0.2])
    np.testing.assert_allclose(means["loss"], [3.0, 1.2])


def test_a_printed_law_is_short() -> None:
    law = Law.from_text("loss = E + a*params**-b", priors=dict.fromkeys(("E", "a", "b"), "LogNormal(0, 1)"), id="own")
    assert str(law.fix(b=0.5)).splitlines() == [
        "own",
        "  loss = E + a*params**-b",
        "priors",
        "  E  LogNormal(0, 1)",
        "  a  LogNormal(0, 1)",
        "  b  fixed at 0.5",
    ]
    assert repr(law) == "Law(own: loss = E + a*params**-b)"
    assert str(replace(law, title="Loss from size")).startswith("own: Loss from size\n")


def test_law_from_text_takes_a_column_for_granted_where_a_summary_is_used() -> None:
    law = Law.from_text("loss = a*(hours/ref.hours)**-alpha", priors={"a": "HalfNormal(1)", "alpha": "HalfNormal(1)"})
    assert list(law.inputs) == ["hours"]


@pytest.mark.parametrize(
    ("text", "priors", "message"),
    [
        ("loss = E + a*params", {"E": "HalfNormal(1)"}, "no prior for a: give one, such as priors={'a': 'LogNormal"),
        ("loss = E", {"E": "HalfNormal(1)", "b": "HalfNormal(1)"}, "'b' is declared and does not occur"),
        ("loss = E*params", {"E": "HalfNormal(1)", "params": "HalfNormal(1)"}, "'params' is used for two things"),
        ("loss = E", {"E": "HalfNormal(min.params)"}, "uses min.params, which is not a summary of its inputs"),
    ],
)
def test_law_from_a_wrong_text(text: str, priors: dict[str, str], message: str) -> None:
    with pytest.raises(SpecError) as caught:
        Law.from_text(text, priors=priors)
    assert message in str(caught.value)


def test_a_wrong_formula_is_underlined() -> None:
    with pytest.raises(FormulaError) as caught:
        Law.from_text("loss = E + a*open(params)", priors={"E": "HalfNormal(1)", "a": "HalfNormal(1)"})
    line, marks = str(caught.value).splitlines()[-2:]
    assert line[marks.index("^") : marks.rindex("^") + 1] == "open"


def test_fix_holds_a_parameter_and_leaves_the_law_alone() -> None:
    law = read_card(CARD)
    held = law.fix(E=0).fix(alpha=0.5)
    assert held.fixed == {"E": 0.0, "alpha": 0.5}
    assert list(held.free) == ["a"]
    assert list(law.free) == ["E", "a", "alpha"]
    values = {"params": 4.0, "ref.params": 1.0, "a": 2.0, "E": 7.0, "alpha": 7.0}
    assert held.mean(values)["loss"] == pytest.approx(1.0)
    assert held.paper_parameters({"A": 6.0, "alpha": 0.5}, {"ref.params": 9.0}) == {"E": 0.0, "a": 2.0, "alpha": 0.5}


def test_fix_of_nothing() -> None:
    with pytest.raises(SpecError, match=r"toy has no parameter 'alpa' \(did you mean 'alpha'\?\); it has E, a, alpha"):
        read_card(CARD).fix(alpa=1)


def test_with_priors() -> None:
    law = read_card(CARD)
    changed = law.with_priors({"E": "HalfNormal(1)", "alpha": Prior.parse("Normal(0, 1)")})
    assert changed.parameters["E"] == Parameter(prior=Prior.parse("HalfNormal(1)"), role="floor")
    assert changed.parameters["alpha"].prior.text == "Normal(0, 1)"
    assert changed.parameters["alpha"].varies is False
    assert changed.parameters["a"] == law.parameters["a"]
    assert law.parameters["E"].prior.text == "LogitNormal(1.5, 1.5, 0, min.loss)"
    with pytest.raises(SpecError, match=r"toy has no parameter 'alfa' \(did you mean 'alpha'\?\)"):
        law.with_priors({"alfa": "HalfNormal(1)"})
    with pytest.raises(SpecError, match="is not a summary of its inputs or outputs"):
        law.with_priors({"alpha": "HalfNormal(min.tokens)"})


def test_with_noise() -> None:
    law = read_card(CARD)
    assert law.with_noise("normal").outputs["loss"].noise == Noise(kind="normal", scale=Prior.parse("HalfNormal(0.1)"))
    noise = Noise(kind="student_t", on="identity", nu=3)
    assert law.with_noise(noise).outputs["loss"].noise == noise
    with pytest.raises(SpecError, match=r"noise kind 'norml' is unknown \(did you mean 'normal'\?\)"):
        law.with_noise("norml")


def test_parameters_stand_in_for_paper_coefficients() -> None:
    law = read_card(CARD)
    assert law.paper_parameters({"E": 1.0, "a": 2.0, "alpha": 0.5}, {"ref.params": 4.0})["a"] == 2.0
    assert law.paper_parameters({"E": 1.0, "A": 2.0, "alpha": 0.5}, {"ref.params": 4.0})["a"] == 1.0
    with pytest.raises(SpecError, match="coefficients E, alpha do not give toy's parameter 'a'"):
        law.paper_parameters({"E": 1.0, "alpha": 0.5}, {"ref.params": 4.0})


def test_derived_values_build_on_each_other_and_wait_for_their_ingredients() -> None:
    law = read_card(CARD)
    values = derived_values(law, {"a": 2.0, "alpha": 0.5, "ref.params": 4.0})
    assert values["A"] == 4.0
    assert values["log_A"] == pytest.approx(np.log(4.0))
    assert derived_values(law, {"a": 2.0}) == {}


def test_a_check_tells_right_from_wrong() -> None:
    law = read_card(CARD)
    values = check_values(law, law.checks[0])
    assert values["loss"] == pytest.approx(2.5)
    assert values["A"] == pytest.approx(100)


@pytest.mark.parametrize(
    ("text", "value", "tolerance"),
    [("2.5305", 2.5305, 5e-5), ("1.20e3", 1200.0, 5.0), ("7", 7.0, 0.5), ("-1.5E-3", -0.0015, 5e-5)],
)
def test_the_digits_of_a_check_are_its_tolerance(text: str, value: float, tolerance: float) -> None:
    assert expected(text) == pytest.approx((value, tolerance))


# The catalogue ---------------------------------------------------------------------------------------------------


def test_a_law_is_found_by_name_alias_and_path(tmp_path: Path) -> None:
    assert catalog.law("chinchilla").id == "chinchilla"
    assert catalog.law("additive_nd") == catalog.law("chinchilla")
    assert catalog.law("chinchilla").kind == "loss"
    own = tmp_path / "own.toml"
    own.write_text(CARD, encoding="utf-8")
    assert catalog.law(own).id == "toy"
    assert catalog.law(str(own)).kind == "own"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("chinchila", "there is no law 'chinchila' (did you mean 'chinchilla'?)"),
        ("chin*", "there is no law 'chin*'"),
        ("../loss/chinchilla", "there is no law '../loss/chinchilla'"),
        ("nowhere.toml", "there is no card at nowhere.toml"),
    ],
)
def test_a_law_that_is_not_there(name: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        catalog.law(name)
    assert message in str(caught.value)


def test_a_card_under_another_name_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "loss").mkdir()
    (tmp_path / "loss" / "other.toml").write_text(CARD, encoding="utf-8")
    monkeypatch.setattr(catalog, "models_folder", lambda: tmp_path)
    with pytest.raises(SpecError, match=r"other\.toml holds the law 'toy'; the file must carry its name"):
        catalog.law("other")


def test_search_wants_every_word() -> None:
    assert "chinchilla" in [law.id for law in catalog.search("Hoffmann tokens")]
    assert list(catalog.search("hoffmann nonsense")) == []


@pytest.mark.parametrize("name", ["pull", "data", "w"])
def test_an_input_cannot_take_the_name_of_a_part_of_the_model(name: str) -> None:
    with pytest.raises(SpecError, match=f"the name '{name}' is reserved"):
        Law.from_text(f"loss = E + {name}", priors={"E": "Normal(0, 1)"}, inputs=[name])
