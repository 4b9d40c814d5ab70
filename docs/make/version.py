"""The version beside the name, in the header of every page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ragtune import __version__

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    config.site_name = f"{config.site_name} {__version__}"
    return config
