"""Jobs on their way: queued, checked, trained in worker processes, brought to an end."""
