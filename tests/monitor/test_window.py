"""A window's files, whatever is in them: typed columns, or a line that is counted, quoted and skipped."""

from __future__ import annotations

import base64
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from jobs.monitor import capture, labels, slow_payloads, window
from jobs.monitor.bodies import answer_layout, request_layout
from jobs.monitor.schema import Field, Schema
from jobs.spec import BINARY, MULTICLASS, REGRESSION
from tests.monitor.captured import END, START, answer, event, events, request, response, row, truth, write

FIELDS = {
    "amount": Field("amount", "number"),
    "age": Field("age", "integer"),
    "city": Field("city", "string"),
    "member": Field("member", "boolean"),
}
SCHEMA = Schema(FIELDS, "id", "at", "label", (), BINARY)


def read(folder: Path, lines: list[Any], schema: Schema = SCHEMA, truths: list[Any] = ()) -> window.Window:
    write(folder / "capture", lines)
    write(folder / "labels", truths)
    return window.read(folder / "capture", folder / "labels", schema, START, END)[0]


def ids(found: window.Window) -> list[str | None]:
    return found.ids.to_pylist()


def values(found: window.Window, name: str) -> list[Any]:
    return found.table[name].to_pylist()


@pytest.mark.parametrize("is_base64", [False, True])
@pytest.mark.parametrize("kind", ["jsonl", "json", "csv"])
@pytest.mark.parametrize("rows_each", [1, 3])
def test_every_payload_gives_the_same_columns(
    tmp_path: Path, kind: str, is_base64: bool, rows_each: int
) -> None:
    found = read(tmp_path, events(40, kind, is_base64, rows_each))
    rows = [row(index) for index in range(40 * rows_each)]
    assert found.table.to_pylist() == [{name: entry[name] for name in FIELDS} for entry in rows]
    assert found.prediction.tolist() == [index % 2 for index in range(len(rows))]
    assert found.probability.tolist() == [answer(index)["probability"] for index in range(len(rows))]
    assert found.problems.skipped.lines == 0
    assert found.problems.mistyped == {} and found.problems.extra == {} and found.problems.absent == set()
    if kind != "csv":
        assert ids(found) == [entry["id"] for entry in rows]
        assert found.times.tolist() == [
            round((START + timedelta(minutes=index)).timestamp() * 1e6) for index in range(len(rows))
        ]
    elif rows_each == 1:
        assert ids(found) == [f"r{index}" for index in range(40)]
    else:
        assert set(ids(found)) == {None}


