"""A Bedrock knowledge base: ingestion jobs that end after a while, one at a time."""

import re
import time
import uuid

from cloudformation import ACCOUNT, REGION
from iam import Authorizer
from server import Request, Server, ServiceError, json_answer


class KnowledgeBase:
    """StartIngestionJob and GetIngestionJob. `seconds` is how long a job takes, `ends_as` how it ends."""

    def __init__(self, authorizer: Authorizer, seconds=1.0, ends_as="COMPLETE"):
        self.authorizer, self.seconds, self.ends_as, self.jobs = authorizer, seconds, ends_as, {}
        self.server = Server(self.answer)
        self.endpoint = self.server.endpoint

    def answer(self, request: Request):
        """The two operations, by path."""
        found = re.fullmatch(r"/knowledgebases/(\w+)/datasources/(\w+)/ingestionjobs/?(\w+)?/?", request.path)
        if not found:
            return json_answer({}, 404)
        resource = f"arn:aws:bedrock:{REGION}:{ACCOUNT}:knowledge-base/{found[1]}"
        if request.method == "PUT":
            self.authorizer.check(request.caller, "bedrock:StartIngestionJob", resource)
            return json_answer({"ingestionJob": self._view(found, self._start(request.json().get("clientToken")))}, 202)
        self.authorizer.check(request.caller, "bedrock:GetIngestionJob", resource)
        if found[3] not in self.jobs:
            raise ServiceError("ResourceNotFoundException", "no such ingestion job", 404)
        return json_answer({"ingestionJob": self._view(found, self.jobs[found[3]])})

    def _start(self, token: str | None) -> dict:
        if token is not None and not 33 <= len(token) <= 256:
            raise ServiceError("ValidationException", "clientToken must have 33 to 256 characters")
        for job in self.jobs.values():
            if token and job["token"] == token:
                return job
        if any(self._status(job) == "IN_PROGRESS" for job in self.jobs.values()):
            raise ServiceError("ConflictException", "There is an ongoing ingestion job for this data source", 409)
        job = {"id": uuid.uuid4().hex[:10].upper(), "token": token, "started": time.monotonic()}
        self.jobs[job["id"]] = job
        return job

    def _status(self, job: dict) -> str:
        return self.ends_as if time.monotonic() - job["started"] >= self.seconds else "IN_PROGRESS"

    def _view(self, found, job: dict) -> dict:
        return {"knowledgeBaseId": found[1], "dataSourceId": found[2], "ingestionJobId": job["id"], "status": self._status(job),
                "startedAt": "2026-01-01T00:00:00Z", "updatedAt": "2026-01-01T00:00:00Z", "statistics": {"numberOfDocumentsScanned": 3, "numberOfDocumentsFailed": 0}}
