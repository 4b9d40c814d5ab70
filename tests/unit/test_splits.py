"""What keeps rows together, what does not, and what is said about it."""

from __future__ import annotations

import time
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

import ragtune as rt
from ragtune.errors import DatasetError

if TYPE_CHECKING:
    from ragtune.dataset import Dataset

LABELS = ["the customer wants a refund", "the customer reports a broken part", "the customer asks about delivery times"]


def texts(dataset: Dataset, place: int) -> dict[str, set[str]]:
    """The texts of one message in each split."""
    return {
        split.name: {record.to_dict()["messages"][place]["content"] for record in split} for split in dataset.splits
    }


def test_labels_of_many_words_tie_nothing_and_are_listed(tmp_path: Path) -> None:
    """Each class is in each split; what was left out stands in manifest and report with its count."""
    rows = [{"t": f"Ticket {n} of day {n % 31}.", "l": LABELS[n % 3]} for n in range(300)]
    builder = rt.DatasetBuilder.from_rows(rows).chat(user="{t}", assistant="{l}")
    dataset = builder.build(tmp_path / "out", validation=0.2, test=0.1, seed=1)
    assert all(found == set(LABELS) for found in texts(dataset, 1).values())
    left_out = dataset.manifest["split"]["left_out"]
    assert [(item["text"], item["field"], item["rows"]) for item in left_out] == [
        (label, "l", 100) for label in sorted(LABELS)
    ]
    assert f"'{sorted(LABELS)[0]}' (100 rows)" in str(dataset.report)
    assert dataset.manifest["overlap"]["in_more_than_one_split"] == 0


def conversation(*said: str) -> dict[str, object]:
    return {"messages": [{"role": ("user", "assistant")[n % 2], "content": text} for n, text in enumerate(said)]}


@pytest.mark.parametrize(
    "said",
    [
        ("Hi", "Hello!", "Where is shelf {n}?", "In hall {n}."),
        ("Where is shelf {n}?", "In hall {n}.", "Thanks!", "You are welcome, have a good day."),
        ("Where is shelf {n}?", "I am sorry, I cannot answer this from the documents that I was given here."),
    ],
)
def test_greetings_closing_sentences_and_refusals_tie_nothing(tmp_path: Path, said: tuple[str, ...]) -> None:
    """A tenth is a tenth."""
    rows = [conversation(*(text.format(n=n) for text in said)) for n in range(100)]
    dataset = rt.DatasetBuilder.from_rows(rows, layout="messages").build(tmp_path / "out", validation=0.1, seed=1)
    assert len(dataset.validation) == 10


@pytest.mark.parametrize("near", [False, True])
def test_a_system_prompt_in_a_column_ties_nothing(tmp_path: Path, near: bool) -> None:
    """Nor do its near-duplicates."""
    if near:
        pytest.importorskip("rensa", reason="needs the extra dedup")
    rows = [{"q": f"Where is {n}?", "a": f"{n}.", "s": "You answer questions about our house."} for n in range(100)]
    builder = rt.DatasetBuilder.from_rows(rows).chat(system="{s}", user="{q}", assistant="{a}")
    dataset = builder.build(tmp_path / "out", validation=0.1, near_duplicates=near)
    assert len(dataset.validation) == 10


PASSAGES = {
    "Chinese": "第{n}章讲了植物怎样利用阳光的能量把水变成糖并放出氧气",
    "Japanese": "第{n}章では植物が光のエネルギーを使って水から糖を作る",
    "Thai": "บทที่{n}อธิบายว่าพืชใช้พลังงานจากแสงเพื่อสร้างน้ำตาล",
    "Khmer": "ជំពូកទី{n}ពន្យល់អំពីរុក្ខជាតិប្រើពន្លឺដើម្បីបង្កើតស្ករ",
    "Lao": "ບົດທີ{n}ອະທິບາຍວ່າພືດໃຊ້ພະລັງງານຈາກແສງເພື່ອສ້າງນ້ຳຕານ",
    "Burmese": "အခန်း{n}သည်အပင်များကအလင်းကိုအသုံးပြု၍သကြားထုတ်လုပ်ပုံ",
}


