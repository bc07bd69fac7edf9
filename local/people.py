"""Who talks to the HTTP API from outside: IAM users that may call the API and nothing else, over SigV4."""

from __future__ import annotations

import json
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from typing import Any
from urllib.parse import urlsplit

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

POLICY = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Action": "execute-api:Invoke", "Resource": "arn:aws:execute-api:*:*:*"}
    ],
}


class ApiError(Exception):
    """The API answered 4xx or 5xx: `status`, and the body's message in the text."""

    def __init__(self, status: int, method: str, path: str, body: Any) -> None:
        self.status = status
        message = body.get("message", body) if isinstance(body, dict) else body
        super().__init__(f"{method} {path}: {status}: {message}")


@dataclass
class Caller:
    """One user with one kept-alive connection; not for several threads at once."""

    name: str
    url: str  # the stack's ApiUrl
    region: str
    credentials: Credentials

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        self._base = parts.path.rstrip("/")
        self._host = parts.netloc
        self._connection = HTTPConnection(parts.hostname or "", parts.port, timeout=60)

    def get(self, path: str) -> dict:
        return self._call("GET", path, None)

    def post(self, path: str, body: dict) -> dict:
        return self._call("POST", path, json.dumps(body).encode())

    def _call(self, method: str, path: str, body: bytes | None) -> dict:
        signed = AWSRequest(method, self.url.rstrip("/") + path, data=body, headers={"host": self._host})
        if body is not None:
            signed.headers["content-type"] = "application/json"
        SigV4Auth(self.credentials, "execute-api", self.region).add_auth(signed)
        status, raw = self._send(method, self._base + path, body, dict(signed.headers.items()))
        try:
            answer = json.loads(raw) if raw else {}
        except ValueError:
            answer = raw.decode(errors="replace")
        if status >= 400:
            raise ApiError(status, method, path, answer)
        return answer

    def _send(self, method: str, path: str, body: bytes | None, headers: dict) -> tuple[int, bytes]:
        """A connection that the server closed while it was idle is opened again, once."""
        for attempt in (1, 2):
            try:
                self._connection.request(method, path, body=body, headers=headers)
                response = self._connection.getresponse()
                return response.status, response.read()
            except (HTTPException, ConnectionError):
                self._connection.close()
                if attempt == 2:
                    raise
        raise AssertionError("unreachable")


def hire(iam: Any, name: str, url: str, region: str) -> Caller:
    """Makes an IAM user who may call the API, with an access key of its own."""
    iam.create_user(UserName=name)
    iam.put_user_policy(UserName=name, PolicyName="call-the-api", PolicyDocument=json.dumps(POLICY))
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return Caller(name, url, region, Credentials(key["AccessKeyId"], key["SecretAccessKey"]))
