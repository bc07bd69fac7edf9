"""What came back: versions that a person approved and that the endpoint gave up again, and what it cost the
clients.

    rollbacks[]  version, deployment, at, cause, approved_by, reason; requests and failed {champion,
                 challenger}: what each fleet was asked, and answered with 5XX, while the traffic was shared;
                 dropped: what became of its approval when it was delivered once more, or null
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from local import page
from local.console import table
from local.wording import day, grouped, short_day, who, why


def rollbacks(history: Sequence[dict], deployments: Sequence[dict]) -> list[dict]:
    """One for each deployment of `deployments` that the ledger's `history` (oldest first) has as rolled
    back."""
    shared = {deployment["name"]: deployment for deployment in deployments}
    started = {row["deployment"]: row for row in history if row["kind"] == "DeploymentStarted"}
    dropped = {row["version"]: row["reason"] for row in history if row["kind"] == "DeploymentDropped"}
    return [
        {
            "version": row["version"],
            "deployment": row["deployment"],
            "at": row["at"],
            "cause": row["cause"],
            "approved_by": started[row["deployment"]]["approved_by"],
            "reason": row["reason"],
            "requests": sides(shared[row["deployment"]], "old", "new"),
            "failed": sides(shared[row["deployment"]], "old_failed", "new_failed"),
            "dropped": dropped.get(row["version"]),
        }
        for row in history
        if row["kind"] == "DeploymentRolledBack" and row["deployment"] in shared
    ]


def sides(deployment: dict, champion: str, challenger: str) -> dict[str, int]:
    samples = deployment["samples"]
    return {
        "champion": sum(sample[champion] for sample in samples),
        "challenger": sum(sample[challenger] for sample in samples),
    }


def lost(found: Sequence[dict], failures: int) -> int:
    """How many of the requests that failed are not those that a rolled back version answered."""
    return failures - sum(rollback["failed"]["challenger"] for rollback in found)


def unsafe(record: dict) -> str | None:
    """Why a run with a faulty version did not end as it should; None where it did."""
    if not record["rollbacks"]:
        return "the faulty version was not rolled back"
    last = record["rollbacks"][-1]
    if record["counts"]["lost"]:
        return f"{record['counts']['lost']} requests failed that version {last['version']} did not answer"
    if not last["failed"]["challenger"]:
        return f"version {last['version']} failed no request and was rolled back all the same"
    if not last["dropped"]:
        return f"the approval of version {last['version']} was not dropped when it came again"
    return None


def told(record: dict) -> str:
    """For the terminal: a line for each, and what its clients saw; nothing where none came back."""
    if not record["rollbacks"]:
        return ""
    rows = [
        (
            f"v{found['version']}",
            day(found["at"]),
            who(found["approved_by"]),
            share(found, "challenger"),
            found["reason"],
        )
        for found in record["rollbacks"]
    ]
    heads = ("version", "approved", "by", "requests failed", "because of")
    return "\n".join([table("Rolled back", heads, rows), *(f"  {line}" for line in seen(record))])


def share(found: dict, side: str) -> str:
    """How many of a fleet's requests failed."""
    return f"{found['failed'][side]} of {found['requests'][side]}"


def seen(record: dict) -> list[str]:
    """What the clients saw, and what became of an approval that was delivered again."""
    failed = sum(found["failed"]["challenger"] for found in record["rollbacks"])
    requests, others = record["counts"]["requests"], record["counts"]["lost"]
    lines = [f"Of all {grouped(requests)} requests {failed} failed in its fleet and {others} anywhere else."]
    return lines + [
        f"Its approval was delivered once more and dropped: {found['dropped']}."
        for found in record["rollbacks"]
        if found["dropped"]
    ]


def section(record: dict) -> str:
    """For the report."""
    if not record["rollbacks"]:
        return ""
    heads = ("version", "approved", "caused by", "requests failed", "rolled back because of")
    rows = [
        (
            f"<b>v{found['version']}</b>",
            f"{short_day(found['at'])}<small>by {escape(who(found['approved_by']))}</small>",
            escape(why(found["cause"])),
            share(found, "challenger") + f"<small>{share(found, 'champion')} in the fleet before</small>",
            escape(found["reason"]),
        )
        for found in record["rollbacks"]
    ]
    said = "".join(f"<figcaption>{escape(line)}</figcaption>" for line in seen(record))
    return page.section(
        "Rolled back",
        "A version with a defect that its held-out rows could not show: it passed its gate, a person "
        "approved it, and the first requests of real clients brought it down.",
        f"<figure>{page.table(heads, rows)}{said}</figure>",
    )
