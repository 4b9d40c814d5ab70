"""Static knowledge through the whole life of a fine-tune: rows, job, monitor, model, maintenance.

Every name below loads on first use (PEP 562), so `import ragtune` itself loads neither openai, datasets, pandas,
pyarrow nor torch.
"""

from __future__ import annotations

import logging
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ragtune._version import __version__ as __version__

if TYPE_CHECKING:
    from ragtune._keys import client_from_key_file
    from ragtune.advice import Advice, advise
    from ragtune.aio import AsyncFineTuneJob, AsyncJobMonitor, AsyncMaintenance, AsyncTunedModel
    from ragtune.checks import CheckReport, Problem, check_file
    from ragtune.cost import CostEstimate
    from ragtune.data import demo_file
    from ragtune.dataset import Dataset, DatasetBuilder, Split
    from ragtune.errors import (
        ArchiveError,
        BackendError,
        BudgetExceeded,
        CreateUncertain,
        DatasetError,
        EmptyAnswer,
        EvaluationError,
        ExpiryWarning,
        FeedbackError,
        GateRefused,
        JobCancelled,
        JobFailed,
        JournalError,
        MaintenanceDisabled,
        MissingExtraError,
        MissingKey,
        ModelExpired,
        ModelNotReady,
        NoTunedModel,
        RagtuneError,
        RecordError,
        RegistryError,
        SpecError,
        TuningClosed,
        Unsupported,
        WaitTimeout,
    )
    from ragtune.evaluation import Scorecard, arms, evaluate, probe
    from ragtune.facts import FactSet
    from ragtune.feedback import FeedbackStore
    from ragtune.files import UploadedFile, upload
    from ragtune.job import FineTuneJob, JobDetails, JobTable, list_jobs
    from ragtune.journal import Budget, Journal, Run, RunTable, runs
    from ragtune.maintenance import Maintenance
    from ragtune.migration import Archive, compare, record, replay
    from ragtune.model import TRAINED, Answer, Expiry, TunedModel
    from ragtune.monitor import JobEvent, JobMonitor, Metrics, watch_many
    from ragtune.plan import Plan, PlannedCall
    from ragtune.recipes import Recipe
    from ragtune.records import (
        ChatRecord,
        CompletionRecord,
        Message,
        PreferenceRecord,
        ReinforcementRecord,
        UnpairedRecord,
        parse_record,
    )
    from ragtune.registry import Gate, Registry
    from ragtune.retrieval import BM25
    from ragtune.spec import DPO, KTO, Absolute, Multiplier, Reinforcement, Supervised, TuneSpec

