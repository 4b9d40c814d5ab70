"""Names of columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ragtune.errors import DatasetError

if TYPE_CHECKING:
    from collections.abc import Sequence


def refuse_doubled(names: Sequence[str], where: object) -> None:
    """Refuse two columns of one name, of which any reader would take one without a word.

    Raises:
        DatasetError: there are two; the message names them by their places.
    """
    if len(set(names)) == len(names):
        return
    name = next(name for name in names if names.count(name) > 1)
    places = [index for index, other in enumerate(names, 1) if other == name]
    shown = f"{', '.join(map(str, places[:-1]))} and {places[-1]}"
    raise DatasetError(f"{where}: the columns {shown} are both called {name!r}; rename or remove all but one")
