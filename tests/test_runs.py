"""Runs: tables in every shape, and one small wrong table per message in `wrong_runs/`."""

from __future__ import annotations

import tomllib
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import bayesfit as bf
from bayesfit.cells import read_numbers
from bayesfit.errors import DataError, DataWarning, FormulaError, SpecError
from bayesfit.needs import Needs, require
from bayesfit.runs import Runs
from tests.tables import LAW, frame, made

WRONG = Path(__file__).with_name("wrong_runs")
INDEX: dict[str, dict[str, Any]] = tomllib.loads((WRONG / "index.toml").read_text(encoding="utf-8"))


def faults_of(df: pd.DataFrame, **arguments: Any) -> list[tuple[str, str | None, int | None]]:
    with pytest.raises(DataError) as caught:
        Runs.from_frame(df, **arguments)
    return [(fault.kind, fault.column, fault.row) for fault in caught.value.faults]


# wrong tables


@pytest.mark.parametrize("name", INDEX)
def test_a_wrong_table_is_told_every_fault_and_no_other(name: str) -> None:
    case = INDEX[name]
    with pytest.raises(DataError) as caught:
        require(Runs.from_csv(WRONG / f"{name}.csv", **case.get("call", {})), Needs(**case.get("law", LAW)))
    assert sorted(fault.kind for fault in caught.value.faults) == sorted(case["kinds"])
    for part in case["says"]:
        assert part in str(caught.value)
    assert name in str(caught.value).splitlines()[0]


def test_every_wrong_table_is_in_the_index_and_each_message_has_one() -> None:
    assert sorted(path.stem for path in WRONG.glob("*.csv")) == sorted(INDEX)
    assert {kind for case in INDEX.values() for kind in case["kinds"]} == {
        *("missing_column", "duplicate_column", "group_missing", "empty_table", "unreadable"),
        *("not_a_number", "missing_value", "not_finite", "not_positive", "wrong_unit", "out_of_range"),
        *("percent_accuracy", "bad_se", "bad_n_items", "one_group", "few_runs", "collinear"),
        *("negative", "not_a_mixture", "no_log_odds"),
    }


@pytest.mark.parametrize("name", INDEX)
def test_a_fault_says_where_it_is_and_what_to_do(name: str) -> None:
    case = INDEX[name]
    with pytest.raises(DataError) as caught:
        require(Runs.from_csv(WRONG / f"{name}.csv", **case.get("call", {})), Needs(**case.get("law", LAW)))
    for fault in caught.value.faults:
        assert str(fault).endswith(f"{fault.message}; {fault.remedy}")
        assert fault.message
        assert fault.remedy
        if fault.row is not None:
            assert str(fault).startswith(f"row {fault.row}, column '{fault.column}': ")
            assert fault.value is not None


def test_faults_are_objects_with_a_place_and_the_cell_as_read() -> None:
    with pytest.raises(DataError) as caught:
        Runs.from_frame(frame(loss=[3.5, "oops", 2.9, 2.8]), name="sweep 3")
    (fault,) = caught.value.faults
    assert (fault.kind, fault.row, fault.column, fault.value) == ("not_a_number", 2, "loss", "oops")
    assert str(caught.value).startswith("sweep 3 has 1 fault:")


def test_faults_of_all_columns_come_in_one_error() -> None:
    df = frame(params=[7, -1, 4e8, None], tokens=["x", 1e9, np.inf, True], loss=[3.5, 0, 60, 2.8], family=["", 1, 2, 3])
    assert sorted(faults_of(df, groups=["family"]), key=str) == sorted(
        [
            ("wrong_unit", "params", 1), ("not_positive", "params", 2), ("missing_value", "params", 4),
            ("not_a_number", "tokens", 1), ("not_finite", "tokens", 3), ("not_a_number", "tokens", 4),
            ("not_positive", "loss", 2), ("wrong_unit", "loss", 3), ("missing_value", "family", 1),
        ],
        key=str,
    )  # fmt: skip


