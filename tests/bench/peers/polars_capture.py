"""Runs in polars' own environment: for each folder named on stdin, parses its capture files into one frame of
requests and one of answers, and prints the seconds. Each step is the fastest of those that were tried: for
one row per line `read_ndjson` on the joined bodies, for a list in each `json_decode`."""

import sys
import time

import polars as pl

SIDE = pl.Struct({"data": pl.String, "encoding": pl.String, "observedContentType": pl.String})
LINE = {
    "captureData": pl.Struct({"endpointInput": SIDE, "endpointOutput": SIDE}),
    "eventMetadata": pl.Struct(dict.fromkeys(("eventId", "inferenceId", "inferenceTime"), pl.String)),
}
TEXT, WHOLE = ("origin", "dest", "carrier"), ("weekday", "departure_minute")
NUMBERS = ("distance", "temp", "dewp", "humid", "wind_speed", "precip", "pressure", "visib")
FEATURES = (
    dict.fromkeys(TEXT, pl.String) | dict.fromkeys(WHOLE, pl.Int64) | dict.fromkeys(NUMBERS, pl.Float64)
)
ROW = {"flight_id": pl.String, "scheduled_departure": pl.String} | FEATURES
ANSWER = {"prediction": pl.Int64, "probability": pl.Float64}


def events(folder: str, is_base64: bool) -> pl.DataFrame:
    """Bodies, id and time of the events, each once."""
    lines = pl.scan_ndjson(f"{folder}/*.jsonl", schema=LINE)
    data = pl.col("captureData").struct
    bodies = [
        data.field(f"endpoint{side}").struct.field("data").alias(side.lower()) for side in ("Input", "Output")
    ]
    metadata = pl.col("eventMetadata").struct
    frame = lines.select(
        *bodies,
        metadata.field("eventId"),
        metadata.field("inferenceId"),
        metadata.field("inferenceTime").str.to_datetime("%Y-%m-%dT%H:%M:%SZ"),
    )
    if is_base64:
        frame = frame.with_columns(pl.col("input", "output").str.decode("base64").cast(pl.String))
    return frame.unique("eventId", maintain_order=True).collect()


def rows(bodies: pl.Series, kind: str, columns: dict, wrapper: str) -> pl.DataFrame:
    if kind == "json":
        content = bodies.str.json_decode(pl.Struct({wrapper: pl.List(pl.Struct(columns))}))
        return content.struct.field(wrapper).explode().struct.unnest()
    text = "\n".join(bodies.to_list()).encode()
    if kind == "csv":
        return pl.read_csv(text, has_header=False, schema=columns)
    return pl.read_ndjson(text, schema=columns)


def main() -> None:
    for line in sys.stdin:
        kind, is_base64, folder = line.split()
        start = time.perf_counter()
        found = events(folder, is_base64 == "base64")
        sent = rows(found["input"], kind, FEATURES if kind == "csv" else ROW, "instances")
        got = rows(found["output"], kind, ANSWER, "predictions")
        seconds = time.perf_counter() - start
        assert len(sent) == len(got) == len(found)
        print(seconds, len(sent), float(got["probability"].sum()), flush=True)


main()
