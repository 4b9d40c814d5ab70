"""How a training file is opened, and what another file is by its beginning."""
