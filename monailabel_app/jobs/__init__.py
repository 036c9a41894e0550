"""Long work: a queue in the server, a worker process that does it, and the store where results land."""

from monailabel_app.jobs.job import InferJob, Job, ScoreJob, Step
from monailabel_app.jobs.queue import ENDED, JobQueue
from monailabel_app.jobs.results import Report, ResultStore
from monailabel_app.jobs.worker import Task, Worker

__all__ = ["ENDED", "InferJob", "Job", "JobQueue", "Report", "ResultStore", "ScoreJob", "Step", "Task", "Worker"]
