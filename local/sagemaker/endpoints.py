"""Endpoints: created, updated, scaled, described and deleted through SageMaker's API.

The requests are checked and answered here at once; what they ask for happens in a thread (`deployments`).
"""

from collections.abc import Iterable

from . import deployment_config
from .deployments import Deployment, Scaling
from .errors import invalid
from .hosting import IN_PROGRESS, Endpoint, Hosting
from .models import resolve
from .routing import Fleet, Side
from .service import Service, operation
from .store import Record, now

UPDATABLE = {"InService", "UpdateRollbackFailed"}


@operation
def create_endpoint(service: Service, params: Record) -> Record:
    config = service.store.get("EndpointConfig", params["EndpointConfigName"])
    policy = params.get("DeploymentConfig", {})
    _check_policy(config, policy)
    deployment_config.check(policy, _counts(config))
    hosting = service.part(Hosting)
    side = _side(service, config)
    kept = {key: value for key, value in params.items() if key != "DeploymentConfig"}
    fields = {"EndpointStatus": "Creating"} | ({"LastDeploymentConfig": policy} if policy else {})
    with service.store.lock:
        record = service.store.create("Endpoint", params["EndpointName"], kept, **fields)
        endpoint = hosting.open(params["EndpointName"])
        endpoint.deploy_to(side)
    endpoint.transition("Creating")
    hosting.run(Deployment(endpoint, side, policy).run)
    return record


@operation
def update_endpoint(service: Service, params: Record) -> Record:
    config = service.store.get("EndpointConfig", params["EndpointConfigName"])
    endpoint = _endpoint(service, params["EndpointName"])
    record = service.store.get("Endpoint", endpoint.name)
    policy = params.get("DeploymentConfig") or (
        record.get("LastDeploymentConfig", {}) if params.get("RetainDeploymentConfig") else {}
    )
    excluded = {item["VariantPropertyType"] for item in params.get("ExcludeRetainedVariantProperties", [])}
    _check_updatable(record)
    _check_policy(config, policy)
    if _is_serverless(config) and not any(fleet.serverless for fleet in endpoint.router.blue.fleets.values()):
        raise invalid(f'Endpoint "{record["EndpointArn"]}" has instances: it cannot be made serverless.')
    _check_alarms(service, policy)
    with service.store.lock:
        _check_updatable(record)
        retained = endpoint.router.blue if params.get("RetainAllVariantProperties") else None
        side = _side(service, config, retained, excluded)
        deployment_config.check(policy, [fleet.desired for fleet in side.fleets.values()])
        record["EndpointStatus"] = "Updating"
        endpoint.deploy_to(side)
    endpoint.transition("Updating", FailureReason=None)
    endpoint.hosting.run(Deployment(endpoint, side, policy).run)
    return record


@operation
def update_endpoint_weights_and_capacities(service: Service, params: Record) -> Record:
    endpoint = _endpoint(service, params["EndpointName"])
    record = service.store.get("Endpoint", endpoint.name)
    wanted = params["DesiredWeightsAndCapacities"]
    counts, weights = _by_variant(wanted, "DesiredInstanceCount"), _by_variant(wanted, "DesiredWeight")
    with service.store.lock:
        _check_updatable(record)
        fleets = endpoint.router.blue.fleets
        if unknown := sorted({item["VariantName"] for item in wanted} - set(fleets)):
            raise invalid(
                f'The variant name(s) "{", ".join(unknown)}" is/are not present within endpoint '
                f'configuration "{endpoint.router.blue.config}".'
            )
        if any(fleets[item["VariantName"]].serverless for item in wanted):
            raise invalid("The local SageMaker does not change the capacity of a serverless variant.")
        if any(count < 1 for count in counts.values()):
            raise invalid("DesiredInstanceCount must be at least 1 without inference components.")
        for name, weight in weights.items():
            fleets[name].desired_weight = weight
        record["EndpointStatus"] = "Updating"
    endpoint.transition("Updating", FailureReason=None)
    endpoint.hosting.run(Scaling(endpoint, counts, weights).run)
    return record


@operation
def describe_endpoint(service: Service, params: Record) -> Record:
    return _endpoint(service, params["EndpointName"]).describe()


