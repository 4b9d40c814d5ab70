"""Models taken away: what another program loads answers as the backend did."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import openai
import pytest
from typer.testing import CliRunner

from ragtune.cli import app
from ragtune.errors import BackendError
from ragtune.local import LocalBackend
from ragtune.modelling.bases import resolve_base
from tests.local.kit import create, upload, wait_for
from tests.local.test_training import FACTS, facts

pytestmark = [
    pytest.mark.train,
    pytest.mark.slow,
    # transformers 5 announces the renaming of one of its own attributes while peft still reads the old one
    pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning"),
]


# Formats differ in what they round: bfloat16 keeps 8 bits of a number, so a logit of 16 is off by up to 1/16. Training
# moves the same figures by 6 and more.
TOLERANCE = 0.1


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A folder with a tuned model, its name, and how likely it and its base find each token of each fact."""
    folder = tmp_path_factory.mktemp("trained") / "backend"
    settings = {"n_epochs": 30, "batch_size": 4, "learning_rate_multiplier": 5.0}
    method = {"type": "supervised", "supervised": {"hyperparameters": settings}}
    with LocalBackend(folder, threads=1) as backend, backend.client() as client:
        file = upload(client, facts())
        made = create(client, training_file=file, method=method, seed=1, metadata={"ragtune_fingerprint": "f00d"})
        job = wait_for(client, made.id, timeout_s=300)
        assert job.status == "succeeded", job.error
        name = job.fine_tuned_model
        checkpoint = client.fine_tuning.jobs.checkpoints.list(job.id).data[-1].fine_tuned_model_checkpoint
        likely = {model: said_by_the_backend(client, model) for model in (name, "tiny-random")}
    told = {"tuned": likely[name], "base": likely["tiny-random"]}
    return {"folder": folder, "name": name, "checkpoint": checkpoint, **told}


def conversations(tokenizer: Any) -> list[list[int]]:
    """The facts as question and answer, in tokens."""
    turns = [
        [{"role": "user", "content": ask}, {"role": "assistant", "content": answer}] for ask, answer in FACTS.items()
    ]
    return [tokenizer.apply_chat_template(pair, return_dict=True)["input_ids"] for pair in turns]


def said_by_the_backend(client: openai.OpenAI, model: str, *, base: str | Path = "tiny-random") -> list[float]:
    """The log-probabilities of the facts' tokens, all in a row."""
    from transformers import AutoTokenizer

    found: list[float] = []
    for tokens in conversations(AutoTokenizer.from_pretrained(resolve_base(base))):
        answer = client.completions.create(model=model, prompt=tokens, echo=True, logprobs=1, max_tokens=0)
        found += answer.choices[0].logprobs.token_logprobs[1:]  # type: ignore[index]
    return found


def said_by(model: Any, tokenizer: Any) -> list[float]:
    """The same from a model that another program has loaded."""
    import torch

    found: list[float] = []
    for tokens in conversations(tokenizer):
        ids = torch.tensor([tokens])
        with torch.inference_mode():
            likely = model(ids).logits.float().log_softmax(-1)
        found += likely[0, :-1].gather(1, ids[0, 1:, None])[:, 0].tolist()
    return found


def farthest(left: list[float], right: list[float]) -> float:
    return max(abs(a - b) for a, b in zip(left, right, strict=True))


