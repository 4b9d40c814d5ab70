"""The examples that a run learns from: read, encoded, and looked at; loads no torch."""
