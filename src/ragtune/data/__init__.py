"""Data that ships with the package: the invented facts of the demo, and general rows against forgetting.

The facts are about Quillhaven, a town that does not exist, so that no model can know them before it was trained on
them. They were written for this project and carry its licence. Columns are those of the SciQ data set: `question`,
`distractor1`, `distractor2`, `distractor3`, `correct_answer`, `support`; some rows have an empty `support` on purpose.
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["demo_facts_file", "demo_file", "replay_file"]


def demo_file() -> Path:
    """The JSONL file with the 60 invented facts of the demo; 6 of them have no support.

    Example:
        ```python
        import jsonlines
        import ragtune as rt

        with jsonlines.open(rt.demo_file()) as reader:
            rows = list(reader)
        print(len(rows), sum(not row["support"] for row in rows))
        #> 60 6
        ```
    """
    return Path(__file__).with_name("quillhaven.jsonl")


def demo_facts_file() -> Path:
    """The JSONL file of the same 60 facts with their wordings, unanswerable and control questions.

    `ragtune.facts.demo_facts` reads it.

    Example:
        ```python
        from ragtune.data import demo_facts_file

        print(demo_facts_file().name)
        #> quillhaven_facts.jsonl
        ```
    """
    return Path(__file__).with_name("quillhaven_facts.jsonl")


def replay_file() -> Path:
    """The JSONL file with 60 rows of general knowledge and small talk, `question` and `answer`.

    They were written for this project and carry its licence (Apache-2.0); none of them is a control question of the
    demo's facts. The recipe `replay` reads it.

    Example:
        ```python
        from ragtune.data import replay_file

        print(replay_file().name)
        #> replay.jsonl
        ```
    """
    return Path(__file__).with_name("replay.jsonl")
