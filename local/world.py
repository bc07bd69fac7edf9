"""The outside world of a run: it uploads data, computes the features of flights, sends them and later their
labels, and one person approves.

This is all that is scripted. The world moves the virtual clock along the data's year and waits while a
machine of the loop runs, as a week of real time would not pass while a job of three minutes runs. While a
deployment shifts traffic it sends a steady trickle, so that the canary sees requests.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from local import flights
from local.people import ApiError, Caller
from local.watch import Execution, Watch

MODEL = "flights"
BATCH = timedelta(hours=6)  # one request holds the flights of this much time
LABEL_DELAY = timedelta(days=1)  # a flight's delay is known by then
MAX_ROWS = 1000  # of one request to the API
TRICKLE_ROWS = 8  # in a request during a deployment
TRICKLE_STEP = timedelta(hours=3)  # how far they run ahead of the clock before it follows
PAUSE_SECONDS = 0.1  # between two looks at the machines, or two requests during a deployment
REACTION_SECONDS = 1.5  # by then, what an event starts has started
FAILURES_IN_A_ROW = 10  # after which nothing is served any more
LEADS_ON = {"ModelOnboarded", "ModelRegistered", "ViolationsFound", "RetrainingRequested"}


@dataclass
class Sent:
    """What the world has sent so far."""

    requests: int = 0
    predictions: int = 0
    labels: int = 0
    files: int = 0
    failures: list[str] = field(default_factory=list)  # requests that the API did not answer with 2xx


class World:
    """`s3` writes to the bucket, `clock` has `set(moment, frozen)`, `traffic` and `person` call the
    API. `every` is the time between two windows."""

    def __init__(
        self,
        watch: Watch,
        clock: Any,
        s3: Any,
        bucket: str,
        traffic: Caller,
        person: Caller,
        data: Path,
        every: timedelta,
    ) -> None:
        self.watch, self.clock, self.s3, self.bucket = watch, clock, s3, bucket
        self.traffic, self.person = traffic, person
        self.sent = Sent()
        self.now = datetime(2013, 1, 1, tzinfo=UTC)
        self._table = flights.table()
        self._departures = self._table["scheduled_departure"].to_numpy()
        self._months = {month_end(path.stem): path for path in flights.write_months(data)}
        self._next = self._unlabelled = 0  # rows of the table that come next
        self._every = every
        self._window_due = datetime.max.replace(tzinfo=UTC)
        self._looked_at: set[str] = set()
        self._expecting_until = 0.0
        self._failing = 0  # requests in a row
        self._plans: list[tuple[datetime, Callable[[], None]]] = []

    def begin(self, moment: datetime) -> None:
        """Puts the clock to a moment and uploads the months that are over by then."""
        self.move(moment)
        self._next = self._unlabelled = self._row_at(moment)
        self.upload_months(moment)
        self._window_due = moment + self._every

    def move(self, moment: datetime) -> None:
        """Sets the clock. Where a window is due, the world goes on once its machine runs: else it would be
        chance which of the labels that come later are there."""
        before = self.windows()
        self.clock.set(moment, frozen=True)
        self.now = moment
        if moment < self._window_due:
            return
        self._window_due += self._every * ((moment - self._window_due) // self._every + 1)
        patience = time.monotonic() + REACTION_SECONDS
        while self.windows() == before and time.monotonic() < patience:
            self.watch.poll()

    def windows(self) -> int:
        """How many windows were begun so far."""
        return sum(execution.machine == "monitor" for execution in self.watch.executions())

    def upload_months(self, over_by: datetime) -> None:
        for end in sorted(end for end in self._months if end <= over_by):
            path = self._months.pop(end)
            self.s3.upload_file(str(path), self.bucket, f"datasets/{MODEL}/{path.name}")
            self.sent.files += 1

    def expect(self) -> None:
        """Something was done that starts a machine: the next `wait` gives it time to appear."""
        self._expecting_until = time.time() + REACTION_SECONDS

    def wait(self, meanwhile: Callable[[list[Execution]], None] | None = None) -> None:
        """The world stands still while a machine runs, or is about to because of one that has just ended."""
        while (running := self.watch.busy(LEADS_ON, REACTION_SECONDS)) or time.time() < self._expecting_until:
            self.approve()
            if meanwhile:
                meanwhile(running)
            time.sleep(PAUSE_SECONDS)

    def approve(self) -> None:
        """A person who hears of a registered version looks at its figures and approves it."""
        for execution in self.watch.executions():
            if (
                execution.running
                or execution.ended_in != "ModelRegistered"
                or execution.arn in self._looked_at
            ):
                continue
            self._looked_at.add(execution.arn)
            for package in self.person.get(f"/models/{MODEL}")["pending"]:
                reason = f"looked at its figures: {package.get('reason') or 'it passed its gate'}"
                path = f"/models/{MODEL}/versions/{package['version']}/approval"
                self.person.post(path, {"decision": "approve", "reason": reason})
                self.expect()

    def plan(self, moment: datetime, act: Callable[[], None]) -> None:
        """Somebody does something that starts a machine, once `replay` has come to the moment."""
        self._plans.append((moment, act))

    def act(self) -> None:
        """Does what was planned for by now."""
        due = [act for moment, act in self._plans if moment <= self.now]
        self._plans = [plan for plan in self._plans if plan[0] > self.now]
        for act in due:
            act()
            self.expect()

    def replay(self, until: datetime, tell: Callable[[], None], rate: float = 0) -> None:
        """Sends the flights from now on, in time order, until a moment; `tell` is called after each batch.

        `rate`: simulated days for each real second at most; 0 is as fast as the stack answers.
        """
        while self.now < until:
            started = time.monotonic()
            self.act()
            self.wait(self.trickle)
            self.move(min(self.now + BATCH, until))
            self.predict(self._row_at(self.now))
            self.post_labels()
            self.upload_months(self.now - LABEL_DELAY)
            tell()
            if rate:
                time.sleep(max(0, BATCH / timedelta(days=1) / rate - (time.monotonic() - started)))
        self.act()
        self.wait(self.trickle)

    def trickle(self, running: list[Execution]) -> None:
        """A few flights, while a deployment shifts traffic from one champion to the next."""
        if any(state.name == "UpdateEndpoint" for execution in running for state in execution.states):
            last = min(self._next + TRICKLE_ROWS, len(self._departures)) - 1
            departure = self._table["scheduled_departure"][last].as_py()
            if departure > self.now + TRICKLE_STEP:
                self.move(departure)
            self.predict(last + 1)

    def predict(self, end: int) -> None:
        """Asks for predictions of the rows up to `end`, each request with at most MAX_ROWS."""
        while self._next < end:
            rows = self._table.slice(self._next, min(end - self._next, MAX_ROWS))
            self._next += rows.num_rows
            self.compute(rows)
            answer = self._post("predictions", {"instances": instances(rows)})
            self.sent.requests += 1
            self.sent.predictions += len(answer.get("predictions", []))

    def compute(self, rows: pa.Table) -> None:
        """The features of a request as the pipeline has them: the monitor compares both."""
        buffer = io.BytesIO()
        pq.write_table(rows.drop_columns("late"), buffer)
        key = f"pipeline/{MODEL}/{self.now:%Y/%m/%d/%H}/{self.sent.requests:06}.parquet"
        self.s3.put_object(Bucket=self.bucket, Key=key, Body=buffer.getvalue())

    def post_labels(self) -> None:
        """The truth about the flights of a day ago, once a day's worth has come together."""
        end = self._row_at(self.now - LABEL_DELAY)
        if end - self._unlabelled < MAX_ROWS // 2:
            return
        while self._unlabelled < end:
            rows = self._table.slice(self._unlabelled, min(end - self._unlabelled, MAX_ROWS))
            self._unlabelled += rows.num_rows
            pairs = zip(rows["flight_id"].to_pylist(), rows["late"].to_pylist(), strict=True)
            labels = [{"id": flight, "label": late} for flight, late in pairs]
            self.sent.labels += self._post("labels", {"labels": labels}).get("accepted", 0)

    def _post(self, what: str, body: dict) -> dict:
        """A request that fails is one more thing to report, and the world goes on; unless all fail."""
        try:
            answer = self.traffic.post(f"/models/{MODEL}/{what}", body)
        except ApiError as error:
            self.sent.failures.append(str(error))
            self._failing += 1
            if self._failing >= FAILURES_IN_A_ROW:
                raise
            return {}
        self._failing = 0
        return answer

    def _row_at(self, moment: datetime) -> int:
        return int(np.searchsorted(self._departures, np.datetime64(moment.replace(tzinfo=None), "us")))


def instances(rows: pa.Table) -> list[dict]:
    """Rows as a client sends them: the id, the time, and what it knows at departure; a value that nobody
    knows is left out."""
    columns = [name for name in rows.column_names if name != "late"]
    found = [
        {name: value for name, value in row.items() if value is not None}
        for row in rows.select(columns).to_pylist()
    ]
    for row in found:
        row["scheduled_departure"] = row["scheduled_departure"].isoformat()
    return found


def month_end(name: str) -> datetime:
    """`2013-02` -> 2013-03-01."""
    year, month = map(int, name.split("-"))
    return datetime(year + month // 12, month % 12 + 1, 1, tzinfo=UTC)
