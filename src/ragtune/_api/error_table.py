"""The error table: what each answer of a server means, and what to do about it.

Rows are tried from the top, the first that fits speaks. Codes decide, never the wording of a message, except where
OpenAI gives two situations the same code or none. Sources: OpenAI's API reference on error codes, its published
OpenAPI document (2026-08-21), and the texts that its server sent to people who reported them in 2023 to 2026.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ragtune._api.identity import is_loopback
from ragtune._keys import HOW_TO_GIVE_A_KEY
from ragtune.errors import ModelExpired, RagtuneError, TuningClosed

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["TROUBLES", "Trouble", "find", "subject_of"]

Status = int | Literal["5xx", "other", "timeout", "no answer"]

_LISTS = {
    "files": "files of this account: ragtune.Maintenance(client).files()",
    "fine_tuning": "jobs of this account: ragtune.list_jobs(client)",
    "models": "models of this account: ragtune.Maintenance(client).models()",
}
_HERE = " (an embedded backend answers only while its `with` block is open)"
# In this order: of the creation of a job, which names a model and a file, the model.
_SUBJECTS = ("fine_tuning_job_id", "file_id", "upload_id", "model", "training_file")
_SCOPES = re.compile(r"[Mm]issing scopes?: ([\w.]*\w(?:,\s*[\w.]*\w)*)")

_CREATE = r"fine_tuning\.jobs\.create"
_UPLOAD = r"files\.create|uploads\..*"
_OF_ONE = r"files\.(retrieve|delete|content)|models\.\w+|fine_tuning\.jobs\.(retrieve|cancel|pause|resume|list_events)"
_OF_ONE += r"|fine_tuning\.jobs\.checkpoints\.list"


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """One row.

    Attributes:
        status: HTTP status, `5xx` for all others from 500 on, `other` for any other, `timeout`, or `no answer`.
        happened: what happened, as a clause. It and `do` may name the {call}, its {subject}, the {base_url}, the
            {scopes} that a message misses, the {list} where the subject should have been found, and what else to
            look at when the server is {here}, on this machine.
        do: what to do about it.
        code: the error code that it takes, None for any.
        says: a pattern that the message must hold, None for any.
        calls: a pattern for the name of the call, None for any.
        subject: a pattern for what the call is about, None for any.
        becomes: the error of ours that stands for it, None where OpenAI's passes through with a note.
        waiting_helps: whether the same read may well succeed a little later.
        example: a message that a server sent.
    """

    status: Status
    happened: str
    do: str
    code: str | None = None
    says: str | None = None
    calls: str | None = None
    subject: str | None = None
    becomes: type[RagtuneError] | None = None
    waiting_helps: bool = False
    example: str = ""

    def fits(self, status: Status, *, code: str | None, says: str, call: str, subject: str) -> bool:
        """Whether the row speaks of such an answer."""
        return (
            self.status in (status, _family(status))
            and self.code in (None, code)
            and (self.says is None or re.search(self.says, says) is not None)
            and (self.calls is None or re.fullmatch(self.calls, call) is not None)
            and (self.subject is None or re.match(self.subject, subject) is not None)
        )

    def text(self, *, call: str, subject: str | None, base_url: str, says: str) -> str:
        """What happened and what to do, in the words of this case."""
        scopes = _SCOPES.search(says)
        return f"{self.happened}: {self.do}".format(
            call=call,
            subject=repr(subject) if subject else "this request",
            base_url=base_url,
            scopes=scopes[1] if scopes else "",
            here=_HERE if is_loopback(base_url) else "",
            list=_LISTS.get(call.partition(".")[0], "the server's documentation says what it serves"),
        )


def _family(status: Status) -> Status:
    """What a row may call a status beside its number; what is no status of HTTP's has its name only."""
    if isinstance(status, str):
        return status
    return "5xx" if status >= 500 else "other"


