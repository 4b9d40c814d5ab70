"""A masked build shows no secret in any text of any record, counts what it covered, and looks at its files again."""

from __future__ import annotations

import datetime
import json
import random
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("kingfisher_sdk", reason="needs the extra privacy")

import ragtune as rt
from benchmarks.privacy_quality import load
from ragtune.checks.private import masked_json
from ragtune.dataset.masking import _BETWEEN, Leftovers, Masker, left_in
from ragtune.errors import DatasetError
from ragtune.privacy import Scanner

if TYPE_CHECKING:
    from pathlib import Path

MAIL = "anna.berg@nordwind-fiktiv.de"
SAID = f"You reach me at {MAIL} any time."
TOOL = {"type": "function", "function": {"name": "mail", "description": SAID, "parameters": {"default": [SAID]}}}


def call(arguments: str) -> dict[str, Any]:
    return {"id": "1", "type": "function", "function": {"name": "mail", "arguments": arguments}}


def tool_chat(arguments: str) -> dict[str, Any]:
    return {
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": SAID}]},
            {"role": "assistant", "tool_calls": [call(arguments)]},
            {"role": "tool", "tool_call_id": "1", "content": SAID},
            {"role": "assistant", "content": "Done.", "name": "a"},
        ],
        "tools": [TOOL],
    }


