"""Arrow arrays as NumPy arrays, straight from their buffers. `Array.to_numpy` would import pandas wherever it
is installed: 0.6 s and 60 MB for nothing."""

from __future__ import annotations

from threading import local

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

NUMERIC_TEXT = r"^\s*[+-]?(\d+\.?\d*([eE][+-]?\d+)?|\.\d+([eE][+-]?\d+)?)\s*$"


_local = local()


def scratch(size: int, slot: str) -> np.ndarray:
    """float64 memory of the thread's own, for what is used up before the slot is asked for again. Arrays of a
    batch's size go back to the system when they are freed: their pages would be mapped again each time."""
    memory = getattr(_local, slot, None)
    if memory is None or len(memory) < size:
        memory = np.empty(size)
        setattr(_local, slot, memory)
    return memory[:size]


def valid(array: pa.Array) -> np.ndarray | None:
    """bool per row, False where it is null; None where nothing is."""
    buffer = array.buffers()[0] if array.null_count else None
    if buffer is None:
        return None if not array.null_count else np.zeros(len(array), bool)
    return bits(buffer, array.offset, len(array))


def bits(buffer: pa.Buffer, offset: int, length: int) -> np.ndarray:
    first, last = offset // 8, (offset + length + 7) // 8
    unpacked = np.unpackbits(np.frombuffer(buffer, np.uint8)[first:last], bitorder="little")
    return unpacked[offset - 8 * first :][:length].view(bool)


def fixed(array: pa.Array, dtype: type | str) -> np.ndarray:
    """The values of a fixed-width array, without a copy; what stands where a value is null is undefined."""
    buffer = array.buffers()[1]
    if buffer is None:
        return np.zeros(len(array), dtype)
    return np.frombuffer(buffer, dtype, count=array.offset + len(array))[array.offset :]


def floats(array: pa.Array, out: np.ndarray | None = None) -> tuple[np.ndarray, int]:
    """(float64 values, in `out` if that is given, NaN where the array is null; number of values that are no
    numbers).

    Text counts as a number where it is written as one (CSV falls back to text when one cell of a column
    cannot be read); a truth value does not.
    """
    kind, mistyped = array.type, 0
    if pa.types.is_dictionary(kind):
        array = array.dictionary_decode()
        kind = array.type
    if pa.types.is_null(kind):
        return np.full(len(array), np.nan), 0
    if is_text(kind):
        numeric = pc.match_substring_regex(array, NUMERIC_TEXT)
        mistyped = len(array) - array.null_count - (pc.sum(numeric).as_py() or 0)
        kept = pc.if_else(numeric, array, pa.nulls(1, kind)[0])
        array = pc.cast(pc.utf8_trim_whitespace(kept), pa.float64())
    elif pa.types.is_float64(kind):
        pass
    elif pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        array = pc.cast(array, pa.float64(), safe=False)
    else:
        return np.full(len(array), np.nan), len(array) - array.null_count
    values = np.add(fixed(array, np.float64), 0.0, out=out)  # a copy in which -0.0 is 0.0
    mask = valid(array)
    if mask is not None:
        values[~mask] = np.nan
    return values, mistyped


def texts(array: pa.Array) -> tuple[np.ndarray, pa.Array, int]:
    """(signed codes into the dictionary, -1 where null; the dictionary, strings; number of values that are no
    text). Truth values count as `true` and `false`; numbers are no text."""
    mistyped = 0
    if pa.types.is_boolean(array.type):
        array = pc.cast(array, pa.string())
    if not pa.types.is_dictionary(array.type):
        if not is_text(array.type):
            mistyped = 0 if pa.types.is_null(array.type) else len(array) - array.null_count
            array = pa.nulls(len(array), pa.string())
        array = array.dictionary_encode()
    dictionary, indices = array.dictionary, array.indices
    if not is_text(dictionary.type):
        return np.full(len(array), -1, np.int32), pa.array([], pa.string()), len(array) - array.null_count
    codes = fixed(indices, f"i{indices.type.bit_width // 8}")
    mask = valid(indices)
    if mask is not None:
        codes = np.where(mask, codes, codes.dtype.type(-1))
    return codes, dictionary, mistyped


