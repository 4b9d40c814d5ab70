"""From a dict or a line of JSONL to a typed record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import orjson

from ragtune.errors import RecordError
from ragtune.records.base import FORMATS, RecordFormat
from ragtune.records.json_values import read_json
from ragtune.records.kinds import ChatRecord, CompletionRecord, PreferenceRecord, ReinforcementRecord, UnpairedRecord

if TYPE_CHECKING:
    from ragtune.records.base import JsonMapping

AnyRecord = ChatRecord | CompletionRecord | PreferenceRecord | UnpairedRecord | ReinforcementRecord

RECORD_OF: dict[str, type[ChatRecord | CompletionRecord | PreferenceRecord | UnpairedRecord | ReinforcementRecord]] = {
    "chat": ChatRecord,
    "completion": CompletionRecord,
    "preference": PreferenceRecord,
    "unpaired": UnpairedRecord,
    "reinforcement": ReinforcementRecord,
}
_CHAT_KEYS = frozenset(ChatRecord.model_fields)


def detect_format(data: JsonMapping) -> RecordFormat | None:
    """Say which record kind a dict is meant to be, from its keys; None when it is none of them.

    A dict with `messages` is chat, unless it carries further keys and its last message is not the assistant's: then
    the further keys are reference fields of a reinforcement record.

    Example:
        ```python
        from ragtune.records import detect_format

        print(detect_format({"prompt": "a", "completion": "b"}))
        #> completion
        ```
    """
    given: object = data
    if not isinstance(given, Mapping):
        return None
    if "messages" in data:
        messages = data["messages"]
        last = messages[-1] if isinstance(messages, list | tuple) and messages else None
        ends_with_assistant = isinstance(last, Mapping) and last.get("role") == "assistant"
        # A reinforcement record ends where the model itself is to answer.
        if data.keys() <= _CHAT_KEYS or ends_with_assistant:
            return "chat"
        return "reinforcement"
    # One of the two tells what is meant: the record then says by name which is missing.
    if "preferred_output" in data or "non_preferred_output" in data:
        return "preference"
    if "prompt" in data or "completion" in data:
        said = [key for key in ("prompt", "completion") if isinstance(data.get(key), list | tuple)]
        # Texts with a label beside them are rows of the layout "kto", and no record yet.
        return "unpaired" if "completion" in said or ("label" in data and said) else "completion"
    return None


def parse_record(source: str | bytes | JsonMapping, format: RecordFormat | None = None) -> AnyRecord:
    """Turn one line of JSONL, or a dict, into a typed record.

    Args:
        source: a line as text or UTF-8 bytes, or a mapping.
        format: the record kind; None takes it from the keys.

    Raises:
        RecordError: not JSON, not an object, no known kind, or a record that breaks the rules of its kind. The message
            names the place and the value.

    Example:
        ```python
        import ragtune as rt

        record = rt.parse_record('{"prompt": "Capital of France?", "completion": " Paris"}')
        print(type(record).__name__)
        #> CompletionRecord
        ```
    """
    if format is not None and format not in FORMATS:
        raise RecordError(f"format {format!r} is not one of {', '.join(FORMATS)}")
    if isinstance(source, str | bytes):
        try:
            data = read_json(source)
        # The second is of the slower reader, to which wide numbers go.
        except (orjson.JSONDecodeError, RecursionError) as error:
            raise RecordError(f"this line is not JSON: {error}") from None
    elif isinstance(source, Mapping):
        data = dict(source)
    else:
        raise RecordError(f"a record is a line of JSON or a mapping, got {type(source).__name__} {source!r:.60}")
    if not isinstance(data, dict):
        raise RecordError(f"a record is a JSON object, this line holds {type(data).__name__} {data!r:.60}")
    kind = format or detect_format(data)
    if kind is None:
        keys = ", ".join(map(repr, data)) or "none"
        raise RecordError(
            f"no record kind has these keys: {keys}; chat needs 'messages', completion 'prompt' and 'completion', "
            f"preference 'input', 'preferred_output' and 'non_preferred_output', unpaired 'prompt', 'completion' and "
            f"'label'"
        )
    return RECORD_OF[kind](**data)
