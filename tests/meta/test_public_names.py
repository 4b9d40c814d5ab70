"""The front of the package: what it offers and what it costs to import."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import ragtune

FRONT = Path(ragtune.__file__)

# The contract. A name leaves this list only with a line in the changelog that says how to go on without it.
PUBLIC = """
DPO KTO Absolute Answer AsyncFineTuneJob AsyncJobMonitor AsyncMaintenance AsyncTunedModel BackendError BudgetExceeded
ChatRecord CheckReport CompletionRecord CostEstimate CreateUncertain Dataset DatasetBuilder DatasetError EmptyAnswer
Expiry ExpiryWarning FineTuneJob JobCancelled JobDetails JobEvent JobFailed JobMonitor JobTable JournalError Maintenance
MaintenanceDisabled Message Metrics MissingExtraError MissingKey ModelExpired ModelNotReady Multiplier NoTunedModel
Plan PlannedCall PreferenceRecord Problem RagtuneError RecordError Reinforcement ReinforcementRecord SpecError Split
Supervised TuneSpec TunedModel TuningClosed Unsupported UploadedFile WaitTimeout check_file client_from_key_file
demo_file list_jobs parse_record runs upload watch_many Budget Journal Run RunTable FeedbackError FeedbackStore
UnpairedRecord BM25 FactSet EvaluationError Scorecard arms evaluate TRAINED
Recipe Advice advise
Archive ArchiveError compare record replay
Gate GateRefused Registry RegistryError probe
""".split()


def test_the_public_names_are_the_promised_ones() -> None:
    """A new or lost name shows here first."""
    assert sorted(ragtune.__all__) == sorted(PUBLIC)


def test_the_lazy_table_the_type_checkers_view_and_the_export_list_agree() -> None:
    """Three spellings of one list: each must hold the same names from the same modules."""
    tree = ast.parse(FRONT.read_text(encoding="utf-8"))
    block = next(n for n in tree.body if isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING")
    seen = {alias.name: node.module for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert seen == ragtune._MODULE_OF
    assert sorted(seen) == sorted(ragtune.__all__)


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_resolves(name: str) -> None:
    """A name in the table that its module does not have would fail only at the user's desk."""
    assert getattr(ragtune, name) is not None
    assert name in dir(ragtune)


def test_a_misspelt_name_is_an_attribute_error() -> None:
    """`rt.DatasetBilder` says so at once."""
    with pytest.raises(AttributeError, match="DatasetBilder"):
        _ = ragtune.DatasetBilder  # type: ignore[attr-defined]


def test_importing_ragtune_loads_nothing_heavy() -> None:
    """`import ragtune` must not pull in clients, data frames or tensors."""
    heavy = "openai datasets pandas pyarrow torch transformers numpy pydantic tiktoken typer tqdm starlette".split()
    code = f"import sys, ragtune; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
