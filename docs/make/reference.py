"""The reference: a page for each room and for each of its classes that does something, made when the site is built.

Every name of a room's `__all__` is there. Functions, values and errors stand on the room's own page; a class with
methods of its own has a page to itself, which a menu and a search find by its name.
"""

from __future__ import annotations

import inspect
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


FEWEST_METHODS = 2


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


def class_address(title: str, name: str) -> str:
    return f"{address(title).removesuffix('.md')}/{name.rpartition('.')[2].lower()}.md"


def stands_alone(name: str) -> bool:
    """Whether a name is a class with public methods: a value that only holds fields reads best beside its function."""
    place, _, last = name.rpartition(".")
    value = getattr(import_module(place), last)
    if not inspect.isclass(value) or issubclass(value, BaseException):
        return False
    own = [part for part in value.__mro__ if part.__module__.startswith("ragtune")]
    methods = {key for part in own for key, found in vars(part).items() if _is_method(key, found)}
    return len(methods) >= FEWEST_METHODS


def _is_method(name: str, found: object) -> bool:
    return not name.startswith("_") and (inspect.isfunction(found) or isinstance(found, classmethod | staticmethod))


def first_line(name: str) -> str:
    place, _, last = name.rpartition(".")
    return (inspect.getdoc(getattr(import_module(place), last)) or "").strip().split("\n\n")[0].replace("\n", " ")


def text(title: str, held: list[str]) -> str:
    first = (import_module(f"ragtune.{PAGES[title][0]}").__doc__ or "").strip().splitlines()[0]
    alone = [name for name in held if stands_alone(name)]
    listed = [f"- [`{name.rpartition('.')[2]}`][{name}]: {first_line(name)}" for name in alone]
    parts = [f"# {title}", first, *(["\n".join(listed)] if listed else ())]
    return whole([*parts, *(f"::: {name}" for name in held if name not in alone)])


def whole(parts: list[str]) -> str:
    return "\n\n".join(["---\nsearch:\n  boost: 0.3\n---", *parts]) + "\n"


def menu(title: str, held: list[str]) -> dict[str, object]:
    alone = sorted(name for name in held if stands_alone(name))
    if not alone:
        return {title: address(title)}
    return {title: [address(title), *({name.rpartition(".")[2]: class_address(title, name)} for name in alone)]}


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """The pages stand in the menu below the reference."""
    for entry in config.nav or []:
        for part in entry.get("Look up", ()) if isinstance(entry, dict) else ():
            if isinstance(part, dict) and part.get("Reference") == "reference/index.md":
                part["Reference"] = ["reference/index.md", *(menu(title, held) for title, held in pages().items())]
    return config


@event_priority(100)
def on_files(files: Files, config: MkDocsConfig) -> Files:
    for title, held in pages().items():
        files.append(File.generated(config, address(title), content=text(title, held)))
        for name in filter(stands_alone, held):
            content = whole([f"::: {name}\n    options:\n      heading_level: 1"])
            files.append(File.generated(config, class_address(title, name), content=content))
    return files


def on_page_markdown(markdown: str, page: object, config: MkDocsConfig, files: Files) -> str:
    """The first page of the reference lists all names."""
    rows = []
    for title, held in pages().items():
        links = ", ".join(f"[`{name.rpartition('.')[2]}`][{name}]" for name in held)
        rows.append(f"| [{title}]({address(title).removeprefix('reference/')}) | {links} |")
    return markdown.replace("<!-- names -->", "\n".join(["| page | names |", "|---|---|", *rows]))
