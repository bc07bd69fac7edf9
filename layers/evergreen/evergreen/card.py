"""The page of a model card: the verdict, who decided what, and where the version comes from, written around
the evidence that the evaluate job has drawn (jobs/card.py leaves two marks for it).

    runs/<run>/evaluation/card.html   the evidence
    runs/<run>/card/card.json         the facts of the judgement, written once
    runs/<run>/card/card.html         the page, stored again whenever something happens to the version

The page is a function of the two files and of the ledger's records, so that it can be made again at any time.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from . import admission, artifacts, names, times
from .ledger import Ledger
from .units import counted

VERDICT, RECORD = "<!-- verdict -->", "<!-- record -->"
HTML = "text/html; charset=utf-8"
MISSING = "n/a"
# What a version is called by its status in the ledger: words and the style of the badge.
STATUSES = {
    "PendingManualApproval": ("waits for approval", "warn"),
    "Approved": ("approved", "good"),
    "Staging": ("approved, in staging", "warn"),
    "Deploying": ("approved, being deployed", "good"),
    "InService": ("in service", "good"),
    "Replaced": ("was in service", "quiet"),
    "Rejected": ("rejected", "bad"),
    "Refused": ("not shipped", "bad"),
    "Dropped": ("overtaken", "quiet"),
    "RolledBack": ("rolled back", "bad"),
}
# As the train machine signs an approval (ApproveModel).
POLICY = "gate policy"
# Settings of SageMaker's training toolkit, not of the model.
TOOLKIT = "sagemaker_"

Json = dict[str, Any]


@dataclass(frozen=True)
class Standing:
    """How a registered version stands: the ledger's record of it, its deployments, the oldest first, and the
    package as the registry describes it."""

    package: Json
    deployments: Sequence[Json]
    registry: Json

    @property
    def status(self) -> str:
        """The ledger's word; the registry's where the ledger has not heard of it (yet)."""
        own, theirs = self.package["status"], self.registry["ModelApprovalStatus"]
        is_news = own == "PendingManualApproval" or (theirs == "Rejected" and own in ("Staging", "Deploying"))
        return theirs if is_news else own

    @property
    def decision(self) -> str:
        """What the registry says was decided; empty while nothing is."""
        decided = {"Approved": "approved", "Rejected": "rejected"}
        return decided.get(self.registry["ModelApprovalStatus"], "")

    @property
    def why(self) -> str:
        """The reason of that decision; the gate's own is the verdict, which the page begins with."""
        by = admission.approved_by(self.registry)
        said = self.registry.get("ApprovalDescription") or ""
        return "" if by == POLICY else said.removesuffix(f" (by {by})")


def key(run: str, file: str = "card.html") -> str:
    """Where a file of a run's card lies in the bucket."""
    return f"runs/{run}/card/{file}"


def facts(event: Json, bucket: str, about: Json) -> Json:
    """card.json of what the train machine knows when a challenger has passed. `event` is WriteCard's payload,
    `about` model.yaml's `card`."""
    plan, validation, tuned = event["plan"], event["validation"], event.get("tuned") or {}
    run = plan["run"]
    own = plan["spec"]["hyperparameters"] | tuned.get("hyperparameters", {})
    return {
        **{name: plan[name] for name in ("model", "run", "cause", "digest", "image")},
        "instance": f"{plan['spec']['count']} x {plan['spec']['instance']}",
        "hyperparameters": {name: text for name, text in own.items() if not name.startswith(TOOLKIT)},
        "champion": (plan["champion"] or {}).get("version"),
        "artifact": event["artifact"],
        "data": event["data"],
        **{name: validation.get(name) for name in ("rows", "train", "holdout")},
        "training_data": f"s3://{bucket}/runs/{run}/train/",
        "holdout_data": f"s3://{bucket}/runs/{run}/holdout/",
        "judgement": event["judgement"],
        "about": about,
        "page": f"s3://{bucket}/{key(run)}",
    }


