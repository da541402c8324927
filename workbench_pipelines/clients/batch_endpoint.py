"""The door to providers' batches: files up, batches begun, looked after and found again, files down, through litellm.

For endpoints that speak OpenAI's files and batches. Nothing here is tried twice: the record of batches says how far one
is, and the next look goes on from there.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from workbench_pipelines.clients.llm import LLM, open_litellm, provider_of
from workbench_pipelines.clients.openai_endpoint import PROVIDERS
from workbench_pipelines.clients.provider_errors import key_name
from workbench_pipelines.errors import MissingPart

NAME_KEY = "workbench_submission"
"""What the provider's metadata calls our name of a batch."""
# A file of 200 MB takes its time on a slow line; nothing else here does.
FILE_TIMEOUT_S = 600.0
TIMEOUT_S = 20.0
# Batches that are looked through for one of ours: as many as a provider lists on a page.
_PAGE = 100
_REFUSED = range(400, 500)
_MAY_PASS = frozenset({408, 409, 425, 429})


class Unreachable(MissingPart):
    """A provider that gave no answer this time; whether it took what it was sent is not known."""


@dataclass(frozen=True)
class ProviderBatch:
    """A batch as its provider describes it.

    Attributes:
        status: `validating, in_progress, finalizing, cancelling`, or how it ended.
        created_at, ended_at: by the provider's clock; `ended_at` None while it is worked on.
        answered: how many of its questions have an answer.
        codes: the short words for what was wrong with its file.
    """

    batch_id: str
    status: str
    created_at: dt.datetime
    ended_at: dt.datetime | None
    output_file_id: str | None = None
    error_file_id: str | None = None
    answered: int = 0
    codes: tuple[str, ...] = ()


class BatchEndpoint:
    """The batches of one model's provider.

    Args:
        endpoint: its base address, None for the provider's own.

    Raises:
        MissingPart: for a model whose provider takes no batches here; nothing has been called then.
    """

    def __init__(self, llm: LLM, model: str, endpoint: str | None) -> None:
        llm.check(model)
        provider = "local" if model.startswith("local/") else provider_of(model)
        if provider not in PROVIDERS:
            raise MissingPart(
                f"model {model}: {provider} takes no batches here, only endpoints that speak OpenAI's do; say "
                "`generation: {mode: calls}`"
            )
        self.model = model
        self._key_name = key_name(provider)
        address, key = llm.way_to(model, endpoint)
        self._arguments: dict[str, Any] = {
            "custom_llm_provider": "openai",
            "api_base": address,
            "api_key": key,
            "max_retries": 0,
        }

    def upload(self, name: str, content: bytes) -> str:
        """The id of a new file. Raises Unreachable, or MissingPart where the provider refuses it."""
        file = (name, content, "application/jsonl")
        return str(self._call("create_file", file=file, purpose="batch").id)

    def create(self, file_id: str, name: str) -> ProviderBatch:
        """Begin a batch that bears our name. Raises Unreachable, or MissingPart where the provider refuses it."""
        found = self._call(
            "create_batch",
            completion_window="24h",
            endpoint="/v1/chat/completions",
            input_file_id=file_id,
            metadata={NAME_KEY: name},
        )
        return _described(found)

    def retrieve(self, batch_id: str) -> ProviderBatch:
        """How far a batch is. Raises Unreachable, or MissingPart where it is not known or the key is refused."""
        return _described(self._call("retrieve_batch", batch_id=batch_id))

    def find(self, name: str, since: dt.datetime) -> ProviderBatch | None:
        """The batch that bears our name; None where there is none of that time. Raises as `retrieve`."""
        for found in self._listed():
            if (found.metadata or {}).get(NAME_KEY) == name:
                return _described(found)
            # The newest come first; a day makes up for clocks that differ.
            if _time(found.created_at) < since - dt.timedelta(days=1):
                return None
        return None

    def content(self, file_id: str | None) -> bytes:
        """What a file holds; nothing where there is no file. Raises as `retrieve`."""
        return b"" if file_id is None else bytes(self._call("file_content", file_id=file_id).content)

    def _listed(self) -> Iterator[Any]:
        after = None
        while True:
            page = self._call("list_batches", limit=_PAGE, after=after)
            yield from page.data
            if not page.data or not page.has_more:
                return
            after = page.data[-1].id

    def _call(self, what: str, **arguments: Any) -> Any:
        given = {name: value for name, value in arguments.items() if value is not None}
        timeout_s = FILE_TIMEOUT_S if what in ("create_file", "file_content") else TIMEOUT_S
        try:
            return getattr(open_litellm(), what)(**given, **self._arguments, timeout=timeout_s)
        except Exception as error:
            # litellm raises the SDK's classes here, and bare ones for what breaks inside it.
            status = getattr(error, "status_code", None)
            if isinstance(status, int) and status in _REFUSED and status not in _MAY_PASS:
                raise MissingPart(self._refused_line(what, status, error)) from None
            said = status if status is not None else type(error).__name__
            raise Unreachable(f"model {self.model}: its provider does not answer ({what}: {said})") from None

    def _refused_line(self, what: str, status: int, error: Exception) -> str:
        if status in (401, 403):
            return f"model {self.model}: the provider refused the key ({status}); check {self._key_name}"
        # Its own words could quote the file; the short one can not.
        code = getattr(error, "code", None)
        said = f"{status} {code}" if code and _is_short(code) else f"{status}"
        if what == "create_file" or what == "create_batch":
            return f"model {self.model}: the provider refused the batch ({said}); nothing was handed in"
        return f"model {self.model}: the provider does not hand out its batch ({what}: {said})"


def _described(found: Any) -> ProviderBatch:
    ends = (found.completed_at, found.expired_at, found.cancelled_at, found.failed_at)
    ended = next((one for one in ends if one), None)
    errors = getattr(found.errors, "data", None) or ()
    codes = {str(one.code) for one in errors if one.code and _is_short(one.code)}
    return ProviderBatch(
        batch_id=found.id,
        status=found.status,
        created_at=_time(found.created_at),
        ended_at=_time(ended) if ended else None,
        output_file_id=found.output_file_id,
        error_file_id=found.error_file_id,
        answered=getattr(found.request_counts, "completed", None) or 0,
        codes=tuple(sorted(codes)),
    )


def _time(seconds: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(seconds, dt.UTC)


def _is_short(code: Any) -> bool:
    text = str(code)
    return len(text) <= 60 and text.replace("_", "").replace("-", "").replace(".", "").isalnum()
