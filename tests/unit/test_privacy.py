"""Secrets and personal data: what is found, where, how well on a labelled set, and that nothing is given away."""

from __future__ import annotations

import importlib.util
import itertools
import pickle
import random
import re
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragtune.errors import DatasetError
from ragtune.privacy import KINDS, Finding, Scanner, mask, placeholder, scan

ROOT = Path(__file__).resolve().parents[2]


def benchmark() -> Any:
    """The module that reads the labelled set and counts; it is a program, not a part of the package."""
    name = "privacy_quality"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, ROOT / f"benchmarks/{name}.py")
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


CASES = benchmark().load()
TOKEN = benchmark().expand("ghp_[A-Za-z0-9]{36}", random.Random(7))


# The labelled set ---------------------------------------------------------------------------------------------------


def test_the_set_is_large_mixed_and_stable() -> None:
    """At least 200 texts of which two fifths hold nothing, every kind on both halves, the same secrets each time."""
    assert len(CASES) >= 200
    assert sum(not case.labels for case in CASES) >= len(CASES) * 0.4
    for half in (CASES[::2], CASES[1::2]):
        assert {label[0] for case in half for label in case.labels} == set(KINDS)
    assert benchmark().load() == CASES


@pytest.mark.slow
def test_the_file_of_the_set_holds_nothing_that_looks_like_a_leaked_key() -> None:
    """Its secrets are shapes that the benchmark fills in, so that no scanner of repositories barks at it."""
    text = benchmark().SET.read_text(encoding="utf-8")
    scanner = Scanner(kinds=("private_key", "api_key"))
    assert [f"{number}: {f.rule}" for number, line in enumerate(text.splitlines()) for f in scanner.scan(line)] == []


@pytest.mark.parametrize(("name", "part"), [("tuned on", slice(0, None, 2)), ("held out", slice(1, None, 2))])
def test_quality_on_the_set_is_what_the_page_says(name: str, part: slice) -> None:
    """The table in docs/measured.md is the benchmark's; recall and precision of the whole stay above 0.95."""
    quality = benchmark().measure(CASES[part])
    page = (ROOT / "docs/measured.md").read_text(encoding="utf-8")
    section = page.split(f"<!-- {name} -->")[1].split("<!--")[0]
    for kind in (*KINDS, "all"):
        row = re.search(rf"^\| {kind} \|(.*)\|$", section, re.MULTILINE)
        assert row is not None, kind
        said = [cell.strip() for cell in row[1].split("|")]
        figures = (quality.labelled[kind], quality.recall(kind), quality.reported[kind], quality.precision(kind))
        assert said == [f"{figure:.3f}" if isinstance(figure, float) else str(figure) for figure in figures], kind
    assert quality.recall("all") >= 0.95
    assert quality.precision("all") >= 0.95


# Nothing is given away ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", [case for case in CASES if case.labels], ids=lambda case: case.about)
def test_a_finding_never_holds_the_value(case: Any) -> None:
    """Neither its repr nor its mask nor its pickle shows more than an eighth of the value, at most four characters."""
    for finding in Scanner(phone_region=case.region).scan(case.text):
        value = case.text[finding.start : finding.end]
        shown = finding.masked.partition("…")[0]
        assert value.startswith(shown)
        assert len(shown) <= min(4, len(value) // 8)
        assert value not in repr(finding) + str(finding) + finding.masked
        assert value.encode() not in pickle.dumps(finding)


def test_an_error_about_findings_does_not_show_the_text() -> None:
    """Findings of another text are refused without a quotation."""
    finding = scan(f"token {TOKEN}")[0]
    with pytest.raises(DatasetError, match=r"api_key at 6:46 does not fit this text") as caught:
        mask("short secret", [finding])
    assert "secret" not in str(caught.value)
    with pytest.raises(DatasetError, match="does not fit"):
        mask(f"token {TOKEN}", [finding, finding])


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.about)
def test_a_masked_text_is_clean_and_keeps_the_rest(case: Any) -> None:
    """Masking twice is masking once, and what no finding covers stays."""
    scanner = Scanner(phone_region=case.region)
    findings = scanner.scan(case.text)
    masked = scanner.mask(case.text)
    assert scanner.scan(masked) == ()
    assert scanner.mask(masked) == masked
    kept = re.split("|".join(re.escape(placeholder(kind)) for kind in KINDS), masked)
    assert sum(map(len, kept)) == len(case.text) - sum(f.end - f.start for f in findings)


# Places -------------------------------------------------------------------------------------------------------------


@given(before=st.text(max_size=30), after=st.text(max_size=30))
def test_the_place_of_a_token_is_exact_in_any_text(before: str, after: str) -> None:
    """Other alphabets, lone surrogates, byte-order marks and NULs around it do not move it."""
    text = f"{before} {TOKEN} {after}"
    start = len(before) + 1
    assert [(f.start, f.end) for f in scan(text) if f.rule == "github-pat"] == [(start, start + len(TOKEN))]


@pytest.mark.parametrize("end", [".", ",", "?", "!", ")", "),", "}.", "…", "。", "</b>", "**", "&x=1", "\n", ""])
def test_punctuation_behind_a_token_does_not_hide_it(end: str) -> None:
    """In prose a token is not followed by white space alone."""
    assert [(f.start, f.end) for f in scan(f"it is {TOKEN}{end}")] == [(6, 46)]


