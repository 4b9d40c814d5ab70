"""Watching jobs: events, waiting, metrics."""

from ragtune.monitor.best import BestCheckpoint, CheckpointScore
from ragtune.monitor.core import AsyncJobMonitor
from ragtune.monitor.events import JobEvent
from ragtune.monitor.handle import JobMonitor, watch_many
from ragtune.monitor.metrics import MetricRow, Metrics

__all__ = ["AsyncJobMonitor", "BestCheckpoint", "CheckpointScore", "JobEvent", "JobMonitor", "MetricRow", "Metrics"]
__all__ += ["watch_many"]
