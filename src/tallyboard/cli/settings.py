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
            "value": _shown(each),
            "help": each.help,
        }
        for each in table.TABLE
    ]
    if as_json:
        print_json(lines)
        return
    for line in lines:
        print(f"{line['variable']}={line['value']}\n    {line['help']} [default: {line['default'] or 'none'}]")


def _shown(setting: table.Setting) -> str:
    """The present value, without what nobody should see over a shoulder or in a log."""
    value = os.environ.get(setting.variable, setting.default)
    return "***" if setting.secret and value else _PASSWORD.sub(r"\1***@", value)
