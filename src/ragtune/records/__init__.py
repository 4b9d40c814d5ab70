"""Typed training records: chat, prompt/completion, preference, unpaired preference and reinforcement."""

from __future__ import annotations

from ragtune.records.base import (
    FORMATS,
    JsonObject,
    Record,
    RecordFault,
    RecordFormat,
    SchemaError,
    escape_line_separators,
    line_bytes,
    path_text,
    schema_errors,
)
from ragtune.records.kinds import (
    ChatRecord,
    CompletionRecord,
    PreferenceInput,
    PreferenceRecord,
    ReinforcementRecord,
    UnpairedRecord,
)
from ragtune.records.messages import (
    ROLES,
    FunctionCall,
    FunctionDefinition,
    ImagePart,
    ImageURL,
    Message,
    RefusalPart,
    Role,
    TextPart,
    Tool,
    ToolCall,
)
from ragtune.records.parsing import AnyRecord, detect_format, parse_record

__all__ = [
    "FORMATS",
    "ROLES",
    "AnyRecord",
    "ChatRecord",
    "CompletionRecord",
    "FunctionCall",
    "FunctionDefinition",
    "ImagePart",
    "ImageURL",
    "JsonObject",
    "Message",
    "PreferenceInput",
    "PreferenceRecord",
    "Record",
    "RecordFault",
    "RecordFormat",
    "RefusalPart",
    "ReinforcementRecord",
    "Role",
    "SchemaError",
    "TextPart",
    "Tool",
    "ToolCall",
    "UnpairedRecord",
    "detect_format",
    "escape_line_separators",
    "line_bytes",
    "parse_record",
    "path_text",
    "schema_errors",
]
