"""`workbench review`: the page on which people decide, and the tokens that let them in."""

from __future__ import annotations

import click

from workbench_pipelines.access import roles_of, unknown_teams
from workbench_pipelines.cli.label_studio import pull, push
from workbench_pipelines.cli.output import print_json, warn
from workbench_pipelines.cli.project import open_workbench
from workbench_pipelines.cli.review_files import export_, import_
from workbench_pipelines.clients.review_tokens import ReviewTokens
from workbench_pipelines.errors import MissingPart

LOOPBACK = "127.0.0.1"


@click.group()
def review() -> None:
    """Reviews by people."""


@review.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def token(name: str, as_json: bool) -> int:
    """Make a token for a person, as the Access document names them; an older one of theirs ends.

    It is shown once: only its hash is kept, in the project's state folder.
    """
    workbench = open_workbench()
    actions = sorted(roles_of(workbench.catalog()).actions_of(name) - {"undo"})
    made = ReviewTokens(workbench.settings.state).issue(name)
    if as_json:
        print_json({"ok": True, "person": name, "token": made, "actions": actions})
    else:
        if not actions:
            warn(f"{name} has no role in an Access document: they can look, and decide nothing")
        click.echo(made)
    return 0


@review.command()
@click.option("--port", default=8765, show_default=True, help="The port on loopback.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object when it begins.")
def serve(port: int, as_json: bool) -> int:
    """Serve the review page on loopback until Ctrl-C; every person enters with a token of their own."""
    import uvicorn

    from workbench_pipelines.review_page.app import review_app

    workbench = open_workbench()
    app = review_app(workbench)
    for spec in workbench.catalog().access():
        for team in unknown_teams(spec):
            warn(f"nobody is in '{team}', which an Access document gives a role: list its people under `teams`")
    if as_json:
        print_json({"ok": True, "url": f"http://{LOOPBACK}:{port}"})
    else:
        click.echo(f"http://{LOOPBACK}:{port}", err=True)
    try:
        uvicorn.run(app, host=LOOPBACK, port=port, log_level="warning", server_header=False)
    except SystemExit:
        raise MissingPart(f"port {port} is taken; name another one with --port") from None
    return 0


for command in (export_, import_, push, pull):
    review.add_command(command)