@pytest.mark.parametrize("language", PASSAGES)
def test_a_passage_without_spaces_is_a_passage(tmp_path: Path, language: str) -> None:
    """Four rows share each passage and stay together; overlap and near-duplicates see its pieces."""
    rows = [{"p": PASSAGES[language].format(n=n // 4), "q": f"{n}?", "a": f"{n}!"} for n in range(200)]
    builder = rt.DatasetBuilder.from_rows(rows).chat(system="{p}", user="{q}", assistant="{a}")
    dataset = builder.build(tmp_path / "out", validation=0.2, seed=1)
    said = texts(dataset, 0)
    assert not said["train"] & said["validation"]
    one, other = (PASSAGES[language].format(n=n) for n in ("", "99"))
    found = rt.DatasetBuilder.from_rows([{"p": one}]).overlap(rt.DatasetBuilder.from_rows([{"p": other}]), columns="p")
    assert found.fields[0].shared_runs > 0


def test_questions_with_images_are_told_apart_by_their_images(tmp_path: Path) -> None:
    """One question about fifty pictures is fifty questions; one picture asked about twice is on one side."""

    def row(n: int) -> dict[str, object]:
        image = {"type": "image_url", "image_url": {"url": f"https://example.com/{n // 2}.png"}}
        content = [{"type": "text", "text": f"What is {'this' if n % 2 else 'that'}?"}, image]
        return {"messages": [{"role": "user", "content": content}, {"role": "assistant", "content": f"{n}"}]}

    builder = rt.DatasetBuilder.from_rows([row(n) for n in range(100)], layout="messages")
    dataset = builder.build(tmp_path / "out", validation=0.2)
    sides = [{int(next(iter([m.text for m in r.messages[1:]]))) // 2 for r in split} for split in dataset.splits]
    assert len(dataset.validation) == 20
    assert not sides[0] & sides[1]


def test_missed_shares_are_said_and_refused_beyond_a_tenth(tmp_path: Path) -> None:
    """Groups of 300 and 150 rows cannot give a tenth exactly; two of 500 cannot at all."""
    rows = [{"q": f"Q {n}?", "a": f"A {n}.", "d": n // 150, "h": n // 500} for n in range(1000)]
    builder = rt.DatasetBuilder.from_rows(rows).chat(user="{q}", assistant="{a}")
    dataset = builder.build(tmp_path / "out", validation=0.08, group_by="d")
    (note,) = dataset.manifest["split"]["notes"]
    assert note in str(dataset.report)
    assert "was asked to have 8.00% of the rows (80)" in note
    assert "largest group has 15.00%" in note
    with pytest.raises(DatasetError, match=r"asked to have 10.00% .* the largest group has 50.00%"):
        builder.build(tmp_path / "no", validation=0.1, group_by="h")


def test_columns_of_a_group_count_together_and_lists_of_them_apart(tmp_path: Path) -> None:
    """The page of a document, as in SQL; the document or the page ties everything here."""
    rows = [{"q": f"Q {n}?", "a": f"A {n}.", "d": f"doc {n // 20}", "p": n % 20} for n in range(400)]
    builder = rt.DatasetBuilder.from_rows(rows).chat(user="{q}", assistant="{a}")
    assert len(builder.build(tmp_path / "both", validation=0.1, group_by=("d", "p")).validation) == 40
    either = builder.build(tmp_path / "either", validation=0.1, group_by=[["d"], ["q"]])
    assert either.manifest["split"]["group_by"] == [["d"], ["q"]]
    assert len({line // 20 for line in map(int, (tmp_path / "either/validation.rows.txt").read_text().split())}) == 2
    with pytest.raises(DatasetError, match="group"):
        builder.build(tmp_path / "all", validation=0.1, group_by=[["d"], ["p"]])
    with pytest.raises(DatasetError, match="group_by="):
        builder.build(tmp_path / "odd", validation=0.1, group_by=["d", ["p"]])


def test_classes_keep_their_shares_and_a_lost_class_is_reported(tmp_path: Path) -> None:
    """Of 900, 90 and 1 rows a tenth each; one row cannot be on two sides."""
    kinds = ["common"] * 900 + ["rare"] * 90 + ["single"]
    rows = [{"q": f"Question {n}?", "a": f"Answer {n}.", "k": kind} for n, kind in enumerate(kinds)]
    builder = rt.DatasetBuilder.from_rows(rows).chat(user="{q}", assistant="{a}")
    dataset = builder.build(tmp_path / "out", validation=0.1, test=0.1, stratify_by="k")
    found = dataset.manifest["split"]["classes"]
    assert found["validation"] == found["test"] == {"common": 90, "rare": 9, "single": 0}
    assert found["train"]["single"] == 1
    assert "validation has no row of 1 of the 3 classes in 'k', for example 'single'" in str(dataset.report)
    with pytest.raises(DatasetError, match="'kind'"):
        builder.build(tmp_path / "x", validation=0.1, stratify_by="kind")


@pytest.mark.parametrize("seed", [1.5, None, "abc", 2**70, True])
def test_a_seed_is_an_integer_of_64_bits(tmp_path: Path, seed: object) -> None:
    """Told at once, with the value."""
    builder = rt.DatasetBuilder.from_rows([{"q": f"{n}?", "a": "x"} for n in range(50)])
    builder = builder.chat(user="{q}", assistant="{a}")
    with pytest.raises(DatasetError, match="seed="):
        builder.build(tmp_path / "out", validation=0.2, seed=seed)  # type: ignore[arg-type]
    assert builder.build(tmp_path / "ok", validation=0.2, seed=np.int64(3)).manifest["split"]["seed"] == 3  # type: ignore[arg-type]


@pytest.mark.slow
def test_a_chain_of_rows_is_one_group_in_linear_time(tmp_path: Path) -> None:
    """80,000 rows, each of which shares a text with the next one: once 28 seconds, now below three."""
    chain = ({"q": f"line {n} of the long report", "a": f"line {n + 1} of the long report"} for n in range(80_000))
    rows = [*chain, *({"q": f"other {n}", "a": f"answer {n}"} for n in range(8_000))]
    builder = rt.DatasetBuilder.from_rows(rows).chat(user="{q}", assistant="{a}")
    start = time.process_time()
    dataset = builder.build(tmp_path / "out", validation=0.05)
    assert time.process_time() - start < 3
    assert dataset.manifest["split"]["largest_group"] == 80_000


def test_values_of_a_group_are_equal_when_python_says_so(tmp_path: Path) -> None:
    """1 and 1.0, objects in any order of their keys; a value that nests too deeply is told with its row."""
    same: list[list[object]] = [
        [1, 1.0, np.int64(1), Decimal(1)],
        [{"a": 1, "b": 2}, {"b": 2.0, "a": 1}],
        [[1, {"x": None}], (1.0, {"x": None})],
    ]
    for place, values in enumerate(same):
        rows = [{"q": f"{n}?", "a": f"{n}!", "d": values[n % len(values)] if n < 40 else f"d{n}"} for n in range(400)]
        builder = rt.DatasetBuilder.from_rows(rows).chat(user="{q}", assistant="{a}")
        dataset = builder.build(tmp_path / str(place), validation=0.2, group_by="d")
        assert dataset.manifest["split"]["largest_group"] == 40
    deep: list[object] = []
    for _ in range(5_000):
        deep = [deep]
    rows = [{"q": f"{n}?", "a": "x", "d": deep if n == 3 else n} for n in range(20)]
    builder = rt.DatasetBuilder.from_rows(rows).chat(user="{q}", assistant="{a}")
    with pytest.raises(DatasetError, match="row 3, column 'd': the value nests too deeply to be compared"):
        builder.build(tmp_path / "deep", validation=0.2, group_by="d")
    with pytest.raises(DatasetError, match="group_by names column 'x', which is not there"):
        builder.build(tmp_path / "deep", validation=0.2, group_by="x")


@pytest.mark.parametrize(
    ("sizes", "share"),
    [([4] * 100, 0.1), ([3] * 70, 0.1), ([7] * 50, 0.2), ([15] * 20, 0.05), ([2] * 200, 0.2), ([500, 9, 9, 9, 9], 0.1)],
)
def test_many_small_classes_give_the_share_that_was_asked_for(tmp_path: Path, sizes: list[int], share: float) -> None:
    """Each class rounded by itself gave a quarter, or nothing, where a tenth was asked for."""
    kinds = [f"k{place}" for place, size in enumerate(sizes) for _ in range(size)]
    rows = [{"q": f"Question {n}?", "a": f"Answer {n}.", "k": kind} for n, kind in enumerate(kinds)]
    builder = rt.DatasetBuilder.from_rows(rows).chat(user="{q}", assistant="{a}")
    dataset = builder.build(tmp_path / "out", validation=share, test=share, stratify_by="k")
    wanted = round(share * len(rows))
    assert (len(dataset.validation), len(dataset.test)) == (wanted, wanted)
    found = dataset.manifest["split"]["classes"]
    assert min(found["train"].values()) > 0
    for name, count in found["validation"].items():
        assert abs(count - share * kinds.count(name)) < 2


def test_a_split_that_no_class_can_fill_is_refused_for_the_true_reason(tmp_path: Path) -> None:
    """A row of its own in each class is no group that is too large."""
    rows = [{"q": f"Question {n}?", "a": f"Answer {n}.", "k": f"k{n}"} for n in range(50)]
    builder = rt.DatasetBuilder.from_rows(rows).chat(user="{q}", assistant="{a}")
    with pytest.raises(DatasetError, match=r"has 0.00% \(0\): some rows of each class in 'k' stay in train"):
        builder.build(tmp_path / "out", validation=0.1, stratify_by="k")


def test_numbers_that_cannot_be_compared_keep_their_rows_together(tmp_path: Path) -> None:
    """A signalling NaN refuses every comparison, and no memory holds the digits of the other one."""
    odd = [Decimal("sNaN"), Decimal("1E+999999999"), float("inf"), Decimal(2), 2.0]
    rows = [{"q": f"Question {n}?", "a": f"Answer {n}.", "g": odd[n % 5]} for n in range(40)]
    builder = rt.DatasetBuilder.from_rows(rows).chat(user="{q}", assistant="{a}")
    dataset = builder.build(tmp_path / "out", validation=0.3, group_by="g")
    split_of = {int(text[9:-1]): name for name, found in texts(dataset, 0).items() for text in found}
    assert len(split_of) == 40
    assert all(split_of[n] == split_of[n % 5] for n in range(40))
    assert split_of[3] == split_of[4]
