"""The files of a build: lines to their splits, the manifest last, and the folder whole or not at all."""
