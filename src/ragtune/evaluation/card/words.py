"""A card in words: one sentence that says no more than its intervals, and a table for a terminal."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from ragtune.evaluation.asking.arms import TUNED
from ragtune.evaluation.card.figures import p_text, percent

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ragtune.evaluation.card.figures import Difference, Estimate, Figures
    from ragtune.facts import Kind

__all__ = ["WIDTH", "cell_text", "difference_text", "notes", "printed", "sentence"]

WIDTH = 100
CONTAINS_NOTE = (
    '"contains" favours whoever copies a passage, since a whole passage holds the answer too: look at "f1" or "exact" '
    "before arms with passages are called better."
)
_ASKED: dict[str, str] = {
    "verbatim": "asked in the words of the training",
    "reworded": "asked in other words",
    "reversed": "asked from the answer back",
    "unanswerable": "that nobody can answer",
    "control": "that no training should touch",
}


def sentence(card: Figures) -> str:
    """Return the result in words. A difference is only claimed where interval and test both tell it."""
    # Other words first: in the trained ones a model may be right by heart.
    kind = next((kind for kind in ("reworded", "verbatim", "reversed", "control") if kind in card.kinds), None)
    estimates = {cell.arm: cell.estimate for cell in card.cells if cell.kind == kind and cell.estimate.n}
    if kind is None or not estimates:
        return "Nothing was answered yet."
    rows = [row for row in card.differences if row.kind == kind]
    first = TUNED if TUNED in estimates else next(iter(estimates))
    n = estimates[first].n
    start = f"On {n} {_plural(n, 'fact')} {_ASKED[kind]}, {first} {_does(card, estimates[first])}"
    # Of the tuned model alone, where there is one: the sentence is about what training was worth.
    told = [_compared(card, row, estimates) for row in rows if first in row.name.split(" - ") or TUNED not in estimates]
    return " ".join([f"{start}.", *told, *_gap(card, first), *_forgetting(card)])


def _does(card: Figures, estimate: Estimate) -> str:
    return f"{_verb(card)} {cell_text(card, estimate, long=True)}"


def _verb(card: Figures) -> str:
    return "is right on" if card.scorer in card.scores.binary else f"scores ({card.scorer})"


def _compared(card: Figures, row: Difference, estimates: dict[str, Estimate]) -> str:
    first, _, second = row.name.partition(" - ")
    other = f"{second} ({_mean(card, estimates[second])})"
    if row.told:
        word = "ahead of" if row.value > 0 else "behind"
        return f"{first} is {word} {other} by {_amount(card, row)}."
    more = _wanting(row, "; about {:,} facts would show a difference as small as this one")
    return (
        f"Whether {first} or {other} is better cannot be told from {row.n} {_plural(row.n, 'fact')} "
        f"({_range(card, row)}, p {p_text(row.p)}){more}."
    )


def _gap(card: Figures, arm: str) -> Iterator[str]:
    for row in card.lines:
        if row.name == f"memorised: {arm}" and row.told and row.value > 0:
            yield f"In the trained words {arm} is {_amount(card, row)} better: so much is memorised wording."


def _forgetting(card: Figures) -> Iterator[str]:
    for row in card.lines:
        if row.name == "forgotten" and row.told and row.value > 0:
            yield f"On control questions the training cost {_amount(card, row)}."


def _amount(card: Figures, row: Difference) -> str:
    if not card.is_share:
        return (
            f"{abs(row.value):.3g} ({min(abs(row.low), abs(row.high)):.3g} to {max(abs(row.low), abs(row.high)):.3g})"
        )
    # Without signs: the sentence says which of both is ahead, and the smaller end comes first either way.
    ends = sorted((abs(row.low), abs(row.high)))
    return f"{percent(abs(row.value))} points ({percent(ends[0])} to {percent(ends[1])})"


def _range(card: Figures, row: Difference) -> str:
    if not card.is_share:
        return f"{row.low:+.3g} to {row.high:+.3g}"
    return f"{percent(row.low, sign=True)} to {percent(row.high, sign=True)} points"


def _mean(card: Figures, estimate: Estimate) -> str:
    return f"{percent(estimate.mean)}%" if card.is_share else f"{estimate.mean:.3g}"


def cell_text(card: Figures, estimate: Estimate, *, long: bool = False) -> str:
    """Return an estimate as short as a cell of a table wants it, or as a sentence does."""
    if not estimate.n:
        return ""
    if card.is_share:
        mean, low, high = (percent(share) for share in (estimate.mean, estimate.low, estimate.high))
        return f"{mean}% ({low} to {high}%)" if long else f"{mean}% {low}-{high}"
    return f"{estimate.mean:.3g} ({estimate.low:.3g} to {estimate.high:.3g})"


def difference_text(card: Figures, row: Difference) -> str:
    """Return a difference, or a share that stands among them, with its interval."""
    # NaN: a share among the differences, which nothing was tested against.
    if row.p != row.p:
        return f"{percent(row.value)}% ({percent(row.low)} to {percent(row.high)}%)"
    if card.is_share:
        value, low, high = (percent(share, sign=True) for share in (row.value, row.low, row.high))
        return f"{value} ({low} to {high})"
    return f"{row.value:+.3g} ({row.low:+.3g} to {row.high:+.3g})"


def printed(card: Figures) -> str:
    """Return the card as text of at most 100 columns."""
    parts = [textwrap.fill(sentence(card), WIDTH), _cells(card)]
    parts += [textwrap.fill(note, WIDTH) for note in notes(card)]
    if len(card.differences):
        unit = " in points" if card.is_share else ""
        parts.append("\n".join([f"Differences{unit}; p corrected by Holm's method within each kind", *_by_kind(card)]))
    if len(card.lines):
        parts.append("\n".join(["What no cell shows", *_rows(card, card.lines.rows)]))
    return "\n\n".join(parts)


def _by_kind(card: Figures) -> Iterator[str]:
    for kind in card.kinds:
        if rows := [row for row in card.differences if row.kind == kind]:
            yield f" {kind}"
            yield from _rows(card, rows)


def notes(card: Figures) -> Iterator[str]:
    """What has to be known to read the figures."""
    facts = ", ".join(f"{kind} {_facts_of(card, kind)}" for kind in card.kinds)
    yield f"{card.scorer}: mean over facts and 95% interval, resampled by fact. Facts: {facts}."
    if card.scorer == "contains":
        yield CONTAINS_NOTE
    if card.scores.proof == "answers":
        yield "Base and tuned were told apart by their answers: a server gives no log-probabilities."
    missing = int(card.scores.unanswered.sum())
    if missing:
        count = f"{missing} of {len(card.scores.unanswered)} questions"
        last = card.errors[-1].error.splitlines()[0][:120] if card.errors else ""
        yield f"{count} were not answered and count as wrong (card.errors lists them): {last}"
    if card.failures:
        failure = card.failures[-1]
        said = f"{failure.scorer}: {failure.error[:120]}"
        yield f"{len(card.failures)} answers could not be judged (card.failures lists them): {said}"


def _facts_of(card: Figures, kind: Kind) -> int:
    return max((cell.estimate.n for cell in card.cells if cell.kind == kind), default=0)


def _cells(card: Figures) -> str:
    texts = {(cell.arm, cell.kind): cell_text(card, cell.estimate) for cell in card.cells}
    columns = {kind: [kind, *(texts.get((arm, kind), "") for arm in card.arms)] for kind in card.kinds}
    widths = {kind: max(map(len, column)) + 2 for kind, column in columns.items()}
    first = max(8, min(max(map(len, card.arms), default=0) + 2, WIDTH - sum(widths.values())))
    lines = [_fitted(name, first - 1).ljust(first) for name in ("", *card.arms)]
    for kind, column in columns.items():
        lines = [line + text.rjust(widths[kind]) for line, text in zip(lines, column, strict=True)]
    return "\n".join(line.rstrip() for line in lines)


def _rows(card: Figures, rows: Sequence[Difference]) -> list[str]:
    texts = [(_label(row), difference_text(card, row), _tail(row)) for row in rows]
    values = max(len(value) for _, value, _ in texts)
    tails = max(len(tail) for *_, tail in texts)
    names = min(max(len(name) for name, *_ in texts), WIDTH - values - tails - 6)
    return [
        f"  {_fitted(name, names).ljust(names)}  {value.ljust(values)}  {tail}".rstrip() for name, value, tail in texts
    ]


def _label(row: Difference) -> str:
    return f"{row.name}, {row.kind}" if row.name.startswith(("stale", "followed")) else row.name


def _tail(row: Difference) -> str:
    if row.p != row.p:
        return f"n={row.n}"
    told = "" if row.told else f"  not told{_wanting(row, ', {:,} facts needed')}"
    return f"p {p_text(row.p)}  n={row.n}{told}"


def _wanting(row: Difference, text: str) -> str:
    """How many facts more would be needed, where the number of facts is the reason."""
    return text.format(row.needed) if row.needed is not None and row.needed > row.n else ""


def _fitted(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: max(1, width - 3)]}..."


def _plural(count: int, word: str) -> str:
    return word if count == 1 else f"{word}s"
