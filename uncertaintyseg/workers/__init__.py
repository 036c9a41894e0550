"""Work over many items by several processes: of this machine, or of a Ray cluster (docs/adr/0024)."""

from uncertaintyseg.workers.crew import Crew, Task
from uncertaintyseg.workers.each import Outcome, each
from uncertaintyseg.workers.local import LocalCrew

__all__ = ["Crew", "LocalCrew", "Outcome", "Task", "each"]
