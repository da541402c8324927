"""A file is looked into once, in a process of its own, and one that can not be read says why without being quoted."""

from __future__ import annotations

import os
import signal
import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from workbench_pipelines.clients import readers
from workbench_pipelines.clients.extraction import Extraction
from workbench_pipelines.clients.extraction_store import ExtractionStore
from workbench_pipelines.errors import LakeError, MissingPart
from workbench_pipelines.volumes import Extracted
from workbench_pipelines_tests.file_world import make_image, make_pdf

INVOICE = make_pdf("Invoice 007 – Grüße\nTotal 12.50 €", "Page two")


@contextmanager
def extraction(folder: Path, extract: str | None = "text", encoding: str = "utf-8-sig") -> Iterator[Extraction]:
    with ExtractionStore(folder / "extracted.db") as store, Extraction(store, extract, encoding) as found:
        yield found


def extracted(folder: Path, name: str, data: bytes, extract: str = "text", encoding: str = "utf-8-sig") -> Extracted:
    file = folder / name
    file.write_bytes(data)
    with extraction(folder, extract, encoding) as found:
        return found.content(file, found.digest(file))


def test_a_pdf_gives_the_text_of_its_pages(tmp_path: Path) -> None:
    assert extracted(tmp_path, "a.pdf", INVOICE) == Extracted("Invoice 007 – Grüße\nTotal 12.50 €\n\nPage two")


def test_plain_text_is_what_it_is_and_html_is_what_a_page_shows(tmp_path: Path) -> None:
    text = "a\r\n\tb \u2028 \x85 ✓\n"
    assert extracted(tmp_path, "a.txt", text.encode()) == Extracted(text)
    assert extracted(tmp_path, "bom.md", b"\xef\xbb\xbf# a").content == "# a"
    assert extracted(tmp_path, "latin.txt", "Grüße".encode("latin-1"), encoding="latin-1").content == "Grüße"
    page = b"<title>t</title><style>p{}</style><script>1<2</script><h1>Bill &amp; sum</h1><p>a\n <b>b</b><br>c<table><tr><td>1<td>2"
    assert extracted(tmp_path, "a.html", page).content == "Bill & sum\na b\nc\n1\n2"


@pytest.mark.parametrize(
    ("name", "data", "reason", "detail"),
    [
        ("a.pdf", b"", "broken_file", "does not begin as a PDF does"),
        ("a.pdf", b"John Doe", "broken_file", "does not begin as a PDF does"),
        ("a.pdf", INVOICE[:3000], "broken_file", "cut short"),
        ("a.pdf", INVOICE[:3000] + b"\n%%EOF", "broken_file", "can not be read: "),
        ("a.pdf", make_pdf(""), "no_text", "holds no text; `extract: ocr` reads scans"),
        ("a.txt", b"John\n\xff", "broken_file", "byte 0xFF in line 2 is not utf-8"),
        ("a.docx", b"John", "unknown_format", "files that end in '.docx'; known: .pdf, .html"),
        ("a", b"John", "unknown_format", "files that end in ''"),
    ],
)
def test_what_can_not_be_read_says_why_and_quotes_nothing(
    tmp_path: Path, name: str, data: bytes, reason: str, detail: str
) -> None:
    found = extracted(tmp_path, name, data)
    assert (found.content, found.reason) == (None, reason)
    assert detail in str(found.detail)
    assert "John" not in str(found.detail)
    assert "\n" not in str(found.detail)