def first(bucket: str, facts: Json, evidence: str) -> None:
    """Store the facts and the page of a version that is about to be registered."""
    run = facts["run"]
    artifacts.write(bucket, key(run, "card.json"), json.dumps(facts).encode())
    artifacts.write(bucket, key(run), render(evidence, facts).encode(), HTML)


def page(ledger: Ledger, prefix: str, package: Json) -> str:
    """The page of a version as the ledger and the registry have it now; raises AwsNotFound for one that was
    registered without a card. `package` is the ledger's record of the version; its run may lie in the bucket
    of another account, which trains for this one."""
    folder = package["baseline"].removesuffix("baseline/")
    known = artifacts.read_json(f"{folder}card/card.json")
    evidence = artifacts.read(*artifacts.split(f"{folder}evaluation/card.html")).decode()
    endpoint = names.endpoint(prefix, known["model"])
    found = ledger.query(known["model"], f"DEPLOYMENT#{endpoint}-v{package['version']}-")
    deployments = sorted(found, key=lambda record: record.get("approved_at") or "")
    described = admission.describe(package["package_arn"])
    return render(evidence, known, Standing(package, deployments, described))


def renew(ledger: Ledger, bucket: str, prefix: str, model: str, version: int) -> str:
    """Store the page of a version again; returns its key. What is stored is compared with what is true after
    that: of two renewals at once, whichever stores last has seen all that the other saw."""
    stored = ""
    while True:
        package = ledger.need(model, names.package(version))
        now = page(ledger, prefix, package)
        if now == stored:
            return key(package["run"])
        artifacts.write(bucket, key(package["run"]), now.encode(), HTML)
        stored = now


def render(evidence: str, facts: Json, standing: Standing | None = None) -> str:
    """The evidence with what was decided before it and where it comes from after it."""
    before = _head(facts, standing) + _decisions(standing) + _checks(facts["judgement"])
    after = _about(facts["about"]) + _origin(facts, standing)
    return evidence.replace(VERDICT, before).replace(RECORD, after)


def _head(facts: Json, standing: Standing | None) -> str:
    judgement, rows = facts["judgement"], facts["rows"] or {}
    said, style, name = "not registered yet", "quiet", f"{facts['model']}, run {facts['run']}"
    if standing:
        said, style = STATUSES.get(standing.status, (standing.status, "quiet"))
        name = f"{facts['model']} version {standing.package['version']}"
    passed = sum(check["passed"] for check in judgement["checks"])
    tiles = [(f"{passed} of {len(judgement['checks'])}", "checks passed")]
    figures = judgement.get("figures") or {}
    if figures.get("rows"):
        tiles.append((_grouped(figures["rows"]), "held-out rows"))
    if rows.get("train"):
        tiles.append((_grouped(rows["train"]), "training rows"))
    against = facts["champion"]
    tiles.append((f"v{against}" if against else "none", "champion it was judged against"))
    cells = "".join(
        f'<div class="tile"><b>{escape(value)}</b><span>{label}</span></div>' for value, label in tiles
    )
    return (
        f'<header><span class="verdict {style}">{escape(said)}</span>'
        f"<h1>{escape(name)} passed its gate</h1><p>{escape(_sentence(judgement['reason']))}.</p>"
        f'<p class="soft">Trained on {_span(facts["train"])} (UTC). Asked for by '
        f"{escape(facts['cause']['by'])}: {escape(_cause(facts['cause']))}.</p>"
        f"<div class='tiles'>{cells}</div></header>"
    )


def _decisions(standing: Standing | None) -> str:
    """Who approved what, when and why, and what came of it."""
    if not standing:
        return ""
    rows = [
        [_moment(each.get("approved_at")), _approved(each), "", _outcome(each)]
        for each in standing.deployments
    ]
    ended = any(each["status"] in ("RolledBack", "Refused") for each in standing.deployments)
    known = any(each.get("approved_by") for each in standing.deployments)
    if known and standing.decision == "approved":
        rows[-1][2] = standing.why  # the registry keeps the reason of the last approval
    elif standing.decision and not ended:
        who = f"{standing.decision} by {admission.approved_by(standing.registry)}"
        rows.append([_moment(admission.changed(standing.registry)), who, standing.why, ""])
    if not rows:
        rows = [[_moment(standing.package["registered_at"]), "registered", "", "nobody has decided yet"]]
    cells = (map(escape, row) for row in rows)
    return _section("Who decided", _table(("when", "decision", "why", "outcome"), map(list, cells)))


