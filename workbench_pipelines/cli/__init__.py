"""The command line: parse, call, print. Errors are one line on standard error; `--debug` shows where they come from."""

from __future__ import annotations

import os
import signal
import sys
import traceback

import click

from workbench_pipelines.errors import WorkbenchError

# Read when the packages are imported: no price list, no model hub, no usage statistics is fetched behind anybody's back.
OFFLINE = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "HF_HUB_OFFLINE": "1", "GX_ANALYTICS_ENABLED": "false"}
INTERRUPTED = 130


def main(argv: list[str] | None = None) -> None:
    """The `workbench` command; ends the process with the exit code of what happened."""
    for name, value in OFFLINE.items():
        os.environ.setdefault(name, value)
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    from workbench_pipelines.cli.commands import workbench

    # A scheduler that stops a command gives it the time to keep what it paid for, as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        code = workbench.main(
            args=[a for a in arguments if a != "--debug"], prog_name="workbench", standalone_mode=False
        )
    except (click.exceptions.Abort, KeyboardInterrupt):
        _say("interrupted; what was done and every answer that came is kept: run again to go on")
        code = INTERRUPTED
    except click.ClickException as error:
        _say(error.format_message())
        code = 2
    except WorkbenchError as error:
        _say(error.line)
        code = error.exit_code
    except Exception as error:
        if not debug:
            # The text of a foreign error can hold anything, a value of a row included: its kind is enough here.
            _say(f"unexpected {type(error).__name__}; run again with --debug to see where")
        code = 1
        if debug:
            traceback.print_exc()
    sys.exit(code if isinstance(code, int) else 0)


def _say(line: str) -> None:
    click.echo(f"workbench: {' '.join(line.split())}", err=True)
