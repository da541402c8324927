"""The files of a Sheet: where they may lie, which columns they have, and their rows.

Formats: Parquet, CSV and NDJSON (a file, or a folder of files of one ending), XLSX, and Delta folders; on the local
disk or at a cloud storage address. Item keys and join keys are read as text, so that ``007`` stays ``007``.

A file is read whole or not at all: a line that is cut short, a byte that is no text, a column that stands twice is an
error that names the file and the line, never a row that is quietly null. No error repeats a value of the data.
"""

from __future__ import annotations

import codecs
import logging
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TypeVar
from urllib.parse import unquote, urlsplit

import polars as pl

from workbench_pipelines.catalog import ReadOptions
from workbench_pipelines.clients.source_checks import check_csv, check_names, check_ndjson, encoding_of
from workbench_pipelines.errors import DefinitionError, SourceError, nearest
from workbench_pipelines.joins import as_text

T = TypeVar("T")
Location = Path | str
"""A path on this machine, or the URI of a file or folder in cloud storage."""

CLOUD_SCHEMES = ("s3", "s3a", "gs", "gcs", "az", "azure", "abfs", "abfss")
_ENDINGS = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".csv": "csv",
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
    ".xlsx": "xlsx",
}
_KNOWN = ", ".join(sorted(_ENDINGS)) + " or a Delta folder"


def resolve(project: Path, roots: Sequence[Path], document_file: str, path: str, where: str | None = None) -> Location:
    """The place a path in a definition file means: relative to the folder of that file, inside the project or a root.

    `where` names the file, document and field in error lines; the file alone where it is not given.

    Raises:
        DefinitionError: for a path that leads outside (through ``..`` or a link), that is neither file nor folder, that
            does not exist, or a URI of another scheme than cloud storage and `file:`.
    """
    named = where or document_file
    if "\0" in path or not path.strip():
        raise DefinitionError(f"{named}: a path is empty or holds a null byte")
    where = f"{named}: path '{path}'"
    if "://" in path or path.lower().startswith("file:"):
        parts = urlsplit(path)
        if parts.scheme.lower() in CLOUD_SCHEMES and parts.netloc:
            return path
        if parts.scheme.lower() != "file" or parts.netloc not in ("", "localhost"):
            raise DefinitionError(
                f"{where}: addresses of this kind are not read; known: file, {', '.join(CLOUD_SCHEMES)}"
            )
        path = unquote(parts.path)
    folder = (project / document_file).parent
    found = Path(os.path.realpath(folder / path))
    if not is_inside(found, (project, *roots)):
        raise DefinitionError(
            f"{where} leads outside the project and WORKBENCH_ROOTS; move the file or add its folder there"
        )
    if not found.exists():
        beside = [entry.name for entry in found.parent.iterdir()] if found.parent.is_dir() else []
        raise DefinitionError(f"{where}: there is no such file{nearest(found.name, beside) if beside else ''}")
    if not (found.is_file() or found.is_dir()):
        raise DefinitionError(f"{where} is a device or pipe, not a file")
    return found


def is_inside(path: Path, roots: Sequence[Path]) -> bool:
    """Whether a path, all links followed, lies in one of the folders."""
    real = Path(os.path.realpath(path))
    return any(real.is_relative_to(os.path.realpath(root)) for root in roots)


def columns_of(
    location: Location, options: ReadOptions, text_columns: Sequence[str], where: str
) -> dict[str, pl.DataType]:
    """The columns of a table and their types, as `read_table` would give them.

    Parquet and Delta say them themselves. CSV, NDJSON and XLSX have no types, so that their values are looked through.

    Raises:
        DefinitionError, SourceError: as `read_table`.
    """
    kind, files = _files_of(location, where)
    place = f"{where}: {_shown(location)}"
    if kind not in ("parquet", "delta"):
        return dict(read_table(location, options, text_columns, where).schema)
    scan = _scan_parquet if kind == "parquet" else _scan_delta
    schema = _guarded(lambda: scan(location, files, place).collect_schema(), kind, place)
    check_names(schema, place)
    return {name: pl.String() if name in text_columns else _storable(dtype) for name, dtype in schema.items()}


