"""The template as a stack named `evergreen` would have it: intrinsics resolved, rules ready to match."""

import functools
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml
from ministack.services import eventbridge

from tests.lint_asl import ACCOUNT, REGION, STACK
from tests.lint_translated import TEMPLATE, translated

BUCKET = f"{STACK}-bucket-1a2b3c4d5e6f"
PSEUDO = {
    "AWS::AccountId": ACCOUNT,
    "AWS::Partition": "aws",
    "AWS::Region": REGION,
    "AWS::StackName": STACK,
    "AWS::URLSuffix": "amazonaws.com",
}
NOTHING = object()  # AWS::NoValue
# What Ref and Arn give where a rule or a policy compares them with an event's or a request's own.
PHYSICAL = {"Bucket": BUCKET}


@functools.cache
def resources() -> dict[str, dict[str, Any]]:
    """The translated template's resources, those for two accounts too; what depends on a parameter is as its
    default makes it: one account."""
    return {name: _decided(each, {}) for name, each in translated()["Resources"].items()}


def deployed(**parameters: str) -> dict[str, dict[str, Any]]:
    """What a stack with these parameters consists of."""
    return {
        name: _decided(each, parameters)
        for name, each in translated()["Resources"].items()
        if "Condition" not in each or _holds({"Condition": each["Condition"]}, parameters)
    }


def _decided(value: Any, parameters: Mapping[str, str]) -> Any:
    """A value with every Fn::If decided and what is AWS::NoValue left out."""
    if isinstance(value, list):
        return [item for item in (_decided(item, parameters) for item in value) if item is not NOTHING]
    if not isinstance(value, Mapping):
        return value
    if value == {"Ref": "AWS::NoValue"}:
        return NOTHING
    if set(value) == {"Fn::If"}:
        condition, yes, no = value["Fn::If"]
        return _decided(yes if _holds({"Condition": condition}, parameters) else no, parameters)
    if set(value) == {"Ref"} and value["Ref"] in parameters:
        return parameters[value["Ref"]]
    if set(value) == {"Fn::Sub"} and isinstance(value["Fn::Sub"], str):
        text = value["Fn::Sub"]
        for name, given in parameters.items():
            text = text.replace(f"${{{name}}}", given)
        return {"Fn::Sub": text}
    decided = {key: _decided(item, parameters) for key, item in value.items()}
    return {key: item for key, item in decided.items() if item is not NOTHING}


def _holds(condition: Any, parameters: Mapping[str, str]) -> bool:
    """A condition of the template, or an expression of one."""
    ((function, argument),) = condition.items()
    if function == "Condition":
        return _holds(translated()["Conditions"][argument], parameters)
    if function == "Fn::Equals":
        left, right = (_parameter(each, parameters) for each in argument)
        return left == right
    values = [_holds(each, parameters) for each in argument]
    return {"Fn::Not": not values[0], "Fn::Or": any(values), "Fn::And": all(values)}[function]


def _parameter(value: Any, parameters: Mapping[str, str]) -> Any:
    if not isinstance(value, Mapping):
        return value
    return parameters.get(value["Ref"], translated()["Parameters"][value["Ref"]].get("Default"))


def of_type(*types: str) -> dict[str, dict[str, Any]]:
    return {name: each for name, each in resources().items() if each["Type"] in types}


@functools.cache
def source() -> dict[str, dict[str, Any]]:
    """The resources as written, before SAM: `!Ref X` is {"Ref": "X"}."""
    return yaml.load(TEMPLATE.read_text(), _Loader)["Resources"]


class _Loader(yaml.SafeLoader):
    """YAML with CloudFormation's short forms."""


def _short_form(loader: yaml.SafeLoader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    construct = {
        yaml.ScalarNode: loader.construct_scalar,
        yaml.SequenceNode: lambda each: loader.construct_sequence(each, deep=True),
        yaml.MappingNode: lambda each: loader.construct_mapping(each, deep=True),
    }
    value = construct[type(node)](node)
    if suffix == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}


_Loader.add_multi_constructor("!", _short_form)


def resolve(value: Any) -> Any:
    """A value with its intrinsics resolved, as far as names and ARNs need it."""
    if isinstance(value, list):
        return [resolve(item) for item in value]
    if not isinstance(value, Mapping):
        return value
    if len(value) == 1:
        ((function, argument),) = value.items()
        if function == "Ref":
            return PSEUDO.get(argument) or ref(argument)
        if function == "Fn::GetAtt":
            return arn(argument[0]) if argument[1] == "Arn" else f"{argument[0]}.{argument[1]}"
        if function == "Fn::Sub":
            return _substitute(*([argument] if isinstance(argument, str) else argument))
        if function == "Fn::Join":
            return argument[0].join(resolve(item) for item in argument[1])
    return {key: resolve(item) for key, item in value.items()}


def _substitute(text: str, values: Mapping[str, Any] | None = None) -> str:
    def found(match: re.Match[str]) -> str:
        name = match.group(1)
        if values and name in values:
            return resolve(values[name])
        resource, _, attribute = name.partition(".")
        return PSEUDO.get(name) or (arn(resource) if attribute == "Arn" else ref(resource))

    return re.sub(r"\$\{([\w:.]+)\}", found, text)


