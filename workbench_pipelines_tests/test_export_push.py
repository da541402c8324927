"""A push arrives whole or not at all, and never without being asked for what is restricted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from workbench_pipelines.clients.export_folder import ExportFolder
from workbench_pipelines.clients.export_push import push_to_hub, push_to_s3
from workbench_pipelines.errors import ArgumentError, ExportError, MissingPart
from workbench_pipelines.export_manifest import manifest
from workbench_pipelines_tests.export_world import make_collection, make_export, many_pairs
from workbench_pipelines_tests.project_world import Project, project
from workbench_pipelines_tests.push_world import Remote, hub_server, s3_server

__all__ = ["project"]

COLLECTION = make_collection(formats=["openai", "csv", "hf"])


def published(lake: Path, n: int = 40, **given: str) -> Path:
    export = make_export(*many_pairs(n, **given), collection=COLLECTION)
    made_of = manifest(export, COLLECTION, 1, training_sheet_versions={}, policy_hash="p")
    formats = COLLECTION.spec.formats
    return Path(ExportFolder(str(lake)).publish("c", 1, export, formats=formats, manifest=made_of, card="# c").path)


def content_of(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Remote]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with s3_server() as remote:
        yield remote


def test_s3_holds_every_file_and_a_second_push_sends_none(tmp_path: Path, s3: Remote) -> None:
    folder = published(tmp_path)
    done = push_to_s3(folder, "s3://bucket/exports", endpoint=s3.url)
    assert done.address == "s3://bucket/exports/c/v1"
    assert s3.objects == {f"/bucket/exports/c/v1/{name}": content for name, content in content_of(folder).items()}
    assert push_to_s3(folder, "s3://bucket/exports", endpoint=s3.url).files == 0
    other = published(tmp_path / "other", 20)
    with pytest.raises(ExportError, match="is there already with other content"):
        push_to_s3(other, "s3://bucket/exports", endpoint=s3.url)


@pytest.mark.parametrize("at", ["test.openai.jsonl", "manifest.json"])
def test_a_push_to_s3_that_fails_leaves_nothing(tmp_path: Path, s3: Remote, at: str) -> None:
    s3.fail_at = ("PUT", at, 403)
    with pytest.raises((ExportError, MissingPart), match="push to s3"):
        push_to_s3(published(tmp_path), "s3://bucket", endpoint=s3.url)
    assert s3.objects == {}


def test_the_hub_gets_one_commit_and_a_tag(tmp_path: Path) -> None:
    folder = published(tmp_path)
    with hub_server() as hub:
        done = push_to_hub(folder, "team/data", token="hf_x", endpoint=hub.url)
        assert done.address == "team/data@v1"
        assert (hub.objects, hub.commits, [*hub.tags]) == (content_of(folder), 1, ["v1"])
        assert hub.made[0]["visibility"] == "private"
        assert push_to_hub(folder, "team/data", token="hf_x", endpoint=hub.url).files == 0
        other = published(tmp_path / "other", 20)
        with pytest.raises(ExportError, match="team/data@v1 is there already with other content"):
            push_to_hub(other, "team/data", token="hf_x", endpoint=hub.url)
        assert hub.commits == 1


@pytest.mark.parametrize(("status", "kind"), [(403, MissingPart), (400, ExportError)])
def test_a_push_that_the_hub_refuses_leaves_nothing(tmp_path: Path, status: int, kind: type[Exception]) -> None:
    with hub_server() as hub:
        hub.fail_at = ("POST", "/commit/", status)
        with pytest.raises(kind, match="push to hf"):
            push_to_hub(published(tmp_path), "team/data", token="hf_x", endpoint=hub.url)
        assert (hub.objects, hub.tags) == ({}, {})


def test_what_has_changed_or_is_restricted_does_not_leave(tmp_path: Path, s3: Remote) -> None:
    folder = published(tmp_path, data_classification="restricted")
    with pytest.raises(ExportError, match="classified as restricted; say --allow-restricted"):
        push_to_s3(folder, "s3://bucket", endpoint=s3.url)
    assert push_to_s3(folder, "s3://bucket", endpoint=s3.url, allow_restricted=True).files
    (folder / "README.md").write_text("other")
    with pytest.raises(ExportError, match=r"v1 is not pushed: README\.md has changed"):
        push_to_s3(folder, "s3://other", endpoint=s3.url, allow_restricted=True)


def test_without_credentials_a_push_says_what_to_set(
    tmp_path: Path, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = published(tmp_path)
    for name in ("HF_TOKEN", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(MissingPart, match=r"^push to hf needs a token that may write team/data: set HF_TOKEN$"):
        push_to_hub(folder, "team/data", token=None, endpoint=None)
    with pytest.raises(MissingPart, match=r"^push to s3 needs credentials: set AWS_ACCESS_KEY_ID"):
        push_to_s3(folder, "s3://bucket")
    # What may not leave needs no credentials, and none are asked for.
    for where in (("--to", "hf", "--repo", "team/data"), ("--to", "s3", "--uri", "s3://bucket")):
        refused = project("push", str(folder), *where)
        assert (refused.code, "none that this project published" in refused.err, refused.err.count("\n")) == (
            1,
            True,
            1,
        )
    assert project("push", str(folder), "--to", "hf").code == 2
    assert project("push", str(folder), "--to", "s3", "--uri", "http://bucket").code == 2


def test_a_server_that_is_not_there_is_one_line(tmp_path: Path, s3: Remote) -> None:
    with pytest.raises(MissingPart, match="the hub can not be reached"):
        push_to_hub(published(tmp_path), "team/data", token="hf_x", endpoint="http://127.0.0.1:9")
    with pytest.raises(MissingPart, match="push to s3: EndpointConnectionError"):
        push_to_s3(tmp_path / "exports/c/v1", "s3://bucket", endpoint="http://127.0.0.1:9")
    with pytest.raises(ArgumentError, match="write it s3://bucket/prefix"):
        push_to_s3(tmp_path / "exports/c/v1", "s3:bucket")
