"""A world in which the documentation's code runs: a scratch folder, a real loopback server, no network."""
