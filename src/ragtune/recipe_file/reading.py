"""From the text of a recipe file to plain values; what is wrong is told with line and column."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ragtune._keys import redact
from ragtune.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from pydantic import BaseModel, ValidationError
    from pydantic_core import ErrorDetails

__all__ = ["Places", "parse", "place_of", "refused"]

# Where a key stands: line and column from 1.
Places = Mapping[tuple[str, ...], tuple[int, int]]
_YAML = (".yaml", ".yml")
_YAML_KEYS = ("tag:yaml.org,2002:str", "tag:yaml.org,2002:merge")
_ALIASES = 8
# YAML is read three times by a parser in Python: of this much within seconds.
_MOST_BYTES = 250_000
_TABLE = re.compile(r"\s*\[+\s*([\w.\- ]+?)\s*\]")
_KEY = re.compile(r"""\s*([\w\-]+|"[^"]*")\s*=""")
_LONG_TEXT = re.compile(r'(""".*?"""|\'\'\'.*?\'\'\')', re.DOTALL)


def parse(path: Path) -> tuple[dict[str, Any], Places]:
    """Read a TOML or YAML file.

    Returns:
        Its values, and where each key stands.

    Raises:
        SpecError: it cannot be read, is too large, is broken, is no table, or holds an API key.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
    except OSError as error:
        message = f"{path} cannot be read: {error.strerror}; `ragtune init` writes a recipe file"
        raise SpecError(message) from error
    if len(data) > _MOST_BYTES:
        raise SpecError(
            f"{path} is larger than {_MOST_BYTES:,} bytes, which is more than settings take; rows, facts and documents "
            "stand in files of their own, which it names"
        )
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SpecError(f"{path} is not UTF-8 text ({error.reason} at byte {error.start})") from None
    # Recipe files go into version control, and messages show their values: no key may stand in one.
    for number, line in enumerate(text.splitlines(), 1):
        if redact(line) != line:
            raise SpecError(_holds_a_key(f"{path} line {number}"))
    try:
        values, places = (_yaml if path.suffix.lower() in _YAML else _toml)(path, text)
    except RecursionError:
        raise SpecError(f"{path} is nested too deeply, or holds itself; `ragtune init` writes a recipe file") from None
    if not isinstance(values, dict):
        raise SpecError(f"{path}: a recipe file is a table of settings; `ragtune init` writes one")
    # A key that is broken over lines stands on none of them.
    for keys, said in _texts(values, ()):
        if redact(said) != said:
            raise SpecError(_holds_a_key(place_of(path, keys, places)))
    return values, places


def _holds_a_key(where: str) -> str:
    way_out = "set OPENAI_API_KEY in the environment, or name a file with server.key_file"
    return f"{where} holds what looks like an API key; take it out and {way_out}"


def _texts(value: object, keys: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    if isinstance(value, str):
        yield keys, value
    elif isinstance(value, dict | list):
        for name, held in value.items() if isinstance(value, dict) else enumerate(value):
            yield keys, str(name)
            yield from _texts(held, (*keys, str(name)))


def refused(path: Path, error: ValidationError, places: Places, top: type[BaseModel]) -> SpecError:
    """What is wrong with the values of a file, all of it at once."""
    # A value that fits none of several kinds is told once.
    told = dict.fromkeys(_told(path, one, places, top) for one in error.errors(include_url=False))
    return SpecError("\n".join(told))


def _told(path: Path, one: ErrorDetails, places: Places, top: type[BaseModel]) -> str:
    keys, known = _walk([str(part) for part in one["loc"]], top)
    name = ".".join(keys)
    if one["type"] == "missing":
        where = place_of(path, keys[:-1], places)
        return f"{where}: {name} is missing"
    where = place_of(path, keys, places)
    if one["type"] == "ragtune":
        return f"{where}: {one['msg']}"
    if one["type"] == "extra_forbidden":
        near = difflib.get_close_matches(keys[-1], known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"
        return f"{where}: there is no key {name!r}; {hint}"
    return f"{where}: {name} = {one['input']!r:.60}: {one['msg'][:1].lower()}{one['msg'][1:]}"


def _walk(location: Sequence[str], top: type[BaseModel]) -> tuple[list[str], list[str]]:
    """The keys of a place without pydantic's own names in it, and the keys that are known at its end."""
    from pydantic import BaseModel

    keys: list[str] = []
    model: type[BaseModel] | None = top
    known = list(top.model_fields)
    for part in location:
        if model is None:
            break
        known = list(model.model_fields)
        keys.append(part)
        if part.isdigit():
            continue
        field = model.model_fields.get(part)
        kinds = () if field is None else (field.annotation, *getattr(field.annotation, "__args__", ()))
        model = next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)
    return keys, known


