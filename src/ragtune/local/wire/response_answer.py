"""The bodies of responses: OpenAI's response object, and the events of its stream."""

from __future__ import annotations

import json
from collections import deque
from itertools import count
from typing import TYPE_CHECKING

from ragtune.local.engine.generation import GeneratedPiece
from ragtune.local.ids import new_id
from ragtune.local.wire.answers import usage_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ragtune.local.engine import Completed, GeneratedCall, TokenLogprob
    from ragtune.local.engine.generation import FinishReason
    from ragtune.local.http.errors import ApiError

__all__ = ["ResponseAnswer"]

Json = dict[str, object]


class ResponseAnswer:
    """`response`, whole or as the events of its stream; one value tells one response, from its first piece on.

    Args:
        id: of the response.
        created: Unix seconds.
        repeated: what the response says again of its request.
        with_logprobs: whether the log-probabilities of the text's tokens are told.
    """

    named_events = True

    def __init__(self, *, id: str, created: int, repeated: Mapping[str, object], with_logprobs: bool) -> None:
        self.id = id
        self._created = created
        self._repeated = repeated
        self._with_logprobs = with_logprobs
        self._output: list[Json] = []
        self._text: _OpenMessage | None = None  # the message that is being written
        self._reason: FinishReason | None = None
        self._number = count()

    def whole(self, answers: Sequence[Completed]) -> Json:
        """The body of the response, also of one that was streamed."""
        (choice,) = answers[0].choices
        if self._reason is None:
            piece = GeneratedPiece(
                index=0,
                text=choice.text,
                logprobs=choice.logprobs,
                calls=choice.calls,
                finish_reason=choice.finish_reason,
            )
            # An answer that came whole is told to itself as one piece, so that both ways make the same items.
            deque(self.chunks(0, piece), maxlen=0)
        status = "incomplete" if self._reason == "length" else "completed"
        return self._body(status, usage=_usage(answers))

    def opening(self, n: int) -> Iterator[Json]:
        """The events before the first piece."""
        # Both, as OpenAI sends them, though nothing happens in between.
        for kind in ("response.created", "response.in_progress"):
            yield self._event(kind, response=self._body("in_progress"))

    def chunks(self, first_index: int, piece: GeneratedPiece) -> Iterator[Json]:
        """The events of one piece: its text, its calls, then the end of what is open."""
        # What stands around a call is told as the call alone.
        if piece.text or (piece.logprobs and self._text is not None):
            yield from self._write(piece)
        for call in piece.calls:
            yield from self._end_text("completed")
            yield from self._call(call, cut=piece.finish_reason == "length" and not _is_whole(call))
        if piece.finish_reason is not None:
            self._reason = piece.finish_reason
            # Clients read the text of the first item: an empty one, and not the end of a list.
            if not self._output:
                yield from self._begin_text()
            yield from self._end_text("incomplete" if piece.finish_reason == "length" else "completed")

    def closing(self, answers: Sequence[Completed]) -> Iterator[Json]:
        """The last event, with the whole response."""
        body = self.whole(answers)
        yield self._event(f"response.{body['status']}", response=body)

    def failed(self, error: ApiError) -> Json:
        """The last event of a stream that an error ends."""
        if self._text is not None:
            # The open message is always the last item: nothing is begun before it has ended.
            self._output[-1] = self._text.item("incomplete")
        told = {"code": "server_error", "message": error.message}
        return self._event("response.failed", response={**self._body("failed"), "error": told})

    def _body(self, status: str, *, usage: Json | None = None) -> Json:
        cut = {"reason": "max_output_tokens"} if status == "incomplete" else None
        return {
            "id": self.id,
            "object": "response",
            "created_at": self._created,
            "status": status,
            "background": False,
            "error": None,
            "incomplete_details": cut,
            # Until the end the items come in events of their own.
            "output": list(self._output) if status != "in_progress" else [],
            **({} if usage is None else {"usage": usage}),
            **self._repeated,
        }

    def _event(self, kind: str, **fields: object) -> Json:
        return {"type": kind, "sequence_number": next(self._number), **fields}

    def _item(self, kind: str, item: Json) -> Json:
        return self._event(f"response.output_item.{kind}", output_index=len(self._output) - 1, item=item)

    def _begin_text(self) -> Iterator[Json]:
        self._text = _OpenMessage(new_id("msg_", length=32), place=len(self._output))
        self._output.append(self._text.item("in_progress"))
        yield self._item("added", {**self._text.item("in_progress"), "content": []})
        yield self._event("response.content_part.added", **self._text.place, part=_part("", []))

    def _write(self, piece: GeneratedPiece) -> Iterator[Json]:
        if self._text is None:
            yield from self._begin_text()
        assert self._text is not None
        told = [_token(token) for token in piece.logprobs] if self._with_logprobs else []
        self._text.said.append(piece.text)
        self._text.logprobs += told
        yield self._event("response.output_text.delta", **self._text.place, delta=piece.text, logprobs=told)

    def _end_text(self, status: str) -> Iterator[Json]:
        text, self._text = self._text, None
        if text is None:
            return
        item = self._output[-1] = text.item(status)
        done = {"text": "".join(text.said), "logprobs": text.logprobs}
        yield self._event("response.output_text.done", **text.place, **done)
        yield self._event("response.content_part.done", **text.place, part=_part(done["text"], text.logprobs))
        yield self._item("done", item)

    def _call(self, call: GeneratedCall, *, cut: bool) -> Iterator[Json]:
        item: Json = {
            "id": new_id("fc_", length=32),
            "type": "function_call",
            "status": "incomplete" if cut else "completed",
            "call_id": new_id("call_", length=24),
            "name": call.name,
            "arguments": call.arguments,
        }
        self._output.append(item)
        place = {"item_id": item["id"], "output_index": len(self._output) - 1}
        yield self._item("added", {**item, "status": "in_progress", "arguments": ""})
        kind = "response.function_call_arguments"
        # All of them at once: the engine tells of a call when it is whole, or will not become so.
        yield self._event(f"{kind}.delta", **place, delta=call.arguments)
        yield self._event(f"{kind}.done", **place, name=call.name, arguments=call.arguments)
        yield self._item("done", item)


def _is_whole(call: GeneratedCall) -> bool:
    try:
        json.loads(call.arguments)
    except ValueError:
        return False
    return True


class _OpenMessage:
    """A message while it is written."""

    def __init__(self, id: str, *, place: int) -> None:
        self.place: Json = {"item_id": id, "output_index": place, "content_index": 0}
        self.said: list[str] = []
        self.logprobs: list[Json] = []
        self._id = id

    def item(self, status: str) -> Json:
        part = _part("".join(self.said), self.logprobs)
        return {"id": self._id, "type": "message", "status": status, "role": "assistant", "content": [part]}


def _part(text: object, logprobs: Sequence[Json]) -> Json:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": list(logprobs)}


def _token(token: TokenLogprob) -> Json:
    # Where the bytes of a part of a character are not known there are none to tell; the schema has no null here.
    top = [{"token": text, "logprob": logprob, "bytes": list(known or ())} for text, logprob, known in token.top]
    return {"token": token.token, "logprob": token.logprob, "bytes": list(token.bytes or ()), "top_logprobs": top}


def _usage(answers: Sequence[Completed]) -> Json:
    told = usage_of(answers)
    return {
        "input_tokens": told["prompt_tokens"],
        # OpenAI's schema wants these counts, for which no engine is asked.
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": told["completion_tokens"],
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": told["total_tokens"],
    }