def _approved(deployment: Json) -> str:
    """Who approved it is known where it was deployed, which may be another account."""
    by = deployment.get("approved_by")
    return f"approved by {by}" if by else "deployed in the account that serves"


def _outcome(deployment: Json) -> str:
    said = {"Started": "being deployed", "Promoted": "came into service", "RolledBack": "rolled back"}
    status = said.get(deployment["status"], deployment["status"].lower())
    # A person who let it out of staging is named in the plan's reason.
    released = deployment["plan"]["reason"] if deployment.get("approval") else ""
    return ": ".join(filter(None, [status, deployment.get("reason") or released]))


def _checks(judgement: Json) -> str:
    rows = [
        (
            f"<b>{escape(check['check'].replace('_', ' '))}</b>",
            '<span class="passed">passed</span>' if check["passed"] else '<span class="missed">missed</span>',
            escape(check["text"]),
        )
        for check in judgement["checks"]
    ]
    return _section("The gate", _table(("check", "", "why"), rows)) if rows else ""


def _about(about: Json) -> str:
    """What a person wrote of the model, in model.yaml."""
    pairs = [(_sentence(name.replace("_", " ")), escape(text)) for name, text in about.items() if text]
    return _section("What it is for", _pairs(pairs)) if any(about.values()) else ""


def _origin(facts: Json, standing: Standing | None) -> str:
    """Everything that a run is repeated from."""
    rows, data, cause = facts["rows"] or {}, facts["data"], facts["cause"]
    parameters = " ".join(f"{name}={value}" for name, value in facts["hyperparameters"].items())
    pairs = [
        ("Run", _code(facts["run"])),
        ("Cause", f"{escape(_cause(cause))}, by {escape(cause['by'])}, {_moment(cause['at'])}"),
        (
            "Data",
            f"version {_code(data['dataVersion'])}, {counted(data['files'], 'file')}, "
            f"{_grouped(data['bytes'])} bytes",
        ),
        ("Rows", ", ".join(f"{_grouped(count)} {name}" for name, count in rows.items())),
        ("Training rows", _span(facts["train"])),
        ("Held-out rows", _span(facts["holdout"])),
        ("Code", _code(facts["digest"])),
        ("Image", _code(facts["image"])),
        ("Trained on", escape(facts["instance"])),
        ("Hyperparameters", _code(parameters) if parameters else "none"),
        ("Artifact", _code(facts["artifact"])),
    ]
    if standing:
        pairs.append(("Package", _code(standing.package["package_arn"])))
    return _section("Where it comes from", _pairs(pairs))


def _section(title: str, body: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{body}</section>"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    names = "".join(f"<th>{head}</th>" for head in heads)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f'<table class="rows stack"><thead><tr>{names}</tr></thead><tbody>{body}</tbody></table>'


def _pairs(pairs: Iterable[tuple[str, str]]) -> str:
    return f"<dl>{''.join(f'<dt>{name}</dt><dd>{text}</dd>' for name, text in pairs)}</dl>"


def _code(text: str) -> str:
    return f"<code>{escape(text)}</code>"


def _cause(cause: Json) -> str:
    return f"{cause['kind']} {cause['id']}"


def _sentence(text: str) -> str:
    """With a capital, unless it begins with a name such as roc_auc."""
    return text if "_" in text.partition(" ")[0] else text[:1].upper() + text[1:]


def _grouped(count: float) -> str:
    return f"{count:,.0f}".replace(",", "\u202f")


def _span(span: Json | None) -> str:
    return f"{_moment(span['from'])} to {_moment(span['until'])}" if span else MISSING


def _moment(text: str | None) -> str:
    """`24 May 2013 23:59` in UTC."""
    if not text:
        return MISSING
    moment = times.parse(text)
    return f"{moment.day} {moment:%b %Y %H:%M}"
