"""Conversations that are kept: completions and responses that a client asked to store, dialogues of the playground."""
