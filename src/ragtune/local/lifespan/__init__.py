"""One server on one folder: opened, found by other programs, stayed with, and closed in order."""
