"""One module per kind of object: from a request to a body."""
