"""What the embedded engine's answers hold is held by engines behind the plug: the tests of `test_answers` once more."""

from __future__ import annotations

from collections.abc import Iterator

import openai
import pytest

from ragtune.local import LocalBackend
from ragtune.local.remote_engine import EngineKind
from tests.local.engine_stub import StubEngine
from tests.local.kit import trainer
from tests.local.test_answers import (  # ruff: ignore[unused-import]
    chat,
    complete,
    test_a_completion_has_the_legacy_shape,
    test_a_developer_message_counts_as_the_system_message,
    test_a_seed_repeats_and_another_seed_does_not,
    test_a_stop_text_ends_the_answer_and_is_no_part_of_it,
    test_a_stream_tells_the_same_as_a_plain_answer,
    test_a_wrong_question_is_refused_by_name,
    test_an_answer_has_everything_that_clients_look_at,
    test_an_empty_prompt_is_a_text_to_go_on_with,
    test_completions_of_several_prompts_stand_in_order,
    test_content_may_come_in_text_parts,
    test_harmless_values_of_what_is_not_served_are_taken,
    test_log_probabilities_are_those_of_the_choice,
    test_max_completion_tokens_wins_over_max_tokens,
    test_penalties_and_top_p_change_what_is_said,
    test_several_choices_come_whole_and_streamed,
)

_ONE_ANSWER = "a llama.cpp engine writes one answer per request"
LACKS: dict[tuple[str, str | None], str] = {
    ("test_several_choices_come_whole_and_streamed", "llama.cpp"): _ONE_ANSWER,
    ("test_completions_of_several_prompts_stand_in_order", "llama.cpp"): _ONE_ANSWER,
    ("test_log_probabilities_are_those_of_the_choice", "sglang"): "SGLang names tokens by text",
}


@pytest.fixture(scope="module", params=["vllm", "sglang", "llama.cpp"])
def answering(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[openai.OpenAI]:
    """A client on a backend whose answers come from an engine of each kind, in place of the fixture of that name."""
    kind: EngineKind = request.param
    folder = tmp_path_factory.mktemp("answering")
    with (
        StubEngine(kind=kind).running() as stub,
        LocalBackend(folder, trainer=trainer(), threads=1, engine=stub.address) as running,
        running.client(max_retries=0) as made,
    ):
        yield made


@pytest.fixture(autouse=True)
def _skip_what_one_kind_lacks(request: pytest.FixtureRequest) -> None:
    kind = request.node.callspec.params.get("answering") if hasattr(request.node, "callspec") else None
    if (reason := LACKS.get((request.node.originalname, kind))) is not None:
        pytest.skip(reason)


QUESTIONS: list[dict[str, object]] = [
    {"max_tokens": 24},
    {"max_tokens": 24, "logprobs": True, "top_logprobs": 2},
    {"max_tokens": 12, "temperature": 0.8, "top_p": 0.9, "seed": 3},
    {"max_tokens": 40, "frequency_penalty": 1.0, "logit_bias": {"40": 5}},
    {
        "max_tokens": 30,
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "n", "schema": {"type": "object", "properties": {"a": {"type": "integer"}}}},
        },
    },
]


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[openai.OpenAI]:
    """A client on a backend that answers itself."""
    folder = tmp_path_factory.mktemp("own")
    with LocalBackend(folder, trainer=trainer(), threads=1, max_batch=1) as running, running.client() as made:
        yield made


@pytest.mark.slow
@pytest.mark.parametrize("options", QUESTIONS)
def test_the_same_model_answers_the_same_behind_the_plug(
    answering: openai.OpenAI, own: openai.OpenAI, options: dict[str, object], request: pytest.FixtureRequest
) -> None:
    """Text, end, usage and log-probabilities: nothing is lost or added on the way through an engine's wire."""
    said = []
    for client in (own, answering):
        body: dict[str, object] = {"temperature": 0, **options}
        answer = client.chat.completions.create(
            model="tiny-random",
            messages=[{"role": "user", "content": "Who keeps the tower?"}],
            **body,  # type: ignore[call-overload]
        )
        told = answer.choices[0].logprobs
        tokens = None if told is None else [(one.token, pytest.approx(one.logprob)) for one in told.content]
        said.append((answer.choices[0].message.content, answer.choices[0].finish_reason, answer.usage, tokens))
    assert said[0] == said[1]


def test_what_an_engine_lacks_is_refused_by_name(answering: openai.OpenAI, request: pytest.FixtureRequest) -> None:
    kind = request.node.callspec.params["answering"]
    with pytest.raises(openai.BadRequestError) as caught:
        answering.completions.create(model="tiny-random", prompt="Once", echo=True, logprobs=1, max_tokens=1)
    assert (caught.value.param, caught.value.code) == ("echo", "unsupported_parameter")
    assert kind in caught.value.message


def test_an_echo_is_the_prompt_before_the_answer(answering: openai.OpenAI) -> None:
    alone = answering.completions.create(model="tiny-random", prompt="Once", max_tokens=4, temperature=0)
    echoed = answering.completions.create(model="tiny-random", prompt="Once", max_tokens=4, temperature=0, echo=True)
    assert echoed.choices[0].text == "Once" + alone.choices[0].text
    only = answering.completions.create(model="tiny-random", prompt="Once", max_tokens=0, echo=True)
    assert (only.choices[0].text, only.choices[0].finish_reason) == ("Once", "length")
