"""Where rows come from: files, data frames, the hub, memory."""
