"""kill -9 loses nothing that was acknowledged and counts nothing twice (laws 1, 2 and 3)."""

import random
from collections import Counter
from pathlib import Path

from tests import engines
from tests.conftest import Server, serving
from tests.laws.load import check, under_load

KILLS = 20


def test_twenty_kills_during_intake_lose_and_double_nothing(folder: Path) -> None:
    with serving(folder) as server:

        def crash(_: random.Random) -> None:
            server.kill()
            server.start()

        acknowledged = under_load([server], crash, KILLS)
        check(server, acknowledged, _stored(server))


def _stored(server: Server) -> Counter[str]:
    return Counter(name for (name,) in engines.look(server.folder, "SELECT id FROM event"))
