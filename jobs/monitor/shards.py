"""Profiles of files, one a shard, and the profile of all shards: what `profile` and `merge` do."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path

from jobs.contract import JobError
from jobs.monitor.profile import DAY, Profile, profile
from jobs.monitor.scan import scan
from jobs.monitor.schema import Schema


def profile_files(
    sources: Iterable[Path],
    out: Path,
    schema: Schema | None = None,
    baseline: Path | None = None,
    time: str = "",
    block: timedelta | None = DAY,
) -> Profile:
    """Profiles data files (or folders of them) into `out`, an .npz.

    With `baseline`, another profile, its schema and bins are used: only then do shards merge. Without a
    schema that of the files is taken, `time` being the column that blocks are cut by. Raises JobError.
    """
    sources = list(sources)
    edges = None
    if baseline is not None:
        reference = Profile.load(baseline)
        schema = schema or reference.schema
        if reference.blocks:
            edges, block = reference.blocks.edges, timedelta(microseconds=reference.blocks.length)
        else:
            block = None
    if schema is None:
        found = scan(sources).arrow_schema
        schema = Schema.infer(found, time=time)
        if not schema.fields:
            raise JobError(f"none of the columns {', '.join(found.names)} can be profiled")
    made = profile(scan(sources, schema), schema, edges, block)
    made.save(out)
    return made


def merge_files(profiles: Iterable[Path], out: Path) -> Profile:
    """Merges stored profiles (or folders of them) into `out`. One shard is in memory beside the sum.

    Raises JobError where there are none, or where one does not fit the others, by its name.
    """
    paths: list[Path] = []
    for path in profiles:
        paths += sorted(path.rglob("*.npz")) if path.is_dir() else [path]
    if not paths:
        raise JobError("there are no profiles to merge")
    merged = Profile.load(paths[0])
    for path in paths[1:]:
        try:
            merged = merged.merge(Profile.load(path))
        except JobError as error:
            raise JobError(f"{path.name}: {error}") from error
    merged.save(out)
    return merged
