"""What may not be is named: its column, how many rows, what is allowed."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from jobs.monitor.checks import check
from jobs.monitor.profile import Profile, profile
from jobs.monitor.schema import Field, Schema

FIELDS = (
    Field("amount", "number", minimum=0, maximum=100),
    Field("age", "integer", nullable=False),
    Field("city", "string"),
    Field("plan", "string", values=("free", "paid")),
)
SCHEMA = Schema({field.name: field for field in FIELDS})
ROWS = 100


def table(**changed: Any) -> pa.Table:
    """A hundred good rows, with some columns changed; None drops one."""
    columns = {
        "amount": [index * 0.5 for index in range(ROWS)],
        "age": list(range(ROWS)),
        "city": ["Bonn", "Kiel"] * (ROWS // 2),
        "plan": ["free"] * ROWS,
    } | changed
    return pa.table({name: values for name, values in columns.items() if values is not None})


def counted(rows: pa.Table, schema: Schema = SCHEMA) -> Profile:
    return profile(rows, schema, block=None)


def found(rows: pa.Table, schema: Schema = SCHEMA) -> list[dict[str, Any]]:
    return check(counted(table()), counted(rows, schema))


def test_good_rows_pass() -> None:
    assert found(table()) == []


@pytest.mark.parametrize(
    ("changed", "name", "kind", "words"),
    [
        ({"amount": None}, "amount", "missing_column_check", "no row of the window has the column amount"),
        ({"age": [None, *range(1, ROWS)]}, "age", "completeness_check", "1 of 100 values are missing, none "),
        ({"amount": pa.nulls(ROWS, pa.float64())}, "amount", "completeness_check", "none of the 100 rows"),
        ({"amount": [101.0, -1.0, *[5.0] * 98]}, "amount", "range_check", "1 of 100 values are under 0"),
        ({"amount": [float("inf"), *range(1, ROWS)]}, "amount", "data_type_check", "1 of 100 values are inf"),
        ({"age": [0.5, *range(1, ROWS)]}, "age", "data_type_check", "1 of 100 values are no integer"),
        ({"amount": ["a lot", *["5"] * 99]}, "amount", "data_type_check", "1 of 100 values are no number"),
        ({"plan": ["gold", *["free"] * 99]}, "plan", "categorical_values_check", "none of the allowed"),
        ({"other": [1] * ROWS}, "other", "extra_column_check", "100 rows have a column other"),
    ],
)  # fmt: skip
def test_what_may_not_be_is_named(changed: dict[str, Any], name: str, kind: str, words: str) -> None:
    violations = found(table(**changed))
    assert (violations[0]["feature_name"], violations[0]["constraint_check_type"]) == (name, kind)
    assert words in violations[0]["description"]
    assert {one["feature_name"] for one in violations} == {name}


def test_both_ends_of_a_range_are_named() -> None:
    metrics = [one["metric"] for one in found(table(amount=[101.0, -1.0, *[5.0] * 98]))]
    assert metrics == ["below", "above"]


def test_a_renamed_column_is_guessed() -> None:
    columns = table().rename_columns(["Amount", "age", "city", "plan"])
    missing = next(one for one in found(columns) if one["constraint_check_type"] == "missing_column_check")
    assert missing["description"].endswith("rows have Amount, which the model does not know: was it renamed?")


def test_a_baseline_of_another_schema_names_the_column() -> None:
    other = Schema(SCHEMA.fields | {"city": Field("city", "number")})
    [violation] = found(table(city=[1.0] * ROWS), other)
    assert "the baseline holds city as string, the window as number" in violation["description"]


def test_repeated_rows_are_counted() -> None:
    twice = pa.concat_tables([table().slice(0, 50)] * 2)
    [violation] = found(twice)
    assert violation["constraint_check_type"] == "duplicate_check"
    assert violation["value"] == pytest.approx(0.5)


def test_a_baseline_that_repeats_rows_allows_them() -> None:
    schema = Schema({"city": SCHEMA.fields["city"]})
    rows = counted(table().select(["city"]), schema)
    assert check(rows, rows) == []


def test_many_categories_come_with_new_ones() -> None:
    schema = Schema({"city": SCHEMA.fields["city"]})
    names = [f"c{index}" for index in range(400)]
    before = counted(pa.table({"city": names * 5 + [f"once{index}" for index in range(100)]}), schema)
    usual = counted(pa.table({"city": names[:190] + ["new"] * 10}), schema)
    many = counted(pa.table({"city": names[:150] + [f"new{index}" for index in range(50)]}), schema)
    assert check(before, usual) == []
    [violation] = check(before, many)
    assert violation["value"] == pytest.approx(0.25)


def test_an_empty_window_has_nothing_wrong() -> None:
    assert found(table().slice(0, 0)) == []


def test_one_row_has_a_verdict() -> None:
    assert found(table().slice(0, 1)) == []
