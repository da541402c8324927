"""Validation: every problem of a project's definitions, with their references resolved, one line each."""

from workbench_pipelines.validation.project import check_project

__all__ = ["check_project"]
