"""Dated facts about servers that speak OpenAI's fine-tuning wire, chosen by address, by name, or by the server's word.

A server of ragtune's own says who it is. A dialect only ever refuses what its server is known to refuse or to misread;
an unknown server gets the benefit of the doubt. Apart from `local`, which the tests train against, none of these
presets was ever called live for this package: each names its source and its day, and says so.
"""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from ragtune import limits
from ragtune._checked import checked
from ragtune.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["DIALECTS", "Dialect", "dialect_named", "dialect_of", "saved_dialect"]

# OpenAI's; what servers add to them, each preset says.
ALL_METHODS = frozenset({"supervised", "dpo", "reinforcement"})


@checked()
@dataclass(frozen=True, kw_only=True)
class Dialect:
    """What is known of one kind of server.

    Attributes:
        name: its short name.
        hosts: patterns of host names that belong to it; `*` stands for anything.
        methods: ways of fine-tuning that it takes.
        learning_rate: what the learning rate is to it: a `multiplier` of its own rate, an `absolute` rate, or `either`.
        hyperparameters: where it looks for them: below the `method`, or in the `body` beside it, the older place.
        suffix: whether the tuned model's suffix is `optional` or `refused`.
        longest_suffix: most characters of a suffix.
        needs_validation: methods that do not go without a validation file.
        asks_while_training: whether a job can ask its model held-out questions between epochs (`evaluate_every`).
        chooses_reasoning: whether a job can say what becomes of the thoughts in its rows (`reasoning`).
        extra_body: fields that every create request needs there beside OpenAI's.
        uploads_in_parts: whether it has the routes for large files; None where that is tried.
        file_status: whether the status of its files tells when they were read; where not, nobody waits for it.
        statuses: its words for a job's status, to OpenAI's; they go before the words that many servers use, and
            capitals, `_`, `-` and blanks make no difference.
        result: what a job that succeeded leaves: a model that is `callable` after minutes at most, or one that its
            owner must deploy first (`deploy`).
        serving: how such a model is made to answer, for a person; None where nothing is to be done.
        weights: how the trained weights are had, for a person; None where they cannot be, or nobody knows.
        deletes_models: whether a tuned model is deleted by the same call as at OpenAI; where not, the call is refused.
        catalog_dates: whether the catalogue's shutdown dates, which are OpenAI's, hold there; elsewhere the server is
            asked whether it still has the model.
        bills: whether training costs money there; where not, the price is zero whatever the catalogue says of a name.
        keeps_metadata: whether a job keeps its metadata; where not, a job whose answer was lost is looked for by what
            else is known of it.
        trains_answers_alone: whether only the assistant's turns are trained and `weight` holds, as at OpenAI.
        jobs_at_once: how many jobs it takes at a time; None where that is not known.
        multiplier_of: the absolute rate that a multiplier of 1 stands for there; None where nobody knows.
        wire: whose calls it takes for fine-tuning: OpenAI's, or its own, which `rt.replay` alone speaks.
        source: where these facts were read.
        as_of: on which day.
        called_live: whether this package was ever tried against such a server.

    Example:
        ```python
        from dataclasses import replace

        from ragtune.dialects import dialect_named, dialect_of

        print(dialect_of("https://api.openai.com/v1/").name, dialect_of("https://example.org/v1").name)
        #> openai generic
        mine = replace(dialect_named("generic"), name="mine", learning_rate="absolute", extra_body={"lora": True})
        print(mine.extra_body)
        #> {'lora': True}
        ```
    """

    name: str
    hosts: tuple[str, ...] = ()
    methods: frozenset[str] = ALL_METHODS
    learning_rate: Literal["multiplier", "absolute", "either"] = "multiplier"
    hyperparameters: Literal["method", "body"] = "method"
    suffix: Literal["optional", "refused"] = "optional"
    longest_suffix: int = limits.MAX_SUFFIX
    needs_validation: frozenset[str] = frozenset()
    asks_while_training: bool = False
    chooses_reasoning: bool = False
    extra_body: Mapping[str, object] = field(default_factory=dict)
    uploads_in_parts: bool | None = True
    file_status: bool = True
    statuses: Mapping[str, str] = field(default_factory=dict)
    result: Literal["callable", "deploy"] = "callable"
    serving: str | None = None
    weights: str | None = None
    deletes_models: bool = True
    catalog_dates: bool = False
    bills: bool = True
    keeps_metadata: bool = True
    trains_answers_alone: bool = True
    jobs_at_once: int | None = None
    multiplier_of: float | None = None
    wire: Literal["openai", "together", "fireworks"] = "openai"
    source: str
    as_of: dt.date = dt.date(2026, 11, 21)
    called_live: bool = False

    def status(self, word: str) -> str:
        """OpenAI's word for a status of this server; a word that nobody knows stays as it is."""
        # The server's own words first: they may mean something else by a word that all others use alike.
        own = {_letters(known): meant for known, meant in self.statuses.items()}
        return own.get(_letters(word)) or _STATUS_OF_WORD.get(_letters(word)) or word

    def saved(self) -> dict[str, Any]:
        """Return it as JSON values, for a saved handle; `saved_dialect` reads them."""
        values = asdict(self) | {"as_of": self.as_of.isoformat()}
        return {key: sorted(value) if isinstance(value, frozenset) else value for key, value in values.items()}


