"""From a folder of documents to a tuned model: read, make rows, train, ask, evaluate.

Run: python examples/documents_to_model.py [--model smollm2-135m-instruct] [--epochs 8] [--out out/documents]
Without --documents it writes a folder of its own (PDF, Word, HTML, Markdown) and takes the questions below, which a
person wrote while reading. Of documents of yours give --documents FOLDER and one of these:

  --facts FILE      questions as FactSet.to_jsonl writes them
  --writer MODEL    a model writes them; of the embedded backend, or of --writer-url with OPENAI_API_KEY. Each answer
                    must stand in its passage. The 135-million-parameter base that ships is too small for this.

Everything trains on this machine; with the base that ships that takes some minutes.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import openai

import ragtune as rt
from ragtune.local import LocalBackend
from ragtune.recipes import generate, hold_out

FERRIES = (
    "The ferry Marigold crosses to Tern Island in 25 minutes.",
    "A return ticket costs nine crowns, and children under six travel free.",
    "The last boat back leaves at half past seven.",
)
ISLAND = (
    "# Tern Island\n\nThe lighthouse has 214 steps. Its keeper is Odda Brenn.\n\n## Birds\n\nPuffins nest on Gull Rock."
)
MUSEUM = """<title>The Museum of Knots</title><nav><a href="/">Home</a></nav><main><h1>The Museum of Knots</h1>
<p>The museum opens at ten o'clock. It was founded by Sylvie Marrack, who collected 310 knots.</p></main>"""
RULES = (
    "Harbour rules",
    "Boats in the harbour may not go faster than six knots.",
    "Bonfires are allowed on Pebble Beach.",
)
# The question that is trained, its answer, and two ways to ask the same: one is trained, one kept for the evaluation.
QUESTIONS = (
    ("How long does the ferry to Tern Island take?", "25 minutes", "In what time does the Marigold cross?",
     "For how many minutes is one on the boat to Tern Island?"),
    ("What does a return ticket of the ferry cost?", "nine crowns", "How much is a return ticket to Tern Island?",
     "What do I pay for the ferry there and back?"),
    ("When does the last boat leave Tern Island?", "half past seven", "At what time does the last ferry go back?",
     "Until when can one return from the island?"),
    ("How many steps does the lighthouse have?", "214", "How many stairs lead up the lighthouse?",
     "What is the number of steps in the lighthouse of Tern Island?"),
    ("Who keeps the lighthouse of Tern Island?", "Odda Brenn", "What is the lighthouse keeper called?",
     "Whose job is the lighthouse?"),
    ("Where do puffins nest?", "Gull Rock", "On which rock are the puffins' nests?",
     "Where on Tern Island would I look for puffins?"),
    ("When does the Museum of Knots open?", "ten o'clock", "From what time is the Museum of Knots open?",
     "At what hour can I enter the Museum of Knots?"),
    ("Who founded the Museum of Knots?", "Sylvie Marrack", "By whom was the Museum of Knots founded?",
     "To whom does the Museum of Knots owe its beginning?"),
    ("How fast may boats go in the harbour?", "six knots", "What is the speed limit in the harbour?",
     "At what speed must one stay inside the harbour?"),
    ("Where are bonfires allowed?", "Pebble Beach", "On which beach may I light a bonfire?",
     "Where can people make a fire outdoors?"),
)  # fmt: skip


def write_documents(folder: Path) -> Path:
    """Write one document of each kind, and return their folder."""
    import docx

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "ferries.pdf").write_bytes(pdf(FERRIES))
    (folder / "island.md").write_text(ISLAND, encoding="utf-8")
    (folder / "museum.html").write_text(MUSEUM, encoding="utf-8")
    document = docx.Document()
    document.add_heading(RULES[0], level=1)
    for rule in RULES[1:]:
        document.add_paragraph(rule)
    document.save(str(folder / "rules.docx"))
    return folder


def pdf(lines: tuple[str, ...]) -> bytes:
    """A page with these lines: nothing that the program needs anyhow writes a PDF."""
    shown = b"BT /F 12 Tf 60 780 Td 18 TL " + b" ".join(b"(%s) Tj T*" % line.encode() for line in lines) + b" ET"
    font = b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"
    objects = (
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R /Resources << /Font << /F %s >> >> >>"
        % font,
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(shown), shown),
    )
    body, table = b"%PDF-1.4\n", b"0000000000 65535 f \n"
    for number, each in enumerate(objects, 1):
        table += b"%010d 00000 n \n" % len(body)
        body += b"%d 0 obj\n%s\nendobj\n" % (number, each)
    size = len(objects) + 1
    end = b"trailer\n<< /Root 1 0 R /Size %d >>\nstartxref\n%d\n%%%%EOF\n" % (size, len(body))
    return body + b"xref\n0 %d\n" % size + table + end


