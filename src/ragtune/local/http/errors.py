"""Answers other than 2xx, in OpenAI's error envelope."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ApiError", "conflict", "invalid", "model_not_found", "no_key", "not_found", "overloaded", "wrong_key"]


class ApiError(Exception):
    """An answer other than 2xx, in OpenAI's envelope.

    Attributes:
        status: HTTP status.
        message: for a person; names the value, the rule and the way out.
        type: OpenAI's error type.
        param: the parameter at fault, or None.
        code: machine-readable code, or None.
        headers: further response headers.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        type: str = "invalid_request_error",
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.type = type
        self.param = param
        self.code = code
        self.headers = dict(headers or {})

    def body(self) -> dict[str, object]:
        """The envelope; all four keys are always there."""
        return {"error": {"message": self.message, "type": self.type, "param": self.param, "code": self.code}}


def invalid(message: str, *, param: str | None = None, code: str | None = None) -> ApiError:
    """A request that breaks a rule."""
    return ApiError(400, message, param=param, code=code)


def not_found(message: str, *, param: str = "id", code: str = "not_found") -> ApiError:
    """An object that is not there."""
    return ApiError(404, message, param=param, code=code)


def conflict(message: str, *, param: str, code: str, again: bool) -> ApiError:
    """What stands against a request at this moment; `again` tells clients whether to come back by themselves."""
    # OpenAI's clients go by this header; without it they try every 409 again.
    return ApiError(409, message, param=param, code=code, headers={"x-should-retry": str(again).lower()})


def model_not_found(name: str, *, hint: str = "", deleted_at: int | None = None) -> ApiError:
    """A model that is not there; OpenAI's clients look at the code. One that was deleted (Unix seconds) says so."""
    message = f"The model `{name}` does not exist or you do not have access to it.{hint}"
    # ragtune's own client waits for a model that is not there yet, and by this not for one that was deleted.
    headers = {} if deleted_at is None else {"x-ragtune-deleted-at": str(deleted_at)}
    return ApiError(404, message, param="model", code="model_not_found", headers=headers)


def no_key() -> ApiError:
    """A request that brought no key."""
    return _refused_key("You didn't provide an API key: send it as 'Authorization: Bearer KEY'.")


def wrong_key() -> ApiError:
    """A request that brought another key than this server's."""
    # By `LocalBackend.api_key` ragtune's own client knows whose refusal this is, and what to advise.
    return _refused_key(
        "Incorrect API key provided; this server's key is in api_key.txt in its folder, or in the file that it was "
        "started with, as `ragtune serve` says at its start; in Python it is LocalBackend.api_key."
    )


def _refused_key(message: str) -> ApiError:
    return ApiError(401, message, code="invalid_api_key", headers={"www-authenticate": "Bearer"})


def overloaded(message: str) -> ApiError:
    """The server cannot take this now but may soon; clients are told to come back."""
    headers = {"x-should-retry": "true", "retry-after": "1"}
    return ApiError(503, message, type="server_error", code="server_is_overloaded", headers=headers)