@pytest.mark.parametrize("kind", ["jsonl", "json", "csv"])
def test_the_fast_reader_and_the_slow_one_agree(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = events(30, kind, rows_each=2)
    fast = read(tmp_path, lines)
    monkeypatch.setattr(
        "jobs.monitor.payloads.parse",
        lambda bodies, kind, layout: slow_payloads.parse(bodies.to_pylist(), kind, layout),
    )
    slow = read(tmp_path, lines)
    assert fast.table.equals(slow.table) and fast.answers.equals(slow.answers)
    assert fast.ids.equals(slow.ids) and fast.problems == slow.problems


BROKEN = {
    "no JSON": ("{oops", "not JSON"),
    "cut off": (json.dumps(events(1)[0])[:200], "not JSON"),
    "no object": ("[1, 2]", "no captureData"),
    "no metadata": ({"captureData": events(1)[0]["captureData"]}, "no eventMetadata"),
    "no output": (
        {
            "captureData": {"endpointInput": events(1)[0]["captureData"]["endpointInput"]},
            "eventMetadata": {"eventId": "x", "inferenceTime": "2026-03-02T00:00:00Z"},
        },
        "no endpointOutput",
    ),
    "no time": (event(1, "{}", "{}", inferenceTime="yesterday"), "inferenceTime is not an ISO 8601 time"),
    "request broken": (event(900, '{"secret": oops', response([answer(0)])), "request: not JSON"),
    "response broken": (event(900, request([row(0)]), "{oops"), "response: not JSON"),
    "no rows": (event(900, "\n", response([answer(0)])), "request: no rows"),
    "more answers": (event(900, request([row(0)]), response([answer(0)] * 2)), "1 rows and 2 predictions"),
    "row no object": (event(900, "3\n", response([answer(0)])), "request: row 0 is no object"),
    "csv too short": (event(900, "1.5,3", "1,0.5", "csv"), "request: row 0 has 2 values, expected 4"),
    "type unknown": (
        json.loads(json.dumps(events(1)[0]).replace("application/jsonlines", "image/png")),
        "content type 'image/png' is none of",
    ),
    "not base64": (
        json.loads(
            json.dumps(event(900, request([row(0)]), response([answer(0)]))).replace('"JSON"', '"BASE64"')
        ),
        "request: not base64",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_line_is_counted_quoted_and_skipped(tmp_path: Path, name: str) -> None:
    line, why = BROKEN[name]
    good = events(20)[1:]
    found = read(tmp_path, [*good[:10], line, *good[10:]])
    assert ids(found) == [f"r{index}" for index in range(1, 20)]
    assert found.problems.skipped.lines == 1
    [problem] = found.problems.skipped.problems
    assert problem.startswith("2026/03/02/00/a.jsonl:11: ") and why in problem
    assert "secret" not in problem


def test_bytes_that_are_not_utf8_break_their_line_alone(tmp_path: Path) -> None:
    lines = [json.dumps(line, ensure_ascii=False).encode() for line in events(3)]
    lines[1] = lines[1].replace(b"Kiel", b"K\xffel")
    folder = write(tmp_path / "capture", [])
    (folder / "b.jsonl").write_bytes(b"\n".join(lines))
    found = window.read(folder, None, SCHEMA, START, END)[0]
    assert ids(found) == ["r0", "r2"] and "b.jsonl:2: not UTF-8" in found.problems.skipped.problems[0]


@pytest.mark.parametrize("is_slow", [False, True])
def test_text_may_hold_what_looks_like_the_end_of_a_line(tmp_path: Path, is_slow: bool) -> None:
    city = "a\u2028b\x85c\rd\\n"
    lines = [event(index, request([row(index, city=city)]), response([answer(0)])) for index in range(3)]
    if is_slow:
        lines.append(event(3, request([row(3, city=7)]), response([answer(0)])))
    assert values(read(tmp_path, lines), "city")[:3] == [city] * 3


def test_half_a_character_is_no_text(tmp_path: Path) -> None:
    odd = row(0, city="Bonn").__repr__().replace("'", '"').replace("True", "true").replace("Bonn", "\\ud800")
    lines = [event(0, odd, response([answer(0)])), *events(3)[1:]]
    found = read(tmp_path, lines)
    assert values(found, "city") == [None, "Kiel", "Ülm"] and found.problems.mistyped == {"city": 1}
    broken = json.dumps(events(1)[0]).replace("event-0", "\\ud800")
    assert "eventId is not Unicode" in read(tmp_path, [broken]).problems.skipped.problems[0]


def test_blank_lines_and_a_last_line_without_its_end(tmp_path: Path) -> None:
    lines = [json.dumps(line) for line in events(3)]
    folder = write(tmp_path / "capture", [])
    (folder / "b.jsonl").write_text("\n" + lines[0] + "\n\n  \r\n" + lines[1] + "\r\n" + lines[2])
    found = window.read(folder, None, SCHEMA, START, END)[0]
    assert ids(found) == ["r0", "r1", "r2"] and found.problems.skipped.lines == 0


def test_places_are_lines_of_files_also_where_files_are_read_in_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[Any] = events(200)
    lines[150] = "{oops"
    write(tmp_path, lines[:120], "a.jsonl")
    write(tmp_path, lines[120:], "b.jsonl")
    monkeypatch.setattr(capture.chunks, "__defaults__", (5000,))
    found = window.read(tmp_path, None, SCHEMA, START, END)[0]
    assert len(found) == 199
    assert [problem.partition(": ")[0] for problem in found.problems.skipped.problems] == ["b.jsonl:31"]


def test_values_of_another_type_are_null_and_counted(tmp_path: Path) -> None:
    odd = [
        row(0, amount="12"),
        row(1, age=3.5),
        row(2, age=3.0),
        row(3, city=7),
        row(4, member="yes"),
        row(5, amount=None),
        row(6, age=True),
        row(7, amount=float("inf")),
        row(8, amount=float("nan")),
        row(9, amount=10**400),
    ]
    lines = [event(index, request([entry]), response([answer(0)])) for index, entry in enumerate(odd)]
    found = read(tmp_path, lines)
    assert found.problems.mistyped == {"amount": 2, "age": 2, "city": 1, "member": 1}
    assert values(found, "age")[1:3] == [None, 3.0]
    assert values(found, "amount")[7] == float("inf")
    assert found.problems.skipped.lines == 0


def test_a_column_that_is_text_throughout_is_mistyped_throughout(tmp_path: Path) -> None:
    lines = [event(index, request([row(index, amount="a")]), response([answer(0)])) for index in range(30)]
    found = read(tmp_path, lines)
    assert found.problems.mistyped == {"amount": 30} and values(found, "amount") == [None] * 30


def test_a_renamed_column_is_absent_and_extra(tmp_path: Path) -> None:
    lines = []
    for index in range(30):
        entry = row(index)
        entry["Betrag"] = entry.pop("amount")
        lines.append(event(index, request([entry]), response([answer(index)])))
    found = read(tmp_path, lines)
    assert found.problems.absent == {"amount"} and found.problems.extra == {"Betrag": 30}
    empty = [event(i, request([row(i, amount=None)]), response([answer(i)])) for i in range(30)]
    assert read(tmp_path, empty).problems.absent == set()


def test_csv_with_a_header_quotes_and_missing_cells(tmp_path: Path) -> None:
    bodies = ['city,amount,age,member,note\n"Bonn, am Rhein",,20,true,x\nKiel,oops,21,0,', "1.5,20,Kiel,1"]
    lines = [event(0, bodies[0], "1,0.5\n0,0.25", "csv"), event(1, bodies[1], "0,0.1", "csv")]
    found = read(tmp_path, lines)
    assert values(found, "city") == ["Bonn, am Rhein", "Kiel", "Kiel"]
    assert values(found, "amount") == [None, None, 1.5] and values(found, "member") == [True, False, True]
    assert found.problems.mistyped == {"amount": 1} and found.problems.extra == {"note": 1}


def test_several_types_and_encodings_keep_the_order_of_the_events(tmp_path: Path) -> None:
    kinds = ["jsonl", "csv", "json"]
    lines = [
        event(
            index,
            request([row(index)], kinds[index % 3]),
            response([answer(index)], kinds[index % 3]),
            kinds[index % 3],
            index % 2 == 0,
            inferenceId=f"r{index}",
        )
        for index in range(30)
    ]
    found = read(tmp_path, lines)
    assert ids(found) == [f"r{index}" for index in range(30)]
    assert values(found, "amount") == [1.5 * index for index in range(30)]


@pytest.mark.parametrize(
    ("sent", "got"),
    [
        (json.dumps([row(0)]), json.dumps([answer(0)])),
        (json.dumps(row(0)), json.dumps(answer(0))),
        (json.dumps({"instances": [row(0)]}, indent=2), json.dumps({"predictions": [answer(0)]}, indent=2)),
        (json.dumps([row(0)]), "0"),
    ],
)
def test_shapes_of_json(tmp_path: Path, sent: str, got: str) -> None:
    found = read(tmp_path, [event(0, sent, got, "json")])
    assert values(found, "amount") == [0.0] and found.prediction.tolist() == [0]


def test_a_bare_number_is_a_prediction(tmp_path: Path) -> None:
    schema = Schema(FIELDS, "id", "at", "label", (), REGRESSION)
    lines = [event(index, request([row(index)]), f"{index}.5\n") for index in range(5)]
    assert read(tmp_path, lines, schema).prediction.tolist() == [0.5, 1.5, 2.5, 3.5, 4.5]


def test_several_classes(tmp_path: Path) -> None:
    schema = Schema(FIELDS, "id", "at", "label", (), MULTICLASS)
    shares = [{"a": 0.7, "b": 0.3}, {"b": 0.6, "c": 0.4}]
    lines = [
        event(index, request([row(index)]), json.dumps({"prediction": "ab"[index], "probabilities": share}))
        for index, share in enumerate(shares)
    ]
    found = read(tmp_path, lines, schema, [truth("r0", "a"), truth("r1", "c")])
    assert found.prediction.to_pylist() == ["a", "b"] and found.label.to_pylist() == ["a", "c"]
    assert found.answers["probabilities"].to_pylist()[1] == {"a": None, "b": 0.6, "c": 0.4}


def test_a_window_is_half_open_and_an_event_counts_once(tmp_path: Path) -> None:
    line = events(1)[0]
    before, first, last, after = (
        event(0, request([row(index)]), response([answer(0)]), eventId=f"e{index}", inferenceTime=at)
        for index, at in enumerate(
            (
                "2026-03-01T23:59:59Z",
                "2026-03-02T00:00:00+00:00",
                "2026-03-08T23:59:59.9",
                "2026-03-09T00:00:00Z",
            )
        )
    )
    found = read(tmp_path, [last, before, line, first, line, after])
    assert ids(found) == ["r2", "r0", "r1"]
    assert found.problems.repeated_events == 1


def test_an_event_that_is_in_two_pieces_counts_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture.chunks, "__defaults__", (4000,))
    found = read(tmp_path, events(50) + events(50))
    assert len(found) == 50 and found.problems.repeated_events == 50


@pytest.mark.parametrize("lines", [[], ["{oops"], [event(99_999, request([row(0)]), response([answer(0)]))]])
def test_a_window_without_rows(tmp_path: Path, lines: list[Any]) -> None:
    found = read(tmp_path, lines)
    assert len(found) == 0 and found.labelled == 0 and found.table.column_names == list(FIELDS)
    assert found.problems.absent == set()


def test_numbers_as_ids_and_a_request_without_any(tmp_path: Path) -> None:
    bare = {name: row(0)[name] for name in FIELDS}
    lines = [
        event(0, request([row(0, id=7)]), response([answer(0)])),
        event(1, request([bare]), response([answer(0)]), inferenceId="asked"),
        event(2, request([bare]), response([answer(0)])),
        event(3, request([bare, bare]), response([answer(0)] * 2), inferenceId="two"),
    ]
    assert ids(read(tmp_path, lines)) == ["7", "asked", "event-2", None, None]


def test_labels_are_joined_and_the_last_one_wins(tmp_path: Path) -> None:
    write(tmp_path / "capture", events(5))
    truths = [truth("r0", "1"), truth("r1", 0, "JSON"), truth("r0", '"0"'), truth("nobody", "1"), "{oops"]
    truths += [truth("r2", "maybe"), truth("r3", base64.b64encode(b"1").decode(), "BASE64")]
    truths += [truth("r3", "1"), truth("r4", "nan")]
    write(tmp_path / "labels", truths, "2026/03/03/00/x.jsonl")
    found, known = window.read(tmp_path / "capture", tmp_path / "labels", SCHEMA, START, END)
    assert found.label.to_pylist() == [0.0, 0.0, None, 1.0, None]
    assert known.unknown == 1
    problems = found.problems
    assert (problems.repeated_labels, problems.contradicted_labels, problems.unusable_labels) == (2, 1, 2)
    assert problems.skipped.lines == 3  # the broken line and the two labels that are no numbers
    assert not any("maybe" in problem for problem in problems.skipped.problems)


def test_labels_without_a_folder() -> None:
    known = labels.read_labels(None, BINARY, capture.Skipped())
    assert len(known) == 0 and known.unknown == 0


def test_layouts_name_what_is_looked_for() -> None:
    schema = Schema(FIELDS, "id", "at", "label", ("carrier",), BINARY)
    assert list(request_layout(schema).columns) == [*FIELDS, "carrier", "id", "at"]
    assert list(answer_layout(schema).columns) == ["prediction", "probability"]