def place_of(path: Path, keys: Sequence[str], places: Places) -> str:
    """Where a key stands, or the nearest one around it."""
    for end in range(len(keys), 0, -1):
        # A table may stand alone where several may stand.
        alone = tuple(key for key in keys[:end] if not key.isdigit())
        if (place := places.get(tuple(keys[:end])) or places.get(alone)) is not None:
            return f"{path} line {place[0]}, column {place[1]}"
    return str(path)


def _toml(path: Path, text: str) -> tuple[object, Places]:
    try:
        values = tomllib.loads(text)
    except ValueError as error:  # also a number with more digits than Python reads
        raise SpecError(f"{path} is no TOML: {error}") from None
    # Of a key that seems to stand twice the first counts: what looks like it further down is part of a value.
    return values, dict(reversed(list(_toml_places(text))))


def _toml_places(text: str) -> Iterator[tuple[tuple[str, ...], tuple[int, int]]]:
    """Where tables and keys begin: Python's parser does not say."""
    prefix: tuple[str, ...] = ()
    counts: Counter[tuple[str, ...]] = Counter()
    # A long text may hold lines that look like keys; as many line ends keep the numbers of those below it true.
    one_line_each = _LONG_TEXT.sub(lambda found: '""' + "\n" * found[0].count("\n"), text)
    for number, line in enumerate(one_line_each.splitlines(), 1):
        if found := _TABLE.match(line):
            prefix = tuple(part.strip() for part in found[1].split("."))
            if line.lstrip().startswith("[["):
                counts[prefix] += 1
                prefix = (*prefix, str(counts[prefix] - 1))
            yield prefix, (number, found.start(1) + 1)
        elif found := _KEY.match(line):
            yield (*prefix, found[1].strip('"')), (number, found.start(1) + 1)


def _yaml(path: Path, text: str) -> tuple[object, Places]:
    import yaml

    try:
        aliases = [event for event in yaml.parse(text, yaml.SafeLoader) if isinstance(event, yaml.AliasEvent)]
        # Aliases of aliases make a text of a few lines as large as one likes.
        if len(aliases) > _ALIASES:
            problem = f"there are {len(aliases)} aliases, and at most {_ALIASES} are read; write the values out"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=aliases[_ALIASES].start_mark)
        places = dict(_yaml_places(yaml.compose(text, yaml.SafeLoader), ()))
        return yaml.safe_load(text), places
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = "" if mark is None else f" line {mark.line + 1}, column {mark.column + 1}"
        raise SpecError(f"{path}{where} cannot be read as YAML: {error.problem}") from None
    except (yaml.YAMLError, ValueError) as error:  # a ValueError of dates that are none
        raise SpecError(f"{path} cannot be read as YAML: {error}") from None


def _yaml_places(node: Any, prefix: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], tuple[int, int]]]:
    import yaml

    if isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            yield (*prefix, str(number)), (item.start_mark.line + 1, item.start_mark.column + 1)
            yield from _yaml_places(item, (*prefix, str(number)))
    if not isinstance(node, yaml.MappingNode):
        return
    known: set[str] = set()
    for key, value in node.value:
        # To YAML `on` and `no` are truth values, and 2026-01-01 is a date.
        if key.tag not in _YAML_KEYS:
            problem = f"the key {str(key.value)[:40]!r} is no text; put it into quotes"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
        # PyYAML would take the later one without a word.
        if key.value in known:
            problem = f"the key {key.value[:40]!r} stands here a second time; leave one of them out"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
        known.add(key.value)
        place = (*prefix, key.value)
        yield place, (key.start_mark.line + 1, key.start_mark.column + 1)
        yield from _yaml_places(value, place)
