"""The interface of side outputs: what is published besides predictions, alarms, alarm state and dead letters."""

from collections.abc import Container
from typing import Protocol

from worker.kafka.records import Outgoing
from worker.score.outcome import Outcome


class SideOutput(Protocol):
    """Something computed from scored batches and published in their transactions.

    For each batch the loop calls `begin` when it is scored, `records` when its predictions are encoded, and then either
    `committed` or `aborted`. A batch that only rebuilds windows has nothing to publish: the loop calls `committed`
    alone. All calls come from the loop's thread, one after the other.
    """

    def begin(self, outcome: Outcome, assigned: Container[int]) -> None:
        """Start work on a batch that may go on while its predictions are encoded.

        Args:
            outcome: the scored batch.
            assigned: the partitions of this worker.
        """
        ...

    def records(self, outcome: Outcome, assigned: Container[int]) -> Outgoing:
        """Records for the batch's transaction."""
        ...

    def committed(self, outcome: Outcome) -> None:
        """Keep what the batch changed: its transaction is committed."""
        ...

    def aborted(self) -> None:
        """Forget what the batch changed: it comes again."""
        ...
