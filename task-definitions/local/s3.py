"""A real S3 server (SeaweedFS) behind a gate that lets a role do what the stack lets it do."""

import http.client
import os
import re
import subprocess
import time
import urllib.parse
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import boto3
from botocore.config import Config

from cloudformation import REGION
from iam import Authorizer, Denied
from ports import free_ports
from server import Request, Server

PROJECT = Path(__file__).resolve().parent.parent.parent
ADMIN, SECRET = "Administrator", "local"
READY_WITHIN_SECONDS = 60
PIECE = 1 << 20
HOP_BY_HOP = {"connection", "transfer-encoding", "keep-alive", "content-length"}


class SeaweedFs:
    """The server's process, in a folder of its own. Every role is a key of it; what a key may do is decided at the gate."""

    def __init__(self, folder: Path, roles: list):
        weed = subprocess.run([PROJECT / "scripts/setup-s3-server"], check=True, capture_output=True, text=True).stdout.strip()
        (folder / "data").mkdir(parents=True)
        identities = [f'{{"name": "{role}", "credentials": [{{"accessKey": "{role}", "secretKey": "{SECRET}"}}], "actions": ["Admin", "Read", "Write", "List", "Tagging"]}}'
                      for role in [ADMIN, *roles]]
        (folder / "s3.json").write_text('{"identities": [%s]}' % ", ".join(identities))
        names = ["s3.port", "s3.port.grpc", "master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port", "filer.port.grpc"]
        ports = dict(zip(names, free_ports(len(names)), strict=True))
        self.port = ports["s3.port"]
        self.log = (folder / "log").open("wb")
        self.process = subprocess.Popen(
            [weed, "-logtostderr=true", "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={folder}/data", "-master.telemetry=false",
             "-master.electionTimeout=1s", "-master.heartbeatInterval=100ms", "-master.volumeSizeLimitMB=1024", "-volume.max=10000", "-filer", "-s3",
             "-s3.port.iceberg=0", "-s3.port.lance=0", "-s3.autoCreateBucket=false", f"-s3.config={folder}/s3.json",
             # The path of a socket has at most 108 characters.
             f"-filer.localSocket=/tmp/pipeline-filer-{self.port}.sock", f"-s3.localSocket=/tmp/pipeline-s3-{self.port}.sock",
             *[f"-{name}={port}" for name, port in ports.items()]],
            cwd=folder, stdout=self.log, stderr=subprocess.STDOUT, env=os.environ | {"GOMEMLIMIT": "400MiB", "NO_PROXY": "*", "no_proxy": "*"})

    def wait_until_ready(self, bucket: str) -> None:
        """Ready is who has stored an object: the server's parts find each other some time after the port is open."""
        client = client_of(f"http://127.0.0.1:{self.port}")
        deadline = time.monotonic() + READY_WITHIN_SECONDS
        while True:
            try:
                client.create_bucket(Bucket=bucket)
                client.put_object(Bucket=bucket, Key="tmp/ready", Body=b"")
                client.delete_object(Bucket=bucket, Key="tmp/ready")
                return
            except Exception as error:  # noqa: BLE001: of many kinds, until it stands
                if "BucketAlready" in str(error):
                    client.put_object(Bucket=bucket, Key="tmp/ready", Body=b"")
                    return
                if time.monotonic() > deadline or self.process.poll() is not None:
                    raise RuntimeError(f"SeaweedFS did not start: see {self.log.name}") from error
                time.sleep(0.1)

    def stop(self) -> None:
        """Ends the process."""
        self.process.kill()
        self.process.wait()
        self.log.close()


def client_of(endpoint: str, role: str = ADMIN):
    """A client that signs as a role."""
    return boto3.client("s3", endpoint_url=endpoint, region_name=REGION, aws_access_key_id=role, aws_secret_access_key=SECRET,
                        config=Config(retries={"max_attempts": 5}, s3={"addressing_style": "path"}))


class Gate:
    """Decides each request by the caller's role, then passes it on as it is: the signature stays valid, since the host's name does too."""

    def __init__(self, authorizer: Authorizer, port: int):
        self.authorizer, self.port = authorizer, port
        self.server = Server(self.answer)
        self.endpoint = self.server.endpoint

    def answer(self, request: Request):
        """One request, streamed both ways."""
        if request.caller != ADMIN:
            try:
                for action, resource, context in calls(request):
                    self.authorizer.check(request.caller, action, resource, **context)
            except Denied as denied:
                body = f"<Error><Code>AccessDenied</Code><Message>{denied}</Message></Error>".encode()
                return 403, {"content-type": "application/xml", "x-amz-request-id": "DENIED"}, body
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=300)
        try:
            self._pass_on(request, connection)
            return self._pass_back(request, connection.getresponse())
        finally:
            connection.close()

    def _pass_on(self, request: Request, connection) -> None:
        connection.putrequest(request.method, request.handler.path, skip_host=True, skip_accept_encoding=True)
        for name, value in request.headers.items():
            if name.lower() not in ("connection", "expect"):
                connection.putheader(name, value)
        connection.endheaders()
        if request._body is not None:
            connection.send(request._body)
            return
        left = int(request.headers.get("content-length") or 0)
        while left:
            piece = request.handler.rfile.read(min(left, PIECE))
            if not piece:
                raise ConnectionError("the client went away")
            connection.send(piece)
            left -= len(piece)
        request._body = b""

    def _pass_back(self, request: Request, response):
        handler = request.handler
        length = response.getheader("content-length")
        headers = [(name, value) for name, value in response.getheaders() if name.lower() not in HOP_BY_HOP]
        if length is None:
            return response.status, dict(headers), response.read()
        handler.send_response(response.status)
        for name, value in [*headers, ("content-length", length)]:
            handler.send_header(name, value)
        handler.end_headers()
        while request.method != "HEAD" and (piece := response.read(PIECE)):
            handler.wfile.write(piece)
        handler.wfile.flush()
        return None, None, None


def calls(request: Request) -> list:
    """The permissions that S3 asks for one request: actions, resources, and what conditions look at."""
    bucket, _, key = urllib.parse.unquote(request.path.lstrip("/")).partition("/")
    query = urllib.parse.parse_qs(request.query, keep_blank_values=True)
    folder, thing = f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/{key}"
    if not key:
        if request.method == "POST" and "delete" in query:
            keys = [node.text or "" for node in ElementTree.fromstring(request.body()).iter() if re.sub("{.*}", "", node.tag) == "Key"]
            return [("s3:DeleteObject", f"{folder}/{one}", {}) for one in keys]
        if "location" in query:
            return [("s3:GetBucketLocation", folder, {})]
        if "uploads" in query:
            return [("s3:ListBucketMultipartUploads", folder, {})]
        return [("s3:ListBucket", folder, {"s3__prefix": query["prefix"][0]} if "prefix" in query else {})]
    if request.method == "DELETE":
        return [("s3:AbortMultipartUpload" if "uploadId" in query else "s3:DeleteObject", thing, {})]
    if request.method in ("PUT", "POST"):
        source = request.headers.get("x-amz-copy-source")
        read = [("s3:GetObject", f"arn:aws:s3:::{urllib.parse.unquote(source).lstrip('/')}", {})] if source else []
        return [*read, ("s3:PutObject", thing, {})]
    return [("s3:ListMultipartUploadParts" if "uploadId" in query else "s3:GetObject", thing, {})]
