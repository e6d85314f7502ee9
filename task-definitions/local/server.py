"""An HTTP server of a stand-in, and what all of them need: the caller's role, AWS's two JSON protocols, errors as AWS writes them."""

import json
import re
import sys
import threading
import traceback
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from iam import Denied


class ServiceError(Exception):
    """An error of a service by the name that its SDK knows."""

    def __init__(self, name: str, message: str, status=400, **fields):
        super().__init__(message)
        self.name, self.message, self.status, self.fields = name, message, status, fields


class Request:
    """One request: method, path, query, headers, the caller's role, and the body, read when it is asked for."""

    def __init__(self, handler: BaseHTTPRequestHandler):
        self.handler, self.method, self.headers = handler, handler.command, handler.headers
        self.path, _, self.query = handler.path.partition("?")
        # Every process of ours signs with its role's name as access key.
        credential = re.search(r"Credential=([^/,]+)/", self.headers.get("authorization", ""))
        self.caller = credential[1] if credential else ""
        self._body = None

    def body(self) -> bytes:
        """The whole body."""
        if self._body is None:
            length = int(self.headers.get("content-length") or 0)
            self._body = self.handler.rfile.read(length) if length else b""
        return self._body

    def json(self) -> dict:
        """The body as JSON."""
        return json.loads(self.body() or b"{}")

    def target(self) -> str:
        """The operation of a JSON-RPC request."""
        return self.headers.get("x-amz-target", ".").split(".")[-1]


class Server:
    """Answers with `answer(request) -> (status, headers, body)` on a free port of 127.0.0.1, each request in a thread of its own."""

    def __init__(self, answer):
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1

            def log_message(self, *_):
                """Nothing: the stand-ins keep what matters themselves."""

            def handle_one_request(self):
                try:
                    super().handle_one_request()
                except (ConnectionError, TimeoutError):
                    self.close_connection = True

            def _answer(self):
                request = Request(self)
                try:
                    status, headers, body = answer(request)
                except Denied as denied:
                    status, headers, body = error_answer(ServiceError("AccessDeniedException", str(denied), 400 if request.target() else 403))
                except ServiceError as error:
                    status, headers, body = error_answer(error)
                except (ConnectionError, TimeoutError):
                    raise
                except Exception as error:  # noqa: BLE001: a stand-in that stumbles must answer, and say where
                    traceback.print_exc(file=sys.stderr)
                    status, headers, body = error_answer(ServiceError("InternalFailure", repr(error), 500))
                request.body()
                if status is None:
                    return
                self.send_response(status)
                if self.command != "HEAD" or "content-length" not in {name.lower() for name in headers}:
                    headers = {name: value for name, value in headers.items() if name.lower() != "content-length"} | {"content-length": str(len(body))}
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)
                self.wfile.flush()

            do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _answer

        class Threads(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, *_):
                """A client that went away is no error."""

        self.server = Threads(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        """Closes the port."""
        self.server.shutdown()
        self.server.server_close()


def json_answer(value, status=200, **headers):
    """An answer in JSON. Every answer of AWS has a request id, which Step Functions quotes."""
    headers = {"content-type": "application/x-amz-json-1.1", "x-amzn-requestid": str(uuid.uuid4())} | headers
    return status, headers, json.dumps(value, default=str).encode()


def error_answer(error: ServiceError):
    """An error as the JSON protocols carry it: by `__type` and by header."""
    body = {"__type": error.name, "message": error.message, "Message": error.message} | error.fields
    return json_answer(body, error.status, **{"x-amzn-errortype": error.name})


def rpc(operations: dict):
    """The `answer` of a service that speaks JSON-RPC, from its operations by name: each `(caller, parameters) -> dict`."""
    def answer(request: Request):
        operation = operations.get(request.target())
        if operation is None:
            raise ServiceError("UnknownOperationException", f"{request.target()} is not played here")
        return json_answer(operation(request.caller, request.json()))
    return answer