# The first that fits speaks, so rows with a code or with words stand before the bare status.
TROUBLES: tuple[Trouble, ...] = (
    Trouble(
        status=403,
        code="training_not_available",
        becomes=TuningClosed,
        happened=(
            "the server does not let this account create fine-tuning jobs. OpenAI closed them on 2026-05-07 to "
            "organisations that had never fine-tuned, on 2026-07-02 to those without a call to a tuned model in 60 "
            "days, and closes them to everybody on 2027-01-06"
        ),
        do=(
            "what goes on working is any other server with this wire (openai.OpenAI(base_url=...)), and "
            "ragtune.local.LocalBackend, which trains on this machine"
        ),
        example="Fine-tuning is not available for your organization.",
    ),
    Trouble(
        status=404,
        code="model_not_found",
        # By its words, before the bare code: OpenAI has one code for models that were shut down and for those that
        # never were.
        says="deprecated",
        becomes=ModelExpired,
        happened="the maker of model {subject} has shut it down, and fine-tunes end with their base",
        do="train again on another base: the dataset's files still stand where they were built",
        example="The model `ft:x` has been deprecated, learn more here: https://platform.openai.com/docs/deprecations",
    ),
    Trouble(
        status=403,
        code="model_not_found",
        happened="the project of this key may not use model {subject}",
        do="take a key of the project that trained it, or let an owner of the organisation allow the project the model",
        example="Project `proj_abc` does not have access to model `ft:x`",
    ),
    Trouble(
        status=404,
        code="model_not_found",
        happened="no model {subject} for this key",
        do=(
            "a new model can take minutes to appear after its job succeeded, and another project's models are not "
            "seen; models of this account: ragtune.Maintenance(client).models()"
        ),
        example="The model `ft:x` does not exist or you do not have access to it",
    ),
    Trouble(
        status=404,
        # What is asked for by its id is missing; of any other call it is the route.
        calls=_OF_ONE,
        happened="{call}: {subject} is not on this account",
        do="{list}",
        example="No such File object: file-x",
    ),
    Trouble(
        status=404,
        happened="the server at {base_url} does not serve {call} for {subject}",
        do="look at the address (most end in /v1) and at what this server documents",
        example="Invalid URL (POST /v1/fine_tuning/jobs)",
    ),
    Trouble(
        status=401,
        says="[Mm]issing scope",
        happened="the key is restricted and lacks {scopes}",
        do=(
            "edit the key's permissions: fine-tuning needs Files write, Fine-tuning write and Model request, "
            "permissions of checkpoints an admin key; or the role of its owner is too small"
        ),
        example=(
            "You have insufficient permissions for this operation. Missing scopes: api.fine_tuning.jobs.write, "
            "api.files.write. Check that you have the correct role in your organization."
        ),
    ),
    Trouble(
        status=401,
        says=r"LocalBackend\.api_key",
        happened="the embedded backend at {base_url} refused the key",
        do="the message says where its own key is",
        example="Incorrect API key provided; in Python this server's key is LocalBackend.api_key.",
    ),
    Trouble(
        status=401,
        happened=(
            "the server at {base_url} refused the key: it must be a key of that server, and a restricted key needs the "
            "scopes Files write, Fine-tuning write and Model request"
        ),
        do=HOW_TO_GIVE_A_KEY,
        example="Incorrect API key provided: sk-...",
    ),
    Trouble(
        status=403,
        calls=r"models\.delete",
        subject="(?!ft:)",
        happened="{subject} is a base model",
        do="only tuned models (ft:...) can be deleted; {list}",
        example="The model `gpt-4o-mini` cannot be deleted",
    ),
    Trouble(
        status=403,
        calls=r"models\.delete",
        happened="this key may not delete models",
        do="deleting takes the role Owner in the organisation; look at the project and the role of the key's owner",
        example="You have insufficient permissions for this operation.",
    ),
    Trouble(
        status=403,
        happened="the key is known but may not do this",
        do="look at the project and the role it belongs to, and whether the country is served",
        example="You do not have access to this resource.",
    ),
    Trouble(
        status=429,
        code="insufficient_quota",
        happened="the account has no credit left",
        do="trying again does not help, adding credit does",
        example="You exceeded your current quota, please check your plan and billing details.",
    ),
    Trouble(
        status=429,
        code="daily_rate_limit_exceeded",
        happened="the account has used up today's fine-tuning requests for this model",
        do="trying again helps after 24 hours; ragtune.list_jobs(client) shows when the earlier ones were made",
        example="You have reached the maximum of 8 fine-tuning requests per day for the model.",
    ),
    Trouble(
        status=429,
        code="slow_down",
        waiting_helps=True,
        happened="the server is overloaded and asks for a steadier pace",
        do="send fewer requests at a time, and raise their number slowly",
        example="Too many requests: slow down.",
    ),
    Trouble(
        status=429,
        waiting_helps=True,
        happened="the server asks for fewer requests",
        do="lower the concurrency or wait a minute; the client already waited and tried again",
        example="Rate limit reached for requests",
    ),
    Trouble(
        status=400,
        calls=_CREATE,
        says="not available for fine-tuning",
        happened="the server does not fine-tune {subject}",
        do="choose a base that it trains; ragtune.catalog lists OpenAI's, and for how long each is taken",
        example="Model gpt-x is not available for fine-tuning or does not exist.",
    ),
    Trouble(
        status=400,
        calls=_CREATE,
        says="not ready",
        happened="the server has not read the uploaded file yet",
        do="no job was made; create it again in a few minutes, the upload is reused",
        example="File 'file-x' is still being processed and is not ready to be used for fine-tuning.",
    ),
    Trouble(
        status=400,
        calls=_CREATE,
        says="(?i)training_file|validation_file|no such file",
        happened="the server does not take the file",
        do=(
            "it may belong to another project or have been deleted, or its purpose is not fine-tune; files of this "
            "account: ragtune.Maintenance(client).files()"
        ),
        example="invalid training_file: file-x",
    ),
    Trouble(
        status=400,
        calls=_UPLOAD,
        happened="the server does not take the file, and keeps nothing of it",
        do=(
            "ragtune.check_file(path) names the lines that are no JSON object; write UTF-8 without a byte-order mark, "
            "one object per line"
        ),
        example="Expected file to have JSONL format, where every line is a JSON dictionary. Line 1 is not a dictionary",
    ),
    Trouble(
        status=400,
        code="context_length_exceeded",
        happened="the question and the room for its answer are longer than the model's context",
        do="shorten the messages or lower max_tokens",
        example="This model's maximum context length is 16385 tokens.",
    ),
    Trouble(
        status=400,
        happened="{base_url} refused {call}; nothing was changed",
        do="the message names what it does not like: fields that OpenAI takes and this server does not can be left out",
        example="None is not of type 'string' - 'suffix'",
    ),
    Trouble(
        status=405,
        happened="the server at {base_url} does not serve {call}",
        do="look at the address (most end in /v1) and at what this server documents",
        example="Method Not Allowed",
    ),
    Trouble(
        status=408,
        waiting_helps=True,
        happened="the server waited too long for the request",
        do="look at the network; a large file is better sent again over a faster one",
        example="Request timed out.",
    ),
    Trouble(
        status=409,
        waiting_helps=True,
        happened="something else changed the same object at the same time",
        do="try again; the client already did so twice",
        example="The resource was modified by another request.",
    ),
    Trouble(
        status=413,
        happened="the file is larger than the server takes in one request",
        do="OpenAI takes 512 MB at once and 8 GB in parts; other servers and proxies have limits of their own",
        example="Request Entity Too Large",
    ),
    Trouble(
        # FastAPI's, which servers that copied the wire send where OpenAI sends 400.
        status=422,
        happened="{base_url} does not understand the request of {call}; nothing was changed",
        do="the body names the field: fields that OpenAI takes and this server does not can be left out",
        example="Field required",
    ),
    Trouble(
        status="other",
        happened="{base_url} refused {call}; nothing was changed",
        do="the message says why",
        example="Upgrade Required",
    ),
    Trouble(
        # Before its family: the one of these that waiting does not mend.
        status=501,
        happened="the server at {base_url} does not serve {call}",
        do="waiting does not help; look at what this server documents",
        example="Not Implemented",
    ),
    Trouble(
        status=503,
        code="server_is_overloaded",
        waiting_helps=True,
        happened="the server at {base_url} has more to do than it can",
        do="wait some minutes; the client already tried again where that is safe",
        example="The server is currently overloaded with other requests.",
    ),
    Trouble(
        status="5xx",
        waiting_helps=True,
        happened="the trouble is on the side of {base_url}",
        do="wait some minutes; the client already tried again where that is safe",
        example="The server had an error while processing your request.",
    ),
    Trouble(
        status="timeout",
        waiting_helps=True,
        happened="no answer from {base_url} in time",
        do="give the client a longer timeout (openai.OpenAI(timeout=...)), or look at the network",
    ),
    Trouble(
        status="no answer",
        waiting_helps=True,
        happened="no answer from {base_url}",
        do=("is the server running, and are the address and the network right?{here}"),
    ),
)


def find(status: Status, *, code: str | None = None, says: str = "", call: str = "", subject: str = "") -> Trouble:
    """The first row that speaks of an answer; there is one for each status."""
    return next(row for row in TROUBLES if row.fits(status, code=code, says=says, call=call, subject=subject))


def subject_of(arguments: Mapping[str, object]) -> str | None:
    """What a call is about: the id of a job or a file, or the name of a model."""
    return next((str(arguments[name]) for name in _SUBJECTS if name in arguments), None)