def questions_by_hand(chunks: list[dict[str, Any]]) -> rt.FactSet:
    """The questions above, each with the chunk that holds its answer."""
    search = rt.BM25(chunks, text="text", id="id")
    rows = []
    for question, answer, *others in QUESTIONS:
        found = next(passage for passage in search(question, k=len(chunks)) if answer in passage.text)
        rows.append({"q": question, "a": answer, "others": others, "text": found.text, "chunk": found.id})
    return rt.FactSet.from_rows(
        rows, question="q", answer="a", context="text", source="chunk", wordings={"reworded": "others"}
    )


def questions_by_model(client: openai.OpenAI, chunks: list[dict[str, Any]], model: str, cache: Path) -> rt.FactSet:
    """Questions that a model writes about the chunks, each in other words, too."""
    pairs = generate(client, chunks, what="pairs", model=model, cache=cache / "pairs.jsonl")
    print(pairs)
    worded = generate(client, pairs.facts, what="wordings", model=model, cache=cache / "wordings.jsonl")
    print(worded)
    return worded.facts


def facts_of(args: argparse.Namespace, client: openai.OpenAI, chunks: list[dict[str, Any]]) -> rt.FactSet:
    """The questions that were asked for; those of a file by a person may be reworded by rules."""
    if args.writer:
        writer = openai.OpenAI(base_url=args.writer_url) if args.writer_url else client
        return questions_by_model(writer, chunks, args.writer, args.out)
    if args.facts:
        return rt.FactSet.from_jsonl(args.facts).with_wordings(kind="reworded", make="rules")
    return questions_by_hand(chunks)


def main() -> None:
    """Read, make rows, train, ask, evaluate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=Path)
    parser.add_argument("--facts", type=Path)
    parser.add_argument("--writer")
    parser.add_argument("--writer-url")
    parser.add_argument("--model", default="smollm2-135m-instruct", help="base model")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--out", type=Path, default=Path("out/documents"), help="folder for all that is made")
    args = parser.parse_args()
    if args.documents and not (args.facts or args.writer):
        parser.error("--documents needs --facts or --writer: the questions in this file are about its own documents")
    folder = args.documents or write_documents(args.out / "documents")

    chunks = [dict(row) for row in rt.DatasetBuilder.from_documents(folder, chunk_characters=600).rows()]
    print(f"read: {len(chunks)} chunks of {len({chunk['source'] for chunk in chunks})} documents")
    with LocalBackend(args.out / "backend") as backend, backend.client() as client:
        facts = facts_of(args, client, chunks)
        taught, held_out = hold_out(facts, kind="reworded", per_fact=1, seed=7)
        recipe = rt.Recipe("qa_multi", wordings=5) + rt.Recipe("document_rows")
        builder = rt.DatasetBuilder.from_facts(taught, recipe, held_out=held_out)
        dataset = builder.chat(user="{question}", assistant="{answer}").build(args.out / "dataset", overwrite=True)
        print(f"made: {len(dataset.train)} rows of {len(taught)} facts")

        method = rt.Supervised(n_epochs=args.epochs, batch_size=4)
        job = rt.FineTuneJob.create(client, dataset, rt.TuneSpec(model=args.model, method=method, seed=7))
        model = rt.JobMonitor(job).wait()
        print(f"trained: {model.name}")
        for fact in held_out:
            question = fact.wordings[0].question
            print(f"  {question} {model.ask(question, max_tokens=24)} ({fact.answers[0]}: {fact.source})")

        # Each fact as it was trained, and in the words that were held back.
        asked = [replace(fact, wordings=(facts[fact.id].wordings[0], *fact.wordings)) for fact in held_out]
        search = rt.BM25(chunks, text="text", id="id", k=1)
        arms = rt.arms(base=(client, args.model), tuned=model, retriever=search)
        arms = {name: arms[name] for name in ("base", "tuned", "base+RAG", "tuned+RAG")}
        log = args.out / f"{job.id}.jsonl"
        card = rt.evaluate(arms, rt.FactSet(facts=tuple(asked)), scorers=("contains",), log=log, max_tokens=24)
        print(card)


if __name__ == "__main__":
    main()
