"""A run of its own process: asks numbered questions of the provider at OPENAI_API_BASE, and says what came of them.

python -m workbench_pipelines_tests.runner_program LOGS LAKE COUNT [AT_ONCE]
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from workbench_pipelines.clients.lake import Lake
from workbench_pipelines.clients.llm import LLM
from workbench_pipelines.clients.request_store import RequestStore
from workbench_pipelines.clients.runner import Runner
from workbench_pipelines.pacing import Pace
from workbench_pipelines.requests import Completion
from workbench_pipelines_tests.request_world import make_request, read


def main() -> None:
    logs, lake, count, at_once = sys.argv[1:5]
    runner = Runner(RequestStore(Path(logs), Lake(lake)), LLM().connected, otherwise=Pace(int(at_once)))
    requests = [make_request(f"{number:05}") for number in range(int(count))]
    answered = {}
    try:
        for one in runner.answer([(request,) for request in requests], len(requests), read):
            outcome = one.outcome
            answered[one.request.item_ref] = outcome.text if isinstance(outcome, Completion) else outcome.reason
    except KeyboardInterrupt:
        sys.exit(130)
    sys.stdout.write(json.dumps(answered, sort_keys=True))


if __name__ == "__main__":
    main()
