"""Models: asked one question or many, streamed, completed, saved with the prompt they were trained with."""

from ragtune.model.answer import Answer, Choice, Usage
from ragtune.model.answer_list import AnswerList
from ragtune.model.core import AsyncTunedModel
from ragtune.model.expiry import Expiry
from ragtune.model.handle import TunedModel
from ragtune.model.stream import AnswerStream, AsyncAnswerStream
from ragtune.model.system_prompt import TRAINED, SystemPrompt

__all__ = [
    "TRAINED",
    "Answer",
    "AnswerList",
    "AnswerStream",
    "AsyncAnswerStream",
    "AsyncTunedModel",
    "Choice",
    "Expiry",
    "SystemPrompt",
    "TunedModel",
    "Usage",
]
