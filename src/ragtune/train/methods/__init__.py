"""What a run minimises: the masked loss of examples, the preference loss of pairs, each in a kept library's trainer."""
