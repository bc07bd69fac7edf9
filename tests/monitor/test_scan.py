"""Data files: the same profile from Parquet, CSV and Arrow; broken ones named; shards by file."""

from __future__ import annotations

from functools import reduce

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import csv, feather

from jobs.contract import JobError
from jobs.monitor.profile import Profile, profile
from jobs.monitor.scan import joined, learnable, scan
from jobs.monitor.schema import Field, Schema
from jobs.spec import Feature, Spec
from tests.monitor.test_profile import same, schema, table


def write(folder, data: pa.Table) -> dict:
    paths = {kind: folder / f"data.{kind}" for kind in ("parquet", "csv", "feather", "arrow", "arrows")}
    pq.write_table(data, paths["parquet"], row_group_size=700)
    csv.write_csv(data, paths["csv"])
    feather.write_feather(data, str(paths["feather"]))
    with pa.ipc.new_file(paths["arrow"], data.schema) as file:
        file.write_table(data)
    with pa.ipc.new_stream(paths["arrows"], data.schema) as stream:
        stream.write_table(data)
    return paths


def test_every_kind_of_file_gives_the_same_profile(tmp_path):
    data = table(5000).append_column("note", pa.array(["x"] * 5000))
    edges = profile(data, schema()).blocks.edges
    expected = profile(data, schema(), edges)
    for kind, path in write(tmp_path, data).items():
        made = profile(scan(path, schema()), schema(), edges)
        made.extra = {"note": 5000} if kind == "csv" else made.extra  # whose rows are not known beforehand
        same(expected, made)


def test_files_of_a_folder_are_one_table(tmp_path):
    data = table(3000)
    for index in range(3):
        pq.write_table(data.slice(1000 * index, 1000), tmp_path / f"{index}.parquet")
    edges = profile(data, schema()).blocks.edges
    same(profile(data, schema(), edges), profile(scan(tmp_path, schema()), schema(), edges))


def test_bins_are_learned_from_all_over_a_large_scan(tmp_path, monkeypatch):
    monkeypatch.setattr("jobs.monitor.scan.SAMPLED", 4000)
    data = table(20_000, days=20).sort_by("at")
    pq.write_table(data, tmp_path / "data.parquet", row_group_size=1000)
    made = profile(scan(tmp_path, schema()), schema())
    shares = made.blocks.total("size") / made.columns["size"].n
    assert made.rows == 20_000
    assert shares.max() < 0.05


def test_csv_with_cells_of_another_type_counts_them(tmp_path):
    rows = [f"{index}.5,{index},a,true,2024-01-01T00:00:00Z" for index in range(300)]
    rows[100] = "much,1,a,true,2024-01-01T00:00:00Z"
    rows[200] = "too,many,cells,in,this,row"
    (tmp_path / "data.csv").write_text("\n".join(["size,count,place,open,at", *rows]) + "\n")
    source = scan(tmp_path, schema())
    made = profile(source, schema())
    assert (made.rows, made.columns["size"].mistyped, made.columns["count"].mistyped) == (299, 1, 0)
    assert source.skipped == {str(tmp_path / "data.csv"): 1}
    assert made.columns["open"].counts.as_dict() == {"true": 299}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("bad.parquet", b"PAR1 nonsense"),
        ("bad.arrow", b"nonsense"),
        ("empty.csv", b""),
        ("empty.parquet", b""),
    ],
)
def test_a_broken_file_is_named(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(JobError, match=name.replace(".", r"\.")):
        profile(scan(tmp_path, schema()), schema())


def test_nothing_to_read_is_said(tmp_path):
    with pytest.raises(JobError, match=r"no \.parquet"):
        scan(tmp_path)
    with pytest.raises(JobError, match="neither"):
        scan(tmp_path / "missing.parquet")


def test_stored_shards_of_files_merge_to_the_profile_of_all(tmp_path):
    data = table(4000)
    edges = profile(data, schema()).blocks.edges
    for index in range(4):
        pq.write_table(data.slice(1000 * index, 1000), tmp_path / f"part{index}.parquet")
        shard = profile(scan(tmp_path / f"part{index}.parquet", schema()), schema(), edges)
        shard.save(tmp_path / f"shard{index}.npz")
    shards = [Profile.load(path) for path in sorted(tmp_path.glob("*.npz"))]
    same(profile(scan(tmp_path, schema()), schema(), edges), reduce(Profile.merge, shards))


def test_a_schema_is_read_from_model_yaml_or_from_the_data():
    feature = Feature("flag", "boolean", values=(True, False), nullable=True)
    spec = Spec("m", "regression", "y", "key", "at", {"flag": feature}, "serve.py", protected=("flag",))
    made = Schema.of(spec)
    assert made.fields["flag"] == Field("flag", "boolean", True, values=("true", "false"))
    assert Schema.from_dict(made.as_dict()) == made
    inferred = Schema.infer(table(1).schema, time="at")
    assert {name: field.type for name, field in inferred.fields.items()} == {
        "size": "number",
        "count": "integer",
        "place": "string",
        "open": "boolean",
    }
    with pytest.raises(JobError, match="when"):
        Schema.infer(table(1).schema, time="when")
    with pytest.raises(JobError, match="schema"):
        Schema.from_dict({"fields": {"a": {"kind": "number"}}})


def test_a_suffix_in_capitals_is_that_suffix(tmp_path):
    for kind, path in write(tmp_path, table(50)).items():
        loud = path.rename(tmp_path / f"{kind}.{kind.upper()}")
        assert sum(map(len, scan(loud, schema()))) == 50
    assert len(scan(tmp_path).files) == 5


def test_bins_are_learned_from_few_batches_of_the_same_rows(tmp_path):
    data = table(5000)
    pq.write_table(data[:3000], tmp_path / "a.parquet", row_group_size=700)
    pq.write_table(data[3000:], tmp_path / "b.parquet", row_group_size=700)  # text has other dictionaries
    _, some = learnable(scan(tmp_path, schema()))
    (batch,) = some
    expected = profile(data, schema())
    same(expected, profile([batch], schema(), expected.blocks.edges))


def test_bins_are_learned_where_files_differ_in_a_type(tmp_path):
    pq.write_table(pa.table({"x": pa.array([1, 2])}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"x": pa.array([2.5])}), tmp_path / "b.parquet")
    declared = Schema({"x": Field("x", "number")})
    _, some = learnable(scan(tmp_path, declared))
    assert [batch.num_rows for batch in some] == [2, 1]


def test_texts_of_several_files_are_more_than_the_indices_of_one_reach(tmp_path):
    """As pandas writes categories: 100 in each file, numbered in 8 bits."""
    small = pa.dictionary(pa.int8(), pa.string())
    for name in "ab":
        texts = pa.array([f"{name}{number % 100}" for number in range(1000)]).dictionary_encode()
        feather.write_feather(pa.table({"c": texts.cast(small)}), str(tmp_path / f"{name}.feather"))
    files = scan(tmp_path)
    assert len(joined(files).take([0, 1999])) == 2
    for batches in (files, [batch.cast(pa.schema({"c": small})) for batch in files]):
        assert sum(map(len, learnable(batches)[1])) == 2000
