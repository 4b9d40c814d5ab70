"""Where a job goes: another server's words, and wires that are not OpenAI's."""
