"""How often each category was seen, in bounded memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from jobs.monitor.buffers import as_large, fixed, int64_array, positions, text_array, text_buffers
from jobs.monitor.hashing import hash_text

LIMIT = 50_000
TIES = np.uint64(1)  # a hash is sorted faster than text


class Counts:
    """Rows per category: exact up to LIMIT categories. Beyond, the most frequent LIMIT are kept and the rows
    of the rest go into `other`: what is known of a category is then at most `error` rows too low."""

    def __init__(self, limit: int = LIMIT) -> None:
        self.limit = limit
        self.other = 0
        self.error = 0
        self._values: pa.Array = text_array([])
        self._counts = np.zeros(0, np.int64)
        self._new: list[tuple[pa.Array, np.ndarray]] = []  # dictionaries with a count per entry
        self._size = 0

    @property
    def total(self) -> int:
        """Rows, those in `other` too."""
        return int(self.counts.sum()) + self.other

    @property
    def values(self) -> pa.Array:
        """The kept categories, the most frequent first; equally frequent ones in order of a hash."""
        return self._settle()._values

    @property
    def counts(self) -> np.ndarray:
        """int64 rows of each of `values`."""
        return self._settle()._counts

    @property
    def exact(self) -> bool:
        return self.other == 0

    def as_dict(self, most: int | None = None) -> dict[str, int]:
        """The `most` frequent categories and their rows."""
        return dict(zip(self.values[:most].to_pylist(), self.counts[:most].tolist(), strict=True))

    def of(self, categories: list[str]) -> np.ndarray:
        """int64 rows of each of the given categories; 0 for what was not seen or not kept."""
        return np.append(self.counts, 0)[positions(text_array(categories), self.values, -1)]

    def update(self, dictionary: pa.Array, counts: np.ndarray) -> None:
        """Adds `counts[i]` rows of category `dictionary[i]`. Batches of one row group have the same
        dictionary: then only the counts are added up."""
        if self._new and same(self._new[-1][0], dictionary):
            self._new[-1] = (dictionary, self._new[-1][1] + counts)
            return
        self._new.append((dictionary, counts))
        self._size += len(dictionary)
        if self._size > 4 * self.limit:
            self._settle()

    def merge(self, other: Counts) -> Counts:
        merged = Counts(min(self.limit, other.limit))
        merged.other, merged.error = self.other + other.other, self.error + other.error
        for part in (self, other):
            merged._new.append((part.values, part.counts))
        return merged._settle()

    def pack(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """(what JSON holds, arrays by name)."""
        offsets, content = text_buffers(self.values)
        head = {"limit": self.limit, "other": self.other, "error": self.error}
        return head, {"counts": self.counts, "offsets": offsets, "text": content}

    @classmethod
    def unpack(cls, content: dict[str, Any], arrays: dict[str, np.ndarray]) -> Counts:
        counts = cls(content["limit"])
        counts.other, counts.error = content["other"], content["error"]
        counts._counts = arrays["counts"]
        counts._values = pa.LargeStringArray.from_buffers(
            len(arrays["counts"]),
            pa.py_buffer(np.ascontiguousarray(arrays["offsets"])),
            pa.py_buffer(np.ascontiguousarray(arrays["text"])),
        )
        return counts

    def _settle(self) -> Counts:
        """Takes in what is new, and drops what is rare where there is too much."""
        if not self._new:
            return self
        parts = [(self._values, self._counts), *self._new]
        self._new, self._size = [], 0
        encoded = pa.concat_arrays([as_large(values) for values, _ in parts]).dictionary_encode()
        rows = np.concatenate([counts for _, counts in parts])
        summed = np.bincount(fixed(encoded.indices, np.int32), rows, len(encoded.dictionary)).astype(np.int64)
        order = np.argsort(hash_text(encoded.dictionary, TIES))
        order = order[np.argsort(-summed[order], kind="stable")]
        order = order[: np.count_nonzero(summed)]
        counts = summed[order]
        if len(counts) > self.limit:
            self.error += int(counts[self.limit])
            self.other += int(counts[self.limit :].sum())
        self._counts = counts[: self.limit].copy()
        self._values = encoded.dictionary.take(int64_array(order[: self.limit].astype(np.int64)))
        return self


def same(one: pa.Array, other: pa.Array) -> bool:
    """Whether two dictionaries are equal: each batch of a Parquet row group brings a copy of the same."""
    return one is other or (len(one) == len(other) and one.type == other.type and one.equals(other))
