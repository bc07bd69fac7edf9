"""Ground truth files: a label by the row's id. The last one wins; how many were repeated, contradicted or
belong to nobody is counted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs.monitor.base64s import decode
from jobs.monitor.buffers import fixed
from jobs.monitor.capture import Skipped, chunks, read_lines
from jobs.monitor.typed import OUTCOME, Irregular, from_text
from jobs.spec import BINARY, MULTICLASS

_LINE = pa.schema(
    [
        ("groundTruthData", pa.struct([("data", pa.string()), ("encoding", pa.string())])),
        ("eventMetadata", pa.struct([("eventId", pa.string())])),
    ]
)
_COLUMNS = {
    "label": ("groundTruthData", "data"),
    "encoding": ("groundTruthData", "encoding"),
    "id": ("eventMetadata", "eventId"),
}


class Labels:
    """`ids` (string, each once) and `values` (float64, or string where the task has classes), in step.

    `repeated`: lines whose id came again later; `contradicted`: those of them that said something else;
    `unusable`: labels that are no finite number where the task needs one (already without them).
    """

    def __init__(self, ids: pa.Array, values: pa.Array, unusable: int = 0):
        size = len(ids)
        encoded = ids.dictionary_encode()
        codes = fixed(encoded.indices, np.int32)
        last = np.full(len(encoded.dictionary), -1)
        last[codes] = np.arange(size)  # NumPy assigns in order: the last one stays
        self.ids, self.values = encoded.dictionary, values.take(pa.array(last))
        same = pc.equal(values, self.values.take(encoded.indices))
        self.repeated = size - len(last)
        self.contradicted = size - (pc.sum(same).as_py() or 0)
        self.unusable = unusable
        self._is_met = np.zeros(len(last), bool)

    def __len__(self) -> int:
        return len(self.ids)

    def of(self, ids: pa.Array) -> pa.Array:
        """The label of each id, null where none is known."""
        places = pc.index_in(ids, value_set=self.ids, skip_nulls=True)
        self._is_met[fixed(places.drop_null(), np.int32)] = True
        return self.values.take(places)

    @property
    def unknown(self) -> int:
        """Labels whose id no call of `of` has asked for."""
        return int(np.count_nonzero(~self._is_met))


def read_labels(folder: Path | None, task: str, skipped: Skipped) -> Labels:
    """Labels of every file under the folder, in order of their names, which begin with the hour. A line that
    cannot be read is skipped; a label that is no number where one is needed, too, and counted apart."""
    ids, values, unusable = [], [], 0
    for chunk in chunks(folder):
        table, places = read_lines(chunk, _LINE, _COLUMNS, {"label", "id"}, skipped)
        table = table.combine_chunks()
        texts = _plain(table["label"].combine_chunks(), table["encoding"].combine_chunks())
        values_of = _values(texts, task)
        for index in np.flatnonzero(fixed(pc.cast(values_of.is_null(), pa.int8()), np.int8)):
            unusable += 1
            why = "the label is empty" if task == MULTICLASS else "the label is no number"
            skipped.add(places(int(index)), why)
        kept = values_of.is_valid()
        ids.append(table["id"].combine_chunks().filter(kept))
        values.append(values_of.filter(kept))
    kind = pa.string() if task == MULTICLASS else pa.float64()
    return Labels(
        pa.concat_arrays([pa.array([], pa.string()), *ids]),
        pa.concat_arrays([pa.array([], kind), *values]),
        unusable,
    )


def _values(texts: pa.Array, task: str) -> pa.Array:
    texts = pc.utf8_trim(pc.utf8_trim_whitespace(texts), '"')
    if task == MULTICLASS:
        return pc.if_else(pc.equal(texts, ""), None, texts)
    numbers, _ = from_text(texts, OUTCOME if task == BINARY else "number")
    return pc.if_else(pc.is_finite(numbers), numbers, None)


def _plain(texts: pa.Array, encodings: pa.Array) -> pa.Array:
    """The text behind base64; what cannot be decoded is empty."""
    is_encoded = pc.fill_null(pc.equal(encodings, "BASE64"), False)
    if not pc.any(is_encoded).as_py():
        return texts
    decoded = [_decoded(value) for value in texts.filter(is_encoded).to_pylist()]
    return pc.replace_with_mask(texts, is_encoded, pa.array(decoded, pa.string()))


def _decoded(value: str) -> str:
    try:
        return decode(pa.array([value]))[0].as_py()
    except Irregular:
        return ""
