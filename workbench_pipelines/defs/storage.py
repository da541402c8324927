"""Where the lake lies: a local folder, or S3, Azure or Google storage configured in the classes of dagster-deltalake.

Without a configuration a URI is opened with the storage library's own defaults (environment variables, instance roles).
"""

from __future__ import annotations

from typing import Protocol

from workbench_pipelines.clients.lake import Lake
from workbench_pipelines.errors import DefinitionError

_SCHEMES = {
    "s3": ("s3", "s3a"),
    "azure": ("az", "adl", "abfs", "abfss", "azure"),
    "gcs": ("gs",),
    "local": ("", "file"),
}


class Storage(Protocol):
    """LocalConfig, S3Config, AzureConfig or GcsConfig of `dagster_deltalake`."""

    @property
    def provider(self) -> str: ...

    # Its own `str_dict` calls a method that pydantic is about to remove, and writes True where object stores read true.
    def model_dump(self, *, exclude_none: bool, exclude: set[str]) -> dict[str, object]: ...


def storage_options_for(uri: str, storage: Storage | None) -> dict[str, str] | None:
    """The options deltalake and polars take for `uri`. Raises DefinitionError where the two name different stores."""
    if storage is None:
        return None
    scheme = uri.partition("://")[0] if "://" in uri else ""
    if scheme not in _SCHEMES[storage.provider]:
        raise DefinitionError(f"the lake is at '{uri}' but its storage is configured for {storage.provider}")
    options = storage.model_dump(exclude_none=True, exclude={"provider"})
    return {
        name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in options.items()
    } or None


def open_lake(uri: str, storage: Storage | None = None) -> Lake:
    return Lake(uri, storage_options_for(uri, storage))
