"""CloudWatch alarms in the local stack."""

import json

from tests.local.stack.account import Account, Json, unique, wait_for


def test_an_alarm_has_its_own_dimensions_and_is_announced(account: Account) -> None:
    queue, url = account.queue("events")
    name, namespace = unique("alarm"), unique("N")
    cloudwatch = account.client("cloudwatch")
    account.rule(
        {"source": ["aws.cloudwatch"], "detail": {"alarmName": [name], "state": {"value": ["ALARM"]}}},
        {"Arn": queue},
    )
    mine, other = [{"Name": "V", "Value": "green"}], [{"Name": "V", "Value": "blue"}]
    cloudwatch.put_metric_alarm(
        AlarmName=name,
        Namespace=namespace,
        MetricName="Errors",
        Dimensions=mine,
        Statistic="Average",
        Period=60,
        EvaluationPeriods=1,
        Threshold=0.01,
        ComparisonOperator="GreaterThanThreshold",
        TreatMissingData="notBreaching",
    )

    def state() -> str:
        return cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"][0]["StateValue"]

    cloudwatch.put_metric_data(
        Namespace=namespace, MetricData=[{"MetricName": "Errors", "Dimensions": other, "Value": 1}]
    )
    wait_for(lambda: state() == "OK")
    cloudwatch.put_metric_data(
        Namespace=namespace, MetricData=[{"MetricName": "Errors", "Dimensions": mine, "Value": 1}]
    )
    wait_for(lambda: state() == "ALARM")
    detail = json.loads(account.messages(url)[0]["Body"])["detail"]
    assert (detail["state"]["value"], detail["previousState"]["value"]) == ("ALARM", "OK")


def test_an_alarm_over_metric_math(account: Account) -> None:
    name, namespace = unique("alarm"), unique("N")
    cloudwatch = account.client("cloudwatch")

    def metric(identity: str) -> Json:
        stat = {"Metric": {"Namespace": namespace, "MetricName": identity}, "Period": 60, "Stat": "Sum"}
        return {"Id": identity, "MetricStat": stat, "ReturnData": False}

    cloudwatch.put_metric_alarm(
        AlarmName=name,
        EvaluationPeriods=1,
        Threshold=5,
        ComparisonOperator="GreaterThanThreshold",
        Metrics=[
            metric("errors"),
            metric("calls"),
            {"Id": "rate", "Expression": "100 * FILL(errors, 0) / calls"},
        ],
    )
    data = [{"MetricName": "errors", "Value": 1}, {"MetricName": "calls", "Value": 10}]
    cloudwatch.put_metric_data(Namespace=namespace, MetricData=data)
    wait_for(
        lambda: cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"][0]["StateValue"] == "ALARM"
    )