def read_table(location: Location, options: ReadOptions, text_columns: Sequence[str], where: str) -> pl.DataFrame:
    """The rows of a table, in the order of its files and lines; `text_columns` are read as text where they exist.

    The types of a CSV or NDJSON column are those of all its values. Types a Delta table can not hold (times of day,
    durations, integers of 128 bits) become text.

    Raises:
        DefinitionError: for an ending, encoding, separator or worksheet that is not known.
        SourceError: for a file that can not be read whole, naming the file and, where there are lines, the line.
    """
    kind, files = _files_of(location, where)
    place = f"{where}: {_shown(location)}"
    if kind in ("parquet", "delta"):
        scan = _scan_parquet if kind == "parquet" else _scan_delta
        frame = _guarded(lambda: scan(location, files, place).collect(), kind, place)
    elif kind == "xlsx":
        frame = _read_xlsx(files[0], options, text_columns, place)
    else:
        read = partial(_read_csv, options=options, text_columns=text_columns) if kind == "csv" else _read_ndjson
        names = [place if len(files) == 1 else f"{place}/{_shown(file)}" for file in files]
        frames = [_guarded(partial(read, file, name), kind, name) for file, name in zip(files, names, strict=True)]
        if kind == "csv":
            _refuse_other_columns(frames, names)
        # A column of whole numbers in one file and of fractions in the next is a column of fractions.
        frame = _guarded(lambda: pl.concat(frames, how="diagonal_relaxed", rechunk=True), kind, place)
    check_names(frame.columns, place)
    frame = as_text(frame, [name for name in text_columns if name in frame.columns], place)
    # A duration has no cast to text, only an ISO 8601 form.
    frame = frame.with_columns(pl.col(pl.Duration).dt.to_string("iso"))
    return frame.cast({name: _storable(dtype) for name, dtype in frame.schema.items() if dtype != _storable(dtype)})


def _files_of(location: Location, where: str) -> tuple[str, list[Location]]:
    """The format of a location and its files, sorted by path."""
    shown = f"{where}: {_shown(location)}"
    if isinstance(location, str):
        # What lies behind an address can not be looked at before it is read: a final slash says Parquet files.
        ending = PurePosixPath(urlsplit(location).path).suffix.lower()
        kind = _ENDINGS.get(ending, "parquet" if location.endswith("/") else "delta")
        if kind == "xlsx":
            raise DefinitionError(f"{shown}: XLSX files are read from this machine only; copy it there, or use Parquet")
        return kind, [location]
    if location.is_file():
        return _kind_of(location, shown), [location]
    if (location / "_delta_log").is_dir():
        return "delta", [location]
    files = [path for path in sorted(location.rglob("*")) if path.is_file() and not _is_hidden(path, location)]
    for path in files:
        _refuse_escape(path, location, shown)
    kinds = {_kind_of(path, f"{shown}/{_shown(path)}") for path in files}
    if len(kinds) != 1 or kinds == {"xlsx"}:
        found = f"holds {' and '.join(sorted(kinds))} files" if kinds else "holds no file"
        raise SourceError(f"{shown}: the folder {found}; a table is a folder of Parquet, CSV or NDJSON files alone")
    return kinds.pop(), list(files)


def _kind_of(path: Path, shown: str) -> str:
    kind = _ENDINGS.get(path.suffix.lower())
    if kind is None:
        raise DefinitionError(f"{shown}: files that end in '{path.suffix}' are not read; known: {_KNOWN}")
    return kind


def _is_hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith((".", "_")) for part in path.relative_to(folder).parts)


def _refuse_escape(path: Path, folder: Path, shown: str) -> None:
    if not is_inside(path, (folder,)):
        raise SourceError(f"{shown}: '{path.name}' leads outside its folder; put the file itself there")


def _scan_parquet(location: Location, files: Sequence[Location], place: str) -> pl.LazyFrame:
    if isinstance(location, str):
        return pl.scan_parquet(location)
    partitioned = any("=" in part for file in files for part in Path(file).relative_to(location).parts)
    return pl.scan_parquet([str(file) for file in files], glob=False, hive_partitioning=partitioned)


def _scan_delta(location: Location, files: Sequence[Location], place: str) -> pl.LazyFrame:
    from deltalake import DeltaTable

    table = DeltaTable(str(location))
    if isinstance(location, Path):
        # The log is data too: it may name files anywhere.
        for uri in table.file_uris():
            _refuse_escape(Path(unquote(urlsplit(uri).path) if uri.startswith("file:") else uri), location, place)
    return pl.scan_delta(table)


