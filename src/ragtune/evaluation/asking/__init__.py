"""Asking: who is asked, with what in the prompt, how many at a time, for how much."""
