"""The training worker: one JSON spec in, one output folder with an append-only events file out.

`python -m ragtune.train spec.json` is its whole contract, so that any launcher can run it. This package itself, `spec`,
`events`, `examples` and `checkpoints` load neither torch nor transformers; `run` and `callbacks` do.
"""
