"""Long work: a queue in the server, worker processes that do it, and the store where results land."""

from monailabel_app.jobs.device import Device, local_devices
from monailabel_app.jobs.job import ENDED, BatchJob, CalibrateJob, InferJob, Job, ScoreJob, Step, TrainJob
from monailabel_app.jobs.predict import Predict
from monailabel_app.jobs.queue import JobQueue
from monailabel_app.jobs.results import Report, ResultStore
from monailabel_app.jobs.work import Work
from monailabel_app.jobs.worker import Worker

__all__ = [
    "ENDED", "BatchJob", "CalibrateJob", "Device", "InferJob", "Job", "JobQueue", "Predict", "Report", "ResultStore",
    "ScoreJob", "Step", "TrainJob", "Work", "Worker", "local_devices",
]  # fmt: skip
