"""Data capture: what went in and came out of an endpoint, as JSON lines in S3, in SageMaker's format.

A file holds one variant and one (virtual) hour:
`<destination>/<endpoint>/<variant>/yyyy/mm/dd/hh/mm-ss-mmm-uuid.jsonl`. Lines wait in memory for about a
second; a failed upload keeps them for the next try, so none is lost.
"""

import base64
import json
import logging
import random
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

LARGEST_FILE = 1_000_000  # bytes of lines that are written out without waiting for the next flush
DEFAULT_CONTENT_TYPE = "application/octet-stream"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Payload:
    """One side of an invocation."""

    content_type: str
    body: bytes


@dataclass
class _Buffer:
    """The lines of one file to be."""

    key: str
    lines: list[str] = field(default_factory=list)
    size: int = 0

    def add(self, line: str) -> None:
        self.lines.append(line)
        self.size += len(line) + 1

    def content(self) -> bytes:
        return "".join(f"{line}\n" for line in self.lines).encode()


class Capture:
    """The data capture of one endpoint under one endpoint configuration.

    `record` is called from the event loop and only appends; `flush`, which writes to S3, belongs to a thread.
    """

    def __init__(self, endpoint: str, config: dict[str, Any], s3: Any, now: Callable[[], datetime]) -> None:
        self.percentage = config["InitialSamplingPercentage"]
        modes = {option["CaptureMode"] for option in config["CaptureOptions"]}
        self.captures_input = bool(modes & {"Input", "InputAndOutput"})
        self.captures_output = bool(modes & {"Output", "InputAndOutput"})
        self._encodings = _encodings(config.get("CaptureContentTypeHeader", {}))
        self._bucket, self._prefix = _split(config["DestinationS3Uri"])
        self._endpoint, self._s3, self._now = endpoint, s3, now
        self._open: dict[str, _Buffer] = {}  # by variant: the file that takes lines
        self._full: list[_Buffer] = []
        self.closed = False  # no more lines will come
        self._lock = threading.Lock()
        self._flushing = threading.Lock()

    def record(
        self, variant: str, request: Payload, response: Payload, inference_id: str = "", attributes: str = ""
    ) -> None:
        """Keep one invocation, or not: each has the sampling percentage as its chance."""
        if random.random() * 100 >= self.percentage:
            return
        at = self._now().astimezone(UTC)
        line = json.dumps(self._line(request, response, at, inference_id, attributes), ensure_ascii=False)
        hour = f"{self._prefix}{self._endpoint}/{variant}/{at:%Y/%m/%d/%H}/"
        with self._lock:
            buffer = self._open.get(variant)
            if buffer is None or not buffer.key.startswith(hour) or buffer.size >= LARGEST_FILE:
                if buffer:
                    self._full.append(buffer)
                buffer = self._open[variant] = _Buffer(f"{hour}{_file_name(at)}")
            buffer.add(line)

    def flush(self) -> None:
        """Write every line that was recorded before this call. What fails is logged and kept."""
        with self._flushing:
            with self._lock:
                pending, self._full, self._open = [*self._full, *self._open.values()], [], {}
            for place, buffer in enumerate(pending):
                try:
                    self._s3.put_object(Bucket=self._bucket, Key=buffer.key, Body=buffer.content())
                except Exception:
                    logger.exception(
                        "data capture of %s waits: s3://%s/%s", self._endpoint, self._bucket, buffer.key
                    )
                    with self._lock:
                        self._full[:0] = pending[place:]
                    return

    def is_pending(self) -> bool:
        with self._lock:
            return bool(self._full or self._open)

    def _line(
        self, request: Payload, response: Payload, at: datetime, inference_id: str, attributes: str
    ) -> dict[str, Any]:
        captured = {}
        if self.captures_input:
            captured["endpointInput"] = self._side(request, "INPUT")
        if self.captures_output:
            captured["endpointOutput"] = self._side(response, "OUTPUT")
        metadata = {"eventId": str(uuid.uuid4()), "inferenceTime": f"{at:%Y-%m-%dT%H:%M:%SZ}"}
        if attributes:
            metadata["customAttributes"] = [attributes]
        if inference_id:
            metadata["inferenceId"] = inference_id
        return {"captureData": captured, "eventMetadata": metadata, "eventVersion": "0"}

    def _side(self, payload: Payload, mode: str) -> dict[str, str]:
        encoding = self._encodings.get(payload.content_type.partition(";")[0].strip().lower(), "BASE64")
        try:
            data = payload.body.decode() if encoding != "BASE64" else base64.b64encode(payload.body).decode()
        except UnicodeDecodeError:
            encoding, data = "BASE64", base64.b64encode(payload.body).decode()
        observed = payload.content_type or DEFAULT_CONTENT_TYPE
        return {"observedContentType": observed, "mode": mode, "data": data, "encoding": encoding}


def _encodings(header: dict[str, list[str]]) -> dict[str, str]:
    """Content type to encoding; one that is not listed is captured as base64, as on SageMaker."""
    listed = {"CSV": header.get("CsvContentTypes", []), "JSON": header.get("JsonContentTypes", [])}
    return {kind.lower(): encoding for encoding, kinds in listed.items() for kind in kinds}


def _split(uri: str) -> tuple[str, str]:
    """Bucket and key prefix (empty, or ending in a slash) of an S3 URI."""
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    prefix = prefix.strip("/")
    return bucket, f"{prefix}/" if prefix else ""


def _file_name(at: datetime) -> str:
    return f"{at:%M-%S}-{at.microsecond // 1000:03d}-{uuid.uuid4()}.jsonl"
