"""Values of model.yaml with units. Each parser takes what YAML made of a scalar and raises ValueError with
the reason it will not do; durations come out as seconds, shares as fractions."""

import math
import re
from collections.abc import Callable, Collection
from datetime import timedelta
from typing import Any

from . import cron

_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_BYTES = {"KB": 10**3, "MB": 10**6, "GB": 10**9}
_RATE = re.compile(r"rate\((\d+) (minute|hour|day)(s?)\)")
_LONGEST_RATE = 3650 * 86400
_CRON = re.compile(r"cron\(\S+( \S+){5}\)")


def text(pattern: str = ".+", meaning: str = "text") -> Callable[[Any], str]:
    """A string that matches `pattern` as a whole; `meaning` says in words what is expected."""

    def parse(value: Any) -> str:
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            raise ValueError(f"{_shown(value)} is not {meaning}")
        return value

    return parse


def choice(options: Collection[str]) -> Callable[[Any], str]:
    """One of a few words."""

    def parse(value: Any) -> str:
        if value not in options:
            raise ValueError(f"{_shown(value)} is not one of {', '.join(options)}")
        return value

    return parse


def number(low: float = -math.inf, high: float = math.inf) -> Callable[[Any], float]:
    """A finite number between two bounds, both included."""

    def parse(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise ValueError(f"{_shown(value)} is not a number")
        return _bounded(value, value, low, high, _plain)

    return parse


def integer(low: int, high: int) -> Callable[[Any], int]:
    """A whole number between two bounds, both included."""

    def parse(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError(f"{_shown(value)} is not a whole number")
        return _bounded(value, value, low, high, _plain)

    return parse


def limit(low: float) -> Callable[[Any], float | None]:
    """A number from `low` on, or `none`: no limit."""
    parse = number(low)
    return lambda value: None if value == "none" else parse(value)


def boolean(value: Any) -> bool:
    """true or false."""
    if not isinstance(value, bool):
        raise ValueError(f"{_shown(value)} is not true or false")
    return value


def anything(value: Any) -> Any:
    """A value of any plain type, as a hyperparameter or a category is."""
    if not isinstance(value, str | int | float):
        raise ValueError(f"{_shown(value)} is not a text, a number or true or false")
    return value


def duration(low: float, high: float) -> Callable[[Any], float]:
    """`90d`, `6h`, `10m`, `30s`, `200ms` as seconds; `low` and `high` in seconds."""

    def parse(value: Any) -> float:
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w)", value) if isinstance(value, str) else None
        if not match:
            raise ValueError(f"{_shown(value)} is not a duration such as 90d, 6h, 10m or 200ms")
        seconds = float(match[1]) * _SECONDS[match[2]]
        return _bounded(int(seconds) if seconds.is_integer() else seconds, value, low, high, spoken)

    return parse


def fraction(low: float, high: float) -> Callable[[Any], float]:
    """`1%` or `0.01` as 0.01."""

    def parse(value: Any) -> float:
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*%", value) if isinstance(value, str) else None
        share = float(match[1]) / 100 if match else value
        if isinstance(share, bool) or not isinstance(share, int | float):
            raise ValueError(f"{_shown(value)} is not a share such as 1% or 0.01")
        return _bounded(share, value, low, high, _percent)

    return parse


def percent(low: int, high: int) -> Callable[[Any], int]:
    """`10` or `10%` as 10."""

    def parse(value: Any) -> int:
        match = re.fullmatch(r"(\d+)\s*%", value) if isinstance(value, str) else None
        whole = int(match[1]) if match else value
        if isinstance(whole, bool) or not isinstance(whole, int):
            raise ValueError(f"{_shown(value)} is not a whole percentage such as 10")
        return _bounded(whole, value, low, high, lambda bound: f"{bound} %")

    return parse


def size(value: Any) -> int:
    """`200MB` as bytes, in powers of ten."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(KB|MB|GB)", value) if isinstance(value, str) else None
    if not match:
        raise ValueError(f"{_shown(value)} is not a size such as 500KB, 200MB or 1.5GB")
    return round(float(match[1]) * _BYTES[match[2]])


def schedule(value: Any) -> str:
    """EventBridge Scheduler's `rate(7 days)` or `cron(0 6 * * ? *)`."""
    rate = _RATE.fullmatch(value) if isinstance(value, str) else None
    if rate and int(rate[1]) and (int(rate[1]) == 1 or rate[3]):
        if int(rate[1]) * _SECONDS[rate[2][0]] > _LONGEST_RATE:
            raise ValueError(f"{_shown(value)} is longer than {spoken(_LONGEST_RATE)}")
        return value
    if isinstance(value, str) and _CRON.fullmatch(value):
        try:
            cron.check(value)
        except ValueError as error:
            raise ValueError(f"{_shown(value)}: {error}") from None
        return value
    raise ValueError(f"{_shown(value)} is not a schedule such as rate(7 days) or cron(0 6 * * ? *)")


def period(expression: str) -> timedelta | None:
    """Of a rate; None for a cron expression, which names its times itself."""
    found = _RATE.fullmatch(expression)
    return timedelta(**{f"{found[2]}s": int(found[1])}) if found else None


def rate(seconds: float) -> str:
    """A duration of whole minutes as a schedule expression: 604800 is `rate(7 days)`."""
    for unit, size in (("day", 86400), ("hour", 3600), ("minute", 60)):
        count, rest = divmod(seconds, size)
        if count and not rest:
            return f"rate({counted(int(count), unit)})"
    raise ValueError(f"{seconds} s is not a whole number of minutes")


def spoken(seconds: float) -> str:
    """A duration as a person writes it: 5400 is `90m`."""
    if not seconds:
        return "0s"
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:g}{unit}"
    return f"{seconds * 1000:g}ms" if seconds < 1 else f"{seconds:g}s"


def sized(count: float) -> str:
    """Bytes as a person writes them: 212370 is `212.4 KB`."""
    for unit, bytes_ in reversed(_BYTES.items()):
        if count >= bytes_:
            return f"{count / bytes_:.4g} {unit}"
    return f"{count:g} bytes"


def counted(count: int, noun: str) -> str:
    """`1 file`, `12 files`."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _bounded(value: Any, given: Any, low: float, high: float, show: Callable[[float], str]) -> Any:
    if low <= value <= high:
        return value
    if high == math.inf:
        raise ValueError(f"{_shown(given)} is not {show(low)} or more")
    if low == -math.inf:
        raise ValueError(f"{_shown(given)} is not {show(high)} or less")
    raise ValueError(f"{_shown(given)} is not between {show(low)} and {show(high)}")


def _plain(bound: float) -> str:
    return f"{bound:g}"


def _percent(bound: float) -> str:
    return f"{bound * 100:g} %"


def _shown(value: Any) -> str:
    return "nothing" if value is None else str(value) if not isinstance(value, str) else repr(value)
