"""One side of many events (request or response): its bodies out of their encoding, group by group of one
content type."""

from __future__ import annotations

import base64
import binascii

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs.monitor import payloads
from jobs.monitor.base64s import decode
from jobs.monitor.bodies import CSV, JSON, JSON_LINES, Layout, Parsed
from jobs.monitor.typed import Irregular

KNOWN = {
    CSV: CSV,
    JSON: JSON,
    JSON_LINES: JSON_LINES,
    "application/x-jsonlines": JSON_LINES,
    "application/jsonl": JSON_LINES,
    "application/x-ndjson": JSON_LINES,
    "": JSON_LINES,
}


def parse_side(events: pa.Table, side: str, layout: Layout) -> Parsed:
    """Rows of the column `side` (`input` or `output`) of all events, in their order."""
    encodings = events[f"{side}_encoding"].combine_chunks()
    types = events[f"{side}_type"].combine_chunks().fill_null("")
    pairs = pc.binary_join_element_wise(types, encodings, "|").dictionary_encode()
    bodies = events[side].combine_chunks().cast(pa.large_string())
    if len(pairs.dictionary) == 1:
        return _group(bodies, *_kind(pairs.dictionary[0].as_py()), layout)
    codes = np.asarray(pairs.indices)
    places = [np.flatnonzero(codes == code) for code in range(len(pairs.dictionary))]
    groups = [
        _group(bodies.take(pa.array(place)), *_kind(pair.as_py()), layout)
        for place, pair in zip(places, pairs.dictionary, strict=True)
    ]
    return _merged(groups, places, len(bodies))


def _kind(pair: str) -> tuple[str, str]:
    """Content type without its parameters, and encoding, of `type|encoding`."""
    kind, _, encoding = pair.rpartition("|")
    kind = kind.partition(";")[0].strip().lower()
    return ("text/csv" if not kind and encoding == "CSV" else kind), encoding


def _group(bodies: pa.Array, kind: str, encoding: str, layout: Layout) -> Parsed:
    if kind not in KNOWN:
        why = f"content type {kind!r} is none of {JSON_LINES}, {JSON}, {CSV}"
        return _all_broken(dict.fromkeys(range(len(bodies)), why), len(bodies), layout)
    if encoding != "BASE64":
        return payloads.parse(bodies, KNOWN[kind], layout)
    try:
        return payloads.parse(decode(bodies), KNOWN[kind], layout)
    except Irregular:
        return _one_by_one(bodies, KNOWN[kind], layout)


def _one_by_one(bodies: pa.Array, kind: str, layout: Layout) -> Parsed:
    """Bodies of which some are not base64."""
    texts: list[str] = []
    broken: dict[int, str] = {}
    for index, body in enumerate(bodies.to_pylist()):
        try:
            texts.append(base64.b64decode(body, validate=True).decode())
        except binascii.Error:
            broken[index] = "not base64"
        except UnicodeDecodeError as error:
            broken[index] = f"not UTF-8 (at byte {error.start})"
    wrong = _all_broken(broken, len(broken), layout)
    if not texts:
        return wrong
    right = payloads.parse(pa.array(texts, pa.large_string()), kind, layout)
    wrong.broken = dict(enumerate(broken.values()))
    is_wrong = np.isin(np.arange(len(bodies)), list(broken))
    return _merged([right, wrong], [np.flatnonzero(~is_wrong), np.flatnonzero(is_wrong)], len(bodies))


def _all_broken(broken: dict[int, str], size: int, layout: Layout) -> Parsed:
    return Parsed(
        payloads.complete({}, layout, 0),
        np.zeros(size, np.int64),
        absent=set(layout.columns),
        broken=broken,
    )


def _merged(groups: list[Parsed], places: list[np.ndarray], size: int) -> Parsed:
    """The groups' rows back in the order of their events: `places[g]` are the events of group g."""
    table = pa.concat_tables([group.table for group in groups], promote_options="permissive")
    counts = np.zeros(size, np.int64)
    merged = Parsed(table, counts, absent=set(groups[0].absent))
    for group, place in zip(groups, places, strict=True):
        counts[place] = group.counts
        merged.broken |= {int(place[index]): why for index, why in group.broken.items()}
        for total, more in ((merged.mistyped, group.mistyped), (merged.extra, group.extra)):
            for name, count in more.items():
                total[name] = total.get(name, 0) + count
        merged.absent &= group.absent
    event = np.concatenate(
        [np.repeat(place, group.counts) for group, place in zip(groups, places, strict=True)]
    )
    merged.table = table.take(pa.array(np.argsort(event, kind="stable")))
    return merged