@operation
def delete_endpoint(service: Service, params: Record) -> None:
    endpoint = _endpoint(service, params["EndpointName"])
    with service.store.lock:
        record = service.store.get("Endpoint", endpoint.name)
        _check_idle(record)
        record["EndpointStatus"] = "Deleting"
    endpoint.transition("Deleting")
    endpoint.hosting.run(_delete, endpoint)


def _delete(endpoint: Endpoint) -> None:
    endpoint.close()
    endpoint.hosting.drop(endpoint)


def _endpoint(service: Service, name: str) -> Endpoint:
    with service.store.lock:
        service.store.get("Endpoint", name)
        return service.part(Hosting).endpoints[name]


def _check_idle(record: Record) -> None:
    if record["EndpointStatus"] in IN_PROGRESS:
        raise invalid(f'Cannot update in-progress endpoint "{record["EndpointArn"]}".')


def _check_updatable(record: Record) -> None:
    _check_idle(record)
    status = record["EndpointStatus"]
    if status not in UPDATABLE:
        raise invalid(f'Endpoint "{record["EndpointArn"]}" is in status {status}: it can only be deleted.')


def _check_alarms(service: Service, policy: Record) -> None:
    """An alarm that is not there, or in ALARM already, could not judge the deployment: it does not start."""
    names = [alarm["AlarmName"] for alarm in policy.get("AutoRollbackConfiguration", {}).get("Alarms", [])]
    if not names:
        return
    states = service.host.alarm_states(names)
    if missing := ", ".join(name for name in names if name not in states):
        raise invalid(f"The alarm(s) {missing} in AutoRollbackConfiguration do not exist.")
    if tripped := ", ".join(name for name in names if states[name] == "ALARM"):
        raise invalid(f"The alarm(s) {tripped} in AutoRollbackConfiguration are already in ALARM state.")


def _by_variant(wanted: list[Record], name: str) -> dict[str, float]:
    return {item["VariantName"]: item[name] for item in wanted if name in item}


def _counts(config: Record) -> list[int]:
    return [_first_instances(variant) for variant in config["ProductionVariants"]]


def _first_instances(variant: Record) -> int:
    """How many instances a deployment starts: a serverless variant is tried with one, which stays warm a
    while."""
    if serverless := variant.get("ServerlessConfig"):
        return max(1, serverless.get("ProvisionedConcurrency", 0))
    return variant["InitialInstanceCount"]


def _is_serverless(config: Record) -> bool:
    return any("ServerlessConfig" in variant for variant in config["ProductionVariants"])


def _check_policy(config: Record, policy: Record) -> None:
    """Deployment guardrails are for real-time and asynchronous endpoints."""
    if policy and _is_serverless(config):
        raise invalid("DeploymentConfig is not supported for serverless endpoints.")


def _side(
    service: Service,
    config: Record,
    retained: Side | None = None,
    excluded: Iterable[str] = (),
) -> Side:
    """What an endpoint configuration deploys, with what is retained of the side in service."""
    old = retained.fleets | retained.shadows if retained else {}
    capture_config = config.get("DataCaptureConfig")
    if retained and retained.capture_config and "DataCaptureConfig" not in excluded:
        capture_config = retained.capture_config

    def fleet(variant: Record) -> Fleet:
        name = variant["VariantName"]
        model = service.store.get("Model", variant["ModelName"])
        made = Fleet(
            name,
            weight=variant.get("InitialVariantWeight", 1.0),
            desired=_first_instances(variant),
            settings=variant,
            containers=resolve(service, model),
            model=model,
            resolved_at=now(),
        )
        if name in old and not made.serverless and "DesiredInstanceCount" not in excluded:
            made.desired = old[name].desired
        if name in old and "DesiredWeight" not in excluded:
            made.weight = old[name].weight
        return made

    def fleets(key: str) -> dict[str, Fleet]:
        return {variant["VariantName"]: fleet(variant) for variant in config.get(key, [])}

    return Side(
        config["EndpointConfigName"],
        fleets("ProductionVariants"),
        fleets("ShadowProductionVariants"),
        capture_config,
    )
