"""How xdist hands out tests when one of its processes dies.

xdist 3.8 hands out again all groups that the dead process ever had. A process that gets a finished one has nothing to
do and says nothing, so it is given no more: the run stood still shortly before its end. The test that killed the
process was begun again besides, in the next one.
"""

from __future__ import annotations

from collections import OrderedDict

from xdist.scheduler import LoadGroupScheduling
from xdist.workermanage import WorkerController


class GroupScheduling(LoadGroupScheduling):
    """Groups of tests, of which those of a dead process go on behind the test that it died of: that one has failed."""

    def remove_node(self, node: WorkerController) -> str | None:
        """Take back what a process has not done; returns the test that it died of, None where it was done."""
        tests_of = {group: tests for group, tests in self.assigned_work.pop(node).items() if not all(tests.values())}
        if not tests_of:
            return None
        first = next(iter(tests_of.values()))
        died_of = next(test for test, is_done in first.items() if not is_done)
        first[died_of] = True
        again = {group: tests for group, tests in tests_of.items() if not all(tests.values())}
        self.workqueue = OrderedDict({**again, **self.workqueue})  # first: they may be long
        for other in self.nodes:
            self._reschedule(other)
        return died_of

    def schedule(self) -> None:
        super().schedule()
        for node in self.nodes:  # a process begins a test only when it knows the next one
            if self._pending_of(self.assigned_work[node]) < 2:
                self._reschedule(node)

    def _reschedule(self, node: WorkerController) -> None:
        if node in self.registered_collections:  # else it has only just taken a dead one's place
            super()._reschedule(node)
