"""The control plane of the local SageMaker: a request in, checked against botocore's model; an answer out.

An operation is a function in one of this package's modules, under `@operation`. Where an operation only
shows, lists or deletes a record, there is no function: `Describe*`, `List*` and `Delete*` of every kind in
`store.KINDS` are derived from the shapes.
"""

import asyncio
import json
import logging
import uuid
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from botocore import xform_name

from local.host import AccessDenied, Host

from .containers import default_images
from .errors import SageMakerError, invalid
from .logs import Logs
from .processes import Processes
from .shapes import parse_request, project, service_model, to_json
from .store import KINDS, Record, Store, account_of, page

__all__ = ["SageMakerError", "Service", "invalid", "operation"]

log = logging.getLogger(__name__)
Operation = Callable[["Service", Record], Record | None]
Part = TypeVar("Part")
_OPERATIONS: dict[str, Operation] = {}


@cache
def _operation_names() -> dict[str, str]:
    return {xform_name(name): name for name in service_model().operation_names}


def operation(function: Operation) -> Operation:
    """Serve an operation by the function of its snake_case name: `create_model(service, params) -> answer`.

    `params` is checked, with timestamps as aware datetimes. The answer is cut to the operation's output
    shape, so a function may return a whole record; None is an empty answer.
    """
    _OPERATIONS[_operation_names()[function.__name__]] = function
    return function


