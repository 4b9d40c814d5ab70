"""What the library says, in the words of a command line: its `overwrite=True` is `--overwrite` here."""

from __future__ import annotations

import ast
import json
import re
import shlex
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["IN_PYTHON", "spelled"]

# Follows an argument that no option of the command stands for.
IN_PYTHON = " (in Python)"

# An apostrophe within a word opens no quotation.
_QUOTED = r"""(?:(?<!\w)'(?:[^'\\\n]|\\.)*'(?!\w)|(?<!\w)"(?:[^"\\\n]|\\.)*"(?!\w))"""
# Brackets within brackets, four deep at most: patterns cannot count.
_ROUND = r"\((?:[^()]|\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\))*\)"
_VALUE = rf"(?:{_QUOTED}|{_ROUND}|\[(?:[^\[\]]|\[[^\[\]]*\])*\]|\{{[^{{}}]*\}}|\.\.\.|[-+\w]+(?:\.\w+)*(?:{_ROUND})?)"
# Names of arguments whose options are called otherwise.
_OPTIONS = {"aliases": "alias", "bases": "base", "log": "out", "n_epochs": "epochs", "scorers": "scorer"}
_WITH_FILES = ("run", "demo")
# Options of a recipe are written there as in Python.
_WITH_RECIPES = (*_WITH_FILES, "preview")
_ALSO_OF_RECIPES = ("wordings", "name", "version")
# Of arguments that only another command has an option for.
_ELSEWHERE = {
    "allow_unknown_cost": "`ragtune tune --allow-unknown-cost`",
    "force": "`ragtune tune --force`",
    "journal": "RAGTUNE_JOURNAL",
}
_COMMANDS = {
    "Archive.create": "`ragtune archive {}`",
    "DPO": "method='dpo'",
    "DatasetBuilder": "`ragtune build`",
    "FineTuneJob.create": "`ragtune tune`",
    "FineTuneJob.get": "`ragtune watch {}`",
    "JobMonitor.wait": "`ragtune watch {}`",
    "KTO": "method='kto'",
    "Maintenance.files": "`ragtune files`",
    "Maintenance.models": "`ragtune models`",
    "TunedModel.from_job": "`ragtune jobs show {}`",
    "check_file": "`ragtune check`",
    "evaluate": "`ragtune evaluate`",
    "list_jobs": "`ragtune jobs`",
    "local.LocalBackend": "--folder DIR",
    "record": "`ragtune record`",
    "replay": "`ragtune replay`",
}
_KNOWN = "|".join(map(re.escape, _COMMANDS))
_CALL = (
    rf"(?<![\w.'\"/])(?:(?:rt|ragtune|openai)\.(?:[a-zA-Z]\w*(?:\.\w+)*(?=\()|(?:{_KNOWN})\b(?:\.\w+)*)"
    rf"|(?:{_KNOWN}|TuneSpec|TunedModel|Maintenance)(?=\())(?:{_ROUND}(?:\.\w+)*)*"
)
# A file may have an equals sign in its name, as part=1.jsonl, and is no argument.
_FILE = (
    r"(?<![\w.-])[\w.=%+-]*=[\w.=%+-]*\.(?:csv|tsv|jsonl?|parquet|xlsx?|xlsb|ods|toml|ya?ml|sqlite3?|db|html?|txt|md|pdf|docx)"
    r"(?!\w)"
)
# What is quoted, a path or an address is somebody's own text; what stands between backticks or behind dashes is a
# command line already.
_WORDS = re.compile(
    rf"(?P<theirs>{_QUOTED}|`[^`\n]*`|[^\s()'\"=]*/\S*|{_FILE}|(?<!\w)--?[a-z][\w-]*(?:=\S+)?)"
    rf"|(?P<call>{_CALL})"
    rf"|(?<![\w.\]-])(?P<name>[a-z]\w+)=(?![=\s]*=)(?P<value>{_VALUE})?"
    r"|(?<![\w./-])(?P<bare>[a-z]+(?:_[a-z]+)+)(?![\w(.=/-])"
)
# Where the way out is another one here: what the library says, and what stands in its place.
_WAYS = tuple(
    (re.compile(found), said)
    for found, said in {
        r"for file_id in error\.files \(([^)]*)\): [\w.]+\([^)]*\)\.delete_file\(\w+\)": (
            r"`ragtune files delete \1 --yes`"
        ),
        r"\bnew=True(?= makes)|rt\.FineTuneJob\.create\(client, dataset, spec, new=True\)": "`ragtune tune --new`",
        r"; rt\.Scorecard\.load\(log\) shows what is there": "",
        r"([Tt])he same call": r"\1he same command",
        # The name of an arm is Python's; the rest is an option, which the words below know.
        r"(?<!of rt\.evaluate; )give another path(?:, or another name to the new one)?": "give another file with log=",
        r"[Cc]all create again": "give the command again",
        r"the embedded backend stopped with its block, and (.*) with it, (.*): open \w+\(.*\) again and (.*)": (
            r"this machine stopped \1 \2; with the next command on its folder \3"
        ),
        r"drop such rows with \.filter\(lambda row: row\[('[^']*')\]\.strip\(\), reason=\.\.\.\)": (
            r"require=\1 drops such rows"
        ),
        rf"drop such rows with \.filter{_ROUND}": "take such rows out",
        rf"(?:, for example)? with \.map{_ROUND}": " in the file",
        r"write one with \.save\(('[^']*')\)": r"`ragtune tune --wait --save \1` writes one",
        r"(say what a record looks like first): .*": r"\1",
        r"unreadable='skip' passes over such files": "mend such files, or take them out of the folder",
        r"decode the document with errors='replace'": "save the document as UTF-8",
        r" \(header= names another\)|, or pass header= with the row of the names": "",
        r", or skipinitialspace=True where a space stands before the quotes": "",
        r"\(repeats='merge'\)": "with repeats='merge'",
        r", for example held_out=facts\.select\('reworded'\)": "",
        r"(?:open (?:finished files|it)|take the file as it is) with (?:rt\.)?Dataset\.from_files": (
            "name the training file itself"
        ),
        r"\bcheck_file(?= lists)": "`ragtune check`",
        r"; use FactSet\.from_rows(?: for such records)?": "; give facts=",
        r"; rows (?:with other columns )?are read by (?:FactSet\.)?from_rows|, see FactSet\.to_jsonl": "",
        r"print\(dataset\.report\.checks\['train'\]\), or \.to_html\(\)": "`ragtune check`",
        r"store\.remove\((\w+)\)": r"`ragtune feedback remove \1`",
        r"build the dataset with validation=0\.1, or pass validation=": "`ragtune build --validation 0.1` makes one",
        r"\.preference\(\.\.\.\)": "--preferred and --rejected",
        r", or pass probe=False|; probe=False compares them all the same": "",
        r"give prices?=(?:\{[^}]*\}|[\w.]+\(\.\.\.\))": "leave the limit out",
        r", or None(?: to leave it out| for no limit| for all)?(?=[;,.]|$)|, or gate=None": "",
        r"; it takes int$": "; it takes a whole number",
        r"None sets no limit": "leave it out for none",
        r"give add\(\.\.\., cost_usd=\.\.\.\)": "`ragtune registry add MODEL --cost-usd USD` tells it",
        r"rollback\('([^']*)'\)": r"`ragtune registry rollback \1`",
        r"registry\.add\(model\)": "`ragtune registry add MODEL`",
        r"promote\((?:alias, model)?\)": "`ragtune registry promote ALIAS MODEL`",
        r", as rt\.arms\(base=, tuned=, retriever=\) makes them": "",
        r": give spec= with rt\.Absolute\(\.\.\.\) where you know better": "",
        r"; journal=None goes without one, and without what it protects from: .*": "",
        r"learning_rate=Multiplier\(\.\.\.\)": "learning_rate_multiplier=",
        r"learning_rate=Absolute\(\.\.\.\)": "learning_rate=",
        r'give it as TunedModel\(client, name, system="\.\.\."\), or system="" if there was none': (
            "give it with system=, or say with --no-system that there was none"
        ),
        r"LocalBackend\(folder, bases=\{[^}]*\}\) or `": "`",
        r" or LocalBackend\(bases=\.\.\.\)": "",
        r"with bases=\{[^}]*\} or `": "with `",
        r" \(an embedded backend answers only while its `with` block is open\)": "",
        r"the client a longer timeout \(openai\.OpenAI\(timeout=\.\.\.\)\)": "it more time with timeout_s=",
        r" after job\.resume\(\)": " when its server resumes it",
    }.items()
)


