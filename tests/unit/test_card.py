"""The model card: what is judged, who decided and where it comes from, on a page and in SageMaker's JSON."""

import json

import app
import pytest
from card import renew_card
from evergreen import artifacts, aws, card, model_card, spec
from evergreen.errors import AwsNotFound, EventInvalid, RecordMissing, SpecInvalid
from evergreen.ledger import put
from train import write_card

from local.sagemaker import model_cards
from tests.pages import assert_whole
from tests.unit import world
from tests.unit.cards import EVENT, EXPLANATION, FOLDER, RUN, facts, whole
from tests.unit.exam import evaluation
from tests.unit.world import GROUP

EVIDENCE = f"<!doctype html><html><body><main>{card.VERDICT}<p>curves</p>{card.RECORD}</main></body></html>"


@pytest.fixture
def evaluated(ledger, bucket):
    """As EvaluateModel leaves a run of a model that somebody has described."""
    world.onboard(
        ledger, world.MODEL_YAML + "card: {purpose_of_model: Tells <late> flights, risk_rating: Low}\n"
    )
    bucket.put(f"{FOLDER}/evaluation/evaluation.json", evaluation(0.72, 0.70))
    bucket.put(f"{FOLDER}/evaluation/explanation.json", EXPLANATION)
    bucket.put(f"{FOLDER}/evaluation/card.html", EVIDENCE)
    return bucket


@pytest.fixture
def registered(ledger, evaluated, sagemaker):
    """A version that waits for a person, with its card."""
    write_card.handler(EVENT, world.CONTEXT)
    sagemaker.package(f"{GROUP}/1", "PendingManualApproval")
    return stands(ledger, "PendingManualApproval")


def stands(ledger, status: str) -> dict:
    return world.registered(ledger, 1, status=status, registered_at="2013-03-01T07:00:00Z")


def stored() -> str:
    return artifacts.read("bucket", f"{FOLDER}/card/card.html").decode()


def renew(detail: dict, kind: str = "ModelDeployed") -> None:
    event = {"source": "evergreen.deploy", "detail-type": kind, "detail": detail}
    renew_card.handler(event, world.CONTEXT)


def deployed(ledger, status: str, **more) -> None:
    record = {
        "deployment": "evergreen-flights-v1-aaaaaa",
        "version": 1,
        "status": status,
        "approved_at": "2013-03-02T08:00:00Z",
        "approved_by": "arn:aws:iam::123456789012:user/ann",
        "plan": {"reason": "smoke test passed; looks good (by eve)"},
    }
    ledger.commit(put("flights", "DEPLOYMENT#evergreen-flights-v1-aaaaaa", record | more))


def test_a_card_says_what_was_judged_and_where_it_comes_from(evaluated):
    written = write_card.handler(EVENT, world.CONTEXT)
    assert written["page"] == f"s3://bucket/{FOLDER}/card/card.html"
    page = stored()
    assert_whole(page)
    assert "not registered yet" in page and "roc_auc 0.72 is enough" in page
    assert "&lt;worse&gt; on JFK" in page and "1 of 2" in page
    assert "Tells &lt;late&gt; flights" in page
    assert "iterations=80 rate=0.1" in page and "sagemaker_program" not in page
    for told in (
        world.DIGEST,
        "77f01c4be9d2",
        RUN,
        "63\u202f796 train",
        EVENT["plan"]["image"],
        "<p>curves</p>",
    ):
        assert told in page
    assert page.index("The gate") < page.index("curves") < page.index("Where it comes from")


def test_the_same_card_is_written_again(evaluated):
    assert write_card.handler(EVENT, world.CONTEXT) == write_card.handler(EVENT, world.CONTEXT)


def test_hyperparameters_that_were_searched_are_told(evaluated):
    tuned = {"hyperparameters": {"rate": "0.04"}, "job": "evergreen-tune"}
    written = write_card.handler(EVENT | {"tuned": tuned}, world.CONTEXT)
    assert "iterations=80 rate=0.04" in stored()
    details = json.loads(written["content"])["training_details"]["training_job_details"]
    assert {"name": "rate", "value": "0.04"} in details["hyper_parameters"]


def test_sagemakers_card_follows_its_schema(evaluated):
    content = write_card.handler(EVENT, world.CONTEXT)["content"]
    model_cards.check(content)
    assert "\n" not in content
    written = json.loads(content)
    assert written["intended_uses"] == {"purpose_of_model": "Tells <late> flights", "risk_rating": "Low"}
    assert written["business_details"] == {}
    (holdout,) = written["evaluation_details"]
    groups = {each["name"]: each["metric_data"] for each in holdout["metric_groups"]}
    assert groups["this model"][0]["value"] == 0.72
    assert groups["this model"][0]["notes"] == "95 % interval 0.7 to 0.74"
    assert groups["champion"][0]["value"] == 0.7
    assert [check["value"] for check in groups["gate"]] == [True, False]
    assert groups["gate"][1]["name"] == "slices roc_auc origin=JFK"
    assert groups["feature attribution"][0] == {"name": "distance", "type": "number", "value": 0.7}