@pytest.mark.parametrize("count", [20, 21])
def test_many_faults_alike_are_counted_not_listed(count: int) -> None:
    df = pd.DataFrame({"params": [1e9 + i for i in range(count)], "loss": -1.0})
    with pytest.raises(DataError) as caught:
        Runs.from_frame(df)
    faults = caught.value.faults
    if count == 20:
        assert [fault.row for fault in faults] == [*range(1, 21)]
    else:
        assert [fault.row for fault in faults] == [1, 2, 3, 4, 5, None]
        assert "and 16 more rows" in faults[-1].message


def test_a_missing_column_is_told_once_however_often_it_is_used() -> None:
    derive = {"flops": "6*params*passes", "seen": "passes*tokens"}
    assert faults_of(frame(), derive=derive) == [("missing_column", "passes", None)]


def test_a_group_in_the_index_is_pointed_out() -> None:
    with pytest.raises(DataError, match=r"it is in the index: give df\.reset_index\(\)"):
        Runs.from_frame(frame().set_index("family"), groups=["family"])


@pytest.mark.parametrize(
    ("cell", "kind"),
    [
        (None, "missing_value"),
        (pd.NA, "missing_value"),
        (pd.NaT, "missing_value"),
        (np.float32("nan"), "missing_value"),
        (np.bool_(True), "not_a_number"),
        (10**400, "not_finite"),
        (-np.inf, "not_finite"),
        ("-Infinity", "not_finite"),
        ([1.0], "not_a_number"),
        (1 + 2j, "not_a_number"),
        (pd.Timestamp("2026-01-01"), "not_a_number"),
        ("0x10", "not_a_number"),
        ("7BB", "not_a_number"),
        ("1e", "not_a_number"),
        ("- 3", "not_a_number"),
        ("٣", "not_a_number"),
    ],
)
def test_a_cell_that_is_no_number(cell: object, kind: str) -> None:
    numbers, faults = read_numbers(pd.Series([2.0, cell], dtype=object), "loss")
    assert [(fault.kind, fault.row) for fault in faults] == [(kind, 2)]
    assert np.isnan(numbers[1]) or kind == "not_finite"
    assert numbers[0] == 2.0


# numbers


@pytest.mark.parametrize(
    ("text", "value"),
    [("7B", 7e9), ("1.4T", 1.4e12), ("350M", 350e6), ("12k", 12e3), ("6e21", 6e21), (" 1.3e9 ", 1.3e9), ("2G", 2e9),
     ("4.35m", 4_350_000), (".5K", 500), ("3.", 3), ("+2 b", 2e9), ("1E3", 1e3), ("1.5e-3", 0.0015)],
)  # fmt: skip
def test_numbers_as_people_write_them(text: str, value: float) -> None:
    numbers, faults = read_numbers(pd.Series([text]), "x")
    assert not faults
    assert numbers[0] == value


@given(
    st.integers(0, 10**9),
    st.integers(0, 6),
    st.sampled_from([("", 0), ("k", 3), ("M", 6), ("b", 9), ("G", 9), ("t", 12), ("T", 12)]),
    st.sampled_from(["", " ", "\t"]),
)
def test_a_suffix_is_a_power_of_ten(digits: int, places: int, suffix: tuple[str, int], space: str) -> None:
    text = f"{digits / 10**places:.{places}f}"
    numbers, faults = read_numbers(pd.Series([f"{space}{text}{space}{suffix[0]}{space}"]), "x")
    assert not faults
    assert numbers[0] == float(f"{text}e{suffix[1]}")


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_printed_is_the_number_read(value: float) -> None:
    numbers, faults = read_numbers(pd.Series([value, repr(value), f"{value:.17g}"], dtype=object), "x")
    assert not faults
    assert numbers.tolist() == [value] * 3


@given(st.text(max_size=12))
def test_no_text_breaks_the_reader(text: str) -> None:
    numbers, faults = read_numbers(pd.Series([text], dtype=object), "x")
    assert len(faults) == 1 - np.isfinite(numbers[0])


# roles


