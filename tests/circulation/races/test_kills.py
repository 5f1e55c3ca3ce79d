"""Processes that are killed in whatever they do, on both databases: all is done, or nothing.

What a caller was told is there for good, and of what nobody was told there is all or nothing.
"""

import time
from random import Random

from sqlalchemy import select

from circdesk.db.unit_of_work import Sessions, unit_of_work
from circdesk.events.models import Event
from tests.circulation.races.desk import LONG, Check, Desk
from tests.circulation.races.service import PROCESSES
from tests.circulation.races.storm import Storm

KILLS = 300 if LONG else 30
CALLERS = 8
# After how many answers a process is killed at most, and how long after the last one.
MOST_ANSWERS, LONGEST_SECONDS = 8, 0.05


def test_a_process_that_is_killed_leaves_all_or_nothing(
    desk: Desk, sessions: Sessions, check_invariants: Check
) -> None:
    desk.library.policy(recall_days=1)
    random = Random(20260105)
    storm = Storm(desk, seed=20260105)
    with storm.blowing(CALLERS):
        for number in range(KILLS):
            slot = number % PROCESSES
            storm.wait_for_answers(slot, random.randint(1, MOST_ANSWERS))
            # Then it is busy with something else.
            time.sleep(random.uniform(0, LONGEST_SECONDS))
            desk.service.kill(slot)

    assert storm.unclean == [], desk.service.log()[-4000:]
    # Much of what was asked for was never answered.
    assert len(storm.lost) >= KILLS // 4
    with unit_of_work(sessions, writing=False) as session:
        stored = {*session.scalars(select(Event.id))}
    assert stored.issuperset(storm.events())
    check_invariants(written_down=True)
