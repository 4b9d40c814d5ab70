"""ModelCache in memory: adapters side by side, several families, and what leaves when memory is short."""

from __future__ import annotations

import gc
import shutil
import warnings
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from ragtune.errors import BackendError
from ragtune.local.engine import Engine, GenerateRequest
from ragtune.local.engine.model_cache import LoadedBase, ModelCache
from ragtune.modelling.base_model import load_model, load_tokenizer, quiet
from ragtune.modelling.bases import resolve_base


@pytest.fixture(scope="module")
def base() -> Path:
    """The base that is built in code."""
    return resolve_base("tiny-random")


@pytest.fixture(scope="module")
def adapters(base: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three adapters that change the base a lot, each in its own way."""
    return [put_on(base, tmp_path_factory.mktemp(f"adapter-{seed}"), seed) for seed in range(3)]


@pytest.fixture
def engine() -> Iterator[Engine]:
    """An engine of its own for each test."""
    engine = Engine(threads=1)
    yield engine
    engine.close()


def ask(base: Path, adapter: Path | None = None, **settings: Any) -> GenerateRequest:
    """A short greedy request unless said otherwise."""
    options: dict[str, Any] = {"prompt": "Once upon", "max_tokens": 12, "temperature": 0.0, **settings}
    return GenerateRequest(base_path=base, adapter_path=adapter, **options)


@pytest.mark.slow
def test_base_and_tuned_models_answer_side_by_side(engine: Engine, base: Path, adapters: list[Path]) -> None:
    """In one batch each row gets its own model's answer, and the base stays what it was."""
    models = [None, *adapters, None]
    alone = [engine.submit(ask(base, model)).result().choices[0].text for model in models]
    assert len(set(alone)) == 4
    together = [generation.result() for generation in [engine.submit(ask(base, model)) for model in models]]
    assert [completed.choices[0].text for completed in together] == alone


def put_on(base: Path, folder: Path, seed: int, **settings: Any) -> Path:
    """An adapter that changes the base a lot."""
    import torch
    from peft import LoraConfig, get_peft_model

    with torch.random.fork_rng(devices=[]), quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # attributes by their old names, and tied weights
        torch.manual_seed(seed)
        shape = {"r": 4, "target_modules": "all-linear", "init_lora_weights": False, "task_type": "CAUSAL_LM"}
        tuned: Any = get_peft_model(load_model(base, dtype="float32"), LoraConfig(**{**shape, **settings}))
        for name, parameter in tuned.named_parameters():
            if "magnitude" in name or "modules_to_save" in name:  # as they are made they change little or nothing
                parameter.data *= 1.5
        tuned.save_pretrained(str(folder))
    return folder


def by_peft(base: Path, adapter: Path, ids: Any) -> Any:
    """The logits of a model of PEFT's own."""
    import torch
    from peft import PeftModel

    with torch.inference_mode(), quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tuned: Any = PeftModel.from_pretrained(load_model(base, dtype="float32"), str(adapter)).eval()
        return tuned(input_ids=ids).logits


@pytest.mark.slow
def test_every_kind_of_adapter_computes_what_peft_computes(base: Path, adapters: list[Path], tmp_path: Path) -> None:
    """Other ranks, scales and layers beside each other; DoRA and whole layers beside them, and after they have left."""
    import torch

    small = put_on(base, tmp_path / "small", 7, r=2, lora_alpha=3, target_modules=["q_proj", "down_proj"])
    dora = put_on(base, tmp_path / "dora", 8, use_dora=True)
    whole = put_on(base, tmp_path / "whole", 9, target_modules=["q_proj"], modules_to_save=["lm_head"])
    ids = torch.randint(300, 900, (1, 9), generator=torch.Generator().manual_seed(1))
    models = [None, adapters[0], small, adapters[1], None]
    loaded = LoadedBase(base)
    plain = loaded.forward([None], input_ids=ids).logits
    expected = [plain if model is None else by_peft(base, model, ids) for model in models]
    assert min((a - b).abs().max() for a, b in pairwise(expected)) > 0.1
    for model in (adapters[0], small, adapters[1]):
        loaded.load(model)

    def check(models: list[Path | None], expected: list[Any]) -> None:
        for model, logits in zip(models, expected, strict=True):
            torch.testing.assert_close(loaded.forward([model], input_ids=ids).logits, logits, atol=1e-4, rtol=1e-4)
        together = loaded.forward(models, input_ids=ids.expand(len(models), -1)).logits
        torch.testing.assert_close(together, torch.cat(expected), atol=1e-4, rtol=1e-4)

    check(models, expected)
    check(models[:3], expected[:3])
    for model in (dora, whole):
        loaded.load(model)
    check([*models, dora, whole], [*expected, by_peft(base, dora, ids), by_peft(base, whole, ids)])
    for model in (dora, whole, small):
        loaded.forget(model)
    check([None, *adapters[:2]], [plain, expected[1], expected[3]])


def test_an_adapter_that_does_not_fit_leaves_the_base_as_it_is(base: Path, tmp_path: Path) -> None:
    """Weights of another shape fail while PEFT puts them in; the base answers afterwards as before."""
    import json

    import torch

    wrong = put_on(base, tmp_path / "wrong", 9)
    settings = json.loads((wrong / "adapter_config.json").read_text())
    (wrong / "adapter_config.json").write_text(json.dumps({**settings, "r": 3}))
    ids = torch.tensor([[300, 301, 302]])
    loaded = LoadedBase(base)
    before = loaded.forward([None], input_ids=ids).logits
    with pytest.raises(BackendError, match="no adapter for"):
        loaded.load(wrong)
    assert torch.equal(loaded.forward([None], input_ids=ids).logits, before)


def test_rows_whose_tokens_lie_in_one_line_keep_their_own_adapter(base: Path, tmp_path: Path) -> None:
    """OPT takes rows and tokens together in its feed-forward layers."""
    import torch
    from transformers import AutoModelForCausalLM, OPTConfig

    folder = tmp_path / "opt"
    shape: dict[str, Any] = {"hidden_size": 32, "word_embed_proj_dim": 32, "ffn_dim": 64, "num_hidden_layers": 2}
    with torch.random.fork_rng(devices=[]), quiet():
        torch.manual_seed(2)
        made: Any = AutoModelForCausalLM
        made.from_config(OPTConfig(vocab_size=1024, num_attention_heads=4, **shape)).save_pretrained(folder)
    load_tokenizer(base).save_pretrained(folder)
    models = [put_on(folder, tmp_path / "one", 1), None, put_on(folder, tmp_path / "two", 2)]
    loaded = LoadedBase(folder)
    for model in models:
        if model is not None:
            loaded.load(model)
    ids = torch.tensor([[300, 301, 302, 303]])
    alone = torch.cat([loaded.forward([model], input_ids=ids).logits for model in models])
    together = loaded.forward(models, input_ids=ids.expand(3, -1)).logits
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-4)
    assert (alone[0] - alone[2]).abs().max() > 1e-3


