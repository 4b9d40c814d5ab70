"""What lies on an account, as tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ragtune._api.fields import identity, text
from ragtune._api.times import moment
from ragtune._checked import checked
from ragtune._table import Table
from ragtune.files import UploadedFile

if TYPE_CHECKING:
    import datetime as dt

    from ragtune._api.calls import Json

__all__ = ["Deleted", "FileTable", "ListedModel", "ModelTable"]


@checked()
@dataclass(frozen=True, kw_only=True)
class ListedModel:
    """A model on an account.

    Attributes:
        id: its name.
        created_at: when it was made (UTC), or None.
        owned_by: whose it is.
        shutdown: day on which it will be switched off, where the server says so.

    Example:
        ```python
        from ragtune.maintenance import ListedModel

        print(ListedModel.from_wire({"id": "ft:b:o::x", "shutdown_date": "2027-01-14"}).shutdown)
        #> 2027-01-14
        ```
    """

    id: str
    created_at: dt.datetime | None = None
    owned_by: str | None = None
    shutdown: dt.date | None = None

    @property
    def tuned(self) -> bool:
        """Whether it is a fine-tune, by its name."""
        return self.id.startswith("ft:")

    @classmethod
    def from_wire(cls, body: Json) -> ListedModel:
        """Read the server's model object."""
        date = moment(body.get("shutdown_date"))
        return cls(
            id=identity(body),
            created_at=moment(body.get("created")),
            owned_by=text(body.get("owned_by")),
            shutdown=date.date() if date else None,
        )


@dataclass(frozen=True, kw_only=True)
class ModelTable(Table[ListedModel]):
    """Models as a table."""

    def columns(self) -> dict[str, list[object]]:
        """Return the cells by column."""
        return {
            "Model": [model.id for model in self.rows],
            "Created At": [model.created_at for model in self.rows],
            "Owned By": [model.owned_by for model in self.rows],
            "Shutdown": [model.shutdown for model in self.rows],
        }


@dataclass(frozen=True, kw_only=True)
class FileTable(Table[UploadedFile]):
    """Files as a table."""

    def columns(self) -> dict[str, list[object]]:
        """Return the cells by column."""
        return {
            "File ID": [file.id for file in self.rows],
            "Created At": [file.created_at for file in self.rows],
            "Name": [file.filename for file in self.rows],
            "Bytes": [file.bytes for file in self.rows],
            "Purpose": [file.purpose for file in self.rows],
            "Status": [file.status for file in self.rows],
        }


@dataclass(frozen=True, kw_only=True)
class Deleted:
    """What the server said to a deletion.

    Attributes:
        id: what was to be deleted.
        deleted: whether the server says that it is gone.
        checkpoints: names of the checkpoints that were deleted with a model.

    Example:
        ```python
        from ragtune.maintenance import Deleted

        print(Deleted(id="file-1", deleted=True))
        #> deleted file-1
        ```
    """

    id: str
    deleted: bool
    checkpoints: tuple[str, ...] = ()

    def __str__(self) -> str:
        text = f"deleted {self.id}" if self.deleted else f"the server did not delete {self.id}"
        return f"{text}, and before it {', '.join(self.checkpoints)}" if self.checkpoints else text
