"""The insides of other libraries that the house leans on, each by name: an upgrade that moves one says so here.

What a library documents needs no fence. When a test here fails after an upgrade, look at the file that it names before
the cap in `pyproject.toml` is raised.
"""

from __future__ import annotations

import ast
import inspect
import re
import socket
import tomllib
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

import ragtune
from tests.conftest import ROOT

PACKAGE = Path(ragtune.__file__).parent


def held(owner: object, *names: str, who: str) -> None:
    """Fail with the names that are gone, and with the file of ours that leans on them."""
    gone = [name for name in names if not hasattr(owner, name)]
    called = getattr(owner, "__qualname__", type(owner).__qualname__)
    assert not gone, f"{called} has no {', '.join(gone)} any more, on which {who} leans"


def takes(function: Any, *names: str, who: str) -> None:
    """Fail with the parameters that a function does not take any more."""
    gone = [name for name in names if name not in inspect.signature(function).parameters]
    assert not gone, f"{function.__qualname__} takes no {', '.join(gone)} any more, on which {who} leans"


# --- uvicorn and h11: the guarded protocol ---------------------------------------------------------------------------

PROTOCOL = "the server's guarded protocol"
SERVER = "the server's quick end"


@pytest.fixture
def connection() -> Any:
    """One connection of uvicorn's, made as its server makes it, with a request whose answer is under way."""
    import asyncio

    import uvicorn
    from uvicorn.protocols.http.h11_impl import H11Protocol
    from uvicorn.server import ServerState

    class Transport(asyncio.Transport):
        def __init__(self) -> None:
            super().__init__()
            self.written = bytearray()

        def write(self, data: Any) -> None:
            self.written += data

        def is_closing(self) -> bool:
            return False

        def close(self) -> None:
            pass

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(60)

    async def made() -> Any:
        config = uvicorn.Config(app, log_config=None, lifespan="off")
        config.load()
        protocol = H11Protocol(config, ServerState(), {}, asyncio.get_running_loop())
        protocol.connection_made(Transport())
        protocol.data_received(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        protocol.connection_lost(None)
        return protocol

    return asyncio.run(made())


def test_a_connection_of_uvicorns_keeps_its_state_under_the_names_that_are_read(connection: Any) -> None:
    held(connection, *"app connections conn cycle loop scope transport".split(), who=PROTOCOL)
    held(connection.cycle, "disconnected", "message_event", "response_complete", who=PROTOCOL)
    held(connection.conn, "our_state", "their_state", "trailing_data", "send", who=PROTOCOL)
    assert isinstance(connection.conn._max_incomplete_event_size, int), (
        f"h11 keeps the largest head of a request elsewhere; {PROTOCOL} tells 431 from 400 by it"
    )


@pytest.mark.parametrize(
    "name",
    [
        "connection_made",
        "connection_lost",
        "data_received",
        "on_response_complete",
        "send_400_response",
        "pause_writing",
        "resume_writing",
        "timeout_keep_alive_handler",
    ],
)
def test_uvicorn_calls_what_the_guarded_protocol_overrides(name: str) -> None:
    """A method that uvicorn renames would be overridden in vain: nothing fails, and a deadline is gone."""
    from uvicorn.protocols.http import h11_impl

    held(h11_impl.H11Protocol, name, who=PROTOCOL)
    if name.startswith(("on_", "send_", "timeout_")):  # the others are called by asyncio
        assert f"self.{name}" in inspect.getsource(h11_impl), (
            f"uvicorn does not call {name} any more, which {PROTOCOL} overrides"
        )


def test_uvicorns_server_ends_by_the_steps_that_are_overridden() -> None:
    import uvicorn

    server = uvicorn.Server(uvicorn.Config("none:app", log_config=None))
    held(server, "main_loop", "serve", "shutdown", "should_exit", "started", who=SERVER)
    held(server.server_state, "connections", "tasks", who=SERVER)
    takes(uvicorn.Server.shutdown, "sockets", who=SERVER)
    source = inspect.getsource(uvicorn.Server)
    for step in ("self.main_loop()", "self.shutdown(", "self.servers"):
        assert step in source, f"uvicorn's server has no {step} any more, on which {SERVER} leans"


# --- peft: adapters side by side -------------------------------------------------------------------------------------

ADAPTERS = "the engine's adapter layers"


def tuned(**options: Any) -> Any:
    """A layer of two by two with one adapter on it, as PEFT makes it."""
    import torch
    from peft import LoraConfig, get_peft_model

    class Two(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)

        def forward(self, x: Any) -> Any:
            return self.second(self.first(x))

    return get_peft_model(Two(), LoraConfig(r=2, target_modules=["first"], **options))


def test_a_layer_of_pefts_keeps_its_matrices_under_the_names_that_are_read() -> None:
    from peft.tuners.lora import Linear
    from peft.tuners.tuners_utils import BaseTunerLayer

    (layer,) = (module for module in tuned().modules() if isinstance(module, BaseTunerLayer))
    assert type(layer) is Linear, f"PEFT's plain LoRA layer is a {type(layer).__qualname__} now; {ADAPTERS} ask by type"
    held(layer, *"base_layer scaling lora_A lora_B r lora_variant lora_bias".split(), who=ADAPTERS)
    held(layer, "set_adapter", "enable_adapters", who=ADAPTERS)
    assert set(layer.lora_A) == set(layer.lora_B) == set(layer.scaling) == set(layer.r) == {"default"}
    assert not layer.lora_variant, f"a plain layer of PEFT's has a variant now; {ADAPTERS} would never join any"


def test_a_layer_of_pefts_that_is_not_plain_shows_it() -> None:
    from peft.tuners.tuners_utils import BaseTunerLayer

    layer: Any
    (layer,) = (module for module in tuned(use_dora=True).modules() if isinstance(module, BaseTunerLayer))
    assert layer.lora_variant, f"DoRA is no variant of a layer any more; {ADAPTERS} would compute it as a plain one"
    (layer,) = (module for module in tuned(lora_bias=True).modules() if isinstance(module, BaseTunerLayer))
    assert any(layer.lora_bias.values()), f"biases are kept elsewhere; {ADAPTERS} would leave them out"


def test_a_whole_layer_that_peft_saves_is_wrapped() -> None:
    from peft.utils import ModulesToSaveWrapper

    (layer,) = (m for m in tuned(modules_to_save=["second"]).modules() if isinstance(m, ModulesToSaveWrapper))
    held(layer, "modules_to_save", "set_adapter", "enable_adapters", who=ADAPTERS)


# --- transformers: the decoder's cache, the trainer, the list of causal models ---------------------------------------

DECODER = "the decoder of joined rows"
TRAINER = "the trainer with the masked loss"


def test_the_cache_of_transformers_is_a_list_of_layers_with_keys_and_values() -> None:
    import torch
    from transformers import DynamicCache, LlamaConfig, MistralConfig

    cache = DynamicCache()
    cache.update(torch.zeros(1, 1, 3, 2), torch.ones(1, 1, 3, 2), 0)
    layer: Any = cache.layers[0]
    assert layer.keys.shape == layer.values.shape == (1, 1, 3, 2), (
        f"{DECODER} cuts and joins keys and values [B, H, T, D]"
    )
    layer.keys, layer.values = layer.keys[:, :, 1:], layer.values[:, :, 1:]
    assert cache.get_seq_length() == 2, f"a cache does not see that {DECODER} has shortened it"
    kinds = {type(layer).__name__ for layer in DynamicCache(config=LlamaConfig(num_hidden_layers=2)).layers}
    assert kinds == {"DynamicLayer"}, (
        f"layers of plain attention are called {kinds} now; {DECODER} lets none other join"
    )
    windows = DynamicCache(config=MistralConfig(num_hidden_layers=2, sliding_window=4))
    assert {type(layer).__name__ for layer in windows.layers} == {"DynamicSlidingWindowLayer"}, (
        f"layers with a window are called otherwise; {DECODER} lets them join by name"
    )


def test_the_trainer_of_transformers_counts_the_tokens_that_a_loss_is_divided_by() -> None:
    """Two attributes ask for it; renamed, the loss would silently be a mean of means."""
    from transformers import Trainer

    takes(Trainer.compute_loss, "model", "inputs", "return_outputs", "num_items_in_batch", who=TRAINER)
    source = inspect.getsource(Trainer)
    for name in ("model_accepts_loss_kwargs", "loss_is_scaled_for_ga"):
        assert f"self.{name}" in source, f"transformers' Trainer does not read {name} any more; {TRAINER} sets it"


def test_the_trainer_of_transformers_names_its_checkpoints_and_takes_the_callbacks_settings() -> None:
    from transformers import PrinterCallback, TrainerCallback, TrainerControl, TrainerState
    from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

    assert PREFIX_CHECKPOINT_DIR == "checkpoint", "resuming looks for folders checkpoint-N"
    held(TrainerState(), "global_step", "max_steps", "num_input_tokens_seen", who="the events of a run")
    held(TrainerControl(), "should_training_stop", "should_save", who="the stop at a checkpoint")
    held(TrainerCallback, "on_step_end", "on_save", who="the events of a run")
    held(PrinterCallback, "on_log", who="a run's quiet output")


def test_transformers_lists_the_causal_models_where_bases_are_judged_by_it() -> None:
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    assert MODEL_FOR_CAUSAL_LM_MAPPING_NAMES["llama"] == "LlamaForCausalLM"


def test_the_notices_of_transformers_can_be_switched_off_and_on_again() -> None:
    from transformers.utils import logging

    names = "get_verbosity set_verbosity is_progress_bar_enabled disable_progress_bar enable_progress_bar".split()
    held(logging, *names, who="the loading of a base without notices")


def test_a_tokenizer_of_transformers_has_what_is_asked_of_it() -> None:
    """The names of our own type of a tokenizer, which stands for any that transformers loads."""
    from tokenizers import ByteLevelBPETokenizer
    from transformers import PreTrainedTokenizerFast

    from ragtune.modelling.encoding.tokenizer import Tokenizer

    named = {name for name in {*vars(Tokenizer), *Tokenizer.__annotations__} if not name.startswith("_")}
    assert {"apply_chat_template", "chat_template", "decode"} <= named
    made: Any = PreTrainedTokenizerFast
    held(made(tokenizer_object=ByteLevelBPETokenizer()._tokenizer), *sorted(named), "__len__", who="encoder and engine")
    takes(PreTrainedTokenizerFast.__call__, "text", "add_special_tokens", "verbose", who="encoder and engine")


def test_the_byte_level_tokenizer_holds_the_plain_one() -> None:
    from tokenizers import ByteLevelBPETokenizer, Tokenizer

    assert isinstance(ByteLevelBPETokenizer()._tokenizer, Tokenizer), "the base tiny-random is built from it"


# --- trl: preference runs --------------------------------------------------------------------------------------------

PREFERENCE = "the trainer of preference runs"


def test_trl_measures_and_prepares_where_the_preference_trainer_takes_part() -> None:
    """Its metrics are read, its preparing of rows is skipped, its card is not written."""
    from trl import DPOTrainer

    held(DPOTrainer, "_prepare_dataset", "create_model_card", "compute_loss", who=PREFERENCE)
    source = inspect.getsource(DPOTrainer)
    words = (
        *("self._metrics[", "self._prepare_dataset(", '"mean_token_accuracy"', '"rewards/margins"'),
        *('"rewards/accuracies"', '"completion_mask"'),
    )
    for word in words:
        assert word in source, f"TRL's DPOTrainer has no {word} any more, on which {PREFERENCE} leans"


def test_trl_measures_and_prepares_where_the_trainer_of_verdicts_takes_part() -> None:
    """The names of its batches, its metrics and its sampler, which must not be a fixed order here."""
    from trl import KTOTrainer

    who = "the trainer of verdicts"
    held(KTOTrainer, "_prepare_dataset", "_get_train_sampler", "create_model_card", "compute_loss", who=who)
    source = inspect.getsource(KTOTrainer)
    words = (
        *("self._metrics[mode]", "self._prepare_dataset(", '"kl"', '"rewards/chosen"', '"rewards/rejected"'),
        *('"rewards/margins"', '"completion_mask"', '"KL_input_ids"', '"KL_attention_mask"', '"KL_completion_mask"'),
        *('batch["label"]', "per_device_train_batch_size <= 1"),
    )
    for word in words:
        assert word in source, f"TRL's KTOTrainer has no {word} any more, on which {who} leans"


# --- datasets, pydantic, openai, python-multipart --------------------------------------------------------------------


def test_a_dataset_of_the_hubs_library_carries_its_fingerprint_and_its_files() -> None:
    import datasets

    rows = datasets.Dataset.from_dict({"a": [1, 2]})
    assert isinstance(rows._fingerprint, str), "lineage names rows by the library's fingerprint"
    assert rows.cache_files == [], "mapped reading asks which files lie under the rows"
    held(datasets.DatasetInfo(), "download_checksums", who="the commit that is noted beside hub rows")


def test_pydantic_leaves_a_records_own_init_to_it() -> None:
    """The mark makes validation skip the hand-written `__init__`, without which every record would be built twice."""
    import pydantic

    assert pydantic.BaseModel.__init__.__pydantic_base_init__ is True  # type: ignore[attr-defined]


def test_the_openai_client_says_by_its_causes_name_that_nothing_was_sent() -> None:
    """The transport was httpx and is httpx2: only the names of its errors stay."""
    import openai

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: a connection is refused
        client = openai.OpenAI(api_key="none", base_url=f"http://127.0.0.1:{taken.getsockname()[1]}/v1", max_retries=0)
        with client, pytest.raises(openai.APIConnectionError) as refused:
            client.models.list()
    assert type(refused.value.__cause__).__name__ == "ConnectError", "what never left the machine is told by this name"


def test_the_parser_of_forms_is_fed_by_callbacks() -> None:
    """Its module is public, the names of its callbacks stand nowhere but in its types."""
    from python_multipart.multipart import MultipartParser, parse_options_header

    assert parse_options_header("multipart/form-data; boundary=x") == (b"multipart/form-data", {b"boundary": b"x"})
    called: list[str] = []
    names = "part_begin header_field header_value header_end headers_finished part_data part_end end".split()
    noting = {f"on_{name}": partial(lambda name, *_: called.append(name), name) for name in names}
    parser = MultipartParser(b"x", noting)  # type: ignore[arg-type]
    parser.write(b"--x\r\nContent-Disposition: form-data; name=a\r\n\r\nb\r\n--x--\r\n")
    assert called == names, "uploads are read through these callbacks"


# --- all of them -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_no_other_private_name_of_another_library_is_read() -> None:
    """A private name that our own source defines nowhere is somebody else's: fence it here, or do without."""
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in PACKAGE.rglob("*.py")]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    ours = {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)}
    ours |= {node.attr for node in nodes if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)}
    ours |= {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    private = re.compile(r"_[^_]")
    read = {node.attr for node in nodes if isinstance(node, ast.Attribute) and private.match(node.attr)} - ours
    imported = {
        f"{node.module}.{alias.name}"
        for node in nodes
        if isinstance(node, ast.ImportFrom) and node.module and not node.module.startswith("ragtune")
        for alias in node.names
        if any(private.match(part) for part in (*node.module.split("."), alias.name))
    }
    standard_library = {"_getframe", "_Hash"}  # the caller's frame, and the type of a hash in the stubs
    assert (read - standard_library, imported) == ({"_max_incomplete_event_size"}, set())


def requirements() -> dict[str, Requirement]:
    """What `pyproject.toml` asks for, extras of the shipped package included."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    lines = [
        *project["dependencies"],
        *(line for extra in extras if extra not in ("dev", "docs") for line in extras[extra]),
    ]
    return {found.name: found for found in map(Requirement, lines)}


INSIDES = ["uvicorn", "h11", "transformers", "peft", "trl"]
FACES = ["starlette", "datasets", "openai", "pydantic", "typer", "llguidance"]


@pytest.mark.parametrize("library", [*INSIDES, "python-multipart", *FACES])
def test_a_library_that_is_leaned_on_has_a_cap_above_the_tested_version(library: str) -> None:
    """The next minor version where its insides are used, the next major one where its face is."""
    pins = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
    tested = Version(pins[library])
    specifier = requirements()[library].specifier
    assert tested in specifier
    beyond = Version(f"{tested.major + 1}" if library in FACES else f"{tested.major}.{tested.minor + 1}")
    assert beyond not in specifier, (
        f"{library} {tested} was tested and {beyond} would be taken: cap it in pyproject.toml"
    )