def test_an_image_is_named_by_its_content_once_it_was_looked_through(tmp_path: Path) -> None:
    found = extracted(tmp_path, "a.png", make_image(), "image")
    assert found.content is not None
    assert found.content.startswith("sha256:")
    assert len(found.content) == len("sha256:") + 64
    assert extracted(tmp_path, "b.bin", make_image(format="WEBP"), "image").reason is None
    cut = make_image(format="JPEG", size=200)
    assert extracted(tmp_path, "cut.jpg", cut[: len(cut) // 2], "image").reason == "broken_file"
    assert extracted(tmp_path, "a.bmp", make_image(format="BMP"), "image").reason == "unknown_format"
    assert extracted(tmp_path, "a.jpg", b"John", "image").reason == "unknown_format"


def test_a_content_is_looked_into_once_however_often_and_wherever_it_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = tmp_path / "a.pdf", tmp_path / "b.pdf"
    for file in (first, second):
        file.write_bytes(INVOICE)
    with extraction(tmp_path) as found:
        text = found.content(first, found.digest(first))
    monkeypatch.setattr(Extraction, "_asked", lambda *_: pytest.fail("looked into twice"))
    with extraction(tmp_path) as again:
        assert again.content(second, again.digest(second)) == text


def test_a_refusal_is_remembered_and_a_new_version_of_the_reader_looks_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert extracted(tmp_path, "a.pdf", b"no").reason == "broken_file"
    asked: list[object] = []
    monkeypatch.setattr(Extraction, "_asked", lambda self, job, reader, wait: asked.append(job))
    assert extracted(tmp_path, "a.pdf", b"no").reason == "broken_file"
    assert asked == []
    monkeypatch.setitem(readers.READERS, "text", readers.Reader(("pypdf",), None, 2, 60, None, 10**9))
    assert extracted(tmp_path, "a.pdf", b"no").reason == "reader_stopped"
    assert len(asked) == 1


def with_page(content: bytes) -> bytes:
    """A PDF whose page has this content, compressed."""
    head, _, tail = make_pdf("a").partition(b"stream")
    return head + b"stream\n" + zlib.compress(content, 9) + b"\nendstream" + tail.partition(b"endstream")[2]


def test_a_file_that_makes_its_reader_run_on_or_swell_is_refused_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, image = readers.READERS["text"], readers.READERS["image"]
    monkeypatch.setitem(readers.READERS, "text", replace(text, cpu_s=1))
    monkeypatch.setitem(readers.READERS, "image", replace(image, memory=300 * 1024**2))
    (tmp_path / "good.pdf").write_bytes(make_pdf("a"))
    (tmp_path / "long.pdf").write_bytes(with_page(b"BT /F1 12 Tf " + b"(a) Tj " * 3_000_000 + b"ET"))
    with extraction(tmp_path) as found:
        for name, reason in (("good.pdf", None), ("long.pdf", "too_slow"), ("good.pdf", None)):
            file = tmp_path / name
            assert found.content(file, found.digest(file)).reason == reason
    # Half a gigabyte of points in a file of half a megabyte.
    assert extracted(tmp_path, "wide.png", make_image(size=12_000), "image").reason == "too_large"
    assert extracted(tmp_path, "small.png", make_image(), "image").reason is None
    # What the reader of PDFs itself takes for a bomb.
    assert extracted(tmp_path, "bomb.pdf", with_page(b"0" * 300_000_000)).reason == "broken_file"


def test_a_process_that_ends_or_hangs_over_a_file_is_started_again_for_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = readers.READERS["text"]
    files = [tmp_path / "a.txt", tmp_path / "b.txt"]
    for file in files:
        file.write_text(file.name)
    with extraction(tmp_path) as found:
        process = found._started(text)
        process.kill()
        process.wait()
        assert found.content(files[0], found.digest(files[0])).content == "a.txt"
        os.kill(found._started(text).pid, signal.SIGSTOP)
        monkeypatch.setitem(readers.READERS, "text", replace(text, cpu_s=0))
        monkeypatch.setattr("workbench_pipelines.clients.extraction._LEAST_WAIT_S", 0.1)
        assert found.content(files[1], found.digest(files[1])).reason == "reader_stopped"
        monkeypatch.undo()
        assert found.content(files[1], found.digest(files[1])).content == "b.txt"


def test_a_file_that_changed_since_it_was_hashed_is_no_content_of_that_hash(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("one")
    with extraction(tmp_path) as found:
        digest = found.digest(file)
        file.write_text("two")
        assert found.content(file, digest).reason == "file_changed"
        assert found.content(file, found.digest(file)).content == "two"


def test_the_reader_knows_no_secret_of_this_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-planted-0123456789")
    with extraction(tmp_path) as found:
        process = found._started(readers.READERS["text"])
        assert b"sk-planted" not in Path(f"/proc/{process.pid}/environ").read_bytes()


def test_a_part_that_is_not_installed_is_named_with_the_extra_that_brings_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(readers.READERS, "text", readers.Reader(("no-such-package",), "texts", 1, 60, None, 10**9))
    with pytest.raises(MissingPart) as missing:
        extracted(tmp_path, "a.txt", b"a")
    assert missing.value.line == ("extract: text needs no-such-package; install it with `pip install -e '.[texts]'`")


def test_a_damaged_row_is_read_anew_and_a_damaged_store_is_one_line(tmp_path: Path) -> None:
    assert extracted(tmp_path, "a.txt", b"right").content == "right"
    with sqlite3.connect(tmp_path / "extracted.db") as store:
        store.execute("UPDATE extractions SET content = 'wrong'")
    assert extracted(tmp_path, "a.txt", b"right").content == "right"
    (tmp_path / "extracted.db").write_bytes(b"no database" * 1000)
    with pytest.raises(LakeError, match=r"extracted\.db is damaged; remove it"):
        extracted(tmp_path, "a.txt", b"right")


def test_what_is_forgotten_is_in_no_byte_of_the_store(tmp_path: Path) -> None:
    name, kept = "Quillfeather" * 50, "Thistledown" * 50
    extracted(tmp_path, "kept.txt", kept.encode())
    file = tmp_path / "a.txt"
    file.write_text(name)
    with extraction(tmp_path) as found:
        digest = found.digest(file)
        found.content(file, digest)
        found.store.forget([digest])
    held = b"".join(path.read_bytes() for path in tmp_path.glob("extracted.db*"))
    assert b"Quillfeather" not in held
    assert b"Thistledown" in held


def test_the_store_is_its_owners_alone(tmp_path: Path) -> None:
    with extraction(tmp_path):
        pass
    assert (tmp_path / "extracted.db").stat().st_mode & 0o077 == 0
