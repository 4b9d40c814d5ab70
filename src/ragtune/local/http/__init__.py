"""HTTP below the routes: connections, limits, bodies, and refusals in OpenAI's envelope."""
