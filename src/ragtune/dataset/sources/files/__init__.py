"""Rows of files: which files are meant, how they are opened, and what each kind of file holds."""
