"""Datasets become uploaded files: once per content, large ones in parts."""

from __future__ import annotations

from ragtune.files.upload_once import UploadedFile, upload

__all__ = ["UploadedFile", "upload"]
