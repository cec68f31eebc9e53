"""Laws: a formula with its inputs, parameters, priors, published numbers and checks.

A `Law` is the object, a TOML *model card* its text; `bayesfit.card_file` goes between them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from bayesfit.errors import SpecError, nearest
from bayesfit.expression import SEEN, SUMMARIES, Equation, Expression, parse_equations
from bayesfit.noise import Noise
from bayesfit.population import Population
from bayesfit.priors import Prior
from bayesfit.typeset import latex, latex_name

Role = Literal[
    "floor",
    "ceiling",
    "amplitude",
    "exponent",
    "shape",
    "location",
    "ratio",
    "coefficient",
    "run",
    "structure",
    "outer",
]
Trend = Literal["increasing", "decreasing"]
Verified = Literal["read", "form read", "abstract", "memory"]
#: What values an input may take; a share lies from 0 to 1, and those of a simplex add up to 1 in every run.
Support = Literal["positive", "nonnegative", "real", "share", "simplex"]

#: Half-normal scale, on the link scale, of how far groups lie apart: exponents are pooled strongly,
#: amplitudes weakly.
SPREAD: Mapping[str, float] = {
    "floor": 0.5,
    "ceiling": 0.5,
    "amplitude": 0.5,
    "exponent": 0.3,
    "shape": 0.3,
    "location": 0.5,
    "ratio": 0.3,
    "coefficient": 0.5,
    "run": 0.05,
    "structure": 0.012,
}


@dataclass(frozen=True, kw_only=True)
class Input:
    """A column the law reads, with its unit, usual symbol (LaTeX), and the values it may take.

    With a `dim` it is one column for each of the dim's levels (``share_web``, ``share_code``).
    `whole` is the vector that a column of a closed law belongs to, if its columns add up to 1. `varies` is
    false for what may be the same in every run, such as a task's chance level.
    """

    about: str = ""
    unit: str = "1"
    symbol: str = ""
    support: Support = "positive"
    dim: str = ""
    whole: str = ""
    varies: bool = True


@dataclass(frozen=True, kw_only=True)
class Output:
    """An equation that is observed, with its unit and noise."""

    about: str = ""
    unit: str = "nats"
    symbol: str = ""
    noise: Noise = field(default_factory=Noise)


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """A number the fit finds.

    Parameters
    ----------
    prior
        Its prior for one group; with partial pooling, the prior of the population's centre.
    role
        What it does in the law; sets the default `spread`. A ``"run"`` parameter is a training run's own shift, a
        ``"structure"`` one drifts `along` an axis.
    varies
        Whether groups may have their own value when the fit is given ``by=``.
    spread
        Half-normal scale of the standard deviation over groups on the link scale.
    spread_sd
        If positive, that standard deviation is lognormal instead: `spread` its median, this the standard deviation
        of its log.
    along
        For a ``"structure"`` parameter: a formula over inputs, along whose decades its path drifts.
    above
        A parameter that this one must exceed for the law to be one, as a ceiling its floor: levels of a group that no
        run has are drawn so. Where there are runs, they and the priors see to it.
    unit, about, symbol
        For people.
    dim
        The dim over which it is a vector, if any: one number for each level of the dim.
    """

    prior: Prior
    role: Role = "coefficient"
    varies: bool = True
    spread: float | None = None
    spread_sd: float = 0.0
    along: str = ""
    above: str = ""
    unit: str = "1"
    about: str = ""
    symbol: str = ""
    dim: str = ""

    @property
    def group_spread(self) -> float:
        """`spread`, or the default of the role."""
        return SPREAD[self.role] if self.spread is None else self.spread


@dataclass(frozen=True, kw_only=True)
class Derived:
    """A quantity the paper reports, as a formula over parameters and data summaries."""

    formula: Expression
    about: str = ""
    unit: str = "1"


@dataclass(frozen=True, kw_only=True)
class Published:
    """Coefficients that a paper printed, in its own notation.

    Parameters
    ----------
    source
        Paper, table, and what was fitted to what.
    values
        Coefficient to value, under the names of parameters or derived quantities; papers that print
        exponents alone give only those.
    intervals, prob
        Published intervals and their probability.
    se
        Published standard errors.
    verified
        ``"read"``: form and numbers were read in the source; ``"form read"``: the form was, some
        numbers are from memory; ``"abstract"``; ``"memory"``.
    """

    source: str
    values: Mapping[str, float]
    verified: Verified
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    prob: float = 0.95
    se: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Check:
    """Inputs and the value the law must give there, as a text with the digits that hold.

    Parameters
    ----------
    inputs
        A number for each input.
    expect
        Output or derived quantity to its value, written with as many digits as must agree.
    published
        Whose coefficients to use; or give `parameters`.
    parameters
        Coefficients to use, under the names of parameters or derived quantities.
    """

    expect: Mapping[str, str]
    inputs: Mapping[str, float] = field(default_factory=dict)
    published: str = ""
    parameters: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What the last equation promises everywhere: its trend in an input, and bounds as formulas.

    The bounds may use parameters, inputs and data summaries.
    """

    monotone: Mapping[str, Trend] = field(default_factory=dict)
    floor: str = ""
    ceiling: str = ""


