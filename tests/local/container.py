"""A container for tests: answers /ping and /invocations by SageMaker's contract, as its environment says."""

import os
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

DELAY = float(os.environ.get("DELAY", "0"))


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.answer(503 if os.environ.get("PING") == "never" else 200, b"")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        time.sleep(DELAY)
        if body == b"die":
            os._exit(1)
        if body == b"close":
            self.close_connection = True
            return
        if body.startswith(b"status "):
            self.answer(int(body.split()[1]), b"as you wish")
        elif body == b"pid":
            self.answer(200, str(os.getpid()).encode())
        elif body == b"headers":
            self.answer(200, str(self.headers).encode())
        else:
            self.answer(200, os.environ.get("ANSWER", "").encode() or body.upper())

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", self.headers.get("Accept", "text/csv"))
        self.send_header("Content-Length", str(len(body)))
        if attributes := self.headers.get("X-Amzn-SageMaker-Custom-Attributes"):
            self.send_header("X-Amzn-SageMaker-Custom-Attributes", attributes)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    disable_nagle_algorithm = True


if os.environ.get("START") == "never":
    raise SystemExit("no model here")
time.sleep(float(os.environ.get("START_DELAY", "0")))
Handler.wbufsize = -1  # one packet for head and body
print("serving", flush=True)
Server(("127.0.0.1", int(os.environ["SAGEMAKER_BIND_TO_PORT"])), Handler).serve_forever()