def _letters(word: str) -> str:
    """`JOB_STATE_SUCCEEDED`, `Succeeded` and `succeeded` are one word."""
    return "".join(filter(str.isalnum, word.casefold())).removeprefix("jobstate")


# What servers that copied the wire say for the same things (Mistral, Together, Fireworks, Alibaba, Google, Amazon).
# A word that means another thing elsewhere goes to the `statuses` of its own dialect instead.
_STATUS_WORDS = {
    "validating_files": "validating_files validating",
    "queued": "queued queuing pending created creating submitted scheduled waiting validated",
    "running": "running started in_progress processing training compressing uploading "
    "cancelling canceling cancel_requested cancellation_requested stopping",
    "paused": "paused suspended",
    "succeeded": "succeeded success successful completed complete done finished",
    "failed": "failed failure error errored user_error failed_validation expired timeout timed_out",
    "cancelled": "cancelled canceled stopped aborted terminated",
}
_STATUS_OF_WORD = {_letters(word): meant for meant, said in _STATUS_WORDS.items() for word in said.split()}

GENERIC = Dialect(
    name="generic",
    methods=ALL_METHODS | {"kto"},
    learning_rate="either",
    uploads_in_parts=None,
    source="nothing is known, so nothing is refused",
)
DIALECTS = (
    Dialect(
        name="openai",
        hosts=("api.openai.com",),
        needs_validation=frozenset({"reinforcement"}),
        catalog_dates=True,
        source="https://platform.openai.com/docs/api-reference/fine-tuning",
    ),
    Dialect(
        name="azure-foundry",
        hosts=("*.openai.azure.com", "*.services.ai.azure.com"),
        needs_validation=frozenset({"reinforcement"}),
        # The newer of its two addresses answers 404 to the routes for parts.
        uploads_in_parts=None,
        result="deploy",
        serving="make a deployment of it in the portal, with `az cognitiveservices` or ARM, and ask that by its name",
        # Azure retires OpenAI's models on days of its own, so `catalog_dates` stays off.
        source="https://learn.microsoft.com/azure/ai-foundry/openai/how-to/fine-tuning",
    ),
    Dialect(
        name="nebius",
        hosts=("api.tokenfactory.nebius.com",),
        methods=frozenset({"supervised"}),
        learning_rate="absolute",
        uploads_in_parts=None,
        file_status=False,
        result="deploy",
        serving="deploy a checkpoint with POST /v0/models, source 'JOB:CHECKPOINT', then ask the name it answers",
        weights="each checkpoint lists result_files; `client.files.content(id)` fetches them",
        deletes_models=False,
        source="https://docs.tokenfactory.nebius.com/post-training/how-to-fine-tune",
    ),
    Dialect(
        name="local",
        # By its own word: what listens on this machine may as well be another server.
        methods=frozenset({"supervised", "dpo", "kto"}),
        learning_rate="either",
        asks_while_training=True,
        chooses_reasoning=True,
        weights="`LocalBackend.export(model, folder)` or `ragtune export`",
        bills=False,
        # The rate of supervised jobs; `train.spec` has that of preference pairs, too.
        multiplier_of=1e-3,
        source="ragtune.local, the embedded backend",
        called_live=True,
    ),
    Dialect(
        name="unsloth-studio",
        # By its name alone: it listens wherever its owner lets it.
        methods=frozenset({"supervised"}),
        uploads_in_parts=False,
        statuses={"idle": "validating_files", "loading": "validating_files", "configuring": "queued"},
        serving="its run folder answers once it is loaded there, or with Studio's automatic switch of models",
        weights="they lie in the run's folder on the machine that Studio runs on",
        deletes_models=False,
        bills=False,
        keeps_metadata=False,
        trains_answers_alone=False,
        jobs_at_once=1,
        multiplier_of=2e-4,
        source="the package unsloth-studio 2026.10.9, read, never run",
        as_of=dt.date(2026, 11, 26),
    ),
    Dialect(
        name="together",
        hosts=("api.together.xyz", "api.together.ai"),
        methods=frozenset({"supervised", "dpo"}),
        learning_rate="absolute",
        uploads_in_parts=False,
        file_status=False,
        statuses={"compressing": "running", "uploading": "running", "error": "failed"},
        result="deploy",
        serving="start a dedicated endpoint for it, then ask the endpoint's name",
        weights="GET /v1/finetune/download gives the adapter or the merged model",
        deletes_models=False,
        keeps_metadata=False,
        wire="together",
        source="https://docs.together.ai/docs/fine-tuning/overview and the package together 3.1.1",
        as_of=dt.date(2026, 11, 26),
    ),
    Dialect(
        name="fireworks",
        hosts=("api.fireworks.ai",),
        methods=frozenset({"supervised"}),
        learning_rate="absolute",
        uploads_in_parts=False,
        file_status=False,
        result="deploy",
        serving="deploy it, then ask accounts/ACCOUNT/models/NAME",
        weights="models/{id}:getDownloadEndpoint tells where its files are",
        deletes_models=False,
        keeps_metadata=False,
        wire="fireworks",
        source="https://docs.fireworks.ai/fine-tuning/fine-tuning-via-api and the package fireworks-ai 1.2.30",
        as_of=dt.date(2026, 11, 26),
    ),
    GENERIC,
)