def _read_csv(file: Location, place: str, *, options: ReadOptions, text_columns: Sequence[str]) -> pl.DataFrame:
    if isinstance(file, str):
        overrides = dict.fromkeys(text_columns, pl.String())
        return pl.scan_csv(file, infer_schema_length=None, schema_overrides=overrides, glob=False).collect()
    header, blank = check_csv(file, options, place)
    encoding = encoding_of(options, place)
    data: Path | bytes = file if encoding == "utf-8-sig" else file.read_bytes().decode(encoding).encode()
    frame = pl.read_csv(
        data,
        separator=options.separator,
        infer_schema_length=None,
        schema_overrides={name: pl.String() for name in text_columns if name in header},
        glob=False,
    )
    return frame.filter(~pl.all_horizontal(pl.all().is_null())) if blank else frame


def _refuse_other_columns(frames: Sequence[pl.DataFrame], names: Sequence[str]) -> None:
    """Every CSV file of a folder has the columns of the first; an NDJSON line may leave out what it does not know."""
    first = set(frames[0].columns)
    for frame, name in zip(frames, names, strict=True):
        other = sorted(first.symmetric_difference(frame.columns))
        if other:
            found = "lacks" if other[0] in first else "adds"
            raise SourceError(
                f"{name}: the file {found} the column '{other[0]}', against {names[0].rpartition('/')[2]}"
            )


def _read_ndjson(file: Location, place: str) -> pl.DataFrame:
    if isinstance(file, str):
        return pl.scan_ndjson(file, infer_schema_length=None).collect()
    check_ndjson(file, place)
    with file.open("rb") as opened:
        marked = opened.read(3) == codecs.BOM_UTF8
    return pl.read_ndjson(file.read_bytes()[3:] if marked else file, infer_schema_length=None)


def _read_xlsx(file: Location, options: ReadOptions, text_columns: Sequence[str], place: str) -> pl.DataFrame:
    import fastexcel

    # It prints a line for every column that is empty.
    logging.getLogger("fastexcel").setLevel(logging.ERROR)
    try:
        book = fastexcel.read_excel(str(file))
        sheet = options.worksheet or book.sheet_names[0]
        if sheet not in book.sheet_names:
            raise DefinitionError(f"{place}: there is no worksheet '{sheet}'{nearest(sheet, book.sheet_names)}")
        head = book.load_sheet(sheet, header_row=None, n_rows=1, dtypes="string").to_polars()
        if head.is_empty():
            raise SourceError(f"{place}: the worksheet '{sheet}' is empty; its first row has to name the columns")
        header = list(head.row(0))
        check_names(header, f"{place}: worksheet '{sheet}'")
        texts = {name: pl.String() for name in text_columns if name in header}
        return pl.read_excel(
            file, sheet_name=sheet, schema_overrides=texts, infer_schema_length=None, raise_if_empty=False
        )
    except (fastexcel.FastExcelError, pl.exceptions.PolarsError, OSError, ValueError):
        raise SourceError(f"{place}: the file can not be read as XLSX; is it whole?") from None


def _guarded(read: Callable[[], T], kind: str, place: str) -> T:
    """What `read` returns; whatever a reader throws becomes one line."""
    from deltalake.exceptions import DeltaError

    try:
        return read()
    except pl.exceptions.PanicException:
        # A broken Parquet file brings the reader down; the exception is no `Exception`.
        raise SourceError(f"{place}: the file can not be read as {kind}; it is broken or cut short") from None
    except (pl.exceptions.PolarsError, DeltaError, OSError) as error:
        # What the readers of text say may quote a value; what the others say names columns and types.
        said = str(error).strip().partition("\n")[0][:160] if kind in ("parquet", "delta") else ""
        why = said or "do its lines agree on the type of every column?"
        raise SourceError(f"{place}: the table can not be read as {kind}: {why}") from None


def _storable(dtype: pl.DataType) -> pl.DataType:
    if dtype in (pl.Null, pl.Categorical, pl.Enum, pl.Int128, pl.UInt128, pl.Time, pl.Duration):
        return pl.String()
    return dtype


def _shown(location: Location) -> str:
    """The name of a location in an error line, without credentials a URI may carry."""
    return location.name if isinstance(location, Path) else urlsplit(location)._replace(query="").geturl()
