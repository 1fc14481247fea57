"""`tallyboard settings`: every setting, where it comes from, and what it is now (passwords aside)."""

import os
import re

from tallyboard import settings as table
from tallyboard.cli.options import Json, print_json

_PASSWORD = re.compile(r"(://[^:@/]*:)[^@/]*@")


def settings(as_json: Json = False) -> None:
    """List every setting with its variable, default and present value."""
    lines = [
        {
            "name": each.name,
            "variable": each.variable,
            "default": each.default,
            "value": _PASSWORD.sub(r"\1***@", os.environ.get(each.variable, each.default)),
            "help": each.help,
        }
        for each in table.TABLE
    ]
    if as_json:
        print_json(lines)
        return
    for line in lines:
        print(f"{line['variable']}={line['value']}\n    {line['help']} [default: {line['default'] or 'none'}]")
