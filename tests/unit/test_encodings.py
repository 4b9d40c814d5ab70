"""Files in other encodings and of other kinds: what they are is told with the call that reads them."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

import ragtune as rt
from ragtune._encodings import Misreading, likely_encoding

TURKISH = "Şifremi nasıl sıfırlarım? Bağlantı gelmiyor, şikâyetim var."
TEXTS = {
    "cp1254": TURKISH,
    "cp1252": "Où est la garantie ? L'élève a été déçu par le café, mais la réponse était très précise.",
    "cp1251": "Как сбросить пароль? Ссылка не приходит на почту, помогите пожалуйста.",
    "cp1250": "Jak obnovím heslo? Odkaz nepřišel do schránky, prosím o pomoc. Zboží lze vrátit.",
    "cp1253": "Πώς αλλάζω τον κωδικό μου; Ο σύνδεσμος δεν έρχεται στο ταχυδρομείο.",
    "cp1256": "كيف أعيد تعيين كلمة المرور؟ الرابط لا يصل إلى البريد.",
    "koi8_r": "Как сбросить пароль? Ссылка не приходит на почту, помогите пожалуйста.",
    "gb18030": "如何重置密码？链接没有发送到邮箱，请帮忙。商品可以在十四天内退货。",
    "utf-16": TURKISH,
}


@pytest.mark.parametrize("name", TEXTS)
def test_the_encoding_of_a_table_is_told_with_words_as_they_would_read(tmp_path: Path, name: str) -> None:
    path = tmp_path / "faq.csv"
    path.write_bytes(f'question,answer\n"{TEXTS[name]}",b\n'.encode(name))
    with pytest.raises(rt.DatasetError, match=rf"most likely encoding='{name}'") as refused:
        rt.DatasetBuilder.from_csv(path).chat(user="{question}", assistant="{answer}").preview(1)
    if name == "cp1254":
        assert "(in which it reads 'Şifremi', 'nasıl', 'sıfırlarım')" in str(refused.value)
    builder = rt.DatasetBuilder.from_csv(path, encoding=name).chat(user="{question}", assistant="{answer}")
    assert builder.preview(1).warning is None
    assert TEXTS[name] in str(builder.preview(1))


@pytest.mark.parametrize("way", ["from_jsonl", "from_json", "check"])
def test_json_in_another_encoding_is_told_the_command_that_mends_it(tmp_path: Path, way: str) -> None:
    path = tmp_path / "rows.jsonl"
    rows = [{"prompt": f"{n}", "completion": TURKISH} for n in range(200)]
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    path.write_bytes(("[" + ",".join(lines) + "]" if way == "from_json" else "\n".join(lines)).encode("cp1254"))
    said = "iconv -f cp1254 -t utf-8 (in which it reads 'Şifremi', 'nasıl', 'sıfırlarım')"
    if way == "check":
        report = rt.check_file(path)
        assert report.counts["error", "not-utf8"] == 200
        assert all(said in problem.hint for problem in report.problems if problem.code == "not-utf8")
        return
    builder = getattr(rt.DatasetBuilder, way)(path).chat(user="{prompt}", assistant="{completion}")
    with pytest.raises(rt.DatasetError) as refused:
        builder.preview(1)
    assert said in str(refused.value)


def test_a_small_table_is_most_often_western() -> None:
    assert likely_encoding(b"a,b\ncaf\xe9,b\n").name == "cp1252"
    assert likely_encoding("a,b\nc,d\n".encode("utf-16-le")).name == "utf-16-le"
    assert likely_encoding("Müşteri,Ürün\nAyşe,Şişe\n".encode("cp1254")).name == "cp1254"


RIGHT = {
    "Icelandic": "Það er gott veður í dag og ég ætla að ganga út á götu. Nýr dagur, það væri þungt að bíða.",
    "Czech": "Nový dobrý příklad: příliš žluťoučký kůň úpěl ďábelské ódy.",
    "Portuguese": "NÃO É POSSÍVEL, disse o São João. À noite há opções.",
    "German": "Größe und Farbe ändern: Öl, Äpfel, Übung, Straße.",
    "Turkish": TURKISH,
    "Russian": TEXTS["cp1251"],
    "one Old English letter": "The letter Þ is called thorn, and ð is called eth.",
}
WRONG = {
    "cp1254": (TURKISH.encode("cp1254").decode("cp1252"), "'Þifremi' for 'Şifremi', 'nasýl' for 'nasıl'"),
    "utf-8": (TURKISH.encode().decode("cp1252", "replace"), "'nasÄ±l' for 'nasıl'"),
    "cp1251": (TEXTS["cp1251"].encode("cp1251").decode("cp1252"), "'ñáðîñèòü' for 'сбросить'"),
}


@pytest.mark.parametrize("language", RIGHT)
def test_a_text_that_is_right_is_left_in_peace(language: str) -> None:
    texts = Misreading()
    texts.add(RIGHT[language])
    assert (texts.verdict, texts.finding) == (None, None)


@pytest.mark.parametrize("escaped", [False, True])
@pytest.mark.parametrize("name", WRONG)
def test_a_text_that_was_read_wrongly_is_told_in_preview_report_and_check(
    tmp_path: Path, name: str, escaped: bool
) -> None:
    text, words = WRONG[name]
    rows = [{"q": f"{n}: {text}", "a": f"Yes {n}."} for n in range(12)]
    builder = rt.DatasetBuilder.from_rows(rows).chat(user="{q}", assistant="{a}")
    preview = builder.preview(2)
    assert preview.warning is not None
    assert words in str(preview)
    assert f"pass encoding={name!r} to the source" in preview._repr_html_().replace("&#x27;", "'")
    dataset = builder.build(tmp_path / "ds")
    assert "warning misread-text" in str(dataset.report)
    path = tmp_path / "train.jsonl"
    records = [json.loads(line) for line in Path(str(dataset.train.path)).read_text(encoding="utf-8").splitlines()]
    path.write_text("".join(json.dumps(r, ensure_ascii=escaped) + "\n" for r in records), encoding="utf-8")
    [problem] = [problem for problem in rt.check_file(path).problems if problem.code == "misread-text"]
    assert problem.severity == "warning"
    assert words in problem.message
    assert f"encoding={name!r}" in problem.hint


ROW: dict[str, Any] = {"Frage": "Wie, bitte?", "Antwort": "So."}
CHAT: dict[str, Any] = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}
READ_CHAT = "from_json('{}').layout('messages')"
PAIR = {"prompt": "7 + 5?", "chosen": "12", "rejected": "13"}


@pytest.mark.parametrize(
    ("name", "content", "what", "call"),
    [
        (
            "a.csv",
            'Frage,Antwort\n"Wie, bitte?",So.\n' * 20,
            "a CSV file with the columns 'Frage', 'Antwort'",
            "from_csv('{}')",
        ),
        ("a.csv", "Frage;Antwort\nWie;So.\n" * 20, "a CSV file", "from_csv('{}', delimiter=';')"),
        (
            "a.jsonl",
            "Soru\tYanıt\nŞifre\tYok.\n" * 20,
            "a CSV file",
            "from_csv('{}', delimiter='\\t', encoding='cp1254')",
        ),
        ("a.json", json.dumps([CHAT] * 20), "one JSON list of chat records", "from_json('{}').layout('messages')"),
        (
            "a.json",
            json.dumps([CHAT] * 500, indent=1),
            "one JSON list of chat records",
            "from_json('{}').layout('messages')",
        ),
        ("a.json", json.dumps([PAIR] * 20), "one JSON list", "from_json('{}').layout('dpo')"),
        (
            "a.json",
            json.dumps([ROW] * 20, indent=2),
            "one JSON list of rows with 'Frage', 'Antwort'",
            "from_json('{}').chat(",
        ),
        ("a.json", json.dumps({"data": [ROW] * 20}, indent=2), "one JSON document", "from_json('{}')"),
        ("a.jsonl", "<!doctype html>\n<html>Sorry</html>\n", "an HTML or XML page", "get the data itself"),
    ],
)
def test_a_file_of_another_kind_is_told_first_and_alone(
    tmp_path: Path, name: str, content: str, what: str, call: str
) -> None:
    """One sentence with the call that reads it, whatever else is wrong with each of its lines."""
    path = tmp_path / name
    path.write_bytes(content.encode("cp1254" if "cp1254" in call else "utf-8"))
    lines = str(rt.check_file(path)).splitlines()
    assert f"this is {what}" in lines[0]
    assert call.format(path) in lines[1]
    assert len([line for line in lines if "error [" in line and "more error" not in line]) == 1
    assert "warning" not in lines[-1]


def test_a_packed_file_and_lines_that_are_broken_are_no_tables(tmp_path: Path) -> None:
    packed = tmp_path / "a.jsonl.gz"
    packed.write_bytes(gzip.compress(b"a,b\n1,2\n"))
    assert [problem.code for problem in rt.check_file(packed).problems] == ["not-text"]
    for broken in ('{"messages": [1, 2\n{"a": 1, "b": 2}\n', "[1, 2]\n[3, 4]\n", "just a sentence, or two\nand more\n"):
        path = tmp_path / "a.jsonl"
        path.write_text(broken, encoding="utf-8")
        assert "this is" not in str(rt.check_file(path)), broken