@dataclass(frozen=True, kw_only=True)
class Recovery:
    """Design of the law's recovery test.

    Parameters
    ----------
    truth
        True value of each parameter; `ref.x` is that of the simulated runs.
    inputs
        Range of each input (log-uniform; uniform for one that starts at zero or below), or a list of more
        than two values to draw from.
    runs, sigma
        Number of runs, and the noise scale of each output.
    """

    truth: Mapping[str, float]
    inputs: Mapping[str, tuple[float, ...]]
    runs: int = 60
    sigma: float = 0.01


@dataclass(frozen=True, kw_only=True)
class Law:
    """A scaling law.

    Build one with ``bf.law("chinchilla")``, from a text with `Law.from_text`, or from a card with
    `bayesfit.card_file.read_card`. Everything is checked when it is built.

    Parameters
    ----------
    id
        Its name: lower-case words joined by underscores.
    equations
        One equation a line; they may use each other's targets.
    inputs, outputs, parameters
        Every name in the equations is one of these or another equation's target.
    fixed
        Parameters held at a value instead of being fitted.
    derived
        What papers report, from our centred parameters.
    from_paper
        The way back: each parameter from a paper's coefficients (the same name where none is given). Formulas may use
        those above them; one that makes no parameter is a step on the way.
    title, summary, aliases, reference, kind
        For people, and for finding it.
    verified
        How far the formula itself was verified; `Published.verified` speaks of numbers.
    levels
        Levels of each dim in the card's own numbers and recovery design; see `closed`.
    serves
        Papers that state this law, or a trend that it describes, beside those in `reference`.
    population
        What many studies say of its parameters together; see `bayesfit.population`.

    Raises
    ------
    SpecError
        Names what is missing, unknown or contradictory.
    """

    id: str
    equations: tuple[Equation, ...]
    inputs: Mapping[str, Input]
    outputs: Mapping[str, Output]
    parameters: Mapping[str, Parameter]
    fixed: Mapping[str, float] = field(default_factory=dict)
    derived: Mapping[str, Derived] = field(default_factory=dict)
    from_paper: Mapping[str, Expression] = field(default_factory=dict)
    title: str = ""
    summary: str = ""
    aliases: tuple[str, ...] = ()
    reference: tuple[str, ...] = ()
    kind: str = ""
    verified: Verified | Literal[""] = ""
    serves: tuple[str, ...] = ()
    levels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    published: Mapping[str, Published] = field(default_factory=dict)
    checks: tuple[Check, ...] = ()
    limits: Limits = field(default_factory=Limits)
    recovery: Recovery | None = None
    population: Population | None = None

    def __post_init__(self) -> None:
        from bayesfit.card_rules import validate

        validate(self)

    def __repr__(self) -> str:
        """Return its id and equations in one line; the whole record is in the attributes."""
        return f"Law({self.id}: {'; '.join(self.text.splitlines())})"

    def __str__(self) -> str:
        """Return its id, title, equations and priors, as `bayesfit laws ID` writes them."""
        wide = max(map(len, self.parameters), default=0)
        # a formula typed by hand is its own title
        named = self.title.split() and "".join(self.title.split()) != "".join(self.text.split())
        lines = [f"{self.id}: {self.title}" if named else self.id]
        lines += [f"  {line}" for line in self.text.splitlines()] + ["priors"] * bool(self.parameters)
        for name, parameter in self.parameters.items():
            prior = f"fixed at {self.fixed[name]:.4g}" if name in self.fixed else parameter.prior.text
            lines.append(f"  {name:{wide}}  {prior}")
        return "\n".join(lines)

    @classmethod
    def from_text(
        cls,
        text: str,
        *,
        priors: Mapping[str, str | Prior],
        inputs: Iterable[str] = ("params", "tokens", "flops"),
        noise: Noise | None = None,
        id: str = "custom",
    ) -> Law:
        """Make a law from its text.

        Parameters
        ----------
        text
            One equation a line; the last in the chain is the observed output, such as
            ``"loss = E + a*(params/ref.params)**-alpha"``.
        priors
            A prior for each parameter, such as ``{"alpha": "LogNormal(log(0.3), 0.6)"}``.
        inputs
            Names in the text that are columns of the runs; those that do not occur are left out.
        noise
            Noise of the observed output.
        id
            A name for it.
        """
        equations = parse_equations(text)
        used = frozenset[str]().union(*(equation.expression.names for equation in equations))
        targets = {equation.target for equation in equations}
        columns = {name.partition(".")[2] for name in used if "." in name} - targets
        known = (set(inputs) & used) | columns
        missing = sorted(name for name in used - known - targets - priors.keys() if "." not in name)
        if missing:
            raise SpecError(
                f"no prior for {', '.join(missing)}: give one, such as priors={{'{missing[0]}': "
                f"'LogNormal(log(0.3), 0.6)'}}, or name it in inputs= if it is a column of the runs"
            )
        final = [equation.target for equation in equations if equation.target not in used]
        parameters = {
            name: Parameter(prior=prior if isinstance(prior, Prior) else Prior.parse(prior))
            for name, prior in priors.items()
        }
        return cls(
            id=id,
            equations=equations,
            inputs={name: STANDARD_INPUTS.get(name, Input()) for name in sorted(known)},
            outputs={name: Output(noise=noise or Noise()) for name in final},
            parameters=parameters,
            title=text.strip(),
        )

    @property
    def text(self) -> str:
        """Its equations, one a line."""
        return "\n".join(f"{equation.target} = {equation.expression.text}" for equation in self.equations)

    @property
    def free(self) -> Mapping[str, Parameter]:
        """The parameters that are fitted."""
        return {name: parameter for name, parameter in self.parameters.items() if name not in self.fixed}

    @property
    def n_parameters(self) -> int:
        """Number of parameters that are fitted, but for paths of the law's error and shifts of training runs."""
        return sum(parameter.role not in ("structure", "run") for parameter in self.free.values())

    @property
    def drifts(self) -> bool:
        """Whether it has an error of its own, such as `bayesfit.Structure` gives it."""
        return any(parameter.role == "structure" for parameter in self.parameters.values())

    @property
    def sigmas(self) -> dict[str, str]:
        """The name of each output's noise scale: ``sigma``, or ``sigma_<output>`` for several; not of plain counts."""
        return {
            name: "sigma" if len(self.outputs) == 1 else f"sigma_{name}"
            for name, part in self.outputs.items()
            if part.noise.has_scale
        }

    @property
    def linked(self) -> tuple[str, ...]:
        """Outputs of which another equation reads what a run showed, ``seen.x``."""
        used = frozenset[str]().union(*(equation.expression.names for equation in self.equations))
        return tuple(name for name in self.outputs if f"{SEEN}.{name}" in used)

    @property
    def vectors(self) -> dict[str, str]:
        """The dim of each input and parameter that has one."""
        parts: dict[str, Input | Parameter] = {**self.inputs, **self.parameters}
        return {name: part.dim for name, part in parts.items() if part.dim}

    @property
    def dims(self) -> tuple[str, ...]:
        """The dims of its vectors; a law that has any is *open* until `closed` for the levels at hand."""
        return tuple(dict.fromkeys(self.vectors.values()))

    def closed(self, names: Iterable[str] | None = None) -> Law:
        """Return the law with a number for each level of its dims, every sum over a dim written out.

        Parameters
        ----------
        names
            Columns that tell the levels: ``share_web`` and ``share_code`` are those of an input ``share``. The
            levels of the card by default.
        """
        if not self.dims:
            return self
        from bayesfit.dims import close, levels_in

        return close(self, self.levels if names is None else levels_in(self, names))

    @property
    def simplexes(self) -> dict[str, tuple[str, ...]]:
        """Inputs that add up to 1 in every run, by the name of the whole."""
        wholes = dict.fromkeys(part.whole for part in self.inputs.values() if part.whole)
        return {whole: tuple(name for name, part in self.inputs.items() if part.whole == whole) for whole in wholes}

    @property
    def support(self) -> dict[str, Support]:
        """The values that inputs and outputs may take, where they need not be positive."""
        found: dict[str, Support] = {
            name: part.support for name, part in self.inputs.items() if part.support != "positive"
        }
        on: dict[str, Support] = {"identity": "real", "logit": "share"}
        for name, part in self.outputs.items():
            if part.noise.counted and part.noise.kind != "negative_binomial":
                found[name] = "share"
            elif part.noise.on in on and not part.noise.counted:
                found[name] = on[part.noise.on]
        return found

    @property
    def symbols(self) -> dict[str, str]:
        """LaTeX of the names that have a symbol of their own."""
        parts: dict[str, Input | Output | Parameter] = {**self.inputs, **self.outputs, **self.parameters}
        return {name: part.symbol for name, part in parts.items() if part.symbol}

    @property
    def latex(self) -> str:
        """Its equations in LaTeX math mode, one a line."""
        symbols = self.symbols
        return "\n".join(
            f"{latex_name(equation.target, symbols)} = {latex(equation.expression, symbols)}"
            for equation in self.equations
        )

    def fix(self, **values: float | None) -> Law:
        """Return the law with parameters held at a value, such as ``law.fix(E=0)`` for no floor; None sets free."""
        for name in values:
            if name not in self.parameters:
                raise SpecError(
                    f"{self.id} has no parameter '{name}'{nearest(name, self.parameters)}; "
                    f"it has {', '.join(self.parameters)}"
                )
        fixed = {name: float(value) for name, value in {**self.fixed, **values}.items() if value is not None}
        recovery = self.recovery
        if recovery is not None:
            # what is set free was true at the value it was held at
            freed = {name: value for name, value in self.fixed.items() if name not in fixed}
            recovery = replace(recovery, truth={**freed, **recovery.truth})
        return replace(self, fixed=fixed, recovery=recovery)

    def with_priors(self, priors: Mapping[str, str | Prior]) -> Law:
        """Return the law with other priors for the parameters named."""
        for name in priors:
            if name not in self.parameters:
                raise SpecError(f"{self.id} has no parameter '{name}'{nearest(name, self.parameters)}")
        changed = {
            name: replace(self.parameters[name], prior=prior if isinstance(prior, Prior) else Prior.parse(prior))
            for name, prior in priors.items()
        }
        return replace(self, parameters={**self.parameters, **changed})

    def with_population(self, population: Population) -> Law:
        """Return the law with a correlated prior of its parameters, learnt from many studies."""
        return replace(self, population=population)

    def with_noise(self, noise: Noise | str | Mapping[str, Noise | str]) -> Law:
        """Return the law with this noise, or noise of this kind, on every output or on those named."""
        told = noise if isinstance(noise, Mapping) else dict.fromkeys(self.outputs, noise)
        for name in told:
            self.pick_output(name)
        outputs = dict(self.outputs)
        for name, one in told.items():
            kind: Any = one
            own = replace(outputs[name].noise, kind=kind) if isinstance(one, str) else one
            outputs[name] = replace(outputs[name], noise=own)
        return replace(self, outputs=outputs)

    def pick_output(self, output: str | None, *, unobserved: bool = False) -> str:
        """Return the output named, or of a loss and a share that follows from it the share, or the first.

        With `unobserved`, any equation may be named.
        """
        if output is None:
            first, last = next(iter(self.outputs)), next(reversed([*self.outputs]))
            return last if first.endswith("loss") and self.outputs[last].unit == "share" else first
        equations = [equation.target for equation in self.equations] if unobserved else []
        if output not in self.outputs and output not in equations:
            known = ", ".join(dict.fromkeys((*self.outputs, *equations)))
            raise SpecError(f"{self.id} has no output '{output}'{nearest(output, self.outputs)}; it has {known}")
        return output

    def mean(self, values: Mapping[str, Any], functions: Any = None) -> dict[str, Any]:
        """Evaluate every equation.

        Parameters
        ----------
        values
            A value for each input, parameter and data summary that the law uses.
        functions
            The backend; numpy and xarray by default.

        Returns
        -------
        dict
            Each equation's target to its value; arrays broadcast by dim.

        Notes
        -----
        ``seen.x`` is what a run showed of an output, if `values` has it; ``has.x`` beside it is 1 for runs
        that showed something and 0 for others. Without it the run is taken to show what the law says.
        """
        known: dict[str, Any] = {**values, **self.fixed}
        results: dict[str, Any] = {}
        for equation in self.equations:
            value = equation.expression.evaluate(known, functions)
            results[equation.target] = known[equation.target] = value
            seen, has = known.get(f"{SEEN}.{equation.target}", value), known.get(f"has.{equation.target}", 1.0)
            known[f"{SEEN}.{equation.target}"] = seen if seen is value else has * seen + (1.0 - has) * value
        return results

    def paper_parameters(self, coefficients: Mapping[str, float], refs: Mapping[str, float]) -> dict[str, float]:
        """Turn a paper's coefficients into parameters centred at `refs` (``{"ref.params": 1e9}``).

        A parameter that `from_paper` cannot make from them is taken under its own name.
        """
        known = {**coefficients, **refs}
        made = {}
        for name, formula in self.from_paper.items():
            if formula.names <= known.keys():
                made[name] = known[name] = float(formula.evaluate(known))
        values = {}
        for name in self.parameters:
            if name in made:
                values[name] = made[name]
            elif name in coefficients:
                values[name] = float(coefficients[name])
            elif name in self.fixed:
                values[name] = self.fixed[name]
            else:
                raise SpecError(f"coefficients {', '.join(coefficients)} do not give {self.id}'s parameter '{name}'")
        return values


