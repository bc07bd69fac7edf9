"""CloudWatch's embedded metric format: a log line of JSON with an `_aws` key becomes metrics, whichever log
group it is written to."""

import contextlib
import json
import time
from collections.abc import Iterable
from typing import Any

from local import ministack


def store_metrics(lines: Iterable[str]) -> None:
    """The metrics of those lines that have any, at the machine's time."""
    for line in lines:
        if '"_aws"' not in line:
            continue
        with contextlib.suppress(ValueError, KeyError, TypeError):
            _store_document(json.loads(line[line.index("{") :]))


def _store_document(document: dict[str, Any]) -> None:
    for directive in document["_aws"]["CloudWatchMetrics"]:
        for names in directive.get("Dimensions") or [[]]:
            dimensions = {name: str(document[name]) for name in names}
            for metric in directive["Metrics"]:
                value = document[metric["Name"]]
                values = [float(v) for v in (value if isinstance(value, list) else [value])]
                ministack.get("store_metric")(
                    directive["Namespace"],
                    metric["Name"],
                    dimensions,
                    time.time(),
                    metric.get("Unit", "None"),
                    None,
                    values,
                    None,
                    None,
                )
