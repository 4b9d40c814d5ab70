"""Documents become rows: files of every kind, other libraries' documents, chunks with their places."""

from __future__ import annotations

import gc
import os
import tracemalloc
import zipfile
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ragtune as rt
from ragtune.documents import Chunk, Document, chunks_of, document_of, read_documents
from ragtune.errors import DatasetError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FERRY = "The ferry leaves at noon and crosses the bay in forty minutes."
PRICE = "A ticket costs four crowns, and children under six travel free of charge."


def rows(source: Any, **options: Any) -> list[dict[str, Any]]:
    return [asdict(chunk) for chunk in read(source, **options)]


def read(source: Any, *, chunk_characters: int = 1_000, **options: Any) -> Iterator[Chunk]:
    for document in read_documents(source, **options):
        yield from chunks_of(document, characters=chunk_characters)


def pdf(path: Path, *pages: str, title: str | None = None) -> Path:
    from fpdf import FPDF

    document = FPDF()
    document.set_font("helvetica", size=12)
    if title is not None:
        document.set_title(title)
    for page in pages:
        document.add_page()
        if page:
            document.multi_cell(0, text=page)
    document.output(str(path))
    return path


def word(path: Path) -> Path:
    import docx

    document = docx.Document()
    document.add_heading("Ferries", level=1)
    document.add_paragraph(FERRY)
    document.add_heading("Prices", level=2)
    table = document.add_table(rows=2, cols=2)
    for place, text in enumerate(("who", "crowns", "adults", "4|5")):
        table.cell(place // 2, place % 2).text = text
    document.save(str(path))
    return path


@pytest.mark.slow
def test_a_page_of_a_pdf_is_told_with_its_number_and_title(tmp_path: Path) -> None:
    pdf(tmp_path / "guide.pdf", FERRY, PRICE, title="Guide to the bay")
    first, second = rows(tmp_path)
    assert (first["text"], first["page"], first["title"], first["source"]) == (
        FERRY,
        1,
        "Guide to the bay",
        "guide.pdf",
    )
    assert (second["text"], second["page"], second["id"]) == (PRICE, 2, "guide.pdf#p2.1")


def test_word_files_keep_headings_and_tables(tmp_path: Path) -> None:
    (row,) = rows(word(tmp_path / "guide.docx"))
    assert row["title"] == "Ferries"
    assert "| who | crowns |\n|---|---|\n| adults | 4\\|5 |" in row["text"]
    assert "## Prices" in row["text"]


@pytest.mark.slow
def test_html_loses_its_menus_and_keeps_what_it_says(tmp_path: Path) -> None:
    page = f"""<html><head><title>Ferries of Quillhaven</title><script>let x = 1</script></head><body>
    <nav><a href="/">Home</a> <a href="/imprint">Imprint</a></nav>
    <main><h1>Ferries</h1><p>{FERRY}</p><h2>Prices</h2><p>{PRICE}</p></main><footer>All rights reserved</footer>"""
    (tmp_path / "ferries.html").write_text(page, encoding="utf-8")
    (row,) = rows(tmp_path)
    assert row["title"] == "Ferries of Quillhaven"
    assert FERRY in row["text"]
    assert PRICE in row["text"]
    assert not any(word in row["text"] for word in ("Home", "Imprint", "reserved", "let x"))


@pytest.mark.parametrize("head", ["", "\ufeff  ", "<title>Ferries</title>", f"<!-- {'of the archive ' * 9}--><html>"])
def test_a_page_may_leave_out_what_html_lets_it_leave_out(tmp_path: Path, head: str) -> None:
    page = f"{head}<nav><a href='/'>Home</a></nav><main><h1>Ferries</h1><p>{FERRY}</p><p>{PRICE}</p></main>"
    (tmp_path / "ferries.html").write_text(page, encoding="utf-8")
    (row,) = rows(tmp_path)
    assert (row["text"], row["title"]) == (f"# Ferries\n\n{FERRY}\n\n{PRICE}", "Ferries")


def test_a_picture_called_html_is_no_page(tmp_path: Path) -> None:
    (tmp_path / "ferries.html").write_bytes(b"\x89PNG\r\n\x1a\n\0")
    with pytest.raises(DatasetError, match="is no HTML"):
        rows(tmp_path)


def test_what_a_page_hides_is_left_out(tmp_path: Path) -> None:
    hidden = '<p style="color: red; Display: none">Buy our hats at once.</p>'
    page = f'<body style="display:none"><main><h1>Ferries</h1><p>{FERRY}</p>{hidden}<p>{PRICE}</p></main></body>'
    (tmp_path / "ferries.html").write_text(page, encoding="utf-8")
    (row,) = rows(tmp_path)
    assert FERRY in row["text"]
    assert PRICE in row["text"]
    assert "hats" not in row["text"]


def test_a_style_of_word_that_is_no_level_makes_no_heading(tmp_path: Path) -> None:
    import docx

    document = docx.Document()
    document.styles.add_style("Heading 12", 1)
    document.add_paragraph("Deep down", style="Heading 12")
    document.save(str(tmp_path / "a.docx"))
    (row,) = rows(tmp_path)
    assert row["text"] == "Deep down"


def test_links_that_lead_out_of_the_folder_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("The key is under the mat.", encoding="utf-8")
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "a.txt").write_text(FERRY, encoding="utf-8")
    (folder / "b.txt").symlink_to(tmp_path / "secret.txt")
    (folder / "c.txt").symlink_to(folder / "a.txt")
    assert [row["source"] for row in rows(folder)] == ["a.txt", "c.txt"]