#: The inputs that most tables have.
STANDARD_INPUTS: Mapping[str, Input] = {
    "params": Input(about="model parameters", unit="parameters", symbol="N"),
    "tokens": Input(about="training tokens", unit="tokens", symbol="D"),
    "flops": Input(about="training compute", unit="FLOP", symbol="C"),
}


def expected(text: str) -> tuple[float, float]:
    """Return a check's value and half a unit of its last digit: ``"2.5305"`` gives 2.5305, 5e-5."""
    mantissa, _, exponent = text.lower().partition("e")
    decimals = len(mantissa.partition(".")[2])
    return float(text), 0.5 * 10.0 ** (int(exponent or 0) - decimals)


def check_values(law: Law, check: Check) -> dict[str, float]:
    """Evaluate a check: every equation and derived quantity at its inputs.

    Data summaries are 1 here, so that a paper's uncentred coefficients are the parameters, but for those
    that the check gives beside its inputs (``"ref.params" = 1e9``).
    """
    refs = {f"{summary}.{name}": 1.0 for summary in SUMMARIES for name in (*law.inputs, *law.outputs)}
    refs |= {name: float(value) for name, value in check.inputs.items() if name in refs}
    source = law.published[check.published].values if check.published else check.parameters
    # a number that fits hold fixed may be checked at another value
    law = law.fix(**dict.fromkeys(law.fixed.keys() & source.keys()))
    parameters = law.paper_parameters(source, refs)
    known: dict[str, Any] = {**refs, **parameters}
    values = derived_values(law, known)
    if check.inputs:
        values |= {name: float(value) for name, value in law.mean({**known, **check.inputs}).items()}
    return {name: float(np.asarray(value)) for name, value in values.items()}


def derived_values(law: Law, known: Mapping[str, Any]) -> dict[str, Any]:
    """Evaluate the derived quantities whose ingredients are in `known`, in the card's order."""
    values: dict[str, Any] = {}
    for name, derived in law.derived.items():
        if derived.formula.names <= known.keys() | values.keys():
            values[name] = derived.formula.evaluate({**known, **values})
    return values
