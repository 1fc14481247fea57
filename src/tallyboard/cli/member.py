"""`tallyboard member`: how an administrator gets in."""

import typer

from tallyboard.cli.options import Data, Json, open_app, print_json, talk

group = typer.Typer(help="Let members sign in.", no_args_is_help=True)


@group.command("link")
def link(data: Data = None, as_json: Json = False) -> None:
    """Print a new one-time sign-in link for the administrator."""
    with open_app(data) as app:
        chosen = app.settings
        address = app.sign_in_link(f"http://{chosen.host}:{chosen.port}")
    if as_json:
        print_json({"link": address})
        return
    talk.print("This link signs you in once, within 30 minutes.")
    print(address)