@checked()
def dialect_of(base_url: str, *, server: str | None = None) -> Dialect:
    """Return the dialect of the server at `base_url`; `generic` when it is not known.

    Args:
        base_url: the client's.
        server: who the server says that it is, by its header `ragtune-server`; None where it says nothing.
    """
    host = (urlsplit(base_url).hostname or "").lower()
    for known in DIALECTS:
        if any(fnmatchcase(host, pattern) for pattern in known.hosts):
            return known
    # An address goes before the server's own word: nobody's header makes another server of a known one.
    return GENERIC if server is None else dialect_named("local")


@checked()
def saved_dialect(saved: Mapping[str, Any]) -> Dialect | None:
    """Return the dialect that a saved handle was made with; None where it keeps none.

    Raises:
        SpecError: what is kept there is no dialect of this version.
    """
    kept = saved.get("dialect")
    if kept is None:
        return None
    sets, tuples = ("methods", "needs_validation"), ("hosts",)
    try:
        values: dict[str, Any] = {key: frozenset(value) if key in sets else value for key, value in kept.items()}
        values |= {key: tuple(values[key]) for key in tuples if key in values}
        return Dialect(**values | {"as_of": dt.date.fromisoformat(kept["as_of"])})
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        message = f"dialect: what was saved is no dialect of this version ({error}); say it with dialect="
        raise SpecError(message) from error


def dialect_text(dialect: Dialect) -> str:
    """Return a dialect as the journal keeps it: a preset by its name, so that what is learned of it later holds."""
    return json.dumps(dialect.name if dialect in DIALECTS else dialect.saved())


def dialect_from_text(text: str | None) -> Dialect | None:
    """Return the dialect that a journal keeps; None where it keeps none, or one that this version cannot read."""
    kept = None if text is None else json.loads(text)
    try:
        return dialect_named(kept) if isinstance(kept, str) else saved_dialect({"dialect": kept})
    except SpecError:
        return None


@checked()
def dialect_named(name: str) -> Dialect:
    """Return the dialect called `name`.

    Raises:
        SpecError: there is none of that name.
    """
    for known in DIALECTS:
        if known.name == name:
            return known
    message = (
        f"dialect {name!r} is not one of {', '.join(known.name for known in DIALECTS)}; or pass a Dialect of your own"
    )
    raise SpecError(message)
