"""Where jobs stand: their line, how far each is, and when it ends."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from monailabel_app.jobs.job import ENDED, Job
from monailabel_app.jobs.places import Places


def line_of(job: Job, unfinished: Sequence[Job], places: Places) -> list[Job]:
    """The jobs that share devices with one and have not ended, in the order in which they get them."""
    line = [other for other in unfinished if other.long == job.long]
    return sorted(line, key=lambda job: (not job.urgent, not places.makers(job), job.prefetch_for is None))


def standing(job: Job, places: Places) -> tuple[str, float]:
    """The stage of a job in words and the fraction that is done."""
    if job.state in ENDED:
        return job.state, 1.0 if job.state == "done" else 0.0
    makers = places.makers(job)
    if job.state == "queued" and not makers:
        return "queued", 0.0
    told = [lane.worker.progress() for lane in makers if lane.at_work]
    stage, parts = told[0][0] if told else "waiting", sum(part for _, part in told)
    under_way = len(places.at(job))
    done = job.total - len(job.steps) - under_way
    if job.total > 1:
        which = f"image {done + 1}" if under_way < 2 else f"images {done + 1} to {done + under_way}"
        stage = f"{stage}, {which} of {job.total}"
    return stage, (done + parts) / job.total


def seconds_left(jobs: Sequence[Job], places: Places) -> float | None:
    """Seconds until the last of `jobs`, a line from its beginning, ends; None before anything is known.

    Steps at work go on as they began; each other one takes as long as the last of its kind with its model, on whichever
    device is free first.
    """
    known = {name: took for lane in places.lanes for name, took in lane.seconds.items()}
    loads: dict[Hashable, float] = {}
    ends = 0.0
    for job in jobs:
        left, ends = len(job.steps), 0.0
        at = places.at(job)
        for lane in places.makers(job):
            rest = lane.left
            if rest is None:
                left += lane in at  # begun, and nobody knows how far it is
                continue
            left -= lane not in at
            loads[lane.place] = loads.get(lane.place, 0.0) + rest
            ends = max(ends, loads[lane.place])
        seconds = known.get((job.kind, job.model)) or max(known.values(), default=None)
        if left and seconds is None:
            return None
        if left:
            own = {place: loads.get(place, 0.0) for place in places.open_to(job)}
            ends = max(ends, _spread(own, left, seconds or 0.0))
            loads |= own
    return ends


def _spread(loads: dict[Hashable, float], steps: int, seconds: float) -> float:
    """Add steps to the devices that are free first, in place; returns when the last of them ends."""
    rounds, single = divmod(steps, len(loads))
    for place in loads:
        loads[place] += rounds * seconds
    first = sorted(loads, key=loads.__getitem__)
    for place in first[:single]:
        loads[place] += seconds
    used = loads if rounds else first[:single]
    return max(loads[place] for place in used)
