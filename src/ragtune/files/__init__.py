"""Datasets become uploaded files: once per content, large ones in parts."""

from __future__ import annotations

from ragtune.files.upload_once import UploadedFile, local_file, send, upload, upload_source

__all__ = ["UploadedFile", "local_file", "send", "upload", "upload_source"]