def test_inputs_are_the_standard_ones_and_those_mapped_or_derived() -> None:
    df = frame().rename(columns={"params": "N"}).assign(gpus=[8, 8, 16, 32], val=1.0)
    arguments = {"columns": {"params": "N", "replicas": "gpus"}, "derive": {"flops": "6*params*tokens"}}
    runs = Runs.from_frame(df, loss="val", **arguments)
    assert runs.inputs == ("params", "tokens", "flops", "replicas")
    assert runs.outputs == ("loss",)
    assert runs.values("replicas").tolist() == [8, 8, 16, 32]
    assert runs.values("loss").tolist() == [1] * 4
    np.testing.assert_array_equal(runs.values("flops"), 6 * frame()["params"] * frame()["tokens"])


def test_inputs_named_are_the_inputs_read() -> None:
    df = frame(tokens=["?"] * 4)
    assert Runs.from_frame(df, inputs=["params"]).inputs == ("params",)
    assert faults_of(df)[0] == ("not_a_number", "tokens", 1)


def test_a_loss_can_be_an_input_of_an_accuracy() -> None:
    runs = Runs.from_frame(
        frame(acc=[0, 0.5, 1, 0.2]), outputs=["accuracy"], columns={"accuracy": "acc", "loss": "loss"}
    )
    assert runs.inputs == ("params", "tokens", "loss")
    assert runs.values("accuracy").tolist() == [0, 0.5, 1, 0.2]


def test_outputs_and_errors_can_be_derived_as_the_messages_advise() -> None:
    df = frame(loss=[60.0, 80, 90, 70], low=[1.0, 2, 3, 4], high=[1.5, 2.5, 3.5, 4.5])
    runs = Runs.from_frame(df, derive={"loss": "log(loss)", "loss_se": "(high - low)/4", "params": "params/1000"})
    assert runs.inputs == ("params", "tokens")
    np.testing.assert_allclose(runs.values("loss"), np.log([60, 80, 90, 70]))
    assert runs.loss_se is not None
    assert runs.loss_se.tolist() == [0.125] * 4
    assert runs.values("params")[0] == 7e4


def test_a_derived_role_may_use_another() -> None:
    runs = made(derive={"flops": "passes*params*tokens", "passes": "2*3"})
    assert runs.values("flops")[0] == 6 * 7e7 * 2e9
    with pytest.raises(SpecError, match="goes in a circle"):
        made(derive={"x": "2*y", "y": "x + 1"})


def test_measured_columns_are_read() -> None:
    runs = Runs.from_frame(frame(se=["0", 0.01, 0.02, 0.03], items=[10, 20, 30, 40]), loss_se="se", n_items="items")
    assert runs.loss_se is not None
    assert runs.n_items is not None
    assert runs.loss_se.tolist() == runs.values("loss_se").tolist() == [0, 0.01, 0.02, 0.03]
    assert runs.n_items.tolist() == [10, 20, 30, 40]
    assert made().loss_se is None
    assert made().n_items is None


def test_groups_are_names() -> None:
    runs = Runs.from_frame(frame(family=[" b", 7, "b ", 8.0]), groups=["family"])
    assert runs.levels("family") == ("b", "7", "8")
    assert runs.codes("family").tolist() == [0, 1, 0, 2]
    assert runs.codes("family").dtype.kind == "i"


def test_units_can_be_allowed() -> None:
    df = frame(params=[7, 8, 9, 10], loss=[60, 70, 80, 90])
    assert {kind for kind, *_ in faults_of(df)} == {"wrong_unit"}
    assert Runs.from_frame(df, allow=["units"]).values("params").tolist() == [7, 8, 9, 10]
    with pytest.raises(DataError, match="must be positive"):
        Runs.from_frame(frame(params=[-7, 8, 9, 10]), allow=["units"])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            {"allow": ["unit"]},
            r"cannot allow 'unit' \(did you mean 'units'\?\); known: units, one_group, few_runs,",
        ),
        ({"allow": "units"}, r"allow must be a list, found the text 'units'; write allow=\['units'\]"),
        ({"groups": "family"}, r"write groups=\['family'\]"),
        ({"outputs": "loss"}, r"write outputs=\['loss'\]"),
        ({"inputs": "params"}, r"write inputs=\['params'\]"),
        ({"outputs": []}, "outputs is empty; name at least one"),
        ({"loss": "a", "columns": {"loss": "b"}}, "loss='a' and columns={'loss': 'b'} differ; keep one"),
        ({"outputs": ["accuracy"], "loss_se": "se"}, "loss_se is the standard error of the output 'loss'"),
        ({"groups": ["Model Family"]}, r"give it one, columns={'model_family': 'Model Family'} \(--column 'model_f"),
        ({"groups": ["run"]}, r"cannot be called 'run', which names rows here; .*columns={'group_run': 'run'} \(--col"),
        ({"groups": ["params"]}, "'params' is named twice, as input and as group; keep one"),
        ({"outputs": ["loss", "loss"]}, "'loss' is named twice, as output and as output"),
    ],
)
def test_arguments_that_cannot_be_used(arguments: dict[str, Any], says: str) -> None:
    if "inputs" not in arguments:
        arguments = {"inputs": ["params"], **arguments}
    with pytest.raises(SpecError, match=says):
        Runs.from_frame(frame(), **arguments)


