"""Model Monitor's files, in AWS's layout."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from jobs.monitor import formats
from jobs.monitor.profile import Profile, profile
from jobs.monitor.schema import Field, Schema

ROWS = 20_000
SCHEMA = Schema(
    {
        field.name: field
        for field in (
            Field("amount", "number"),
            Field("steps", "integer", nullable=False),
            Field("city", "string"),
            Field("plan", "string", values=("free", "paid", "gold")),
            Field("member", "boolean"),
            Field("empty", "number"),
        )
    }
)


@pytest.fixture(scope="module")
def made() -> Profile:
    rng = np.random.default_rng(0)
    amount = rng.normal(size=ROWS)
    amount[:100] = np.nan
    table = pa.table(
        {
            "amount": pa.array(amount, from_pandas=True),
            "steps": np.arange(ROWS) % 7,
            "city": np.array(["Bonn", "Kiel", "Ulm"])[np.arange(ROWS) % 3],
            "plan": np.array(["free", "paid"])[np.arange(ROWS) % 2],
            "member": np.arange(ROWS) % 2 == 0,
            "empty": pa.nulls(ROWS, pa.float64()),
        }
    )
    return profile(table, SCHEMA, block=None)


def features(content: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {entry["name"]: entry for entry in content["features"]}


def test_statistics_have_model_monitors_keys(made: Profile) -> None:
    content = formats.statistics(made)
    assert content["dataset"] == {"item_count": ROWS}
    found = features(content)
    amount = found["amount"]["numerical_statistics"]
    assert set(amount) == {"common", "mean", "sum", "std_dev", "min", "max", "distribution"}
    assert amount["common"] == {"num_present": ROWS - 100, "num_missing": 100}
    assert sum(bucket["count"] for bucket in amount["distribution"]["kll"]["buckets"]) == ROWS - 100
    city = found["city"]["string_statistics"]
    assert city["distinct_count"] == 3
    assert city["distribution"]["categorical"]["buckets"][0] == {"value": "Bonn", "count": 6667}
    assert found["member"]["inferred_type"] == "String"
    assert found["empty"]["inferred_type"] == "Unknown"
    assert found["empty"]["numerical_statistics"] == {"common": {"num_present": 0, "num_missing": ROWS}}


def test_the_sketch_weighs_as_much_as_the_rows(made: Profile) -> None:
    """Deequ's layout: `data[h]` holds values that stand for 2^h rows each."""
    sketch = features(formats.statistics(made))["amount"]["numerical_statistics"]["distribution"]["kll"][
        "sketch"
    ]
    assert sketch["parameters"] == {"c": 0.64, "k": 2048.0}
    assert sum(len(level) << height for height, level in enumerate(sketch["data"])) == ROWS - 100
    assert all(level == sorted(level) for level in sketch["data"])


def test_constraints_are_suggested_from_what_was_seen_or_declared(made: Profile) -> None:
    content = formats.constraints(made, 0.1)
    found = features(content)
    assert found["amount"]["completeness"] == pytest.approx(1 - 100 / ROWS)
    assert found["amount"]["num_constraints"] == {"is_non_negative": False}
    assert found["steps"] == {
        "name": "steps",
        "inferred_type": "Integral",
        "completeness": 1.0,
        "num_constraints": {"is_non_negative": True},
    }
    assert found["city"]["string_constraints"] == {"domains": ["Bonn", "Kiel", "Ulm"]}
    assert found["plan"]["string_constraints"] == {"domains": ["free", "paid", "gold"]}
    comparison = content["monitoring_config"]["distribution_constraints"]
    assert comparison["comparison_method"] == "Robust"
    assert comparison["comparison_threshold"] == 0.1


def test_violations_keep_model_monitors_keys_and_nothing_of_ours() -> None:
    ours = {"feature_name": "a", "constraint_check_type": "data_type_check", "description": "b", "value": 1.0}
    facet = ours | {"facet": "carrier", "facet_value": "UA", "metric": "DPPL"}
    plain = {name: ours[name] for name in ("feature_name", "constraint_check_type", "description")}
    bias = {"facet": "carrier", "facet_value": "UA", "metric_name": "DPPL"}
    assert formats.violations([ours, facet]) == {"violations": [plain, plain | bias]}


def test_files_are_strict_json_even_where_sums_overflow(tmp_path: Path) -> None:
    huge = profile(pa.table({"x": [1.7e308, 1.7e308, -1.0]}), Schema({"x": Field("x", "number")}), block=None)
    path = tmp_path / "statistics.json"
    formats.write(path, formats.statistics(huge))
    statistics = json.loads(path.read_text())["features"][0]["numerical_statistics"]
    assert statistics["max"] == 1.7e308
