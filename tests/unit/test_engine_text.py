"""Pieces of text as tokens come: nothing lost, nothing doubled, no half character, nothing of a stop text."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from ragtune.local.engine.decoding.detokenizer import TextStream


def decode(ids: Sequence[int]) -> str:
    """A tokenizer whose tokens are bytes: the hardest case, as most tokens end inside a character."""
    return bytes(ids).decode("utf-8", "replace")


@given(st.text(max_size=40))
def test_the_pieces_join_to_the_whole_text(text: str) -> None:
    """Without stop texts, every character arrives once and whole."""
    stream = TextStream(decode)
    pieces = [stream.push(byte) for byte in text.encode()]
    assert "".join(pieces) + stream.close() == text
    assert all("\ufffd" not in piece for piece in pieces if "\ufffd" not in text)


@given(st.text("abc", max_size=30), st.lists(st.text("abc", min_size=1, max_size=4), max_size=3))
def test_the_text_ends_before_the_first_stop_text(text: str, stop: list[str]) -> None:
    """The same as looking for the stop texts in the whole text, taking the earliest that completes."""
    stream = TextStream(decode, stop=tuple(stop))
    got = ""
    for byte in text.encode():
        got += stream.push(byte)
        if stream.stopped:
            break
    got += stream.close()
    ends = [(text.find(s) + len(s), text.find(s)) for s in stop if s in text]
    if not ends:
        assert got == text
        assert not stream.stopped
        return
    first_complete = min(end for end, _ in ends)
    assert got == text[: min(start for end, start in ends if end == first_complete)]
    assert stream.stopped


def test_a_possible_stop_text_is_held_back_until_it_is_decided() -> None:
    """A reader of the stream never sees the beginning of a stop text that then completes."""
    stream = TextStream(decode, stop=("END",))
    assert [stream.push(byte) for byte in b"aENbEN"] == ["a", "", "", "ENb", "", ""]
    assert stream.close() == "EN"


def test_a_character_cut_off_at_the_end_shows_the_replacement_character() -> None:
    """The answer was cut at its length inside a character: that is shown, not hidden."""
    stream = TextStream(decode)
    assert [stream.push(byte) for byte in "aé".encode()[:-1]] == ["a", ""]
    assert stream.close() == "\ufffd"