def is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def as_large(values: pa.Array) -> pa.Array:
    return values if pa.types.is_large_string(values.type) else pc.cast(values, pa.large_string())


def text_buffers(values: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """(int64 offsets from 0, uint8 bytes) of a string array."""
    values = as_large(values)
    _, offsets, data = values.buffers()
    if not len(values) or offsets is None:
        return np.zeros(len(values) + 1, np.int64), np.zeros(0, np.uint8)
    bounds = np.frombuffer(offsets, np.int64)[values.offset : values.offset + len(values) + 1]
    content = np.frombuffer(data, np.uint8) if data is not None else np.zeros(0, np.uint8)
    return bounds - bounds[0], content[bounds[0] : bounds[-1]]


def positions(values: pa.Array, among: pa.Array, absent: int) -> np.ndarray:
    """int32 position of each string in `among` (large strings), `absent` where it is not there."""
    found = pc.index_in(as_large(values), value_set=among)
    places = fixed(found, np.int32).copy()
    mask = valid(found)
    if mask is not None:
        places[~mask] = absent
    return places


def int64_array(values: np.ndarray) -> pa.Array:
    return pa.Int64Array.from_buffers(
        pa.int64(), len(values), [None, pa.py_buffer(np.ascontiguousarray(values))]
    )


def text_array(values: list[str]) -> pa.Array:
    """A string array of a list, past `pa.array`, which asks pandas about it."""
    encoded = [value.encode() for value in values]
    offsets = np.zeros(len(values) + 1, np.int64)
    np.cumsum([len(value) for value in encoded], out=offsets[1:])
    return pa.LargeStringArray.from_buffers(
        len(values), pa.py_buffer(offsets), pa.py_buffer(b"".join(encoded))
    )


ZONED = r"(Z|[+-]\d\d:?\d\d)$"
ISO_TIME = r"^\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?)?(Z|[+-]\d\d:?\d\d)?$"


def microseconds(array: pa.Array) -> tuple[np.ndarray, np.ndarray | None]:
    """(int64 microseconds since 1970; bool per row, False where there is no time, None where all have one) of
    timestamps, dates or ISO 8601 text; times without a zone are UTC."""
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if is_text(array.type):
        timely = pc.match_substring_regex(array, ISO_TIME)
        array = as_large(pc.if_else(timely, array, pa.nulls(1, array.type)[0]))
        zoned = pc.match_substring_regex(array, ZONED)
        utc, midnight, joint = text_array(["Z", "T00:00Z", ""])
        ending = pc.if_else(pc.match_substring_regex(array, r"^\S{10}$"), midnight, utc)
        array = _parsed(pc.if_else(zoned, array, pc.binary_join_element_wise(array, ending, joint)))
    elif pa.types.is_date(array.type):
        array = pc.cast(array, pa.timestamp("us"))
    if not pa.types.is_timestamp(array.type):
        return np.zeros(len(array), np.int64), np.zeros(len(array), bool)
    array = pc.cast(array, pa.timestamp("us", array.type.tz), safe=False)
    return fixed(array, np.int64), valid(array)


def _parsed(texts: pa.Array) -> pa.Array:
    """Text that looks like times as such; what is none (the 30th of February) becomes null."""
    try:
        return pc.cast(texts, pa.timestamp("us", "UTC"))
    except pa.ArrowInvalid:
        parts = [_time_or_null(texts[index : index + 1]) for index in range(len(texts))]
        return pa.concat_arrays(parts)


def _time_or_null(text: pa.Array) -> pa.Array:
    try:
        return pc.cast(text, pa.timestamp("us", "UTC"))
    except pa.ArrowInvalid:
        return pa.nulls(1, pa.timestamp("us", "UTC"))