def test_chunks_of_markdown_know_the_headings_above_them(tmp_path: Path) -> None:
    text = f"# Ferries\n\n{FERRY}\n\n## Prices\n\n{PRICE}\n\n```\n# no heading\n```\n\n## Boats\n\nThere are two."
    (tmp_path / "guide.md").write_text(text, encoding="utf-8")
    found = rows(tmp_path, chunk_characters=120)
    assert [row["heading"] for row in found] == ["Ferries", "Ferries > Prices", "Ferries > Boats"]
    assert [text[row["start"] : row["end"]] for row in found] == [row["text"] for row in found]


@given(
    text=st.text(st.sampled_from("ab. \n#çğ字🚢\u0301\r\t`"), max_size=300),
    characters=st.integers(1, 60),
    markdown=st.booleans(),
)
def test_a_chunk_is_what_stands_at_its_place_and_nothing_is_lost(text: str, characters: int, markdown: bool) -> None:
    """Between chunks stands nothing but white space, and no chunk is longer than it may be."""
    document = Document(text=text, source="x", markdown=markdown)
    end = 0
    for chunk in chunks_of(document, characters=characters):
        assert text[chunk.start : chunk.end] == chunk.text
        assert not text[end : chunk.start].strip()
        assert len(chunk.text) <= characters
        end = chunk.end
    assert not text[end:].strip()


def test_an_overlap_repeats_the_end_of_the_chunk_before() -> None:
    text = " ".join(f"Sentence {n} stands here." for n in range(30))
    found = list(chunks_of(Document(text=text, source="x"), characters=120, overlap=40))
    assert all(later.start < earlier.end for earlier, later in pairwise(found))


def test_chunks_that_repeat_each_other_stay_on_one_side(tmp_path: Path) -> None:
    pages = [
        {"text": " ".join(f"Sentence {n} of page {page} stands here." for n in range(30)), "source": f"{page}.md"}
        for page in range(12)
    ]
    builder = rt.DatasetBuilder.from_documents(pages, chunk_characters=120, overlap=40)
    made = builder.completion(prompt="{id}", completion="{text}")
    for number, one in enumerate((made, (builder + builder.take(3)).completion(prompt="{id}", completion="{text}"))):
        dataset = one.build(tmp_path / str(number), validation=0.2, test=0.2)
        sides = [
            {record.prompt.split("#")[0] for record in side}
            for side in (dataset.train, dataset.validation, dataset.test)
        ]
        assert all(sides)
        assert sum(map(len, sides)) == 12
        assert dataset.manifest["split"]["group_by"] == ["source"]


