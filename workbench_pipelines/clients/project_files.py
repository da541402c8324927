"""The definition files of a project: YAML documents, Jinja2 parts, and the lock of what is published."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from workbench_pipelines.catalog import Catalog, Problem, ProjectFile, load_catalog
from workbench_pipelines.clients.source_files import is_inside
from workbench_pipelines.source_contract import CONTRACT_ENDING

DEFINITION_FOLDERS = ("sheets", "templates")
_YAML = (".yaml", ".yml")


@dataclass(frozen=True)
class ProjectFiles:
    """The folder that holds `sheets/` and `templates/`; paths it gives are relative to it, with forward slashes.

    Hidden files and folders are left out, as are links that lead out of the project.
    """

    project: Path
    roots: Sequence[Path] = ()

    def definitions(self) -> list[ProjectFile]:
        """Every YAML file that can be read as text, in the order of the paths."""
        return self._definitions()[0]

    def problems(self) -> list[Problem]:
        """The YAML files and Jinja2 parts that can not be read: one problem each, so that the rest still loads."""
        return [*self._definitions()[1], *self._partials()[1]]

    def partials(self) -> dict[str, str]:
        """The Jinja2 files beside the templates, by path relative to `templates/`."""
        return self._partials()[0]

    def published_lock(self) -> str | None:
        """The text of `templates/published.lock`, None where nothing is published yet."""
        path = self._lock
        return path.read_text(encoding="utf-8") if path.is_file() else None

    def write_published_lock(self, text: str) -> None:
        """Replaces `templates/published.lock` in one step: a reader sees the old text or the new one."""
        self._lock.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=self._lock.parent, prefix=".published-")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            # A temporary file is its owner's alone; the lock is read by everyone who reads the templates.
            os.chmod(name, self._lock.stat().st_mode & 0o777 if self._lock.exists() else 0o644)
            os.replace(name, self._lock)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name)
            raise

    @property
    def _lock(self) -> Path:
        return self.project / "templates" / "published.lock"

    def _definitions(self) -> tuple[list[ProjectFile], list[Problem]]:
        files: list[ProjectFile] = []
        problems: list[Problem] = []
        for folder in DEFINITION_FOLDERS:
            for path in self._files_under(folder, _YAML):
                if path.name.endswith(CONTRACT_ENDING):
                    continue  # it speaks of a source and is named by a Sheet
                text = _text_of(path, self._relative(path))
                if isinstance(text, Problem):
                    problems.append(text)
                else:
                    files.append(ProjectFile(self._relative(path), text))
        return files, problems

    def _partials(self) -> tuple[dict[str, str], list[Problem]]:
        texts: dict[str, str] = {}
        problems: list[Problem] = []
        for path in self._files_under("templates", (".j2",)):
            text = _text_of(path, self._relative(path))
            if isinstance(text, Problem):
                problems.append(text)
            else:
                texts[path.relative_to(self.project / "templates").as_posix()] = text
        return texts, problems

    def _relative(self, path: Path) -> str:
        return path.relative_to(self.project).as_posix()

    def _files_under(self, folder: str, endings: tuple[str, ...]) -> Iterator[Path]:
        # `walk` does not follow linked folders, so that a circle of links ends.
        found: list[Path] = []
        for here, folders, names in os.walk(self.project / folder):
            folders[:] = [name for name in folders if not name.startswith(".")]
            found += [Path(here, name) for name in names if not name.startswith(".") and name.endswith(endings)]
        for path in sorted(found):
            if path.is_file() and is_inside(path, (self.project, *self.roots)):
                yield path


def load_project_catalog(files: ProjectFiles) -> Catalog:
    """The catalog of a project; files that can not be read are among its problems."""
    catalog = load_catalog(files.definitions(), files.partials())
    return replace(catalog, duplicates=(*catalog.duplicates, *files.problems()))


def _text_of(path: Path, shown: str) -> str | Problem:
    try:
        data = path.read_bytes()
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        return Problem(
            shown, None, None, f"byte 0x{data[error.start]:02X} in line {line} is not UTF-8; save it as UTF-8"
        )
    except OSError as error:
        return Problem(shown, None, None, f"the file can not be read: {error.strerror}")
