"""What the extras read: scans with `ocr`, recordings with `audio`; where one is not installed, its tests are left out."""

from __future__ import annotations

import io
import struct
import wave
from importlib.util import find_spec
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from PIL import Image

from workbench_pipelines.clients.extraction import Extraction
from workbench_pipelines.clients.extraction_store import ExtractionStore
from workbench_pipelines.clients.readers import READERS
from workbench_pipelines.errors import MissingPart
from workbench_pipelines.volumes import Extracted

has_ocr = pytest.mark.skipif(find_spec("rapidocr_onnxruntime") is None, reason="the extra `ocr` is not installed")
has_video = pytest.mark.skipif(
    find_spec("av") is None or find_spec("rapidocr_onnxruntime") is None, reason="the extra `video` is not installed"
)
has_audio = pytest.mark.skipif(find_spec("faster_whisper") is None, reason="the extra `audio` is not installed")


def extracted(folder: Path, name: str, data: bytes, extract: str) -> Extracted:
    file = folder / name
    file.write_bytes(data)
    with ExtractionStore(folder / "extracted.db") as store, Extraction(store, extract) as found:
        return found.content(file, found.digest(file))


def photographed(*pages: str, format: str) -> bytes:
    """Pages of text as pictures, so that no text is in the file."""
    pictures = []
    for text in pages:
        figure, drawn = Figure(figsize=(6, 2)), io.BytesIO()
        figure.text(0.05, 0.5, text, fontsize=24)
        figure.savefig(drawn, format="png", dpi=150)
        pictures.append(Image.open(drawn).convert("RGB"))
    written = io.BytesIO()
    pictures[0].save(written, format, save_all=len(pictures) > 1, append_images=pictures[1:])
    return written.getvalue()


def silence(seconds: int) -> bytes:
    written = io.BytesIO()
    with wave.open(written, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(16_000)
        sound.writeframes(struct.pack("<h", 0) * 16_000 * seconds)
    return written.getvalue()


@pytest.mark.parametrize("extra", ["ocr", "audio", "video"])
def test_an_extra_that_is_not_installed_is_named(extra: str) -> None:
    reader = READERS[extra]
    if find_spec(reader.packages[0].replace("-", "_")) is not None:
        assert reader.name(extra, "").startswith(f"{extra} 1  {reader.packages[0]} ")
        return
    with pytest.raises(MissingPart) as missing:
        reader.name(extra, "")
    assert missing.value.line == (
        f"extract: {extra} needs {reader.packages[0]}; install it with `pip install -e '.[{extra}]'`"
    )


@has_ocr
def test_a_scan_is_read_page_by_page(tmp_path: Path) -> None:
    scan = photographed("Invoice number 42", "Total 12 Euro", format="PDF")
    assert extracted(tmp_path, "scan.pdf", scan, "text").reason == "no_text"
    read = str(extracted(tmp_path, "scan.pdf", scan, "ocr").content)
    first, _, second = read.replace(" ", "").partition("\n\n")
    assert (first, second) == ("Invoicenumber42", "Total12Euro")


@has_ocr
def test_a_photograph_is_read_and_an_empty_one_is_said_to_be(tmp_path: Path) -> None:
    read = str(extracted(tmp_path, "a.jpg", photographed("Invoice number 42", format="JPEG"), "ocr").content)
    assert read.replace(" ", "") == "Invoicenumber42"
    assert extracted(tmp_path, "b.png", photographed("", format="PNG"), "ocr").reason == "no_text"
    assert extracted(tmp_path, "c.png", b"John", "ocr").reason == "broken_file"
    assert extracted(tmp_path, "d.txt", b"John", "ocr").reason == "unknown_format"


def filmed(*texts: str, seconds: int) -> bytes:
    """A video that shows each text for so long, two frames a second."""
    import av

    written = io.BytesIO()
    with av.open(written, "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=2, width=640, height=240)
        stream.bit_rate = 2_000_000
        for text in texts:
            picture = Image.open(io.BytesIO(photographed(text, format="PNG"))).resize((640, 240))
            frame = av.VideoFrame.from_image(picture)
            for _ in range(2 * seconds):
                container.mux(stream.encode(frame.reformat(format="yuv420p")))
        container.mux(stream.encode(None))
    return written.getvalue()


@has_video
def test_a_video_is_read_where_its_frames_change(tmp_path: Path) -> None:
    video = filmed("Invoice number 42", "Total 12 Euro", seconds=4)
    read = str(extracted(tmp_path, "a.mp4", video, "video").content)
    assert read.replace(" ", "") == "[00:00]\nInvoicenumber42\n\n[00:04]\nTotal12Euro"
    assert extracted(tmp_path, "b.mp4", filmed("", seconds=2), "video").reason == "no_text"
    assert extracted(tmp_path, "c.mp4", video[:2000], "video").reason == "broken_file"
    assert extracted(tmp_path, "d.txt", b"John", "video").reason == "unknown_format"


@has_audio
def test_a_recording_in_which_nothing_is_said_has_no_words_made_up_for_it(tmp_path: Path) -> None:
    assert extracted(tmp_path, "a.wav", silence(2), "audio").reason == "no_text"
    assert extracted(tmp_path, "b.wav", silence(2)[:20], "audio").reason == "broken_file"
    assert extracted(tmp_path, "c.txt", b"John", "audio").reason == "unknown_format"
    assert sorted(path.name for path in (tmp_path / "models/whisper-base").iterdir()) == [
        "config.json",
        "model.bin",
        "tokenizer.json",
        "vocabulary.txt",
    ]
