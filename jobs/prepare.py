"""prepare: validate the pinned data files, then split the newest `retrain.window` by time.

Inputs: `data` (Parquet or CSV files), `code` (the model's folder), and where `retrain.data` has `captured`:
`capture` and `labels` (what was asked in service, and what came of it). Environment: HOLDOUT_NOT_BEFORE, up
to when the champion was trained: rows until then are no fair exam for it, so they are never held out.
Outputs: `train/train.parquet`, `holdout/holdout.parquet`, `report/validation.json`. Bad data is an answer and
not a failure: the report says `accepted: false` and the job succeeds.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jobs import captured, contract, validate
from jobs import spec as model_spec
from jobs.columns import data_files, microseconds, to_microseconds
from jobs.declared import Finding
from jobs.spec import BINARY, Spec

MIN_TRAIN_ROWS = 100
MIN_HOLDOUT_ROWS = 200  # gate.min_rows's default
# The train machine reads the report: Step Functions hands a state 256 KB at most, and nothing catches more.
MOST_FINDINGS = 50


def main() -> None:
    spec = model_spec.load(contract.input_dir("code"))
    capture = contract.optional_input_dir("capture")
    data = contract.optional_input_dir("data") if capture else contract.input_dir("data")
    not_before = contract.time_setting("HOLDOUT_NOT_BEFORE")
    report = prepare(spec, data, not_before, capture, contract.optional_input_dir("labels"))
    contract.write_json(contract.output_dir("report") / "validation.json", report)
    contract.write_message(report["reason"])
    print(report["reason"])


def prepare(
    spec: Spec,
    data: Path | None,
    not_before: datetime | None,
    capture: Path | None = None,
    labels: Path | None = None,
) -> dict[str, Any]:
    """Validates and splits; writes the two Parquet files where the data is accepted; returns the report."""
    table, findings = _read(spec, data, capture, labels)
    if table is None or any(finding.fatal for finding in findings):
        return _report(findings, table)
    findings += validate.check_rows(table, spec)
    if spec.task == BINARY and not any(finding.check == "label" for finding in findings):
        position = table.column_names.index(spec.target)
        table = table.set_column(position, spec.target, table[spec.target].cast(pa.int64()))
    train, holdout = split(table, spec, not_before)
    findings += validate.check_size(
        len(train), spec.retrain.get("min_rows", MIN_TRAIN_ROWS), "the training part"
    )
    what = (
        f"the holdout (after {contract.format_time(not_before)}, the champion's training)"
        if not_before
        else "the holdout"
    )
    findings += validate.check_size(len(holdout), spec.gate.get("min_rows", MIN_HOLDOUT_ROWS), what)
    findings += _classes_in(train, "training", spec) + _classes_in(holdout, "held-out", spec)
    report = _report(findings + validate.unseen_categories(train, holdout, spec), table, train, holdout, spec)
    if report["accepted"]:
        pq.write_table(train, contract.output_dir("train") / "train.parquet")
        pq.write_table(holdout, contract.output_dir("holdout") / "holdout.parquet")
    return report


def _read(
    spec: Spec, data: Path | None, capture: Path | None, labels: Path | None
) -> tuple[pa.Table | None, list[Finding]]:
    """The base data, and what was captured after it."""
    table, findings = None, []
    if data or not capture:
        table, findings = validate.read_checked(data_files(data) if data else [], data or Path(), spec)
    if capture and labels and not any(finding.fatal for finding in findings):
        known = table[spec.id].combine_chunks() if table else pa.array([], pa.string())
        asked, found = captured.rows(capture, labels, spec, known)
        # Columns of the base data that model.yaml does not name are not known of what was captured.
        table = pa.concat_tables([table, asked], promote_options="default") if table else asked
        findings += found
    return table, findings


def split(table: pa.Table, spec: Spec, not_before: datetime | None) -> tuple[pa.Table, pa.Table]:
    """The newest `retrain.window` in order of time: training rows, then the newest `gate.holdout`.

    The holdout begins after `not_before`. A tie in time never straddles the border.
    """
    table = table.sort_by([(spec.time, "ascending"), (spec.id, "ascending")])
    times = microseconds(table[spec.time])
    last = int(times[-1])
    window = model_spec.duration(spec.retrain.get("window", "3650d"))
    holdout = model_spec.duration(spec.gate.get("holdout", "14d"))
    first_row = int(times.searchsorted(last - window.total_seconds() * 1e6, side="right"))
    border = last - holdout.total_seconds() * 1e6
    if not_before is not None:
        border = max(border, to_microseconds(not_before))
    border_row = max(first_row, int(times.searchsorted(border, side="right")))
    return table.slice(first_row, border_row - first_row), table.slice(border_row)


def _classes_in(part: pa.Table, name: str, spec: Spec) -> list[Finding]:
    """A binary label that is constant in one part makes training or the exam meaningless."""
    if spec.task != BINARY or not len(part) or pc.count_distinct(part[spec.target]).as_py() > 1:
        return []
    value = part[spec.target][0].as_py()
    return [Finding(spec.target, "one_class", f"label `{spec.target}` is {value:g} in every {name} row")]


def _report(
    findings: list[Finding],
    table: pa.Table | None,
    train: pa.Table | None = None,
    holdout: pa.Table | None = None,
    spec: Spec | None = None,
) -> dict[str, Any]:
    fatal = [finding.reason for finding in findings if finding.fatal]
    first = sorted(findings, key=lambda finding: not finding.fatal)[:MOST_FINDINGS]
    rows = {
        "read": len(table) if table is not None else 0,
        "train": len(train or []),
        "holdout": len(holdout or []),
    }
    if fatal:
        reason = fatal[0] + (f" (and {len(fatal) - 1} more)" if len(fatal) > 1 else "")
    else:
        reason = f"{rows['train']:,} rows to train on, {rows['holdout']:,} held out"
    return {
        "accepted": not fatal,
        "reason": reason,
        "findings": [finding.as_dict() for finding in first],
        "rows": rows,
        "train": _span(train, spec),
        "holdout": _span(holdout, spec),
    }


def _span(part: pa.Table | None, spec: Spec | None) -> dict[str, str] | None:
    return contract.span(microseconds(part[spec.time])) if part and spec else None
