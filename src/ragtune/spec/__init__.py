"""What a fine-tuning job shall be: model, method, hyperparameters; every limit is checked when the value is made.

The limits are OpenAI's, from `ragtune.limits`.
"""

from ragtune.spec.learning_rate import Absolute, Multiplier
from ragtune.spec.methods import DPO, KTO, Method, Reinforcement, Supervised
from ragtune.spec.tune_spec import TuneSpec

__all__ = ["DPO", "KTO", "Absolute", "Method", "Multiplier", "Reinforcement", "Supervised", "TuneSpec"]
