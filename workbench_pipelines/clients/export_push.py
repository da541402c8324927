"""Published exports on their way out of the house: to the Hugging Face hub in one commit, or to S3 with the manifest last.

An export is verified before anything leaves, and what is restricted leaves only when that is said. A push that fails leaves
nothing that counts: a commit is whole or not there, and in S3 a version without its `manifest.json` is none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench_pipelines.clients.export_folder import MANIFEST, ExportFolder
from workbench_pipelines.errors import ArgumentError, ExportError, MissingPart
from workbench_pipelines.export_manifest import read_manifest
from workbench_pipelines.usage import CLASSIFICATIONS


@dataclass(frozen=True)
class Pushed:
    """Where an export lies now, and how many files went there; none where the very same was there already."""

    address: str
    files: int


MayLeave = Callable[[Path], object]
"""Raises ExportError for the folder of an export that may not leave the house: `export_release.refuse_unreleased`."""


def _anything(folder: Path) -> None:
    """For folders that no project knows."""


def checked(folder: Path, *, allow_restricted: bool, may_leave: MayLeave = _anything) -> dict[str, Any]:
    """The manifest of an export that may be pushed.

    Raises:
        ExportError: for one that may not leave, is not as it was published, or is restricted.
    """
    may_leave(folder)
    problems = ExportFolder.verify(folder)
    if problems:
        raise ExportError(f"{folder.name} is not pushed: {problems[0]}")
    manifest = read_manifest((folder / MANIFEST).read_bytes())
    if manifest["data_classification"] == CLASSIFICATIONS[-1] and not allow_restricted:
        raise ExportError(
            f"{folder.name} is not pushed: it is classified as restricted; say --allow-restricted if it may leave"
        )
    return manifest


def push_to_hub(
    folder: Path,
    repo: str,
    *,
    token: str | None,
    endpoint: str | None,
    allow_restricted: bool = False,
    may_leave: MayLeave = _anything,
) -> Pushed:
    """Commit an export to a dataset repository of the hub, which is made as a private one, and tag it with its version.

    Raises:
        ExportError: as `checked`, for a version that is tagged there with other content, and for what the hub refuses.
        MissingPart: without a token, the library or the hub.
    """
    # What may not leave needs no token.
    manifest = checked(folder, allow_restricted=allow_restricted, may_leave=may_leave)
    if not token:
        raise MissingPart(f"push to hf needs a token that may write {repo}: set HF_TOKEN")
    try:
        from huggingface_hub import CommitOperationAdd, HfApi, constants, errors
    except ImportError:
        raise MissingPart(
            "push to hf needs the library huggingface-hub: install the one that constraints.txt pins"
        ) from None
    from httpx import HTTPError

    # The command line keeps every library offline; here somebody asked for the opposite.
    constants.HF_HUB_OFFLINE = False
    api = HfApi(endpoint=endpoint or None, token=token)
    tag = f"v{manifest['version']}"
    address = f"{repo}@{tag}"
    try:
        api.create_repo(repo, repo_type="dataset", private=True, exist_ok=True)
        there = {one.name: one.target_commit for one in api.list_repo_refs(repo, repo_type="dataset").tags}
        if tag in there:
            info = api.get_paths_info(repo, [MANIFEST], repo_type="dataset", revision=tag)
            if info and getattr(info[0], "blob_id", None) == _git_blob((folder / MANIFEST).read_bytes()):
                return Pushed(address, 0)
            raise ExportError(f"{address} is there already with other content, and is never overwritten")
        names = [*manifest["files"], MANIFEST]
        added = [CommitOperationAdd(path_in_repo=name, path_or_fileobj=folder / name) for name in names]
        message = f"{manifest['collection']} {tag}, merkle root {manifest['merkle_root']}"
        commit = api.create_commit(repo, added, commit_message=message, repo_type="dataset")
        api.create_tag(repo, repo_type="dataset", tag=tag, revision=commit.oid)
    except errors.HfHubHTTPError as error:
        status = getattr(error.response, "status_code", None)
        if status in (401, 403):
            raise MissingPart(f"push to hf: the token may not write {repo}; set HF_TOKEN to one that may") from None
        raise ExportError(f"push to hf: the hub answered {status}; nothing is published there") from None
    except (HTTPError, OSError) as error:
        raise MissingPart(f"push to hf: the hub can not be reached ({type(error).__name__}); set HF_ENDPOINT") from None
    except ValueError:
        raise ExportError(f"push to hf: what {endpoint or 'the hub'} answers is not what a hub says") from None
    return Pushed(address, len(names))


def push_to_s3(
    folder: Path,
    uri: str,
    *,
    endpoint: str | None = None,
    allow_restricted: bool = False,
    may_leave: MayLeave = _anything,
) -> Pushed:
    """Upload an export below `s3://bucket/prefix/<collection>/v<N>/`, its manifest last.

    Credentials come from where boto3 looks for them: the environment, a profile, or the machine's role.

    Raises:
        ExportError: as `checked`, for a version that is there with other content, and for what the server refuses.
        ArgumentError: for an address that names no bucket.
        MissingPart: without credentials, the library or the server.
    """
    scheme, _, rest = uri.partition("://")
    bucket, _, prefix = rest.partition("/")
    if scheme != "s3" or not bucket:
        raise ArgumentError(f"--uri {uri}: write it s3://bucket/prefix")
    try:
        import boto3
        from boto3.s3.transfer import TransferConfig
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError, ClientError
    except ImportError:
        raise MissingPart("push to s3 needs the library boto3: install the one that constraints.txt pins") from None
    manifest = checked(folder, allow_restricted=allow_restricted, may_leave=may_leave)
    session = boto3.Session()
    if session.get_credentials() is None:
        raise MissingPart(
            "push to s3 needs credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
        )
    config = Config(request_checksum_calculation="when_required", response_checksum_validation="when_required")
    client = session.client(
        "s3", endpoint_url=endpoint or None, region_name=session.region_name or "us-east-1", config=config
    )
    base = "/".join([*filter(None, [prefix.strip("/")]), manifest["collection"], f"v{manifest['version']}"])
    address = f"s3://{bucket}/{base}"
    content = (folder / MANIFEST).read_bytes()
    sent: list[str] = []
    try:
        there = _there(client, bucket, f"{base}/{MANIFEST}")
        if there is not None:
            if there == content:
                return Pushed(address, 0)
            raise ExportError(f"{address} is there already with other content, and is never overwritten")
        for name, said in manifest["files"].items():
            sent.append(f"{base}/{name}")
            client.upload_file(str(folder / name), bucket, sent[-1], Config=TransferConfig(use_threads=False))
            if client.head_object(Bucket=bucket, Key=sent[-1])["ContentLength"] != said["bytes"]:
                raise ExportError(f"push to s3: {name} did not arrive whole; nothing is published at {address}")
        client.put_object(Bucket=bucket, Key=f"{base}/{MANIFEST}", Body=content)
    except BaseException as error:
        for key in sent:
            with suppress(Exception):
                client.delete_object(Bucket=bucket, Key=key)
        if isinstance(error, ClientError):
            code = error.response.get("Error", {}).get("Code")
            raise ExportError(f"push to s3: the server answered {code}; nothing is published at {address}") from None
        if _is_boto(error, BotoCoreError):
            raise MissingPart(
                f"push to s3: {type(error).__name__}; set AWS_ENDPOINT_URL_S3 and the credentials"
            ) from None
        raise
    return Pushed(address, len(sent) + 1)


def _is_boto(error: BaseException, kind: type[Exception]) -> bool:
    """Whether boto3 failed by itself; an upload wraps what it met in an error of another tree."""
    return isinstance(error, kind) or type(error).__module__.startswith("boto3.")


def _there(client: Any, bucket: str, key: str) -> bytes | None:
    from botocore.exceptions import ClientError

    try:
        found: Mapping[str, Any] = client.get_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") == 404:
            return None
        raise
    content: bytes = found["Body"].read()
    return content


def _git_blob(content: bytes) -> str:
    """The name of a file's content in git, by which the hub knows it."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
