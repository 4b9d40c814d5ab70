"""Taking a tuned model away: a folder that other servers load, with all that is known of where it came from."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import warnings
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from ragtune._atomic import draft_folder_of
from ragtune._sqlite import Database
from ragtune.errors import BackendError, RecordError
from ragtune.local.models.card import model_card, system_prompt
from ragtune.local.models.exported import Exported, Origin
from ragtune.local.models.gguf_file import GGUF_TYPES, read_back, write_gguf
from ragtune.local.models.ollama import modelfile
from ragtune.local.models.registry import weights_sha256
from ragtune.local.store.migrations import MIGRATIONS
from ragtune.local.store.schema import JobRow, ModelRow, fields
from ragtune.modelling.base_model import (
    context_length,
    load_configuration,
    load_model,
    load_tokenizer,
    quiet,
    saved_dtype,
)
from ragtune.modelling.bases import BASES
from ragtune.modelling.encoding.chat_template import ChatTemplate

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from ragtune.local.models.registry import BaseModels
    from ragtune.modelling.hardware.formats import Dtype

__all__ = ["check_export", "export_model", "latest_model"]

# Where the Hugging Face cache keeps a model: the id and the commit stand in the path.
_SNAPSHOT = re.compile(r"models--(?P<id>[^/]+)/snapshots/(?P<commit>[0-9a-f]{40})$")

_GGUF = "model.gguf"


def export_model(
    name: str, target: Path, *, folder: Path, bases: BaseModels, merged: bool, converter: Sequence[str] = ()
) -> Exported:
    """Write a tuned model or checkpoint to a folder that must not be there yet.

    The backend's state is read alone, so that a running server is not disturbed.

    Args:
        name: name of the tuned model or checkpoint.
        target: the folder to make.
        folder: the backend's folder.
        bases: its base models.
        merged: one model with the adapter merged in, instead of the adapter alone.
        converter: the words that start llama.cpp's converter, which makes one file of the merged model, too.

    Raises:
        BackendError: there is no such model, the folder is there already, the disk is full, or the converter fails.
    """
    check_export(name, target, folder=folder, bases=bases)
    model, job, metrics = _look_up(name, folder)
    base_folder = bases.folder(model.base)
    origin, dtype = _origin(model.base, base_folder), saved_dtype(base_folder)
    try:
        commands = partial(_commands, name, base=origin.location, merged=merged, rank=_rank(model.adapter), dtype=dtype)
        exported = Exported(
            folder=target, merged=merged, base=origin.location, dtype=dtype, commands={}, system=system_prompt(job)
        )
        with draft_folder_of(target) as draft:
            if merged:
                _merge(base_folder, model.adapter, draft)
            else:
                _copy_adapter(model.adapter, origin, draft)
            _save_tokenizer(base_folder, draft)
            if converter:
                ollama = _write_gguf(draft, exported, converter=converter)
                commands, exported = partial(commands, ollama=ollama), replace(exported, gguf=target / _GGUF)
            exported = replace(exported, commands=commands(title=target.name, place=shlex.quote(str(target))))
            # The card goes with the folder wherever it is taken, so that its commands name no place.
            inside = replace(exported, commands=commands(title=target.name, place='"$PWD"'))
            card = model_card(name, exported=inside, origin=origin, job=job, metrics=metrics)
            (draft / "README.md").write_text(card, encoding="utf-8")
            _share(draft, like=draft / "README.md")
            # Last: a folder of this name is always a whole model.
            os.replace(draft, target)
    except OSError as error:
        message = f"{target}: the model cannot be written ({error}); free some space or choose another folder"
        raise BackendError(message) from error
    return exported


def check_export(name: str, target: Path, *, folder: Path, bases: BaseModels) -> None:
    """See what would stand against an export before anything is made.

    Raises:
        BackendError: there is no such model, the weights of its base are not here, or the folder is there already.
    """
    bases.folder(_look_up(name, folder)[0].base)
    if target.exists():
        raise BackendError(f"{target}: is there already; choose a folder that is not, so that nothing is overwritten")


def latest_model(folder: Path) -> str:
    """The name of the tuned model that was made last.

    Raises:
        BackendError: there is none, or no backend has kept its state in the folder.
    """
    with _state(folder) as database:
        names = [row["id"] for row in database.rows("SELECT id FROM model WHERE deleted_at IS NULL ORDER BY seq DESC")]
    made = next((name for name in names if ":ckpt-step-" not in name), None)
    if made is None:
        raise BackendError(f"{folder} has no tuned model yet; `ragtune tune` makes one")
    return str(made)


@contextmanager
def _state(folder: Path) -> Iterator[Database]:
    path = folder / "state.sqlite3"
    if not path.is_file():
        raise BackendError(f"{folder}: no backend has kept its state here; give the folder that `ragtune serve` uses")
    database = Database(path, migrations=MIGRATIONS, read_only=True, error=BackendError)
    try:
        yield database
    finally:
        database.close()


def _look_up(name: str, folder: Path) -> tuple[ModelRow, JobRow | None, dict[str, Any]]:
    with _state(folder) as database:
        rows = database.rows("SELECT * FROM model WHERE deleted_at IS NULL ORDER BY seq DESC")
        row = next((row for row in rows if row["id"] == name), None)
        if row is None:
            known = ", ".join(row["id"] for row in rows[:10]) or "none"
            raise BackendError(f"{name!r} is no tuned model of {folder}; there are: {known}")
        model = ModelRow(**fields(row, "id", "base", "job", "created_at"), adapter=folder / row["adapter"])
        made = database.row("SELECT * FROM job WHERE id = ?", (model.job,))
        # A checkpoint's own step, or the last one.
        step = re.search(r":ckpt-step-(\d+)$", name)
        told = database.row(
            "SELECT data FROM event WHERE job = ? AND type = 'metrics' AND step <= ? ORDER BY step DESC",
            # Beyond any step.
            (model.job, int(step[1]) if step else 2**62),
        )
    job = None if made is None else JobRow(**fields(made, *JobRow.__dataclass_fields__))
    return model, job, json.loads(told["data"]) if told is not None else {}


def _origin(name: str, folder: Path) -> Origin:
    known = BASES.get(name)
    licence = known.licence if known else None
    snapshot = _SNAPSHOT.search(folder.as_posix())
    if snapshot:
        hub_id = snapshot["id"].replace("--", "/")
        return Origin(
            name=name, location=hub_id, revision=snapshot["commit"], hub_id=hub_id, licence=licence, source=None
        )
    return Origin(
        name=name,
        location=str(folder),
        revision=f"sha256:{weights_sha256(folder)}",
        hub_id=known.hub_id if known else None,
        licence=licence,
        source=known.source if known else None,
    )


def _rank(adapter: Path) -> int:
    # vLLM takes adapters up to rank 16 unless it is told of a higher one.
    return int(json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))["r"])


def _share(folder: Path, *, like: Path) -> None:
    """Give every file the mode that new files have here: safetensors writes its own for the owner alone."""
    for path in folder.rglob("*"):
        if path.is_file():
            path.chmod(like.stat().st_mode)


def _copy_adapter(adapter: Path, origin: Origin, target: Path) -> None:
    shutil.copy(adapter / "adapter_model.safetensors", target)
    config = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
    # PEFT wrote the path on the machine that trained it, which leads nowhere on another one.
    config["base_model_name_or_path"] = origin.location
    config["revision"] = None if origin.revision.startswith("sha256:") else origin.revision
    (target / "adapter_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def _merge(base: Path, adapter: Path, target: Path) -> None:
    with quiet(), warnings.catch_warnings():
        import torch
        from peft import PeftModel

        # transformers 5 announces the renaming of one of its own attributes while peft still reads the old one.
        warnings.filterwarnings("ignore", ".*is_gradient_checkpointing", FutureWarning)
        # Added up in float32, so that the sum is rounded once, into the format that the base was saved in.
        model = load_model(base, dtype="float32")
        whole: Any = PeftModel.from_pretrained(model, str(adapter)).merge_and_unload()
        whole.to(getattr(torch, saved_dtype(base))).save_pretrained(target, safe_serialization=True)


def _save_tokenizer(base: Path, target: Path) -> None:
    tokenizer = load_tokenizer(base)
    if not isinstance(tokenizer.chat_template, dict):
        tokenizer.chat_template = ChatTemplate(tokenizer).source  # what it was trained and asked with here
    tokenizer.save_pretrained(target)


def _write_gguf(draft: Path, exported: Exported, *, converter: Sequence[str]) -> str:
    """One file of the merged model, with what Ollama needs beside it; gives why it does not take it, if so."""
    file = draft / _GGUF
    write_gguf(draft, file, converter=converter, dtype=exported.dtype, title=exported.folder.name)
    tokenizer = load_tokenizer(draft)
    begin = read_back(file, tokenizer=tokenizer)
    try:
        text = modelfile(
            ChatTemplate(tokenizer),
            model=_GGUF,
            context_tokens=context_length(load_configuration(draft).model),
            begin_token=begin,
            system=exported.system,
        )
    except (BackendError, RecordError) as error:
        return str(error)
    (draft / "Modelfile").write_text(text, encoding="utf-8")
    return ""


def _commands(
    name: str, *, place: str, title: str, base: str, merged: bool, rank: int, dtype: Dtype, ollama: str | None = None
) -> dict[str, str]:
    """How each server serves it; `ollama` is why that one cannot, empty where it can, None where no file was made."""
    # To Ollama a colon parts a model's name from its version.
    called, below, gguf = (shlex.quote(word) for word in (name.replace(":", "-"), base, f"{title}.gguf"))
    sglang, outtype = "python -m sglang.launch_server --model-path", GGUF_TYPES[dtype]
    if ollama is not None:
        create = f"ollama create {called} --file {place}/Modelfile\nollama run {called}"
        return {
            **_commands(name, place=place, title=title, base=base, merged=True, rank=rank, dtype=dtype),
            "llama.cpp": f"llama-server --model {place}/{_GGUF} --alias {called}",
            "Ollama": f"# no Modelfile: {ollama}" if ollama else create,
        }
    if merged:
        return {
            "vLLM": f"vllm serve {place} --served-model-name {called} --dtype {dtype}",
            "SGLang": f"{sglang} {place} --served-model-name {called} --dtype {dtype}",
            "llama.cpp": f"python convert_hf_to_gguf.py {place} --outfile {gguf} --outtype {outtype}\n"
            f"llama-server --model {gguf} --alias {called}",
            "transformers": f"transformers serve {place}  # python -m pip install 'transformers[serving]'",
        }
    adapter = f"{called}={place}"
    return {
        "vLLM": f"vllm serve {below} --dtype {dtype} --enable-lora --lora-modules {adapter} --max-lora-rank {rank}",
        "SGLang": f"{sglang} {below} --dtype {dtype} --enable-lora --lora-paths {adapter}",
        "llama.cpp": f"python convert_hf_to_gguf.py {below} --outfile base.gguf --outtype {outtype}\n"
        f"python convert_lora_to_gguf.py {place} --base {below} --outfile {gguf}\n"
        f"llama-server --model base.gguf --lora {gguf} --alias {called}",
        # It loads whole models: take a merged export for it.
    }