LAYOUTS = {
    "sharegpt": {"conversations": [{"from": "human", "value": SAID}, {"from": "gpt", "value": SAID}], "system": SAID},
    "messages": tool_chat(json.dumps({"to": MAIL})),
    "dpo": {"prompt": [{"role": "user", "content": SAID}], "chosen": SAID, "rejected": f"No. {SAID}"},
    "alpaca": {"instruction": SAID, "output": SAID, "history": [[SAID, SAID]]},
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_text_of_a_layout_is_masked(tmp_path: Path, layout: str) -> None:
    built = rt.DatasetBuilder.from_rows([LAYOUTS[layout]]).mask_private().layout(layout).build(tmp_path / "out")
    assert_masked(built)


RECORDS = {
    "chat": tool_chat(json.dumps({"to": [{"mail": MAIL}]})),
    "completion": {"prompt": SAID, "completion": f" {SAID}"},
    "preference": {
        "input": {"messages": [{"role": "user", "content": SAID}], "tools": [TOOL]},
        "preferred_output": [{"role": "assistant", "content": SAID}],
        "non_preferred_output": [{"role": "assistant", "content": f"No. {SAID}"}],
    },
    "unpaired": {
        "prompt": [{"role": "user", "content": SAID}],
        "completion": [{"role": "assistant", "content": SAID}],
        "label": True,
    },
    "reinforcement": {"messages": [{"role": "user", "content": SAID}], "answer": {"mails": [SAID, {"a": SAID}]}},
}


@pytest.mark.parametrize("kind", RECORDS)
@pytest.mark.parametrize("split", [0.0, 0.5])
def test_every_text_of_a_record_that_a_function_makes_is_masked(tmp_path: Path, kind: str, split: float) -> None:
    """From nested values of the row, and from what the function itself brings in."""
    rows = [{"n": n, "record": (RECORDS[kind],), "at": datetime.date(2026, 1, 2)} for n in range(4)]
    from_rows = rt.DatasetBuilder.from_rows(rows).mask_private()
    assert_masked(from_rows.records(lambda row: row["record"][0]).build(tmp_path / "row", validation=split * 0))
    assert_masked(from_rows.records(lambda row: RECORDS[kind]).build(tmp_path / "function"))


def assert_masked(built: rt.Dataset) -> None:
    for path in built.folder.iterdir():
        assert MAIL not in path.read_text(encoding="utf-8"), path.name
    assert "[EMAIL]" in built.train.path.read_text()
    assert built.manifest["private"]["left"] == {}
    assert built.manifest["private"]["masked"]["email"] > 0
    assert built.system is None or MAIL not in built.system


def test_constants_and_joins_of_a_template_are_masked_in_records_manifest_and_counts(tmp_path: Path) -> None:
    """A system prompt, a constant beside a column, and an address that only the template puts together."""
    rows = [{"q": f"Question {n}?", "name": "anna.berg", "host": "nordwind-fiktiv.de"} for n in range(4)]
    builder = rt.DatasetBuilder.from_rows(rows, query=f"select for {MAIL}").mask_private()
    chat = builder.chat(system=f"Ask {MAIL}.", user=f"{{q}} ({MAIL})", assistant="Write to {name}@{host}.")
    built = chat.build(tmp_path / "out", count="o200k_base")
    assert_masked(built)
    assert built.system == "Ask [EMAIL]."
    assert dict(built.manifest["private"]["masked"]) == {"email": 12}
    first = next(iter(built.train))
    assert [message.text for message in first.messages][1:] == ["Question 0? ([EMAIL])", "Write to [EMAIL]."]
    assert built.token_counts("o200k_base") == rt.Dataset.from_files(built.train.path).token_counts("o200k_base")  # type: ignore[arg-type]
    assert MAIL not in str(chat.preview(1))


def test_a_key_stays_and_is_told(tmp_path: Path) -> None:
    """Graders read reference fields by their names; whoever makes names of addresses learns of it."""
    record = {"messages": [{"role": "user", "content": "Who?"}], "of": {MAIL: "yes", "b": MAIL}}
    rows = rt.DatasetBuilder.from_rows([{"n": n} for n in range(3)]).mask_private()
    built = rows.records(lambda row: record).build(tmp_path / "out")
    private = dict(built.manifest["private"])
    assert private.pop("where") == {"record": {"email": 3}}
    assert private == {"masked": {"email": 3}, "left": {"email": 1}, "places": ["train.jsonl line 1, a key: email"]}


def test_kinds_and_allowed_values_are_the_users_choice(tmp_path: Path) -> None:
    """The manifest says which, and counts each kind."""
    answer = f"Write to help@acme-fiktiv.com, {MAIL} or call +44 20 7946 0123."
    rows = [{"q": f"q{n}?", "a": answer} for n in range(3)]
    builder = rt.DatasetBuilder.from_rows(rows).mask_private(allow=["HELP@acme-fiktiv.com"])
    built = builder.chat(user="{q}", assistant="{a}").build(tmp_path / "a")
    assert next(iter(built.train)).messages[1].text == "Write to help@acme-fiktiv.com, [EMAIL] or call [PHONE]."
    assert built.manifest["private"]["masked"] == {"email": 3, "phone": 3}
    assert built.manifest["private"]["where"] == {"a": {"email": 3, "phone": 3}}
    assert "covered in a: 3 email, 3 phone" in str(built.report)
    assert built.manifest["steps"][0]["mask_private"]["allow"] == ["HELP@acme-fiktiv.com"]
    assert "covered: 3 email, 3 phone" in str(built.report)
    only = rt.DatasetBuilder.from_rows(rows).mask_private(kinds=["email"], allow=["@nordwind-fiktiv.de"])
    text = next(iter(only.chat(user="{q}", assistant="{a}").build(tmp_path / "b").train)).messages[1].text
    assert text == f"Write to [EMAIL], {MAIL} or call +44 20 7946 0123."
    with pytest.raises(DatasetError, match="kind 'mail' is not one of"):
        rt.DatasetBuilder.from_rows(rows).mask_private(kinds=["mail"])  # type: ignore[list-item]
    with pytest.raises(DatasetError, match="kinds is empty, so nothing would be found; name some of private_key"):
        rt.DatasetBuilder.from_rows(rows).mask_private(kinds=[])
    with pytest.raises(DatasetError, match=r"write kinds=\['email'\]"):
        rt.DatasetBuilder.from_rows(rows).mask_private(kinds="email")  # type: ignore[arg-type]
    with pytest.raises(DatasetError, match=r"masks already; name all kinds .* in one mask_private\(\)"):
        builder.mask_private(kinds=["phone"])
    with pytest.raises(DatasetError, match=r"must be several values; write allow=\['@acme\.com'\]"):
        rt.DatasetBuilder.from_rows(rows).mask_private(allow="@acme.com")


def test_what_a_scan_of_the_written_files_finds_is_told_by_kind_and_place(tmp_path: Path) -> None:
    """Nothing knows why a masking overlooked it; no value is shown."""
    rows = [{"q": f"q{n}?", "a": SAID if n == 2 else "none"} for n in range(4)]
    builder = rt.DatasetBuilder.from_rows(rows).chat(user="{q}", assistant="{a}")
    plain, out = builder.build(tmp_path / "plain"), tmp_path / "out"
    assert plain.train.path is not None
    left = left_in([plain.train.path], Scanner())
    assert left == Leftovers(counts={"email": 1}, places=("train.jsonl line 3, messages[1].content: email",))
    masked = builder.mask_private().build(out)
    manifest = {**masked.manifest, "private": {"masked": {}, "left": left.counts, "places": left.places}}
    (out / "manifest.json").write_text(json.dumps(manifest))
    report = rt.Dataset.load(out).report
    told = "1 email was found in the written files all the same: train.jsonl line 3, messages[1].content"
    assert f"warning: {told}" in str(report)
    assert told in report.to_html()
    assert report.to_dict()["private"]["left"] == {"email": 1}


@pytest.mark.parametrize(
    ("arguments", "masked"),
    [
        (r'{"to": "anna.berg\u0040nordwind-fiktiv.de", "n": 1.50}', '{"to": "[EMAIL]", "n": 1.50}'),
        ('{"card": 4111111111111111, "n": [1, 2]}', '{"card": "[CARD]", "n": [1, 2]}'),
        ('{"password": "kT7!pQ29xLw", "b": {}}', '{"password": "[PASSWORD]", "b": {}}'),
    ],
)
def test_arguments_of_tools_stay_json(arguments: str, masked: str) -> None:
    """An escaped sign hides nothing, and a number becomes a text."""
    masker = Masker(Scanner())
    assert masker(arguments) == masked
    json.loads(masker(arguments))
    assert sum(masker.counts.values()) == 2


def test_masked_json_leaves_all_other_bytes() -> None:
    """Spaces, keys, doubled keys, escapes and numbers beyond 64 bits."""
    line = rb'{"a@b.de" : 1e400, "x": 1267650600228229401496703205376, "x":"' + MAIL.encode() + rb'", "y": "\u00e9\/"}'
    assert masked_json(line, Scanner().mask) == line.replace(MAIL.encode(), b"[EMAIL]")


def test_what_a_text_holds_is_found_in_a_piece_of_many_texts_too() -> None:
    """Scanned between its neighbours, every text of the quality set that holds something stays suspicious."""
    scanner, chance = Scanner(), random.Random(5)
    found = [case.text for case in load() if scanner.scan(case.text)]
    assert len(found) > 80
    for text in found:
        before, after = (
            chance.choices(["user", "Be brief.", "It is 3.", "see page 41", "+", "@", ""], k=3) for _ in "ab"
        )
        assert scanner.scan(_BETWEEN.join([*before, text, *after])), text


def test_reasons_and_what_ties_no_rows_are_masked_in_manifest_and_report(tmp_path: Path) -> None:
    """Whoever filters by an address writes it into the reason; a function brings one into every answer."""
    rows = [{"q": f"Question {n}?", "who": MAIL if n % 9 == 0 else "b"} for n in range(200)]
    builder = (
        rt.DatasetBuilder.from_rows(rows)
        .mask_private()
        .filter(lambda row: row["who"] != MAIL, reason=f"written by {MAIL}")
        .records(lambda row: {"prompt": row["q"], "completion": f" Please ask the mill at {MAIL} for it."})
    )
    dataset = builder.build(tmp_path / "out", validation=0.1)
    assert dict(dataset.report.dropped) == {"written by [EMAIL]": 23}
    assert dataset.manifest["steps"][0]["dropped"] == {"written by [EMAIL]": 23}
    assert dataset.manifest["split"]["left_out"][0]["text"].endswith("[EMAIL] for it.")
    for path in (tmp_path / "out").iterdir():
        assert MAIL not in path.read_text(), path
    assert MAIL not in str(dataset.report) + dataset.report.to_html() + json.dumps(dataset.report.to_dict())


def test_two_keys_of_a_tools_arguments_that_are_covered_alike_stay_two() -> None:
    """Of two equal keys every reader would lose one, with its value."""
    covered = Masker(Scanner())('{"anna@nordwind-fiktiv.de": 1, "bert@nordwind-fiktiv.de": {"c": 1e3}, "[EMAIL] 2": 3}')
    assert list(json.loads(covered).values()) == [1, {"c": 1000.0}, 3]
    assert "nordwind" not in covered