@given(text=st.text(st.characters(), max_size=200) | st.text("0123456789 -+@.aAbDE:/=p", max_size=200))
def test_findings_of_any_text_are_ordered_and_apart(text: str) -> None:
    """No text raises, and places lie inside it."""
    findings = Scanner(phone_region="US").scan(text)
    assert all(0 <= f.start < f.end <= len(text) for f in findings)
    assert all(one.end <= other.start for one, other in itertools.pairwise(findings))


def test_of_two_findings_that_overlap_the_weightier_stays() -> None:
    """The password of a URL with its host is no e-mail address, whatever is looked for."""
    url = "postgres://bob:pQ9xL2mTr7@db1.nordwind-fiktiv.de:5432/app"
    assert [f.kind for f in scan(url)] == ["password"]
    assert Scanner(kinds=("email",)).scan(url) == ()


# Single rules -------------------------------------------------------------------------------------------------------


def only(kind: str, text: str, region: str | None = None) -> list[str]:
    """The values of one kind in a text."""
    return [text[f.start : f.end] for f in Scanner(kinds=(kind,), phone_region=region).scan(text)]  # type: ignore[arg-type]


def test_a_card_number_needs_issuer_length_groups_and_check_digit() -> None:
    """Each rule alone keeps a number out."""
    assert only("card", "4111 1111 1111 1111") == ["4111 1111 1111 1111"]
    for number in ("4111 1111 1111 1112", "9792 1500 0000 0008", "41 11111111 111111", "4111-1111 1111-1111"):
        assert only("card", number) == []


def test_an_iban_ends_where_its_check_digits_end() -> None:
    """The words behind it look like further groups."""
    assert only("iban", "to GB82 WEST 1234 5698 7654 32 AMOUNT 50 EUR") == ["GB82 WEST 1234 5698 7654 32"]
    assert only("iban", "to GB83 WEST 1234 5698 7654 32") == []


def test_reserved_domains_are_nobodys_address() -> None:
    """RFC 2606 keeps example.com and .test free of persons."""
    assert only("email", "a@example.com b@mail.test c@example.org.acme-fiktiv.de") == ["c@example.org.acme-fiktiv.de"]


def test_the_wide_and_the_small_at_sign_of_other_keyboards_part_an_address_too() -> None:
    for sign in "\uff20\ufe6b":
        assert only("email", f"\u8bf7\u5199\u4fe1\u7ed9 bob{sign}acme-fiktiv.de\u3002") == [f"bob{sign}acme-fiktiv.de"]
        assert Scanner(allow=["@acme-fiktiv.de"]).scan(f"bob{sign}acme-fiktiv.de") == ()


@pytest.mark.parametrize("number", ["(+44) 20 7946 0123", "(\uff0b44) 20 7946 0123", "+44 20 7946 0123"])
def test_a_number_with_its_country_is_one_in_brackets_as_well(number: str) -> None:
    (found,) = scan(f"Call {number} at noon.")
    assert (found.rule, found.confidence) == ("international-number", "high")


def test_national_numbers_need_a_region() -> None:
    """Without one, only a plus sign makes digits a telephone number."""
    text = "(415) 555-0142 or +44 20 7946 0123"
    assert only("phone", text) == ["+44 20 7946 0123"]
    assert only("phone", text, "US") == ["(415) 555-0142", "+44 20 7946 0123"]


@pytest.mark.parametrize(
    "text",
    ["password: string", "password = load(1)", "password: <pass1word>", "password: {{ vault1 }}", "pwd=a1"],
)
def test_placeholders_and_code_are_no_passwords(text: str) -> None:
    """What a program or a manual writes behind the name is not the secret."""
    assert only("password", text) == []


# The scanner --------------------------------------------------------------------------------------------------------


def test_a_scanner_travels_and_is_shared() -> None:
    """Another process gets an equal one; threads get equal findings."""
    scanner = Scanner(kinds=["email", "api_key"], phone_region="DE")  # type: ignore[arg-type]
    again = pickle.loads(pickle.dumps(scanner))
    assert again == scanner
    texts = [case.text for case in CASES]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(again.scan, texts)) == [scanner.scan(text) for text in texts]


def test_only_the_wanted_kinds_are_reported() -> None:
    """Each kind alone finds a part of what all find together."""
    for case in CASES[::7]:
        for kind in KINDS:
            assert {f.kind for f in Scanner(kinds=(kind,)).scan(case.text)} <= {kind}


def test_a_scanner_refuses_what_it_does_not_know() -> None:
    """A misspelt kind must not look like a clean text."""
    with pytest.raises(DatasetError, match="kind 'mail' is not one of private_key, api_key"):
        Scanner(kinds=("mail",))  # type: ignore[arg-type]
    with pytest.raises(DatasetError, match="phone_region 'Germany' is no country code"):
        Scanner(phone_region="Germany")


@pytest.mark.parametrize(
    "unit",
    [
        "a@",
        "4444 ",
        "DE89",
        "+1 ",
        "password=",
        "token: ",
        "-----BEGIN ",
        "x@a.",
        "at (at) ",
        ".,:!",
    ],
)
def test_hostile_repetition_stays_cheap(unit: str) -> None:
    """100,000 characters take at most five seconds of CPU, usually hundredths."""
    scan("warm up")
    started = time.process_time()
    scan(unit * (100_000 // len(unit)))
    assert time.process_time() - started < 5


def test_findings_have_the_fields_that_reports_rely_on() -> None:
    """The report shows kind, rule, mask and confidence, and goes back to the text by its places."""
    finding = scan(f"token {TOKEN}")[0]
    expected = Finding(
        kind="api_key", rule="github-pat", start=6, end=46, masked="ghp_… (40 characters)", confidence="high"
    )
    assert finding == expected