@pytest.mark.slow
def test_an_adapter_that_was_deleted_is_forgotten_after_its_last_answer(
    engine: Engine, base: Path, adapters: list[Path]
) -> None:
    """A row that is being written keeps its model; the other adapters are as they were."""
    expected = engine.submit(ask(base, adapters[1])).result().choices
    running = engine.submit(ask(base, adapters[0], max_tokens=100))
    next(iter(running))
    engine.forget(adapters[0])
    running.result()
    assert engine.submit(ask(base, adapters[1])).result().choices == expected


def size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.glob("*.safetensors"))


def test_what_was_used_longest_ago_leaves_memory_first(base: Path, adapters: list[Path]) -> None:
    """With room for the base and two adapters a third one pushes out the one that was not used since."""
    models = ModelCache(memory_bytes=size(base) + 2 * size(adapters[0]) + 10)
    for adapter in (adapters[0], adapters[1], adapters[0], adapters[2]):
        models.get(base, adapter)
    assert {adapter for _, adapter in models.loaded()} == {None, adapters[0], adapters[2]}


@pytest.mark.slow
def test_a_base_leaves_with_its_adapters_and_what_is_at_work_stays(
    base: Path, adapters: list[Path], tmp_path: Path
) -> None:
    """A second base waits while the first one answers; afterwards it takes the place."""
    other = tmp_path / "other"
    other.mkdir()
    for file in base.iterdir():
        (other / file.name).write_bytes(file.read_bytes())
    models = ModelCache(memory_bytes=size(base) + size(adapters[0]))
    first = models.get(base, adapters[0])
    assert models.get(other, None, busy={(base, None), (base, adapters[0])}) is None
    assert models.get(base, adapters[0]) is first
    assert models.get(other, None) is not None
    assert models.loaded() == [(other, None)]