def test_every_part_of_an_evaluation_fits_the_schema():
    content = model_card.content(facts(), whole(), EXPLANATION)
    model_cards.check(content)
    groups = {
        each["name"]: each["metric_data"]
        for each in json.loads(content)["evaluation_details"][0]["metric_groups"]
    }
    roc, calibration, counts = groups["curves"]
    assert len(roc["value"]) == 20 and roc["value"][0] == [0.0, 0.0] and roc["value"][-1] == [1.0, 1.0]
    assert calibration["value"] == [[0.1, 0.2]] and counts["value"] == [[7, 1], [2, 3]]
    assert {metric["name"] for metric in groups["bias carrier=UA"]} == {"DPPL", "DI"}
    assert groups["roc_auc by origin"][0]["value"] == 0.7


def test_what_is_not_defined_and_what_is_too_long_is_left_out():
    judged = evaluation(None, 0.70)
    judged["challenger"]["slices"] = {
        "city": {
            f"city {number} {'x' * 300}": {"rows": 9, "metrics": {"roc_auc": {"value": 0.5}}}
            for number in range(400)
        }
    }
    long = facts()
    long["hyperparameters"] = {"empty": "", "long": "y" * 900}
    long["judgement"]["reason"] = "z" * 5000
    content = model_card.content(long, judged, EXPLANATION | {"shares": {}})
    model_cards.check(content)
    assert len(content) <= model_card.ROOM
    names_ = [each["name"] for each in json.loads(content)["evaluation_details"][0]["metric_groups"]]
    assert "this model" in names_ and "roc_auc by city" not in names_


def test_a_version_that_waits_says_so(ledger, registered, bucket):
    renew({"packageArn": f"{GROUP}/1"})
    page = stored()
    assert "flights version 1" in page and "waits for approval" in page and "nobody has decided yet" in page


def test_an_approval_is_told_before_the_ledger_has_heard_of_it(ledger, registered, bucket, sagemaker):
    sagemaker.update_model_package(
        f"{GROUP}/1", ModelApprovalStatus="Approved", ApprovalDescription="fine (by ann)"
    )
    renew({"ModelPackageArn": f"{GROUP}/1"})
    page = stored()
    assert ">approved</span>" in page and "<td>approved by ann</td><td>fine</td>" in page


@pytest.mark.parametrize(
    ("status", "package", "said"),
    [
        ("Promoted", "InService", ["in service", "came into service"]),
        ("Started", "Deploying", ["approved, being deployed", "being deployed"]),
        ("RolledBack", "RolledBack", ["rolled back: too many errors"]),
    ],
)
def test_what_became_of_a_version_is_told_with_who_approved_it(
    ledger, registered, bucket, sagemaker, status, package, said
):
    sagemaker.update_model_package(
        f"{GROUP}/1", ModelApprovalStatus="Approved", ApprovalDescription="ok (by ann)"
    )
    stands(ledger, package)
    deployed(ledger, status, **({"reason": "too many errors"} if status == "RolledBack" else {}))
    renew({"packageArn": f"{GROUP}/1"})
    page = stored()
    assert "2 Mar 2013 08:00" in page and "approved by arn:aws:iam::123456789012:user/ann" in page
    for words in said:
        assert words in page


def test_the_reason_of_an_approval_is_told_beside_who_gave_it(ledger, registered, sagemaker):
    deployed(ledger, "Promoted")
    for signed, why in (
        ("a <good> one (by ann)", "a &lt;good&gt; one"),
        ("roc_auc is enough (by gate policy)", ""),
    ):
        sagemaker.update_model_package(
            f"{GROUP}/1", ModelApprovalStatus="Approved", ApprovalDescription=signed
        )
        renew({"packageArn": f"{GROUP}/1"})
        assert f"user/ann</td><td>{why}</td><td>came into service</td>" in stored()


def test_who_let_a_version_out_of_staging_is_told(ledger, registered, bucket):
    stands(ledger, "InService")
    deployed(ledger, "Promoted", approval={"expires": "2013-03-03T08:00:00Z"})
    renew({"packageArn": f"{GROUP}/1"})
    assert "came into service: smoke test passed; looks good (by eve)" in stored()


def test_a_rejection_anywhere_is_told_with_its_reason(ledger, registered, bucket, sagemaker):
    sagemaker.update_model_package(
        f"{GROUP}/1", ModelApprovalStatus="Rejected", ApprovalDescription="unfair <to> UA (by ann)"
    )
    renew({"ModelPackageArn": f"{GROUP}/1"})
    assert ">rejected</span>" in stored() and "unfair &lt;to&gt; UA" in stored()


def test_a_renewal_sees_what_happened_while_it_wrote(ledger, registered, bucket, sagemaker, monkeypatch):
    """The first page is stored, and then overtaken by a promotion: the second says so."""
    whole, calls = card.render, []

    def render(*given):
        calls.append(given)
        page = whole(*given)
        if len(calls) == 1:
            stands(ledger, "InService")
        return page

    monkeypatch.setattr(card, "render", render)
    renew({"packageArn": f"{GROUP}/1"})
    assert len(calls) == 3 and ">in service</span>" in stored()