def test_documents_of_other_libraries_are_taken_by_their_shape() -> None:
    """LangChain counts pages from 0 and writes the label beside it, LlamaIndex writes the label alone."""
    langchain = SimpleNamespace(page_content=FERRY, metadata={"source": "a.pdf", "page": 0, "page_label": "1"})
    llama = SimpleNamespace(text=PRICE, metadata={"file_name": "b.pdf", "page_label": "7", "title": "Prices"})
    found = rows([langchain, llama, {"text": "Plain.", "source": "c"}, "A text."])
    assert [(row["source"], row["page"]) for row in found] == [
        ("a.pdf", 1),
        ("b.pdf", 7),
        ("c", None),
        ("document-3", None),
    ]
    assert found[1]["title"] == "Prices"


@pytest.mark.parametrize(
    ("item", "page"),
    [
        (SimpleNamespace(page_content="x", metadata={"page": 0}), 1),
        (SimpleNamespace(page_content="x", metadata={"page": 1}), 2),
        ({"page_content": "x", "metadata": {"page": 0}}, 1),
        ({"text": "x", "page": 3}, 3),
        ({"text": "x", "page": 0}, None),
        ({"text": "x", "page": -2}, None),
        (SimpleNamespace(page_content="x", metadata={"page": -1, "page_label": "-1"}), None),
        (SimpleNamespace(page_content="x", metadata={"page": 2, "page_label": "iii"}), 3),
        (SimpleNamespace(page_content="x", metadata={"page": 5, "page_label": "3"}), 6),
        ({"text": "x", "page_label": "iii"}, None),
        ({"text": "x", "page_label": "9" * 5_000}, None),
        ({"text": "x", "page_number": 4}, 4),
    ],
)
def test_a_page_is_its_place_among_the_pages_from_1(item: Any, page: int | None) -> None:
    assert document_of(item, 0).page == page


def test_ids_are_unique_where_documents_share_a_source() -> None:
    pieces = [{"text": f"{FERRY} {PRICE}", "source": "x.md", "page": page} for page in (None, None, 1, 1)]
    found = [row["id"] for row in rt.DatasetBuilder.from_documents(pieces, chunk_characters=80).rows()]
    assert found == ["x.md#1", "x.md#2", "x.md#3", "x.md#4", "x.md#p1.1", "x.md#p1.2", "x.md#p1.3", "x.md#p1.4"]


