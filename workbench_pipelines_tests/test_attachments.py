"""An image is named by its content in every table, is loaded when it is sent, and follows the rules of what is shown."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from workbench_pipelines import identity
from workbench_pipelines.asking import asked as asked_models
from workbench_pipelines.attachments import Attachment, NoImage, images_of, with_images
from workbench_pipelines.batch_asking import answer_by_batches
from workbench_pipelines.catalog import PromptTemplate
from workbench_pipelines.clients.attachments import Attachments, hide_images
from workbench_pipelines.clients.llm import LLM
from workbench_pipelines.clients.scripted_provider import Reply, ScriptedProvider
from workbench_pipelines.errors import MissingPart, TemplateError
from workbench_pipelines.identity import prompt_hash
from workbench_pipelines.planning import render_now
from workbench_pipelines.requests import Completion, Passing, Refusal, Request, prompt_tokens_at_most
from workbench_pipelines.templates import compile_template
from workbench_pipelines.usage import effective_use, statements_from_json
from workbench_pipelines_tests.definition_world import make_catalog, template_document
from workbench_pipelines_tests.file_world import make_image
from workbench_pipelines_tests.project_world import Project
from workbench_pipelines_tests.request_world import YES, make_request
from workbench_pipelines_tests.ticket_world import (
    collection,
    define,
    provider,
    put,
    sheet,
    template,
    training_sheet,
)

__all__ = ["provider"]

VOLUME = {"name": "scan", "type": "volume", "path": "files", "join_keys": ["photo"], "extract": "image"}
RED, BLUE = make_image("red"), make_image("blue", "JPEG")
ADDRESS = "https://example.org/a.png"


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def file_part(path: str, data: bytes) -> dict[str, Any]:
    return {"type": "image_file", "image_file": {"path": path, "sha256": digest(data)}}


def asked(*parts: Mapping[str, Any], **given: Any) -> Request:
    return make_request(messages=with_images([{"role": "user", "content": "What?", "parts": None}], parts), **given)


# In tables ----------------------------------------------------------------------------------------------------------


def test_a_question_is_the_content_of_its_image_and_not_its_place() -> None:
    here, there, other = (asked(file_part(*one)) for one in (("a.png", RED), ("b.png", RED), ("a.png", BLUE)))
    assert here.request_hash == there.request_hash
    assert here.request_hash != other.request_hash
    assert here.request_hash != asked().request_hash
    assert prompt_hash(here.messages) == prompt_hash(there.messages)


def test_the_hash_of_a_prompt_with_other_parts_is_what_it_was() -> None:
    parts = '[{"type":"image_url","image_url":{"url":"https://example.org/a.png"}}]'
    message = {"role": "user", "content": "What?", "parts": parts}
    assert prompt_hash([message]) == identity.digest([message])


def test_an_image_counts_as_the_most_tokens_that_it_can_have() -> None:
    assert prompt_tokens_at_most(asked(file_part("a", RED))) > prompt_tokens_at_most(asked()) + 48_000


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("no image", "is no image of a volume and no http(s) address"),
        (7, "is no image of a volume and no http(s) address"),
        ("sha256:" + "0" * 64, "is no image of a volume and no http(s) address"),
        ('{"path": "a.png"}', "is no image of a volume and no http(s) address"),
        ("file:///etc/passwd", "is no image of a volume and no http(s) address"),
        ("data:image/png;base64,AAAA", "is no image of a volume and no http(s) address"),
        ("https://ann:secret@example.org/a.png", "is an address with a user name or password in it"),
        ("http://[::1", "is no http(s) address"),
        ("http://localhost/a.png", "is an address within this network"),
        ("http://127.0.0.1/a.png", "is an address within this network"),
        ("http://169.254.169.254/latest", "is an address within this network"),
        ("http://[::1]/a.png", "is an address within this network"),
        ("http://2130706433/a.png", "is an address within this network"),
        ("http://0x7f.1/a.png", "is an address within this network"),
        ("http://127.1/a.png", "is an address within this network"),
        ("http://intranet/a.png", "is an address within this network"),
        ("http://db.internal./a.png", "is an address within this network"),
        ("https://", "is an address within this network"),
        (None, "is null, and it is required"),
    ],
)
def test_a_value_that_is_no_image_to_show_is_refused_and_not_quoted(value: Any, says: str) -> None:
    with pytest.raises(NoImage) as refused:
        Attachment("photo", "x", None).part({"x": value})
    assert str(refused.value) == f"photo {says}"


def test_an_address_goes_as_it_is_and_an_optional_image_may_be_missing() -> None:
    assert Attachment("photo", "x", None).part({"x": ADDRESS}) == {"type": "image_url", "image_url": {"url": ADDRESS}}
    assert Attachment("photo", "x", None).part({"x": "http://93.184.216.34/a"}) is not None
    assert Attachment("photo", "x", None, required=False).part({"x": None}) is None


def test_an_image_is_a_variable_that_no_text_shows() -> None:
    document = template_document("What is on it?", attachments=["photo"])
    compiled = compile_template(PromptTemplate.model_validate(document), {}, "t.yaml")
    assert compiled.variables == {"photo"}
    shown = PromptTemplate.model_validate(template_document("{{ photo }}", attachments=["photo"]))
    with pytest.raises(
        TemplateError, match=r"spec\.attachments: 'photo' is an image, and a text of the template shows"
    ):
        compile_template(shown, {}, "t.yaml")
    (problem,) = make_catalog(template_document(attachments=["photo", "photo"])).problems
    assert "an image stands twice" in problem.line


def test_an_example_needs_no_image() -> None:
    document = template_document(
        "Is {{ x }} on it?",
        attachments=["photo"],
        input_schema=[{"name": "x"}, {"name": "photo"}],
        examples=[{"inputs": {"x": "a"}, "output": {"answer": "yes"}}],
    )
    compiled = compile_template(PromptTemplate.model_validate(document), {}, "t.yaml")
    assert [one["content"] for one in compiled.render({"x": "b"})] == ["Is a on it?", '{"answer":"yes"}', "Is b on it?"]


# On the way to a model ----------------------------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path: Path) -> Path:
    for name, data in (("a.png", RED), ("b.jpg", BLUE), ("note.txt", b"no image")):
        (tmp_path / name).write_bytes(data)
    return tmp_path


def complete(files: Path, request: Request, *roots: Path) -> Completion | Refusal | Passing:
    """One try of a request by a project that lies there."""

    async def asked_once() -> Completion | Refusal | Passing:
        async with LLM(attachments=Attachments(files, roots)).connected() as ask:
            return await ask(request, 60.0)

    return asyncio.run(asked_once())


def test_an_image_is_sent_whole_behind_the_text(files: Path, provider: ScriptedProvider) -> None:
    provider.enqueue(YES)
    request = asked(
        file_part("a.png", RED), file_part("b.jpg", BLUE), {"type": "image_url", "image_url": {"url": ADDRESS}}
    )
    answer = complete(files, request)
    assert isinstance(answer, Completion)
    assert answer.request_hash == request.request_hash
    text, red, blue, address = provider.bodies[0]["messages"][0]["content"]
    assert text == {"type": "text", "text": "What?"}
    for part, kind, data in ((red, "image/png", RED), (blue, "image/jpeg", BLUE)):
        head, _, sent = part["image_url"]["url"].partition(",")
        assert (head, base64.b64decode(sent)) == (f"data:{kind};base64", data)
    assert address["image_url"]["url"] == ADDRESS


@pytest.mark.parametrize(
    ("path", "data", "reason"),
    [
        ("a.png", BLUE, "image_changed"),
        ("gone.png", RED, "image_missing"),
        ("../a.png", RED, "image_missing"),
        ("link.png", make_image("green"), "image_missing"),
        ("note.txt", b"no image", "image_changed"),
    ],
)
def test_an_image_that_is_not_what_was_seen_is_refused_alone_and_not_sent(
    files: Path,
    tmp_path_factory: pytest.TempPathFactory,
    provider: ScriptedProvider,
    path: str,
    data: bytes,
    reason: str,
) -> None:
    outside = tmp_path_factory.mktemp("outside") / "green.png"
    outside.write_bytes(make_image("green"))
    (files / "link.png").symlink_to(outside)
    refusal = complete(files, asked(file_part(path, data)))
    assert isinstance(refusal, Refusal)
    assert (refusal.reason, refusal.calls, provider.calls) == (reason, 0, 0)


def test_an_image_below_a_root_is_found_by_the_roots_name(
    tmp_path: Path, files: Path, provider: ScriptedProvider
) -> None:
    root = tmp_path / "elsewhere" / "shared"
    root.mkdir(parents=True)
    (root / "a.png").write_bytes(make_image("green"))
    provider.enqueue(YES)
    request = asked(file_part("shared/a.png", make_image("green")))
    assert isinstance(complete(tmp_path / "project", request, root), Completion)


def test_the_embedded_model_refuses_an_image_before_it_is_asked(files: Path) -> None:
    with pytest.raises(MissingPart) as refused:
        complete(files, asked(file_part("a.png", RED), model="local/smollm2"))
    assert refused.value.line == "model local/smollm2 reads no images; name a vision model, such as openai/gpt-4o-mini"


def test_what_a_provider_quotes_of_an_image_is_not_shown(files: Path, provider: ScriptedProvider) -> None:
    provider.answer_by(lambda body: Reply(status=400, error=f"bad: {body['messages'][0]['content'][1]} at {ADDRESS}"))
    request = asked(file_part("a.png", RED), {"type": "image_url", "image_url": {"url": ADDRESS}})
    with pytest.raises(MissingPart) as refused:
        complete(files, request)
    assert base64.b64encode(RED).decode()[:30] not in refused.value.line
    assert "example.org" not in refused.value.line
    quoted = f"data:image/png;base64,AAAA= and {base64.b64encode(RED).decode()} and more"
    assert hide_images(quoted, request.messages) == "[image] and [image] and more"


# From a volume to a draft -------------------------------------------------------------------------------------------


def photographs(project: Project, model: str = "openai/scripted", **spec: Any) -> None:
    rows = {
        "ticket": ["1", "2", "3"],
        "photo": ["a.png", "b.jpg", "gone.png"],
        "link": [ADDRESS, None, "file:///etc/passwd"],
    }
    put(project, pl.DataFrame(rows | {"team": ["access"] * 3}))
    (project.folder / "sheets/files").mkdir(exist_ok=True)
    for name, data in (("a.png", RED), ("b.jpg", BLUE)):
        (project.folder / "sheets/files" / name).write_bytes(data)
    define(
        project,
        sheet(**{"secondary_sources": [VOLUME], **spec}),
        training_sheet("seen"),
        training_sheet("linked", template="by_link"),
        training_sheet("trusted", column="team"),
        collection("routing", "trusted", splits={"train": 1.0, "val": 0.0, "test": 0.0}),
        template("Which team?", attachments=["scan_image"], base_model=model),
        template("Which team?", "by_link", attachments=["link"], base_model=model),
    )


def test_an_image_of_a_volume_is_drafted_from_and_kept_by_reference(
    project: Project, provider: ScriptedProvider
) -> None:
    photographs(project)
    ran = project("run", "seen", "--json")
    assert (ran.json["llm_calls"], provider.calls) == (2, 2)
    sent = {body["messages"][0]["content"][1]["image_url"]["url"].partition(",")[2] for body in provider.bodies}
    assert sent == {base64.b64encode(data).decode() for data in (RED, BLUE)}
    assert "item 3: scan_image is null, and it is required" in "".join(ran.json["refusals"])
    prompts = project.table("generate", "rendered_prompts").sort("item_ref")
    assert images_of(prompts["messages"][0]) == [file_part("sheets/files/a.png", RED)]
    assert json.loads(prompts["inputs"][0]) == {"scan_image": f"sha256:{digest(RED)}"}
    assert prompts["seen_columns"].to_list() == [["scan_image"]] * 2
    held = b"".join(path.read_bytes() for path in (project.folder / ".workbench/lake").rglob("*") if path.is_file())
    assert base64.b64encode(BLUE)[:60] not in held
    # The same images elsewhere are the same questions.
    (project.folder / "sheets/files").rename(project.folder / "sheets/moved")
    definitions = project.folder / "sheets/all.yaml"
    definitions.write_text(definitions.read_text().replace("path: files", "path: moved"))
    assert project("run", "seen", "--json").json["llm_calls"] == 0


def test_an_address_in_a_column_is_shown_and_anything_else_is_refused(
    project: Project, provider: ScriptedProvider
) -> None:
    photographs(project)
    refusals = "".join(project("run", "linked", "--json").json["refusals"])
    assert [body["messages"][0]["content"][1]["image_url"]["url"] for body in provider.bodies] == [ADDRESS]
    assert "2 items refused, no_image: item 2: link is null, and it is required" in refusals
    assert "passwd" not in refusals


@pytest.mark.parametrize("tagged", ["scan_image", "photo", "scan_path", None])
def test_what_is_stated_of_an_image_its_path_and_its_file_name_counts_for_the_pair(
    project: Project, tagged: str | None
) -> None:
    columns, volume = ({tagged: {"tags": ["PHI"]}}, VOLUME) if tagged else ({}, {**VOLUME, "source_tags": ["PHI"]})
    photographs(project, columns=columns, secondary_sources=[volume])
    rendered = render_now(project.workbench, "seen").frame
    said = effective_use(statements_from_json(rendered["usage_statements"][0]))
    assert not said.permits("training")
    assert said.data_classification == "restricted"
    assert rendered["tags"].to_list() == [["PHI"] if tagged else []] * 2
    assert "a.png" not in project("preview", "seen").out


def test_a_preview_names_the_image(project: Project) -> None:
    photographs(project)
    assert "[image] sheets/files/a.png" in project("preview", "seen").out


def test_a_model_that_reads_no_images_is_named_by_validate(project: Project) -> None:
    photographs(project, model="local/smollm2")
    said = [line for line in project("validate").err.splitlines() if "seen" in line]
    assert said == [
        "sheets/all.yaml: TrainingSheet seen: spec.model: model local/smollm2 reads no images; name a vision model, such as "
        "openai/gpt-4o-mini"
    ]


def test_an_export_holds_its_images_and_is_verified(project: Project) -> None:
    photographs(project)
    (export,) = project("run", "routing", "--json").json["exports"]
    assert (export["train"], project("verify", export["path"]).code) == (2, 0)
    lines = [json.loads(line) for line in (Path(export["path"]) / "train.openai.jsonl").read_text().splitlines()]
    sent = {line["messages"][0]["content"][1]["image_url"]["url"].partition(",")[2] for line in lines}
    assert sent == {base64.b64encode(data).decode() for data in (RED, BLUE)}


def test_a_batch_shows_images_too_and_leaves_out_one_that_has_changed(
    project: Project, provider: ScriptedProvider
) -> None:
    photographs(project)
    define(
        project,
        sheet(secondary_sources=[VOLUME]),
        training_sheet("seen", generation={"mode": "batch"}),
        template("Which team?", attachments=["scan_image"]),
    )
    project("run", "seen")
    (batch,) = provider.batches.batches.values()
    bodies = [json.loads(line)["body"] for line in provider.batches.files[batch["input_file_id"]].splitlines()]
    sent = {body["messages"][0]["content"][1]["image_url"]["url"].partition(",")[2] for body in bodies}
    assert sent == {base64.b64encode(data).decode() for data in (RED, BLUE)}
    for frame in ("batches", "batch_requests"):
        assert sent.isdisjoint(str(project.table("records", frame).to_dicts()).split("'"))
    project("batch", "forget", batch["id"])
    workbench, request = project.workbench, asked(file_part("sheets/files/a.png", BLUE), model="openai/scripted")
    terms = asked_models(workbench, "openai/scripted").batch_terms("seen", lambda *given: pytest.fail("nothing came"))
    (answered,) = answer_by_batches(workbench, terms, [request], 1, lambda line: None)
    assert isinstance(answered.outcome, Refusal)
    assert (answered.outcome.reason, len(provider.batches.batches)) == ("image_changed", 1)
