"""OpenAI's numbers, held against what they were read from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ragtune import limits

SCHEMA = Path(__file__).parents[3] / "shared" / "wire" / "openapi-finetune.json"


@pytest.fixture(scope="module")
def schemas() -> Any:
    if not SCHEMA.exists():
        pytest.skip("OpenAI's schema does not lie beside the project")
    return json.loads(SCHEMA.read_text(encoding="utf-8"))["components"]["schemas"]


@pytest.mark.parametrize("method", ["Supervised", "DPO", "Reinforcement"])
def test_the_numbers_of_a_job_are_the_schemas(schemas: Any, method: str) -> None:
    given = schemas[f"FineTune{method}Hyperparameters"]["properties"]
    numbers = {name: value["oneOf"][1] for name, value in given.items() if "oneOf" in value}
    assert numbers["n_epochs"]["maximum"] == limits.MAX_EPOCHS
    assert numbers["batch_size"]["maximum"] == limits.MAX_BATCH_SIZE
    if "beta" in numbers:
        assert numbers["beta"]["maximum"] == limits.MAX_BETA
    if "compute_multiplier" in numbers:
        within = numbers["compute_multiplier"]
        assert within["exclusiveMinimum"] == limits.MIN_COMPUTE_MULTIPLIER
        assert within["maximum"] == limits.MAX_COMPUTE_MULTIPLIER


def test_the_numbers_of_a_request_are_the_schemas(schemas: Any) -> None:
    job = schemas["CreateFineTuningJobRequest"]["properties"]
    assert job["suffix"]["maxLength"] == limits.MAX_SUFFIX
    assert job["seed"]["maximum"] == limits.MAX_SEED
    told = json.dumps(schemas["Metadata"])
    for number in (limits.MAX_METADATA_PAIRS, limits.MAX_METADATA_KEY, limits.MAX_METADATA_VALUE):
        assert f" {number} " in told
    assert (
        f"maximum length of {limits.MAX_FUNCTION_NAME}."
        in schemas["FunctionObject"]["properties"]["name"]["description"]
    )
    expiry = schemas["FileExpirationAfter"]["properties"]["seconds"]
    assert (expiry["minimum"], expiry["maximum"]) == (limits.MIN_EXPIRY_S, limits.MAX_EXPIRY_S)


def test_the_sizes_are_those_of_the_reference_on_files() -> None:
    """Its words: 512 MB a file, 8 GB an upload, 64 MB a part of it; counted in powers of two."""
    sizes = (limits.MAX_FILE_BYTES, limits.MAX_UPLOAD_BYTES, limits.MAX_PART_BYTES)
    assert sizes == (536_870_912, 8_589_934_592, 67_108_864)


def test_the_numbers_of_a_question_are_the_schemas(schemas: Any) -> None:
    asked = schemas["CreateCompletionRequest"]["properties"]
    assert asked["temperature"]["maximum"] == limits.MAX_TEMPERATURE
    assert asked["presence_penalty"]["maximum"] == asked["frequency_penalty"]["maximum"] == limits.MAX_PENALTY
    assert asked["n"]["maximum"] == limits.MAX_CHOICES
    assert asked["max_tokens"]["default"] == limits.DEFAULT_COMPLETION_TOKENS
    assert f"from -{limits.MAX_LOGIT_BIAS} to {limits.MAX_LOGIT_BIAS}" in asked["logit_bias"]["description"]
    chat = json.dumps(schemas["CreateChatCompletionRequest"])
    assert f'"maximum": {limits.MAX_TOP_LOGPROBS}' in chat
    assert f'"maxItems": {limits.MAX_TOOLS}' in chat
    assert schemas["StopConfiguration"]["oneOf"][1]["maxItems"] == limits.MAX_STOPS