def test_a_package_that_the_ledger_does_not_know_has_no_card(ledger, evaluated, sagemaker):
    renew({"packageArn": f"{GROUP}/7"})
    with pytest.raises(AwsNotFound):
        stored()


def test_what_comes_into_service_replaces_another_on_its_page_too(ledger, registered, sagemaker):
    world.champion(ledger, 2, previous={"version": 1})
    stands(ledger, "Replaced")
    renew({"packageArn": f"{GROUP}/2"})
    assert ">was in service</span>" in stored()


@pytest.mark.parametrize(
    ("kind", "before", "after", "said"),
    [
        ("ModelDeployed", None, "Promoted", "came into service"),
        ("DeploymentRolledBack", "Promoted", "RolledBack", "rolled back"),
        ("DeploymentRefused", None, "Refused", "refused"),
    ],
)
def test_an_account_that_trains_waits_until_it_has_heard(ledger, registered, kind, before, after, said):
    """What happened in the account that serves comes to the ledger by the same event."""
    detail = {"packageArn": f"{GROUP}/1", "deployment": "evergreen-flights-v1-aaaaaa"}
    if before:
        heard(ledger, before)
    with pytest.raises(RecordMissing, match=f"before {kind}"):
        renew(detail, kind)
    heard(ledger, after)
    renew(detail, kind)
    assert said in stored() and "deployed in the account that serves" in stored()


def heard(ledger, status: str) -> None:
    """As RecordPromotion and RecordRejection leave a deployment."""
    record = {"deployment": "evergreen-flights-v1-aaaaaa", "version": 1, "status": status}
    ledger.commit(put("flights", "DEPLOYMENT#evergreen-flights-v1-aaaaaa", record))


def test_a_package_of_others_is_none_of_ours():
    with pytest.raises(EventInvalid, match="no version of a model package group of ours"):
        renew({"packageArn": GROUP.replace("evergreen-", "other-") + "/1"})


def test_the_card_of_another_accounts_run_is_read_there(ledger, registered):
    aws.client("s3").create_bucket(
        Bucket="elsewhere", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
    )
    for file in ("evaluation/card.html", "card/card.json"):
        artifacts.write("elsewhere", f"{FOLDER}/{file}", artifacts.read("bucket", f"{FOLDER}/{file}"))
    theirs = registered | {"baseline": f"s3://elsewhere/{FOLDER}/baseline/"}
    ours = card.page(ledger, "evergreen", registered)
    artifacts.write("bucket", f"{FOLDER}/card/card.json", b"{}")
    assert card.page(ledger, "evergreen", theirs) == ours


def test_mistakes_in_what_a_person_writes_are_told_with_their_lines():
    with pytest.raises(SpecInvalid) as caught:
        spec.parse(world.MODEL_YAML + "card:\n  risk_rating: grave\n  purpose: x\n  business_problem: ''\n")
    lines = str(caught.value).splitlines()
    first = len(world.MODEL_YAML.splitlines()) + 2
    assert f"  line {first}: card.risk_rating: 'grave' is not one of Low, Medium, High, Unknown" in lines
    assert any(line.startswith(f"  line {first + 1}: card.purpose: is not a key here") for line in lines)
    assert any(line.startswith(f"  line {first + 2}: card.business_problem: ") for line in lines)


def test_a_model_that_nobody_described_has_a_card_too():
    assert spec.parse(world.MODEL_YAML)["card"] == model_card.DEFAULT
    assert "What it is for" not in card.render(EVIDENCE, facts())


@pytest.mark.parametrize(("files", "said"), [(1, ", 1 file, "), (12, ", 12 files, ")])
def test_files_are_counted_as_people_do(files, said):
    about = facts()
    about["data"] |= {"files": files}
    assert said in card.render(EVIDENCE, about)


def test_the_api_shows_the_card_as_of_now(ledger, registered, sagemaker):
    """An approver need not wait for a renewal."""
    sagemaker.update_model_package(
        f"{GROUP}/1", ModelApprovalStatus="Approved", ApprovalDescription="ok (by ann)"
    )
    answer = asked("/models/flights/versions/1/card")
    assert (answer["statusCode"], answer["headers"]["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert ">approved</span>" in answer["body"] and ">approved</span>" not in stored()


def test_a_version_without_a_card_is_not_found(ledger, registered):
    world.registered(ledger, 2)
    for version, said in ((2, "version 2 of flights has no card"), (9, "there is no version 9 of flights")):
        answer = asked(f"/models/flights/versions/{version}/card")
        assert (answer["statusCode"], json.loads(answer["body"])["message"]) == (404, said)


def asked(path: str) -> dict:
    context = {"http": {"method": "GET", "path": path}, "requestId": "1", "stage": "$default"}
    event = {
        "version": "2.0",
        "rawPath": path,
        "rawQueryString": "",
        "headers": {},
        "requestContext": context,
    }
    return app.handler(event, world.CONTEXT)
