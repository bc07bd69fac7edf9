"""EventBridge Scheduler's cron expressions, held to the fields and ranges of its user guide, and to a
calendar: one that Scheduler would refuse fails an onboarding, and one that never comes fails nobody."""

import re
from calendar import monthrange
from dataclasses import dataclass

_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_ITEM = re.compile(r"(?:\*|(\w+)(?:-(\w+))?)(?:/0*([1-9]\d*))?")
# `L` and `LW`: the last day, or weekday, of the month. Each month has one; let it be the first.
_LAST = re.compile(r"LW?")
# `15W`: the weekday next to the 15th; `6L` and `6#2`: the last Friday of the month, and the second.
_NEXT_TO = re.compile(r"(\d+)W")
_OF_MONTH = re.compile(r"(\w+)(?:L|#[1-5])")


@dataclass(frozen=True)
class _Field:
    """One of the six: what it is called, from what to what it goes, and what its values are called."""

    name: str
    low: int
    high: int
    words: tuple[str, ...] = ()

    def values(self, text: str) -> set[int]:
        """Those that `text` names. Raises ValueError for what is none."""
        return set().union(*(self._values(item) for item in text.split(",")))

    def _values(self, item: str) -> set[int]:
        match = _ITEM.fullmatch(item)
        if not match:
            raise ValueError(f"{item!r} is no {self.name}")
        first, last, step = match.groups()
        low = self._value(first) if first else self.low
        high = self._value(last) if last else low if first and not step else self.high
        if low > high:
            raise ValueError(f"{self.name} {item} ends before it begins: make it two ranges")
        return set(range(low, high + 1, int(step or 1)))

    def _value(self, text: str) -> int:
        if text.upper() in self.words:
            return self.words.index(text.upper()) + self.low
        value = int(text) if text.isdecimal() else None
        if value is None or not self.low <= value <= self.high:
            words = f" or {self.words[0]} to {self.words[-1]}" if self.words else ""
            raise ValueError(f"{self.name} {text} is not {self.low} to {self.high}{words}")
        return value


_MINUTE, _HOUR = _Field("minute", 0, 59), _Field("hour", 0, 23)
_DAY, _MONTH = _Field("day of the month", 1, 31), _Field("month", 1, 12, _MONTHS)
_WEEKDAY, _YEAR = _Field("day of the week", 1, 7, _DAYS), _Field("year", 1970, 2199)


def check(expression: str) -> None:
    """Raises ValueError, with the reason, for an expression that is none or that no day fulfils."""
    minutes, hours, days, months, weekdays, years = expression.removeprefix("cron(").removesuffix(")").split()
    _MINUTE.values(minutes)
    _HOUR.values(hours)
    of_year, of_time = _MONTH.values(months), _YEAR.values(years)
    if (days == "?") == (weekdays == "?"):
        raise ValueError("one of day of the month and day of the week must be ?, and one not")
    if days == "?":
        if "#" in weekdays and "," in weekdays:
            raise ValueError(f"day of the week {weekdays} names several, and one with # must be the only one")
        _WEEKDAY.values(_OF_MONTH.sub(r"\1", "7" if weekdays == "L" else weekdays))
        return
    first = min(_DAY.values(",".join(_plain(item) for item in days.split(","))))
    if all(first > monthrange(year, month)[1] for year in of_time for month in of_year):
        raise ValueError(f"no month of it has a day {first}: it never comes (L is the last one)")


def _plain(item: str) -> str:
    """A day of the month without what depends on the month."""
    return "1" if _LAST.fullmatch(item) else _NEXT_TO.sub(r"\1", item)
