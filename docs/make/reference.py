"""The reference: a page for each room, with every name of its `__all__`, made when the site is built."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from mkdocs.plugins import event_priority
from mkdocs.structure.files import File, Files

import ragtune

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig

# A page and the modules whose names it holds. A name stands on the first page that has it.
PAGES = {
    "Dataset": ("dataset", "cost", "data"),
    "Recipes": ("recipes",),
    "Facts": ("facts",),
    "Retrieval": ("retrieval",),
    "Documents": ("documents",),
    "Records": ("records",),
    "Layouts": ("layouts",),
    "Checks": ("checks",),
    "Privacy": ("privacy",),
    "Spec": ("spec",),
    "Job": ("job", "files", "plan", "_keys"),
    "Journal": ("journal",),
    "Monitor": ("monitor",),
    "Model": ("model",),
    "Evaluation": ("evaluation",),
    "Feedback": ("feedback",),
    "Registry": ("registry",),
    "Maintenance": ("maintenance",),
    "Leaving and arriving": ("migration",),
    "Advice": ("advice",),
    "Recipe file": ("recipe_file",),
    "Webhooks": ("webhooks",),
    "Async twins": ("aio",),
    "Embedded backend": ("local", "doctor", "train.events"),
    "Testing": ("testing", "testing.failures"),
    "Catalogue": ("catalog", "dialects", "tokens", "text"),
    "Errors": ("errors",),
}


def address(title: str) -> str:
    return f"reference/{title.lower().replace(' ', '-')}.md"


def pages() -> dict[str, list[str]]:
    """What stands on each page, by the shortest way to import it; nothing twice."""
    taken: list[object] = []
    found: dict[str, list[str]] = {title: [] for title in PAGES}
    for title, places in PAGES.items():
        for place in places:
            module = import_module(f"ragtune.{place}")
            for name in getattr(module, "__all__", ()):
                value = getattr(module, name)
                if any(value is one for one in taken) or (name.startswith("Async") and place != "aio"):
                    continue
                taken.append(value)
                front = name in ragtune.__all__ and getattr(ragtune, name) is value
                found[title].append(f"ragtune.{name}" if front else f"ragtune.{place}.{name}")
    return found


def text(title: str, held: list[str]) -> str:
    first = (import_module(f"ragtune.{PAGES[title][0]}").__doc__ or "").strip().splitlines()[0]
    return (
        "\n\n".join(["---\nsearch:\n  boost: 0.3\n---", f"# {title}", first, *(f"::: {name}" for name in held)]) + "\n"
    )


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """The pages stand in the menu below the reference."""
    for entry in config.nav or []:
        for part in entry.get("Look up", ()) if isinstance(entry, dict) else ():
            if isinstance(part, dict) and part.get("Reference") == "reference/index.md":
                part["Reference"] = ["reference/index.md", *({title: address(title)} for title in PAGES)]
    return config


@event_priority(100)
def on_files(files: Files, config: MkDocsConfig) -> Files:
    for title, held in pages().items():
        files.append(File.generated(config, address(title), content=text(title, held)))
    return files


def on_page_markdown(markdown: str, page: object, config: MkDocsConfig, files: Files) -> str:
    """The first page of the reference lists all names."""
    rows = []
    for title, held in pages().items():
        links = ", ".join(f"[`{name.rpartition('.')[2]}`][{name}]" for name in held)
        rows.append(f"| [{title}]({address(title).removeprefix('reference/')}) | {links} |")
    return markdown.replace("<!-- names -->", "\n".join(["| page | names |", "|---|---|", *rows]))
