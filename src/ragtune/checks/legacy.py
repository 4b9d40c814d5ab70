"""Prompt/completion files: the rules of OpenAI's former `prepare_data`, as suggestions, and the file they lead to.

What stands at the end of a prompt tells the model to start answering (a separator), what it writes at the end of an
answer tells the program to stop (a stop sequence), and a completion starts with a space because of how words become
tokens.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING

from ragtune.checks.problems import Problem, Severity

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

# These lists and limits are the old tool's own.
SEPARATORS = (" ->", "\n\n###\n\n", "\n\n===\n\n", "\n\n---\n\n", "\n\n===>\n\n", "\n\n--->\n\n")
LAST_SEPARATOR = "\n\n### =>\n\n"
STOPS = ("\n", ".", " END", "***", "+++", "&&&", "$$$", "@@@", "%%%")
LAST_STOP = " [END]"
FEW_EXAMPLES = 100
LONG_PAIR = 10_000
LONG_SEPARATOR = 10
LONG_PROMPT_PREFIX = 12
LONG_COMPLETION_PREFIX = 5
_SHOWN = 40
# What touches words is done by name alone, in this order; each name with the suggestion that tells of it, and its hint.
REPAIRS = {
    "prompt-prefix": ("common-prompt-prefix", "remove it: it teaches nothing"),
    "completion-prefix": ("common-completion-prefix", "remove it, keep one leading space"),
    "prompt-case": ("many-capitals", "write them in lower case"),
    "completion-case": ("many-capitals", "write them in lower case"),
    "completion-space": ("no-leading-space", "start each with one: words are cut into tokens that way"),
    "prompt-suffix": ("no-separator", "add it to every prompt, in training and when asking"),
    "completion-suffix": ("no-stop-sequence", "add it to every completion and ask with stop=[it]"),
}
_NO_CAPITALS = bytes(code for code in range(128) if not chr(code).isupper())
_NO_SMALL_LETTERS = bytes(code for code in range(128) if not chr(code).islower())


def digest(*texts: str) -> bytes:
    """Twelve bytes that stand for some texts."""
    return blake2b("\0".join(texts).encode("utf-8", "surrogatepass"), digest_size=12).digest()


def _capitals(text: str) -> tuple[int, int]:
    """How many letters of a text are capitals, and how many letters there are."""
    if not text.isascii():
        return sum(map(str.isupper, text)), sum(map(str.isalpha, text))
    # To delete signs and count the rest is thirty times as fast as to look at each sign.
    data = text.encode()
    small = len(data.translate(None, _NO_SMALL_LETTERS))
    upper = len(data.translate(None, _NO_CAPITALS))
    return upper, small + upper


def _common_start(one: str, other: str) -> str:
    # One of them is what all texts so far share, so this soon looks at a few characters only.
    length = next((index for index, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), None)
    return one[: min(len(one), len(other))] if length is None else one[:length]


@dataclass
class Side:
    """What all prompts, or all completions, have in common; learned one text at a time."""

    candidates: tuple[str, ...]
    prefix: str | None = None
    _reversed_suffix: str | None = None
    _stands_inside: int = 0
    distinct: set[bytes] = field(default_factory=set)
    blank: int = 0

    def add(self, text: str) -> None:
        """Learn from one text."""
        self.blank += not text.strip()
        backwards = text[::-1]
        self.prefix = text if self.prefix is None else _common_start(self.prefix, text)
        suffix = self._reversed_suffix
        suffix = backwards if suffix is None else _common_start(suffix, backwards)
        self._reversed_suffix = suffix
        # Where an end stands inside a text as well, every shorter end does; the shared end only gets shorter.
        length = self._stands_inside + 1
        while length <= len(suffix) and text[-length:] in text[:-length]:
            self._stands_inside = length
            length += 1
        self.candidates = tuple(candidate for candidate in self.candidates if candidate not in text)
        self.distinct.add(digest(text))

    @property
    def suffix(self) -> str:
        """The end that all texts share."""
        return (self._reversed_suffix or "")[::-1]

    @property
    def suffix_stands_inside(self) -> bool:
        """Whether the end that all texts share stands inside one of them, too."""
        return 0 < len(self.suffix) <= self._stands_inside


@dataclass
class Profile:
    """What a legacy file is like, learned in one pass without holding its texts."""

    rows: int = 0
    prompts: Side = field(default_factory=lambda: Side(SEPARATORS))
    completions: Side = field(default_factory=lambda: Side(STOPS))
    newline_in_prompt: bool = False
    upper: dict[str, int] = field(default_factory=lambda: {"prompt": 0, "completion": 0})
    letters: dict[str, int] = field(default_factory=lambda: {"prompt": 0, "completion": 0})
    long: int = 0
    without_space: int = 0
    _first: tuple[str, str] = ("", "")
    _bare: tuple[str, str] = ("", "")
    _seen: set[bytes] = field(default_factory=set)

    def add(self, prompt: str, completion: str) -> bool:
        """Learn from one pair; returns whether it is new."""
        pair = digest(prompt, completion)
        # What comes twice would make a class look larger than it is, and the repaired copy holds it once.
        if pair in self._seen:
            return False
        self._seen.add(pair)
        if not self.rows:
            self._first = prompt, completion
        self.rows += 1
        self.prompts.add(prompt)
        self.completions.add(completion)
        self.newline_in_prompt = self.newline_in_prompt or "\n" in prompt
        self.long += len(prompt) + len(completion) > LONG_PAIR
        if not completion.startswith((" ", "\n")):
            self._bare = (prompt, completion) if not self.without_space else self._bare
            self.without_space += 1
        for key, text in (("prompt", prompt), ("completion", completion)):
            upper, letters = _capitals(text)
            self.upper[key] += upper
            self.letters[key] += letters
        return True

    @property
    def task(self) -> str:
        """`open-ended` (no prompts), `classification` (few distinct completions) or `conditional`."""
        if self.rows and self.prompts.blank == self.rows:
            return "open-ended"
        return "classification" if len(self.completions.distinct) < self.rows / 3 else "conditional"

    @property
    def separator(self) -> str | None:
        """The separator to add to every prompt; None when they have one or need none."""
        if self.task == "open-ended" or self.prompts.suffix.strip(" "):
            return None
        # The old tool, too, has arrows for prompts of one line only.
        free = [item for item in self.prompts.candidates if not (self.newline_in_prompt and item == " ->")]
        return free[0] if free else LAST_SEPARATOR

    @property
    def stop(self) -> str | None:
        """The stop sequence to add to every completion; None when they have one or need none."""
        if self.task != "conditional" or self.completions.suffix.strip(" "):
            return None
        return self.completions.candidates[0] if self.completions.candidates else LAST_STOP

    @property
    def prompt_prefix(self) -> str:
        """The long start that all prompts share, which teaches nothing; whole words."""
        prefix = _whole_words(self.prompts.prefix or "")
        return prefix if len(prefix) > LONG_PROMPT_PREFIX and len(self.prompts.distinct) > 1 else ""

    @property
    def completion_prefix(self) -> str:
        """The start that all completions share; whole words."""
        prefix = _whole_words(self.completions.prefix or "")
        return prefix if len(prefix.strip()) >= LONG_COMPLETION_PREFIX and len(self.completions.distinct) > 1 else ""

    def shouted(self, key: str) -> bool:
        """Whether more than a third of the letters of all prompts or completions are capitals."""
        return self.upper[key] > self.letters[key] / 3

    def problems(self) -> Iterator[Problem]:
        """Everything that the old preparation would have said."""
        yield from self._form()
        yield from self._content()

    def _form(self) -> Iterator[Problem]:
        """Separator, stop sequence, common starts, leading space."""
        # More than one row, here and below: a single text shares all of itself with all others.
        if self.rows > 1 and self.task != "open-ended" and len(self.prompts.distinct) == 1:
            yield _said(
                "identical-prompts", "all prompts are the same: they tell nothing apart", "vary them", severity="error"
            )
        elif self.separator is not None:
            text = f"prompts do not end in a common separator; {self.separator!r} occurs in none of them"
            yield self._offered("prompt-suffix", text)
        elif len(self.prompts.suffix) > LONG_SEPARATOR and self.rows > 1:
            text = f"all prompts end in {self.prompts.suffix[-40:]!r}, which is long for a separator"
            yield _said("long-separator", text, "use a short one such as '\\n\\n###\\n\\n'")
        if self.rows > 1 and self.separator is None and self.prompts.suffix_stands_inside:
            text = f"{self.prompts.suffix[-40:]!r}, in which all prompts end, stands inside some of them as well"
            yield _said("repeated-separator", text, "end prompts in something that occurs nowhere else")
        if self.rows > 1 and len(self.completions.distinct) == 1:
            yield _said("identical-completions", "all completions are the same", "vary them", severity="error")
        elif self.stop is not None:
            text = f"completions do not end in a common stop sequence; {self.stop!r} occurs in none of them"
            yield self._offered("completion-suffix", text)
        elif self.rows > 1 and self.task == "conditional" and self.completions.suffix_stands_inside:
            text = f"{self.completions.suffix[-40:]!r}, in which all completions end, stands inside some as well"
            yield _said("repeated-stop-sequence", text, "end them in something that occurs nowhere else")
        if self.prompt_prefix:
            text = f"all prompts start with {self.prompt_prefix[:40]!r}"
            yield self._offered("prompt-prefix", text)
        if self.completion_prefix:
            text = f"all completions start with {self.completion_prefix[:40]!r}"
            yield self._offered("completion-prefix", text)
        if self.without_space:
            text = f"{self.without_space:,} completion(s) do not start with a space"
            yield self._offered("completion-space", text)

    def _content(self) -> Iterator[Problem]:
        """Numbers, lengths, capitals."""
        # Below ten the file has too few for any server, which is an error and told as one.
        if 10 <= self.rows < FEW_EXAMPLES:
            text = f"{self.rows} examples; several hundred are advised, each doubling helps about as much as the last"
            yield _said("few-examples", text, "collect more")
        if self.long and self.task != "open-ended":
            text = f"{self.long:,} pair(s) have more than {LONG_PAIR:,} characters"
            yield _said("long-pairs", text, "shorten them: the end may be cut off")
        for key in ("prompt", "completion"):
            if self.shouted(key):
                text = f"more than a third of the letters in {key}s are capitals"
                yield self._offered(f"{key}-case", text)
        if self.task == "classification" and self.rows >= FEW_EXAMPLES:
            # The old tool's share: a fifth, and 1,000 at most.
            kept = max(self.rows - 1000, int(self.rows * 0.8))
            text = f"{len(self.completions.distinct)} distinct completions: this looks like classification"
            yield _said("classification", text, f"hold some rows back for validation, for example {self.rows - kept:,}")

    def repaired(self, prompt: str, completion: str, repairs: Collection[str]) -> dict[str, str]:
        """A pair as the named suggestions would have it."""
        if "prompt-prefix" in repairs:
            prompt = _without(self.prompt_prefix, prompt)
        if "completion-prefix" in repairs:
            completion = _without(self.completion_prefix, completion)
        if "prompt-case" in repairs and self.shouted("prompt"):
            prompt = prompt.lower()
        if "completion-case" in repairs and self.shouted("completion"):
            completion = completion.lower()
        if "completion-space" in repairs and not completion.startswith((" ", "\n")):
            completion = " " + completion
        if "prompt-suffix" in repairs:
            prompt += self.separator or ""
        if "completion-suffix" in repairs:
            completion += self.stop or ""
        return {"prompt": prompt, "completion": completion}

    def _offered(self, name: str, message: str) -> Problem:
        """The suggestion that a repair follows, with a text before and after it."""
        code, hint = REPAIRS[name]
        pair = self._bare if name == "completion-space" else self._first
        key = name.partition("-")[0]
        before, after = dict(zip(("prompt", "completion"), pair, strict=True)), self.repaired(*pair, (name,))
        cut = _end if name.endswith("-suffix") else _start
        return _said(code, message, f"{hint}; --fix={name} makes {cut(after[key])!r} of {cut(before[key])!r}")


def _whole_words(prefix: str) -> str:
    """The beginning of a text up to its last white space: what follows may be a piece of a word."""
    return prefix[: len(prefix) - len(prefix.split()[-1])] if prefix.strip() and not prefix[-1].isspace() else prefix


def _without(prefix: str, text: str) -> str:
    rest = text.removeprefix(prefix)
    # Nothing is no text, and the one space in front belongs to the first word.
    if rest == text or not rest.strip():
        return text
    return (" " if text.startswith(" ") and not rest.startswith(" ") else "") + rest


def _start(text: str) -> str:
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"


def _end(text: str) -> str:
    return text if len(text) <= _SHOWN else "…" + text[-_SHOWN:]


def _said(code: str, message: str, hint: str, *, severity: Severity = "suggestion") -> Problem:
    return Problem(line=None, byte_offset=None, path="", code=code, message=message, hint=hint, severity=severity)