def ref(name: str) -> str:
    """What Ref gives: the name, or the ARN of those types that have it so."""
    if name not in resources():
        return f"<{name}>"  # a parameter
    kind = resources()[name]["Type"]
    return arn(name) if kind in _REF_IS_ARN else _name(name)


_REF_IS_ARN = ("AWS::StepFunctions::StateMachine", "AWS::SNS::Topic", "AWS::IAM::ManagedPolicy")
_NAME_PROPERTIES = ("StateMachineName", "TopicName", "QueueName", "Name", "LogGroupName", "RoleName")
_SERVICES = {
    "AWS::StepFunctions::StateMachine": "states:{region}:{account}:stateMachine:",
    "AWS::SNS::Topic": "sns:{region}:{account}:",
    "AWS::SQS::Queue": "sqs:{region}:{account}:",
    "AWS::S3::Bucket": "s3:::",
    "AWS::Lambda::Function": "lambda:{region}:{account}:function:",
    "AWS::IAM::Role": "iam::{account}:role/",
    "AWS::IAM::ManagedPolicy": "iam::{account}:policy/",
    "AWS::DynamoDB::Table": "dynamodb:{region}:{account}:table/",
    "AWS::Events::EventBus": "events:{region}:{account}:event-bus/",
    "AWS::Events::Rule": "events:{region}:{account}:rule/",
    "AWS::Logs::LogGroup": "logs:{region}:{account}:log-group:",
    "AWS::KMS::Key": "kms:{region}:{account}:key/",
}


def _name(name: str) -> str:
    properties = resources()[name].get("Properties", {})
    given = next((properties[key] for key in _NAME_PROPERTIES if key in properties), None)
    return PHYSICAL.get(name) or (resolve(given) if given else f"{STACK}-{name}")


def arn(name: str) -> str:
    """What GetAtt Arn gives."""
    return (
        "arn:aws:" + _SERVICES[resources()[name]["Type"]].format(region=REGION, account=ACCOUNT) + _name(name)
    )


@dataclass(frozen=True)
class Rule:
    """An EventBridge rule and the logical ids of what it starts."""

    name: str
    bus: str
    pattern: dict[str, Any]
    targets: tuple[str, ...]

    def matches(self, event: Mapping[str, Any]) -> bool:
        """EventBridge's own semantics, by the matcher of the local stack (45 of 45 of AWS's cases)."""
        record = {
            "EventId": event["id"],
            "Source": event["source"],
            "DetailType": event["detail-type"],
            "Detail": json.dumps(event["detail"]),
            "Resources": event["resources"],
            "Account": event["account"],
            "Region": event["region"],
            "Time": 0,
        }
        return eventbridge._matches_pattern(json.dumps(self.pattern), record)


def rules() -> list[Rule]:
    """Those of one account."""
    return rules_of()


@functools.cache
def rules_of(**parameters: str) -> list[Rule]:
    """Those of a stack with these parameters. A bus of another account is a target by its ARN."""
    by_arn = {arn(name): name for name, each in resources().items() if each["Type"] in _SERVICES}
    found = deployed(**parameters)
    return [
        Rule(
            name,
            resolve(rule["Properties"].get("EventBusName", "default")),
            resolve(rule["Properties"]["EventPattern"]),
            tuple(_target(resolve(target["Arn"]), by_arn) for target in rule["Properties"]["Targets"]),
        )
        for name, rule in found.items()
        if rule["Type"] == "AWS::Events::Rule" and "EventPattern" in rule["Properties"]
    ]


def _target(found: str, by_arn: Mapping[str, str]) -> str:
    is_foreign = ":event-bus/" in found and found not in by_arn
    return found if is_foreign else by_arn[found]


def started_by(event: Mapping[str, Any]) -> list[str]:
    """The logical ids of all that an event starts, on the bus where its sender puts it."""
    bus = "default" if event["source"].startswith("aws.") else STACK
    return sorted(
        target for rule in rules() if rule.bus == bus and rule.matches(event) for target in rule.targets
    )


def statements() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every IAM statement of the stack, with the resource that it stands in."""
    for name, each in resources().items():
        properties = each.get("Properties", {})
        documents = [policy["PolicyDocument"] for policy in properties.get("Policies", [])]
        documents += [properties[key] for key in ("PolicyDocument", "KeyPolicy") if key in properties]
        for document in documents:
            for statement in document["Statement"]:
                yield name, statement


def granted(role: str) -> list[dict[str, Any]]:
    """The Allow statements of a role: its own policies and the managed ones of ours."""
    properties = resources()[role]["Properties"]
    documents = [policy["PolicyDocument"] for policy in properties.get("Policies", [])]
    for policy in properties.get("ManagedPolicyArns", []):
        if isinstance(policy, Mapping) and "Ref" in policy:
            documents.append(resources()[policy["Ref"]]["Properties"]["PolicyDocument"])
    return [each for document in documents for each in document["Statement"] if each["Effect"] == "Allow"]


def actions(statement: Mapping[str, Any]) -> list[str]:
    action = statement["Action"]
    return [action] if isinstance(action, str) else list(action)