@pytest.mark.parametrize(
    ("document", "characters", "message"),
    [
        (Document(text=5, source="a"), 10, "give a text"),  # type: ignore[arg-type]
        (Document(text="a \ud800", source="a"), 10, "character 2: half of a surrogate pair"),
        (Document(text="a", source="a"), 2**64, "at most 1,000,000,000"),
    ],
)
def test_what_cannot_be_cut_is_told_in_words(document: Document, characters: int, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        next(chunks_of(document, characters=characters))


def test_signs_belong_to_a_title_and_longer_fences_hold_shorter_ones(tmp_path: Path) -> None:
    text = f"# C#\n\n{FERRY}\n\n````\n```\n# no heading\n```\n# none either\n````\n\n## F# ##\n\n{PRICE}"
    (tmp_path / "a.md").write_text(text, encoding="utf-8")
    found = rows(tmp_path, chunk_characters=110)
    assert found[0]["title"] == "C#"
    assert (found[0]["heading"], found[-1]["heading"]) == ("C#", "C# > F#")


@pytest.mark.parametrize("item", [3, None, {"body": "x"}, Path("a.txt"), SimpleNamespace(text=None)])
def test_what_is_no_document_is_refused(item: Any) -> None:
    with pytest.raises(DatasetError, match=r"document 4: .* is no document"):
        document_of(item, 4)


def picture(path: Path) -> None:
    pdf(path, "", "")


def encrypted(path: Path) -> None:
    from pypdf import PdfReader, PdfWriter

    writer = PdfWriter(clone_from=PdfReader(pdf(path, FERRY)))
    writer.encrypt(user_password="secret", algorithm="RC4-128")
    writer.write(path)


def damaged(path: Path) -> None:
    path.write_bytes(b"%PDF-1.7\n" + b"\0" * 200)


def not_word(path: Path) -> None:
    path.write_bytes(b"PK\x03\x04 and nothing")


def latin(path: Path) -> None:
    path.write_bytes("Übergang".encode("latin-1"))


def script_only(path: Path) -> None:
    path.write_text("<html><body><script>let x = 1</script></body></html>", encoding="utf-8")


def changed_part(path: Path, name: str, change: Callable[[bytes], bytes]) -> None:
    """A Word file with one of its parts written otherwise."""
    whole = word(path.with_suffix(".part"))
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(path, "w") as target:
        for item in source.namelist():
            data = source.read(item)
            target.writestr(item, change(data) if item == name else data)
    whole.unlink()


def no_xml(path: Path) -> None:
    changed_part(path, "word/document.xml", lambda data: data[: len(data) // 2])


def no_body(path: Path) -> None:
    changed_part(path, "word/document.xml", lambda data: data.replace(b"w:body>", b"w:corpse>"))


def broken_zip(path: Path) -> None:
    data = bytearray(word(path).read_bytes())
    start = data.index(b"word/document.xml") + 40
    data[start : start + 200] = b"\xff" * 200
    path.write_bytes(data)


def unknown_filter(path: Path) -> None:
    data = pdf(path, FERRY).read_bytes()
    path.write_bytes(data.replace(b"/FlateDecode", b"/WhoKnowsIt_"))


def aes_256(path: Path) -> None:
    """Encrypted as PDF 2.0 has it, with keys that fit no password."""
    data = pdf(path, FERRY).read_bytes()
    key, long = "00" * 32, "00" * 48
    crypt = (
        f"<< /Filter /Standard /V 5 /R 6 /Length 256 /P -4 /O <{long}> /U <{long}> /OE <{key}> /UE <{key}> "
        f"/Perms <{'00' * 16}> /CF << /StdCF << /CFM /AESV3 /Length 32 >> >> /StmF /StdCF /StrF /StdCF >>"
    )
    path.write_bytes(data.replace(b"trailer\n<<", f"trailer\n<<\n/Encrypt {crypt}\n".encode()))


UNREADABLE: dict[str, tuple[Callable[[Path], None], str]] = {
    "scan.pdf": (picture, "its pages are pictures"),
    "secret.pdf": (encrypted, "is encrypted"),
    "broken.pdf": (damaged, "is damaged or no PDF"),
    "broken.docx": (not_word, "is damaged, encrypted or no .docx"),
    "no-xml.docx": (no_xml, "is damaged, encrypted or no .docx"),
    "no-body.docx": (no_body, "is damaged, encrypted or no .docx"),
    "zip.docx": (broken_zip, "is damaged, encrypted or no .docx"),
    "filter.pdf": (unknown_filter, r"cannot be read \(page 1\)"),
    "aes.pdf": (aes_256, "is encrypted|pip install cryptography"),
    "latin.txt": (latin, r"is not UTF-8 \(byte 0\)"),
    "script.html": (script_only, "holds no text"),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_a_file_without_a_text_is_named_with_the_way_out(tmp_path: Path, name: str) -> None:
    make, message = UNREADABLE[name]
    make(tmp_path / name)
    with pytest.raises(DatasetError, match=message):
        rows(tmp_path)


def test_a_name_that_is_no_text_can_be_told_and_written(tmp_path: Path) -> None:
    """On Linux a name is bytes; what is no UTF-8 must not stop the build at its last step."""
    folder = tmp_path / "docs"
    folder.mkdir()
    try:
        (folder / os.fsdecode(b"caf\xe9.txt")).write_text(FERRY, encoding="utf-8")
    except OSError:
        pytest.skip("this disk takes names of text alone")
    builder = rt.DatasetBuilder.from_documents(folder)
    dataset = builder.completion(prompt="[Doc: {title}, {id}]", completion="{text}").build(tmp_path / "out")
    assert [record.prompt for record in dataset.train] == [r"[Doc: caf\xe9, caf\xe9.txt#1]"]


def test_a_pdf_that_is_mended_while_it_is_read_writes_nothing_of_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    path = pdf(tmp_path / "guide.pdf", FERRY)
    path.write_bytes(b"junk\n" + path.read_bytes())
    assert [row["text"] for row in rows(tmp_path)] == [FERRY]
    assert (capsys.readouterr().err, caplog.records) == ("", [])


def test_all_files_without_a_text_are_told_at_once_or_passed_over(tmp_path: Path) -> None:
    for name, (make, _) in UNREADABLE.items():
        make(tmp_path / name)
    (tmp_path / "good.md").write_text(FERRY, encoding="utf-8")
    with pytest.raises(DatasetError, match=f"{len(UNREADABLE)} documents give no text") as refused:
        rows(tmp_path)
    assert all(name in str(refused.value) for name in UNREADABLE)
    with pytest.warns(UserWarning, match="left out") as warned:
        (row,) = rows(tmp_path, unreadable="skip")
    assert (row["text"], len(warned)) == (FERRY, len(UNREADABLE))


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        ("nowhere", {}, "nowhere does not exist"),
        ({"text": "x"}, {}, "documents are a folder, a file, or a list"),
        (3, {}, "documents are a folder, a file, or a list"),
        (["x"], {"chunk_characters": 0}, "1 or more"),
        (["x"], {"chunk_characters": True}, "1 or more"),
        (["x"], {"chunk_characters": 10, "overlap": 10}, "from 0 to below 10"),
        (["x"], {"unreadable": "ignore"}, "'refuse' or 'skip'"),
    ],
)
def test_what_is_wrong_is_told_before_anything_is_read(source: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        rt.DatasetBuilder.from_documents(source, **options)


def test_folders_without_documents_and_unknown_files_are_named(tmp_path: Path) -> None:
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "a.txt").write_text("x", encoding="utf-8")
    (tmp_path / "picture.png").write_bytes(b"")
    with pytest.raises(DatasetError, match=r"holds no document; known endings: \.docx"):
        rows(tmp_path)
    with pytest.raises(DatasetError, match=r"nothing here reads \.png"):
        rows(tmp_path / "picture.png")


def test_a_build_keeps_the_place_of_each_row(tmp_path: Path) -> None:
    """The manifest lists every file with its sha256."""
    (tmp_path / "docs" / "inner").mkdir(parents=True)
    (tmp_path / "docs" / "a.md").write_text(f"# Ferries\n\n{FERRY}", encoding="utf-8")
    (tmp_path / "docs" / "inner" / "b.txt").write_text(PRICE, encoding="utf-8")
    builder = rt.DatasetBuilder.from_documents(tmp_path / "docs")
    dataset = builder.completion(prompt="[Doc: {title}]", completion="{text}").build(tmp_path / "out")
    assert len(dataset.train) == 2
    source = dataset.manifest["source"]
    assert (source["kind"], [file["file"] for file in source["files"]]) == ("documents", ["a.md", "b.txt"])


@pytest.mark.slow
def test_of_many_files_one_is_held_at_a_time(tmp_path: Path) -> None:
    """Sixty texts of half a megabyte need the memory of a few."""
    for number in range(60):
        (tmp_path / f"{number:02}.txt").write_text(f"{number} " + FERRY * 8_000, encoding="utf-8")
    gc.collect()
    tracemalloc.start()
    try:
        count = len(list(map(hash, read(tmp_path, chunk_characters=20_000))))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count > 60 * 20
    assert peak < 60 * 500_000 / 2
