"""OpenAI's numbers: what its server takes at most and at least, and what it puts where nothing is said.

Client, server and worker take them from here, so that they cannot come to disagree. Each group names its source;
`AS_OF` is the day on which all of them were last held against it. What one model alone decides (its context, its
price, its dates) stands in the catalogue, and what another server decides otherwise in its dialect.
"""

from __future__ import annotations

import datetime as dt

AS_OF = dt.date(2026, 8, 21)
"""The day of the published API specification (`openapi.yaml`) that the numbers were read from."""

# A job: schemas CreateFineTuningJobRequest, FineTuneSupervisedHyperparameters, FineTuneDPOHyperparameters and
# FineTuneReinforcementHyperparameters.
MAX_EPOCHS = 50
MAX_BATCH_SIZE = 256
MAX_BETA = 2.0
MAX_SEED = 2**31 - 1
MAX_SUFFIX = 64
# Above the first, up to the second.
MIN_COMPUTE_MULTIPLIER = 1e-5
MAX_COMPUTE_MULTIPLIER = 10.0

# Notes on a job: schema Metadata. Every server with this wire copies them.
MAX_METADATA_PAIRS = 16
MAX_METADATA_KEY = 64
MAX_METADATA_VALUE = 512

# What "auto" is expected to become, by OpenAI's cookbook ("Data preparation and analysis for chat model
# fine-tuning") for epochs and by its guide for the batch (0.2 percent of the examples). The server's
# own rule is unpublished.
AUTO_EPOCHS = 3
MAX_AUTO_EPOCHS = 25
MIN_AUTO_EXAMPLES = 100
MAX_AUTO_EXAMPLES = 25_000
AUTO_EXAMPLES_PER_BATCH_ROW = 500

# A training file: guides on supervised, vision and reinforcement fine-tuning.
MIN_EXAMPLES = 10
MAX_IMAGES = 10
MAX_IMAGE_BYTES = 10 * 1024**2
MAX_IMAGE_EXAMPLES = 50_000
MAX_REINFORCEMENT_EXAMPLES = 50_000

# Files: API reference on files and uploads.
MAX_FILE_BYTES = 512 * 1024**2
MAX_UPLOAD_BYTES = 8 * 1024**3
MAX_PART_BYTES = 64 * 1024**2
MIN_EXPIRY_S = 3_600
MAX_EXPIRY_S = 2_592_000

# Lists of jobs, events and checkpoints: the largest page.
MAX_PAGE = 100

# Questions: schemas CreateChatCompletionRequest, CreateCompletionRequest, FunctionObject.
MAX_TEMPERATURE = 2.0
MAX_PENALTY = 2.0
MAX_LOGIT_BIAS = 100
MAX_TOP_LOGPROBS = 20
MAX_CHOICES = 128
MAX_STOPS = 4
MAX_MESSAGES = 2_048
MAX_TOOLS = 128
MAX_FUNCTION_NAME = 64
DEFAULT_COMPLETION_TOKENS = 16