@dataclass(frozen=True, kw_only=True)
class _Option:
    """An argument of the library as a command has it.

    Attributes:
        flag: as it is written.
        no: the flag that says the opposite, where there is one.
        table: of a recipe file, whose keys these are then.
    """

    flag: str
    no: str | None = None
    table: str | None = None

    def given(self, value: str | None) -> str:
        """With the value that a program would give."""
        plain = _plain(value)
        if self.table is not None and plain is None:
            return f"no {self.flag} in [{self.table}]"
        if self.table is not None:
            return (
                f"{self.flag} of [{self.table}]" if plain is ... else f"{self.flag} = {_toml(plain)} in [{self.table}]"
            )
        if isinstance(plain, bool):
            return self.flag if plain else self.no or f"no {self.flag}"
        if plain is None:
            return f"no {self.flag}"
        if isinstance(plain, list | tuple):
            return " ".join(f"{self.flag} {shlex.quote(str(one))}" for one in plain)
        return self.flag if plain is ... else f"{self.flag} {plain if isinstance(plain, int | float) else value}"


def spelled(words: str, command: Any) -> str:
    """Say a message of the library in the words of a command.

    Args:
        words: what it says to a program.
        command: the command, as Typer made it.
    """
    # Whole ways out first: word by word they would be taken for arguments.
    for found, said in _WAYS:
        words = found.sub(said, words)
    options = _options(command)

    def word(found: re.Match[str]) -> str:
        name, bare = found["name"], found["bare"]
        if found["call"]:
            return _WORDS.sub(word, _called(found["call"], options))
        if bare:
            return options[bare].flag if bare in options else bare
        if name in options:
            return options[name].given(found["value"])
        if name:
            return _ELSEWHERE.get(name, found[0] if command.name in _WITH_RECIPES else found[0] + IN_PYTHON)
        return found[0]

    return _WORDS.sub(word, words)


