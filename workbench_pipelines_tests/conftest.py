"""What every test finds: no network, a quiet Great Expectations, and a project to drive."""

import os

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")

from workbench_pipelines_tests.project_world import project

__all__ = ["project"]
