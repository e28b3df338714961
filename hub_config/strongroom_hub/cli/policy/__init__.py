"""`strongroom policy`: look at policy files, ask them, and bring them into force."""

from __future__ import annotations

import typer

from strongroom_hub.cli.policy import files, history, questions

app = typer.Typer(help="Check, test, ask and change the policy.", no_args_is_help=True)

for name, command in (
    ("check", files.check),
    ("test", files.run_tests),
    ("coverage", files.show_coverage),
    ("guards", files.guards),
    ("fmt", files.fmt),
    ("recertify", files.recertify),
    ("explain", questions.explain),
    ("who-can", questions.who_can_command),
    ("what-can", questions.what_can_command),
    ("diff", questions.diff),
    ("what-if", history.what_if),
    ("propose", history.propose),
    ("proposals", history.proposals),
    ("approve", history.approve),
    ("reject", history.reject),
    ("withdraw", history.withdraw),
    ("history", history.history),
    ("rollback", history.rollback),
):
    app.command(name)(command)
