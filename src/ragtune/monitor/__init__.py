"""Watching jobs: events, waiting, metrics."""

from ragtune.monitor.core import AsyncJobMonitor
from ragtune.monitor.events import JobEvent
from ragtune.monitor.handle import JobMonitor, watch_many
from ragtune.monitor.metrics import MetricRow, Metrics

__all__ = ["AsyncJobMonitor", "JobEvent", "JobMonitor", "MetricRow", "Metrics", "watch_many"]