@pytest.mark.slow
def test_the_memory_of_a_base_is_free_before_the_next_one_comes(
    base: Path, adapters: list[Path], tmp_path: Path
) -> None:
    """The layers of an adapter refer to themselves, so Python alone would free them whenever it likes."""
    from torch.nn import Module

    def alive() -> int:
        return sum(issubclass(type(thing), Module) for thing in gc.get_objects())

    no_tokenizer = tmp_path / "other"
    no_tokenizer.mkdir()
    for name in ("config.json", "model.safetensors"):
        shutil.copy(base / name, no_tokenizer)
    models = ModelCache(memory_bytes=size(base) + size(adapters[0]))
    gc.collect()
    gc.disable()
    try:
        before = alive()
        models.get(base, adapters[0])
        assert alive() > before
        with pytest.raises(BackendError, match="tokenizer"):
            models.get(no_tokenizer, None)
        assert alive() == before
    finally:
        gc.enable()


@pytest.mark.slow
def test_two_bases_that_do_not_fit_together_take_turns(base: Path, tmp_path: Path) -> None:
    """Requests to both, mixed, all get their answers."""
    other = tmp_path / "other"
    other.mkdir()
    for file in base.iterdir():
        (other / file.name).write_bytes(file.read_bytes())
    engine = Engine(threads=1, memory_bytes=size(base))
    generations = [engine.submit(ask(path)) for path in (base, other, base, other)]
    texts = {generation.result().choices[0].text for generation in generations}
    assert len(texts) == 1
    engine.close()


def family(kind: str) -> Any:
    """The configuration of a tiny model of some family."""
    import transformers

    shape: dict[str, Any] = {"vocab_size": 1024, "hidden_size": 32, "num_hidden_layers": 4}
    attention: dict[str, Any] = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8}
    attention["intermediate_size"] = 64
    made: dict[str, Any] = {
        "gpt2": lambda: transformers.GPT2Config(vocab_size=1024, n_embd=32, n_layer=2, n_head=4),
        "gemma3": lambda: transformers.Gemma3TextConfig(**shape, **attention, sliding_window=8),
        "qwen3": lambda: transformers.Qwen3Config(**shape, **attention),
        "bloom": lambda: transformers.BloomConfig(vocab_size=1024, hidden_size=32, n_layer=2, n_head=4),
        "lfm2": lambda: transformers.Lfm2Config(
            **shape, **attention, layer_types=["conv", "full_attention", "conv", "full_attention"]
        ),
        "mamba": lambda: transformers.MambaConfig(vocab_size=1024, hidden_size=32, num_hidden_layers=2, state_size=4),
    }
    return made[kind]()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["gpt2", "gemma3", "qwen3", "bloom", "lfm2", "mamba"])
def test_models_of_many_families_answer_as_plain_generate_does(
    kind: str, base: Path, engine: Engine, tmp_path: Path
) -> None:
    """Windows of attention, biases instead of positions, and states that are no attention at all."""
    import torch
    from transformers import AutoModelForCausalLM

    tokenizer: Any = load_tokenizer(base)
    with torch.random.fork_rng(devices=[]), quiet():
        torch.manual_seed(1)
        made: Any = AutoModelForCausalLM
        model = made.from_config(family(kind)).eval()
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.3) if parameter.ndim > 1 else None
        model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    prompts = ["Once upon a time there was a lantern heron", "A", "The harbour cranes of Quillhaven"]
    generations = [engine.submit(ask(tmp_path, prompt=prompt, max_tokens=20)) for prompt in prompts]
    texts = [generation.result().choices[0].text for generation in generations]
    for prompt, text in zip(prompts, texts, strict=True):
        ids = tokenizer(prompt, add_special_tokens=False, return_tensors="pt")["input_ids"]
        with quiet():
            written = model.generate(
                ids, max_new_tokens=20, do_sample=False, eos_token_id=[0, tokenizer.eos_token_id], pad_token_id=0
            )
        assert text == tokenizer.decode(written[0, ids.shape[1] :], skip_special_tokens=True)
