"""Whether a version that got a copy of the traffic may take it over. Its answers went to nobody; what counts
is that it answered, how soon, and what, beside the version in service under the same requests."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .pairs import Agreement

SERIES = ("requests", "errors", "latency")


@dataclass(frozen=True)
class Observed:
    """A variant over the observation: how many requests it was sent, the share that it answered with 5XX, and
    the p99 latency of its worst minute in microseconds."""

    requests: int
    errors: float
    latency: float

    def as_dict(self) -> dict[str, Any]:
        """As it stands in the ledger."""
        return {"requests": self.requests, "errors": round(self.errors, 6), "latency": round(self.latency)}


def observed(series: Mapping[str, Sequence[float]], variant: str) -> Observed:
    """A variant's minutes, by `<variant>_requests`, `_errors` (sums) and `_latency` (p99)."""
    requests, errors, latency = (series.get(f"{variant}_{name}") or () for name in SERIES)
    total = sum(requests)
    return Observed(int(total), sum(errors) / total if total else 0.0, max(latency, default=0.0))


def judge(
    production: Observed,
    shadow: Observed,
    limits: Mapping[str, float],
    agreed: Agreement,
    disagreement: float | None,
) -> tuple[bool, str]:
    """(passed, reason) by the limits of the rollback alarms. Where production itself is beyond a limit, the
    shadow need only be no worse: the load is at fault, not the version. Where `disagreement` is a limit, the
    shadow must not call more of the rows something else than production did."""
    if not shadow.requests:
        return False, f"no request reached the shadow ({production.requests} reached production)"
    seen = f"as a shadow it was sent {shadow.requests} requests ({production.requests} reached production)"
    told = (
        ("errors", f"{shadow.errors:.2%} failed (production: {production.errors:.2%})"),
        (
            "latency",
            f"p99 was {shadow.latency / 1000:.0f} ms in the worst minute "
            f"(production: {production.latency / 1000:.0f} ms)",
        ),
    )
    for name, what in told:
        if getattr(shadow, name) > max(limits[name], getattr(production, name)):
            return False, f"{seen}: {what}, more than ship.alarms allows"
    answered = spoken(agreed)
    if disagreement is not None and (agreed.disagreement is None or agreed.disagreement > disagreement):
        return False, f"{seen}: {answered}, and ship.disagreement allows {disagreement:.0%}"
    return True, f"{seen}: {told[0][1]}, {told[1][1]}; {answered}"


def spoken(agreed: Agreement) -> str:
    """What both have answered to the same rows."""
    if not agreed.rows:
        return "no row was captured of both"
    said = [f"of {agreed.rows} rows captured of both"]
    if agreed.disagreement is not None:
        said.append(f"{agreed.disagreement:.1%} got another label")
    if agreed.distance is not None:
        said.append(f"the answers are {agreed.distance:.3g} apart on average")
    return ", ".join(said)