def test_formulas_are_those_of_the_formula_language() -> None:
    with pytest.raises(FormulaError, match=r"unknown name 'ref\.params'"):
        made(derive={"x": "params/ref.params"})
    with pytest.raises(FormulaError):
        made(derive={"x": "__import__('os')"})


def test_what_is_no_table() -> None:
    with pytest.raises(SpecError, match="expected a pandas DataFrame with one row of column names, found dict"):
        Runs.from_frame({"params": [1e9]})  # type: ignore[arg-type]  # wrong on purpose
    with pytest.raises(SpecError, match="one row of column names"):
        Runs.from_frame(pd.concat({"a": frame()}, axis="columns"))
    with pytest.raises(SpecError, match=r"a table goes to Runs\.from_frame"):
        Runs.from_csv(frame())  # type: ignore[arg-type]  # wrong on purpose


@pytest.mark.parametrize(
    "changes",
    [{"loss": [1.0, np.nan, 2.0, 3.0]}, {"loss": ["a"] * 4}, {"loss": []}, {"extra": 1.0}],
    ids=["nan", "text", "no rows", "one column more"],
)
def test_runs_are_not_made_around_the_checks(changes: dict[str, Any]) -> None:
    table = pd.DataFrame({"params": [1e9] * len(changes.get("loss", "four"))} | {"loss": 1.0} | changes)
    with pytest.raises(SpecError, match=r"this table was not checked; make runs with Runs\.from_frame"):
        Runs(table=table, inputs=("params",), outputs=("loss",))


# warnings


def test_copies_are_kept_and_told() -> None:
    df = pd.concat([frame(), frame().iloc[[2, 0, 0]]], ignore_index=True)
    df["se"] = np.arange(1.0, 8)
    with pytest.warns(DataWarning, match="rows 1 and 6 and 7; 3 and 5 are copies of one another; they") as caught:
        runs = Runs.from_frame(df, groups=["family"], loss_se="se", name="sweep")
    assert len(runs) == 7
    assert str(caught[0].message).startswith("sweep: ")
    assert caught[0].filename == __file__


def test_runs_that_differ_in_family_alone_are_no_copies() -> None:
    df = pd.concat([frame(), frame(family=["x"] * 4)])
    assert len(Runs.from_frame(df, groups=["family"])) == 8


@pytest.mark.parametrize("names", [["GPT 2", "gpt 2"], ["GPT 2", "GPT  2"], ["GPT 2", "GPT2"]])
def test_names_that_differ_in_case_or_space_are_told(names: list[str]) -> None:
    with pytest.warns(DataWarning, match=f"{names[0]!r}, {names[1]!r} differ only in case or spaces"):
        runs = Runs.from_frame(frame(family=names * 2), groups=["family"])
    assert runs.levels("family") == tuple(names)


# files