_HOME = {
    "ragtune._keys": ("client_from_key_file",),
    "ragtune.advice": ("Advice", "advise"),
    "ragtune.aio": ("AsyncFineTuneJob", "AsyncJobMonitor", "AsyncMaintenance", "AsyncTunedModel"),
    "ragtune.checks": ("CheckReport", "Problem", "check_file"),
    "ragtune.cost": ("CostEstimate",),
    "ragtune.data": ("demo_file",),
    "ragtune.dataset": ("Dataset", "DatasetBuilder", "Split"),
    "ragtune.errors": (
        "ArchiveError",
        "BackendError",
        "BudgetExceeded",
        "CreateUncertain",
        "DatasetError",
        "EmptyAnswer",
        "EvaluationError",
        "ExpiryWarning",
        "FeedbackError",
        "GateRefused",
        "JobCancelled",
        "JobFailed",
        "JournalError",
        "MaintenanceDisabled",
        "MissingExtraError",
        "MissingKey",
        "ModelExpired",
        "ModelNotReady",
        "NoTunedModel",
        "RagtuneError",
        "RecordError",
        "RegistryError",
        "SpecError",
        "TuningClosed",
        "Unsupported",
        "WaitTimeout",
    ),
    "ragtune.evaluation": ("Scorecard", "arms", "evaluate", "probe"),
    "ragtune.facts": ("FactSet",),
    "ragtune.feedback": ("FeedbackStore",),
    "ragtune.files": ("UploadedFile", "upload"),
    "ragtune.job": ("FineTuneJob", "JobDetails", "JobTable", "list_jobs"),
    "ragtune.journal": ("Budget", "Journal", "Run", "RunTable", "runs"),
    "ragtune.maintenance": ("Maintenance",),
    "ragtune.migration": ("Archive", "compare", "record", "replay"),
    "ragtune.model": ("TRAINED", "Answer", "Expiry", "TunedModel"),
    "ragtune.monitor": ("JobEvent", "JobMonitor", "Metrics", "watch_many"),
    "ragtune.plan": ("Plan", "PlannedCall"),
    "ragtune.recipes": ("Recipe",),
    "ragtune.records": (
        "ChatRecord",
        "CompletionRecord",
        "Message",
        "PreferenceRecord",
        "ReinforcementRecord",
        "UnpairedRecord",
        "parse_record",
    ),
    "ragtune.registry": ("Gate", "Registry"),
    "ragtune.retrieval": ("BM25",),
    "ragtune.spec": ("DPO", "KTO", "Absolute", "Multiplier", "Reinforcement", "Supervised", "TuneSpec"),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = [
    "BM25",
    "DPO",
    "KTO",
    "TRAINED",
    "Absolute",
    "Advice",
    "Answer",
    "Archive",
    "ArchiveError",
    "AsyncFineTuneJob",
    "AsyncJobMonitor",
    "AsyncMaintenance",
    "AsyncTunedModel",
    "BackendError",
    "Budget",
    "BudgetExceeded",
    "ChatRecord",
    "CheckReport",
    "CompletionRecord",
    "CostEstimate",
    "CreateUncertain",
    "Dataset",
    "DatasetBuilder",
    "DatasetError",
    "EmptyAnswer",
    "EvaluationError",
    "Expiry",
    "ExpiryWarning",
    "FactSet",
    "FeedbackError",
    "FeedbackStore",
    "FineTuneJob",
    "Gate",
    "GateRefused",
    "JobCancelled",
    "JobDetails",
    "JobEvent",
    "JobFailed",
    "JobMonitor",
    "JobTable",
    "Journal",
    "JournalError",
    "Maintenance",
    "MaintenanceDisabled",
    "Message",
    "Metrics",
    "MissingExtraError",
    "MissingKey",
    "ModelExpired",
    "ModelNotReady",
    "Multiplier",
    "NoTunedModel",
    "Plan",
    "PlannedCall",
    "PreferenceRecord",
    "Problem",
    "RagtuneError",
    "Recipe",
    "RecordError",
    "Registry",
    "RegistryError",
    "Reinforcement",
    "ReinforcementRecord",
    "Run",
    "RunTable",
    "Scorecard",
    "SpecError",
    "Split",
    "Supervised",
    "TuneSpec",
    "TunedModel",
    "TuningClosed",
    "UnpairedRecord",
    "Unsupported",
    "UploadedFile",
    "WaitTimeout",
    "advise",
    "arms",
    "check_file",
    "client_from_key_file",
    "compare",
    "demo_file",
    "evaluate",
    "list_jobs",
    "parse_record",
    "probe",
    "record",
    "replay",
    "runs",
    "upload",
    "watch_many",
]

# Where nobody set up logging, Python's last resort would write our warnings onto standard error.
logging.getLogger("ragtune").addHandler(logging.NullHandler())

# Hidden from type checkers: with a visible module `__getattr__` they would accept any misspelt name.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        try:
            module = _MODULE_OF[name]
        except KeyError:
            message = f"module 'ragtune' has no attribute {name!r}"
            raise AttributeError(message) from None
        value = getattr(import_module(module), name)
        # From the second time on Python finds it without asking here.
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
