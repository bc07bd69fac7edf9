"""The local stack's virtual clock: the time at which the outside world happens.

Schedules, event times, data capture and the HTTP API read it, so that a year of traffic can be replayed in
minutes. Everything inside AWS (Step Functions, job timestamps, CloudWatch, credentials) stays on the
machine's clock. The clock lives in the server's process; other processes move it through POST
/_evergreen/clock.
"""

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

_lock = threading.RLock()
_offset = 0.0  # seconds that the virtual time is ahead of the machine's
_frozen_at: float | None = None  # epoch seconds: the clock stands still until it is moved
_before_move: list[Callable[[], None]] = []
_after_move: list[Callable[[], None]] = []


def now() -> datetime:
    """The virtual time, aware, in UTC."""
    return datetime.fromtimestamp(epoch(), UTC)


def epoch() -> float:
    """The virtual time in seconds since 1970."""
    frozen = _frozen_at
    return time.time() + _offset if frozen is None else frozen


def set(moment: datetime, *, frozen: bool = False) -> datetime:
    """Moves the clock to a moment, backwards too. A frozen clock stands still until it is moved again."""
    global _offset, _frozen_at
    if moment.tzinfo is None:
        raise ValueError(f"the clock needs a moment with a time zone, not {moment.isoformat()}")
    with _lock:
        for listener in _before_move:
            listener()
        _offset = moment.timestamp() - time.time()
        _frozen_at = moment.timestamp() if frozen else None
        for listener in _after_move:
            listener()
    return now()


def advance(seconds: float) -> datetime:
    """Moves the clock by some seconds and keeps it frozen or running, as it was."""
    with _lock:
        return set(now() + timedelta(seconds=seconds), frozen=_frozen_at is not None)


def reset() -> None:
    """Back to the machine's clock; forgets the listeners (for tests)."""
    global _offset, _frozen_at
    with _lock:
        _offset, _frozen_at = 0.0, None
        _before_move.clear()
        _after_move.clear()


def is_frozen() -> bool:
    return _frozen_at is not None


def before_move(listener: Callable[[], None]) -> None:
    """Called before the clock moves: what was captured at the old time is written at the old time."""
    _before_move.append(listener)


def after_move(listener: Callable[[], None]) -> None:
    """Called after the clock moved: what has become due fires."""
    _after_move.append(listener)