@pytest.mark.parametrize("dtype", [None, "float32", "bfloat16"])
def test_the_adapter_and_the_merged_model_answer_as_the_backend_did(
    trained: dict[str, Any], tmp_path: Path, dtype: str | None
) -> None:
    """Loaded by peft and by transformers alone, from folders that hold safetensors and no pickles.

    In the format that the export names, and in others. Letters are not compared: where two next tokens are about
    equally likely, the format decides between them.
    """
    from peft import AutoPeftModelForCausalLM
    from transformers import AutoModelForCausalLM, AutoTokenizer

    backend = LocalBackend(trained["folder"])
    adapter = backend.export(trained["name"], tmp_path / "adapter")
    merged = backend.export(trained["name"], tmp_path / "merged", merged=True)
    assert farthest(trained["tuned"], trained["base"]) > 20 * TOLERANCE
    for loader, folder, told in (
        (AutoPeftModelForCausalLM, adapter.folder, adapter.dtype),
        (AutoModelForCausalLM, merged.folder, "auto"),
    ):
        model = loader.from_pretrained(folder, dtype=dtype or told)
        assert farthest(said_by(model, AutoTokenizer.from_pretrained(folder)), trained["tuned"]) < TOLERANCE
        assert list(folder.glob("*.safetensors"))
        assert not [path for path in folder.iterdir() if path.suffix in {".bin", ".pt", ".pkl"}]
        assert (folder / "chat_template.jinja").exists()
    config = json.loads((adapter.folder / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == adapter.base == str(resolve_base("tiny-random"))
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_the_card_tells_base_data_figures_and_commands(trained: dict[str, Any], tmp_path: Path) -> None:
    made = LocalBackend(trained["folder"]).export(trained["name"], tmp_path / "model")
    card = (made.folder / "README.md").read_text()
    for fact in (
        "library_name: peft",
        "license: apache-2.0",
        "| data set's fingerprint | f00d |",
        "| n_epochs | 30 |",
        "| seed | 1 |",
        "| train_loss at step 90 | ",
        f"vllm serve {made.base} --dtype float32 --enable-lora --lora-modules",
        '="$PWD" --max-lora-rank 16',
        "copy that folder too",
        "python -m sglang.launch_server",
        "convert_lora_to_gguf.py",
        "`transformers serve` loads whole models",
    ):
        assert fact in card
    assert str(made.folder) not in card  # it holds wherever the folder is taken
    assert "base_model" not in card.partition("\n---\n")[0]  # a base of this machine has no id on the Hub
    assert made.system is None
    assert "System prompt" not in card
    weights = sorted(resolve_base("tiny-random").glob("*.safetensors"))
    digests = b"".join(hashlib.sha256(path.read_bytes()).digest() for path in weights)
    assert f"| revision | sha256:{hashlib.sha256(digests).hexdigest()} |" in card


@pytest.mark.parametrize("merged", [False, True])
def test_the_cards_python_asks_the_model_wherever_its_folder_is(
    trained: dict[str, Any],
    tmp_path: Path,
    merged: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    made = LocalBackend(trained["folder"]).export(trained["name"], tmp_path / "model", merged=merged)
    moved = made.folder.rename(tmp_path / "elsewhere")
    found = re.search(r"```python\n(.*?)```", (moved / "README.md").read_text(), re.DOTALL)
    assert found is not None
    monkeypatch.chdir(moved)
    names: dict[str, Any] = {}
    exec(found[1].replace('"..."', json.dumps(next(iter(FACTS)))).replace("=100", "=6"), names)
    assert capsys.readouterr().out.strip()
    assert farthest(said_by(names["model"], names["tokenizer"]), trained["tuned"]) < TOLERANCE


def test_every_file_can_be_read_by_whom_the_umask_lets(trained: dict[str, Any], tmp_path: Path) -> None:
    """A server in a container is often another user."""
    for merged in (False, True):
        made = LocalBackend(trained["folder"]).export(trained["name"], tmp_path / str(merged), merged=merged)
        modes = {path.name: path.stat().st_mode for path in made.folder.iterdir()}
        assert set(modes.values()) == {modes["README.md"]}, modes


def test_the_system_prompt_goes_along(trained: dict[str, Any], tmp_path: Path) -> None:
    text = 'Answer "briefly".\n```\nIn one word 😀.'
    database = sqlite3.connect(trained["folder"] / "state.sqlite3")

    def export(metadata: dict[str, str]) -> tuple[str, str]:
        with database:
            database.execute("UPDATE job SET metadata = ?", (json.dumps(metadata),))
        target = tmp_path / "model"
        shutil.rmtree(target, ignore_errors=True)
        words = ["export", trained["name"], str(target), "--folder", str(trained["folder"])]
        return CliRunner().invoke(app, words).output, (target / "README.md").read_text()

    (before,) = database.execute("SELECT metadata FROM job").fetchone()
    said, card = export({"ragtune_system": text})
    assert f"system prompt; send it with each question:\n{text}\n" in said
    assert '    Answer "briefly".\n    ```\n    In one word 😀.\n' in card
    assert (
        f'messages = [{{"role": "system", "content": {json.dumps(text, ensure_ascii=False)}}}, {{"role": "user"' in card
    )
    assert "began with one of 900 characters" in export({"ragtune_system_chars": "900"})[1]
    with database:
        database.execute("UPDATE job SET metadata = ?", (before,))
    database.close()


def test_the_command_exports_a_checkpoint_while_the_server_runs(trained: dict[str, Any], tmp_path: Path) -> None:
    with LocalBackend(trained["folder"]):
        words = ["export", trained["checkpoint"], str(tmp_path / "out"), "--folder", str(trained["folder"]), "--merged"]
        done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert f"transformers serve {tmp_path / 'out'}" in done.output
    assert "| train_loss at step 84 | " in (tmp_path / "out" / "README.md").read_text()


def test_what_cannot_be_exported_says_why_and_leaves_nothing(trained: dict[str, Any], tmp_path: Path) -> None:
    backend = LocalBackend(trained["folder"])
    with pytest.raises(BackendError, match=f"'ft:none' is no tuned model.*{re.escape(trained['name'])}"):
        backend.export("ft:none", tmp_path / "out")
    (tmp_path / "there").mkdir()
    with pytest.raises(BackendError, match="is there already"):
        backend.export(trained["name"], tmp_path / "there")
    with pytest.raises(BackendError, match="no backend has kept its state here"):
        LocalBackend(tmp_path / "nowhere").export("ft:x", tmp_path / "out")
    (tmp_path / "file").write_text("")
    with pytest.raises(BackendError, match="cannot be written"):
        backend.export(trained["name"], tmp_path / "file" / "out")
    assert {path.name for path in tmp_path.iterdir()} == {"there", "file"}


def test_a_launcher_starts_the_training(tmp_path: Path) -> None:
    """The words stand in place of the interpreter; two processes train, one model comes out."""
    import sys

    launcher = f"{sys.executable} -m torch.distributed.run --standalone --nproc_per_node 2"
    with LocalBackend(tmp_path, threads=1, launcher=launcher) as backend, backend.client() as client:
        job = wait_for(client, create(client, training_file=upload(client, facts()), seed=1).id, timeout_s=300)
        assert job.status == "succeeded", job.error
    with pytest.raises(BackendError, match="launcher: it is empty"):
        LocalBackend(tmp_path, launcher="")
