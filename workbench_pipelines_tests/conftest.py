"""What every test finds: no network, a quiet Great Expectations, time for examples, and a project to drive."""

import os

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")

from hypothesis import HealthCheck, settings

from workbench_pipelines_tests.project_world import project

__all__ = ["project"]

# How long an example takes says how busy the machine is: speed is what the benchmarks look at.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")