def _called(call: str, options: Mapping[str, _Option]) -> str:
    """A call of the library as the command that does the same."""
    name = re.sub(_ROUND, "", call).removeprefix("rt.").removeprefix("ragtune.")
    command = next((said for known, said in _COMMANDS.items() if f"{name}.".startswith(f"{known}.")), None)
    if command is not None:
        subject = re.search(r"'([^']*)'", call)
        # A call without a subject would leave a blank before the mark.
        return command.format(subject[1] if subject else "").replace(" `", "`")
    given = [found[0] for found in _WORDS.finditer(call.partition("(")[2]) if found["name"] in options]
    return " ".join(given) or f"{call.partition('(')[0]}{IN_PYTHON}"


def _options(command: Any) -> Mapping[str, _Option]:
    found = {}
    for one in command.params:
        is_option = one.opts[0].startswith("-")
        no = next(iter(one.secondary_opts), None)
        # The long one where there is a letter as well.
        found[one.name] = _Option(flag=max(one.opts, key=len) if is_option else one.name.upper(), no=no)
    if command.name in _WITH_FILES:
        found = {**_keys(), **found}
    return found | {name: found[option] for name, option in _OPTIONS.items() if option in found and name not in found}


@cache
def _keys() -> Mapping[str, _Option]:
    from ragtune.recipe_file import RecipeFile

    tables: dict[str, dict[str, dict[str, object]]] = RecipeFile.schema_of()["$defs"]
    others = {
        "aliases": _Option(flag="local", table="model"),
        "max_cost_usd": _Option(flag="the limit in [budget]"),
    }
    return others | {
        key: _Option(flag=key, table=name.removesuffix("Section").lower())
        for name, table in tables.items()
        for key in table["properties"]
        if key not in _ALSO_OF_RECIPES
    }


def _plain(value: str | None) -> object:
    """A value as Python reads it; the ellipsis where it is left open."""
    try:
        return ... if value is None else ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return value


def _toml(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
