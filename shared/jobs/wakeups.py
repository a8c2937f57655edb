"""What a message does to a worker: it wakes it, and the worker does the shard whose turn it is."""

from typing import TYPE_CHECKING, Any

from celery import Task

from shared.database import get_database
from shared.jobs.states import QUEUES
from shared.jobs.turns import next_turn
from shared.logs import get_log

if TYPE_CHECKING:
    AnyTask = Task[..., Any]
else:
    AnyTask = Task

log = get_log(__name__)


class Wakeup(AnyTask):
    """A Celery task whose message does one shard, of whichever kind of job on its queue has waited longest.

    The function of the task does exactly the shard it is called with, and says whether it was the one to claim it.
    """

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """Do one shard; the one that the message names says no more than that there is work."""
        if self.name not in QUEUES:
            return super().__call__(*arguments, **options)
        kinds = [kind for kind, queue in QUEUES.items() if queue == QUEUES[self.name] and kind in self.app.tasks]
        while (turn := next_turn(get_database(), kinds)) is not None:
            if self.app.tasks[turn.kind].run(turn.job_id, turn.number):
                return True
        log.info("nothing_to_claim", kind=self.name)
        return False