def test_a_csv_is_read_as_a_frame_is(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    path.write_bytes('\ufeffparams, tokens ,loss,family\n70M,2e9,3.5,b\n\n160m, 1G, 3.4, "a, b"\n'.encode())
    runs = Runs.from_csv(path, groups=["family"])
    assert runs.values("params").tolist() == [7e7, 1.6e8]
    assert runs.values("tokens").tolist() == [2e9, 1e9]
    assert runs.levels("family") == ("b", "a, b")
    assert runs.name == str(path)
    assert Runs.from_csv(path, name="mine").name == "mine"


@pytest.mark.parametrize("end", [".csv", ".csv.gz"])
def test_a_frame_written_and_read_gives_the_same_runs(tmp_path: Path, end: str) -> None:
    runs = made()
    runs.to_frame().to_csv(tmp_path / f"runs{end}", index=False)
    assert Runs.from_csv(tmp_path / f"runs{end}", groups=["family"]) == runs


def test_parquet(tmp_path: Path) -> None:
    frame().assign(n=pd.array([1, 2, 3, 4], dtype="Int64")).to_parquet(tmp_path / "runs.parquet")
    runs = Runs.from_parquet(str(tmp_path / "runs.parquet"), groups=["family"])
    assert runs == made()
    assert runs.name.endswith("runs.parquet")
    assert faults_of(pd.read_parquet(tmp_path / "runs.parquet").assign(n=None), inputs=["n"])[0][0] == "missing_value"


def test_files_that_are_no_parquet_or_not_there(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_text("params,loss\n1e9,3\n")
    with pytest.raises(DataError, match=r"not a readable Parquet file .*a CSV file is read by Runs\.from_csv"):
        Runs.from_parquet(tmp_path / "a.parquet")
    frame().to_parquet(tmp_path / "b.csv")
    with pytest.raises(DataError, match=r"not a text file in UTF-8; .* a Parquet file: Runs\.from_parquet"):
        Runs.from_csv(tmp_path / "b.csv")
    (tmp_path / "c.csv.gz").write_bytes(b"not gzip")
    with pytest.raises(DataError, match="not a readable CSV file"):
        Runs.from_csv(tmp_path / "c.csv.gz")
    with pytest.raises(DataError, match="not a readable CSV file"):
        Runs.from_csv(tmp_path)
    for read in (Runs.from_csv, Runs.from_parquet):
        with pytest.raises(DataError, match="there is no such file; check the path") as caught:
            read(tmp_path / "nothing")
        assert [fault.kind for fault in caught.value.faults] == ["missing_file"]


# round trips, identity, parts


def test_a_dataset_holds_the_runs_exactly(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    df = frame(loss=rng.lognormal(1, 0.1, 4), se=rng.random(4), items=[1, 2, 3, 4])
    # a name of another length, and one beyond ASCII, must survive fixed-width storage
    df["family"] = ["a", "longer name", "é", "a"]
    runs = Runs.from_frame(df, groups=["family"], loss_se="se", n_items="items", name="sweep 3")
    dataset = runs.to_dataset()
    assert dict(dataset.sizes) == {"run": 4}
    assert dataset.coords["family"].dtype.kind == "U"
    assert "params" in dataset.data_vars
    dataset.to_netcdf(tmp_path / "runs.nc", engine="h5netcdf")
    with xr.open_dataset(tmp_path / "runs.nc", engine="h5netcdf") as stored:
        for source in (dataset, stored.load()):
            again = Runs.from_dataset(source)
            assert again == runs
            assert (again.inputs, again.outputs, again.groups, again.name) == (
                *(runs.inputs, runs.outputs, runs.groups),
                "sweep 3",
            )
            pd.testing.assert_frame_equal(again.to_frame(), runs.to_frame())


def test_what_was_allowed_or_told_once_comes_back_in_silence() -> None:
    df = frame(params=7.0, tokens=8.0, loss=1.0, family=["a", "A", "a", "a"])
    with pytest.warns(DataWarning):
        runs = Runs.from_frame(df, groups=["family"], allow=["units"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Runs.from_dataset(runs.to_dataset()) == runs


def test_a_dataset_is_checked() -> None:
    dataset = made().to_dataset()
    with pytest.raises(DataError, match="row 2, column 'loss': found -1, loss must be positive"):
        Runs.from_dataset(dataset.assign(loss=("run", [1.0, -1, 1, 1])))
    for broken in (
        xr.Dataset(),
        dataset.drop_vars("loss"),
        dataset.assign_attrs(roles="[]"),
        dataset.assign_attrs(roles="{"),
    ):
        with pytest.raises(SpecError, match="this dataset does not hold runs"):
            Runs.from_dataset(broken)


def test_the_hash_is_of_the_content() -> None:
    runs = made()
    assert len(runs.sha256) == 64
    # pinned: fits that were saved name the hash of their data
    assert runs.sha256.startswith("70fcb7027111b87aca1ad667")
    for same in (
        frame().set_axis(list("wxyz")),
        frame()[["family", "loss", "tokens", "params"]],
        frame(params=["70M", "160M", "0.41B", "1e9"]),
        frame(note="unused"),
    ):
        assert Runs.from_frame(same, groups=["family"], name="other") == runs
    assert hash(runs) == hash(made(name="other"))
    assert runs != "runs"


@pytest.mark.parametrize(
    "different",
    [
        Runs.from_frame(frame(loss=[3.5, 3.4, 2.9, np.nextafter(2.8, 3)]), groups=["family"]),
        Runs.from_frame(frame(params=[7e7, 1.6e8, 4.1e8, 1e9 + 1]), groups=["family"]),
        Runs.from_frame(frame(family=["b", "a", "b", "d"]), groups=["family"]),
        Runs.from_frame(frame().iloc[::-1], groups=["family"]),
        Runs.from_frame(frame().iloc[:3], groups=["family"]),
        Runs.from_frame(frame()),
        Runs.from_frame(frame(), groups=["family"], inputs=["params"]),
        Runs.from_frame(frame(se=0.0), groups=["family"], loss_se="se"),
        Runs.from_frame(frame().rename(columns={"tokens": "flops"}), groups=["family"]),
    ],
    ids=["loss", "params", "level", "order", "row less", "no group", "input less", "measured", "role"],
)
def test_the_hash_changes_with_any_part_of_the_content(different: Runs) -> None:
    assert different.sha256 != made().sha256
    assert different != made()


def test_parts() -> None:
    runs = made()
    large = runs.select(runs.values("params") > 1e8)
    assert len(runs) == 4
    assert len(large) == 3
    assert large.levels("family") == ("a", "b", "c")
    assert large.to_frame().index.tolist() == [0, 1, 2]
    assert large == runs.select(pd.Series([False, True, True, True], index=list("wxyz")))
    assert large == Runs.from_frame(frame().iloc[1:], groups=["family"])
    with pytest.raises(SpecError, match="no run is left"):
        runs.select(np.zeros(4, dtype=bool))
    for mask in (np.array([0, 1, 2, 3]), np.array([True])):
        with pytest.raises(SpecError, match="select takes 4 truth values, one a run"):
            runs.select(mask)


def test_what_is_given_out_can_be_changed_without_changing_the_runs() -> None:
    runs = made()
    before = runs.sha256
    runs.values("loss")[:] = 0
    table = runs.to_frame()
    table["loss"] = 0
    assert Runs.from_dataset(runs.to_dataset()).sha256 == before


def test_names_unknown_to_the_runs() -> None:
    runs = made()
    with pytest.raises(SpecError, match=r"no numbers 'token' \(did you mean 'tokens'\?\); they have params, to"):
        runs.values("token")
    with pytest.raises(SpecError, match=r"no numbers 'family'"):
        runs.values("family")
    with pytest.raises(SpecError, match=r"no group 'famly' \(did you mean 'family'\?\); they have family"):
        runs.codes("famly")
    with pytest.raises(SpecError, match="they have none"):
        Runs.from_frame(frame()).levels("family")


def test_summaries() -> None:
    runs = Runs.from_frame(frame(accuracy=[0, 0.25, 0.5, 1]), outputs=["loss", "accuracy"])
    found = runs.summaries()
    assert found["ref.params"] == pytest.approx((7e7 * 1.6e8 * 4.1e8 * 1e9) ** 0.25)
    assert (found["min.loss"], found["max.loss"]) == (2.8, 3.5)
    assert found["median.loss"] == pytest.approx(3.15)
    assert "ref.accuracy" not in found
    assert {name.split(".")[1] for name in found} == {"params", "tokens", "loss", "accuracy"}
    assert runs.summaries(["tokens"]) == {name: value for name, value in found.items() if name.endswith(".tokens")}
    assert len(runs.summaries(["tokens"])) == 5


def test_compute() -> None:
    product = frame()["params"] * frame()["tokens"]
    np.testing.assert_array_equal(made().compute, 6 * product)
    np.testing.assert_array_equal(made(derive={"flops": "7*params*tokens"}).compute, 7 * product)
    assert made(inputs=["params"]).compute is None


def test_repr() -> None:
    assert repr(made(name="sweep")) == (
        "Runs(4 runs from sweep: inputs params, tokens; outputs loss; groups family (3))"
    )


# outputs that a run lacks


def two_outputs(**changes: list[object]) -> pd.DataFrame:
    columns: dict[str, list[object]] = {
        "flops": [1e18, 1e19, 1e20],
        "chance": [0.25] * 3,
        "task_loss": [1.2, "", 0.9],
        "accuracy": [0.3, 0.4, None],
    }
    return pd.DataFrame(columns | changes)


def test_a_run_may_lack_one_of_several_outputs() -> None:
    runs = Runs.from_frame(two_outputs(), law="llama3_two_step")
    np.testing.assert_array_equal(runs.values("task_loss"), [1.2, np.nan, 0.9])
    np.testing.assert_array_equal(runs.values("accuracy"), [0.3, 0.4, np.nan])
    # summaries are those of what is there
    assert runs.summaries()["min.task_loss"] == 0.9
    assert runs.summaries()["ref.accuracy"] == pytest.approx(np.sqrt(0.3 * 0.4))
    again = Runs.from_dataset(runs.to_dataset())
    assert again == runs


def test_an_output_alone_may_not_be_empty() -> None:
    df = pd.DataFrame({"params": [1e8, 1e9], "loss": [3.0, None]})
    assert faults_of(df) == [("missing_value", "loss", 2)]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        # a wrong cell is told in its own row, whatever is empty above it
        ({"task_loss": ["", "", "x"]}, [("not_a_number", "task_loss", 3)]),
        ({"accuracy": [None, 40, 0.5]}, [("percent_accuracy", "accuracy", 2)]),
        ({"task_loss": ["", "nan", None]}, [("missing_value", "task_loss", None)]),
        ({"task_loss": [1.2, "", ""], "accuracy": [0.3, 0.4, None]}, [("missing_value", "task_loss", 3)]),
    ],
)
def test_faults_beside_empty_outputs(
    changes: dict[str, list[object]], expected: list[tuple[str, str | None, int | None]]
) -> None:
    assert faults_of(two_outputs(**changes), law="llama3_two_step") == expected


def test_a_part_of_the_runs_without_an_output_cannot_be_fitted() -> None:
    runs = Runs.from_frame(two_outputs(), law="llama3_two_step").select(np.array([False, False, True]))
    with pytest.raises(DataError, match="no run has a value of 'accuracy'"):
        require(runs, Needs(inputs=("flops",), outputs=("task_loss", "accuracy")))


def test_a_column_with_holes_that_the_law_does_not_need_is_left_out() -> None:
    table = pd.DataFrame({"params": [1e8, 2e8, 4e8], "flops": [1e18, None, 4e18], "loss": [3.0, 2.8, 2.6]})
    with pytest.warns(DataWarning, match="'flops' is left out: some of its cells are empty, and kaplan_n"):
        runs = Runs.from_frame(table, law="kaplan_n")
    assert runs.inputs == ("params",)
    # asked for by name, or needed, its holes are faults
    with pytest.raises(DataError, match="flops"):
        Runs.from_frame(table, law="kaplan_n", inputs=["params", "flops"])
    with pytest.raises(DataError, match="params"):
        Runs.from_frame(table.assign(params=[1e8, None, 4e8]), law="kaplan_n")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (pd.DataFrame({"params": [1.0]}), "found pandas.DataFrame; make runs of it with bf.Runs.from_frame(table,"),
        ("runs.csv", "found str; read the file with bf.Runs.from_csv('runs.csv',"),
        ([1.0], "found list; make runs of it"),
    ],
)
@pytest.mark.parametrize("verb", [bf.fit, bf.backtest, bf.compare_laws])
def test_what_is_not_runs_is_refused_with_the_way_to_make_them(verb: Any, given: Any, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        verb(given, ["chinchilla"] if verb is bf.compare_laws else "chinchilla")
    assert message in str(caught.value)
