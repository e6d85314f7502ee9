"""Files of a model store or of an output, in a folder or on S3.

S3 is read through boto3, which takes region, credentials, profile, endpoint and certificates from the same variables and files as
the programs' own SDK. It is imported only where a location begins with `s3://`.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote, urlparse

from ._errors import EngagementError, ModelError, SettingsError, StorageError


class Store(Protocol):
    """Files below one location."""

    location: str

    def read(self, path: str) -> bytes | None:
        """The bytes of a file; None where there is none."""


class Folder:
    """A local folder."""

    def __init__(self, location: str) -> None:
        self.location = location

    def read(self, path: str) -> bytes | None:
        try:
            return Path(self.location, path).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise SettingsError(f"{self.location}/{path} cannot be read: {error}") from error


class S3:
    """A prefix of a bucket."""

    def __init__(self, location: str) -> None:
        bucket, _, prefix = location.removeprefix("s3://").strip("/").partition("/")
        self.location = f"s3://{bucket}/{prefix}".rstrip("/")
        if not bucket:
            raise SettingsError(f"{location} names no bucket: write s3://bucket/prefix")
        self._bucket, self._prefix = bucket, f"{prefix}/" if prefix else ""
        self._client = _s3_client()

    def read(self, path: str) -> bytes | None:
        import botocore.exceptions

        try:
            answer = self._client.get_object(Bucket=self._bucket, Key=self._prefix + path)
            return answer["Body"].read()
        except botocore.exceptions.ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            if code in ("NoSuchKey", "404", "NotFound"):
                return None
            what = f"{self.location}/{path} cannot be read: {error}"
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 500)
            raise (StorageError if status >= 500 or status == 429 else SettingsError)(what) from error
        except (
            botocore.exceptions.NoCredentialsError,
            botocore.exceptions.PartialCredentialsError,
            botocore.exceptions.ParamValidationError,
            botocore.exceptions.ProfileNotFound,
        ) as error:
            raise SettingsError(f"{self.location}/{path} cannot be read: {error}") from error
        except (botocore.exceptions.BotoCoreError, OSError) as error:
            raise StorageError(f"{self.location}/{path} cannot be read: {error}") from error


def _s3_client() -> Any:
    try:
        import boto3
        import botocore.config
    except ImportError as error:
        raise SettingsError("locations on S3 need boto3: pip install 'engagement_ml[s3]'") from error
    endpoint = any(os.environ.get(name) for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"))
    style = {"addressing_style": "path"} if endpoint else {}
    # A session of its own sees the variables of now.
    session = boto3.session.Session()
    return session.client("s3", config=botocore.config.Config(s3=style, retries={"mode": "standard", "max_attempts": 5}))


def open_store(location: str | os.PathLike[str]) -> Store:
    """The files below `location`: `s3://bucket/prefix`, `file:///path` or a path."""
    text = os.fspath(location).strip()
    if text.startswith("s3://"):
        return S3(text)
    if text.startswith("file://"):
        return Folder(unquote(urlparse(text).path))
    if "://" in text:
        raise SettingsError(f"{text}: locations are s3://bucket/prefix, file:///path or a path")
    return Folder(text.rstrip("/") or "/")


def read_json(store: Store, path: str, known_formats: range, failure: type[EngagementError] = ModelError) -> dict[str, Any] | None:
    """A JSON object with its `format_version` checked; None where there is no such file."""
    data = store.read(path)
    if data is None:
        return None
    return parse_json(data, f"{store.location}/{path}", known_formats, failure)


def parse_json(data: bytes, where: str, known_formats: range, failure: type[EngagementError] = ModelError) -> dict[str, Any]:
    """A JSON object with its `format_version` checked."""
    try:
        document = json.loads(data)
    except ValueError as error:
        raise failure(f"{where} is damaged: {error}") from error
    if not isinstance(document, dict):
        raise failure(f"{where} is damaged: it is no object")
    version = document.get("format_version")
    if known_formats and version not in known_formats:
        raise failure(f"{where} has format_version {version}, but this engagement_ml knows {known_formats[-1]}: install a newer one")
    return document


def sha256(data: bytes) -> str:
    """SHA-256 as the stores write it."""
    return hashlib.sha256(data).hexdigest()