class Service:
    """One account's SageMaker in one region. Thread safe; `close` ends every subprocess.

    host: the machine around it. root: a folder for the jobs' and containers' files. peer: another account's
    SageMaker by the account's number. `images` may be added to: a repository's name and the command that
    stands for it.
    """

    def __init__(self, host: Host, root: Path, peer: Callable[[str], "Service"] | None = None) -> None:
        self.host = host
        self._peer = peer
        self.root = Path(root)
        self.root.mkdir(parents=True, exist_ok=True)
        self.store = Store(host.region, host.account)
        self.processes = Processes()
        self.images = default_images()
        self._parts: dict[type, Any] = {}

    def part(self, factory: type[Part]) -> Part:
        """This service's one `factory(service)`: the state that a module keeps beside the records.

        Its `close()`, if any, is called by `close`; its `flush_capture()`, if any, by `flush_capture`.
        """
        with self.store.lock:
            if factory not in self._parts:
                self._parts[factory] = factory(self)
            return self._parts[factory]

    def call(self, name: str, params: Record) -> Record:
        """Answer one operation; raises SageMakerError. Timestamps in the answer are datetimes."""
        model = service_model().operation_model(name)
        checked = parse_request(model, params)
        answer = self._function(name)(self, checked)
        return project(model.output_shape, answer or {}) if model.output_shape else {}

    def _function(self, name: str) -> Operation:
        if name in _OPERATIONS:
            return _OPERATIONS[name]
        for verb, generic in _GENERIC.items():
            noun = name.removeprefix(verb)
            if noun != name and noun.removesuffix("s") in KINDS:
                return lambda service, params: generic(service, noun.removesuffix("s"), params)
        raise SageMakerError("UnknownOperationException", f"{name} is not part of the local SageMaker.")

    def page(self, name: str, records: Iterable[Record], params: Record) -> Record:
        """The answer of List operation `name` over `records`: filtered, sorted, one page."""
        members = service_model().operation_model(name).output_shape.members
        summaries = next(key for key in members if key != "NextToken")
        noun = max((noun for noun in KINDS if name.startswith(f"List{noun}s")), key=len)
        rows, token = page(noun, records, params)
        answer: Record = {summaries: [self.store.snapshot(row) for row in rows]}
        return answer | ({"NextToken": token} if token else {})

    async def handle_request(
        self, method: str, path: str, headers: dict, body: bytes, query: dict
    ) -> tuple[int, dict[str, str], bytes]:
        """The control plane over HTTP (JSON 1.1). The work blocks, so it runs in a thread."""
        return await asyncio.to_thread(self._answer, {k.lower(): v for k, v in headers.items()}, body)

    def _answer(self, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        request_id = str(uuid.uuid4())
        answered = {"Content-Type": "application/x-amz-json-1.1", "x-amzn-RequestId": request_id}
        name = headers.get("x-amz-target", "").rpartition(".")[2]
        try:
            if name not in service_model().operation_names:
                raise SageMakerError("UnknownOperationException", f"No operation {name!r}.")
            params = _read_json(body)
            self.authorize(headers, name, params)
            owner = self.owner(resource_arns(self.store, name, params)[0])
            return 200, answered, to_json(owner.call(name, params))
        except SageMakerError as error:
            failed = {"__type": error.code, "message": error.message}
            return error.status, answered | {"x-amzn-ErrorType": error.code}, to_json(failed)
        except Exception:
            log.exception("%s failed (request %s)", name, request_id)
            failed = {"__type": "InternalFailure", "message": f"The local SageMaker failed in {name}."}
            return 500, answered, to_json(failed)

    def authorize(self, headers: dict[str, str], name: str, params: Record) -> None:
        """Ask the host whether the caller may do this, and may pass the roles that the request names."""
        resources = resource_arns(self.store, name, params)
        wanted = [(f"sagemaker:{name}", resource) for resource in resources]
        parts = [each for each in (params, params.get("TrainingJobDefinition")) if isinstance(each, dict)]
        roles = (part.get(key) for part in parts for key in ("RoleArn", "ExecutionRoleArn"))
        wanted += [("iam:PassRole", role) for role in roles if role]
        if params.get("Tags"):
            wanted.append(("sagemaker:AddTags", resources[0]))
        packages = (each.get("ModelPackageName") for each in _served(name, params))
        shared = (arn for arn in packages if isinstance(arn, str) and self.owner(arn) is not self)
        wanted += [(f"sagemaker:{name}", arn) for arn in shared]
        try:
            for action, resource in wanted:
                self.host.authorize(headers, action, resource)
                if action.startswith("sagemaker:") and (owner := self.owner(resource)) is not self:
                    self.host.require_grant(owner.package_policy(resource), action, resource)
        except AccessDenied as error:
            raise SageMakerError("AccessDeniedException", str(error)) from error

    def owner(self, arn: str) -> "Service":
        """The SageMaker of the account in an ARN; this one for whatever names no other account."""
        account = account_of(arn)
        return self if account in ("", self.host.account) or self._peer is None else self._peer(account)

    def package_policy(self, arn: str) -> str:
        """The resource policy of a package group, or of the group of a package; empty without one."""
        group = self.store.find("ModelPackageGroup", self.store.name(arn).partition("/")[0])
        return (group or {}).get("_policy", "")

    def flush_capture(self) -> None:
        """Write out what endpoints have captured and not yet delivered."""
        for part in list(self._parts.values()):
            if hasattr(part, "flush_capture"):
                part.flush_capture()

    def close(self) -> None:
        last = self.part(Logs)  # what the others say while they close is still written
        for part in [part for part in self._parts.values() if part is not last]:
            if hasattr(part, "close"):
                part.close()
        self.processes.close()
        last.close()


def resource_arns(store: Store, name: str, params: Record) -> list[str]:
    """The resources that IAM statements must name for this call; `*` where AWS has none (List*)."""
    if "ResourceArn" in params:
        return [params["ResourceArn"]]
    acted_on = name.removesuffix("Policy")  # of a package group
    noun = max((noun for noun in KINDS if acted_on.endswith(noun)), key=len, default=None)
    if name == "CreateModelPackage" and isinstance(params.get("ModelPackageGroupName"), str):
        return [f"{store.arn('ModelPackage', params['ModelPackageGroupName'])}/*"]
    nouns = [noun] if noun else []
    if name in ("CreateEndpoint", "UpdateEndpoint"):
        nouns.append("EndpointConfig")
    targets = [(noun, params.get(f"{noun}Name") or params.get(f"{noun}Arn")) for noun in nouns]
    return [store.arn(noun, target) for noun, target in targets if isinstance(target, str)] or ["*"]


def _served(name: str, params: Record) -> list[Record]:
    """The containers of a CreateModel, which nothing has checked yet."""
    listed = params.get("Containers")
    containers = [*(listed if isinstance(listed, list) else []), params.get("PrimaryContainer")]
    return [each for each in containers if isinstance(each, dict)] if name == "CreateModel" else []


def _read_json(body: bytes) -> Record:
    try:
        params = json.loads(body or b"{}")
    except ValueError as error:
        raise SageMakerError("SerializationException", f"The body is not JSON: {error}") from error
    if not isinstance(params, dict):
        raise SageMakerError("SerializationException", "The body is not a JSON object.")
    return params


def _describe(service: Service, noun: str, params: Record) -> Record:
    return service.store.snapshot(service.store.get(noun, params[f"{noun}Name"]))


def _delete(service: Service, noun: str, params: Record) -> None:
    service.store.delete(noun, params[f"{noun}Name"])


def _list(service: Service, noun: str, params: Record) -> Record:
    return service.page(f"List{noun}s", service.store.all(noun), params)


_GENERIC = {"Describe": _describe, "Delete": _delete, "List": _list}
