"""One file for llama.cpp and Ollama: what its converter can and cannot do, and whether it asks as in training."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ragtune.cli import app
from ragtune.errors import BackendError
from ragtune.local import LocalBackend
from ragtune.local.models.gguf_file import find_converter, read_back, write_gguf
from ragtune.local.models.ollama import TurnTexts, modelfile
from ragtune.modelling.base_model import load_tokenizer
from ragtune.modelling.bases import resolve_base
from ragtune.modelling.encoding.chat_template import ChatTemplate
from tests.local.kit import create, upload, wait_for
from tests.local.test_export import TOLERANCE, farthest, said_by, said_by_the_backend
from tests.train.test_real_templates import TEXT, tokenizer_of

# What it writes is a real file, made in the way of llama.cpp's converter from what stands in the model's folder.
CONVERTER = """
import json, sys
from pathlib import Path

folder, target = Path(sys.argv[1]), sys.argv[sys.argv.index("--outfile") + 1]
template = (folder / "chat_template.jinja").read_text(encoding="utf-8")
eos = json.loads((folder / "config.json").read_text(encoding="utf-8"))["eos_token_id"]
{changed}
from gguf import GGUFWriter

writer = GGUFWriter(target, "llama")
writer.add_tokenizer_model("gpt2")
writer.add_chat_template(template)
writer.add_eos_token_id(eos)
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()
"""
# The language of Ollama's templates, with the values that it gives them.
GO = """
package main

import ("encoding/json"; "os"; "strings"; "text/template")

type message struct { Role, Content string }

func main() {
	var given struct { Template string; Conversations [][]*message }
	if err := json.NewDecoder(os.Stdin).Decode(&given); err != nil { panic(err) }
	made := template.Must(template.New("").Option("missingkey=zero").Parse(given.Template))
	var all []string
	for _, messages := range given.Conversations {
		var system []string
		for _, m := range messages { if m.Role == "system" { system = append(system, m.Content) } }
		var text strings.Builder
		values := map[string]any{"System": strings.Join(system, ""), "Messages": messages, "Response": ""}
		if err := made.Execute(&text, values); err != nil { panic(err) }
		all = append(all, text.String())
	}
	json.NewEncoder(os.Stdout).Encode(all)
}
"""
CONVERSATIONS: list[list[Any]] = [
    [{"role": "user", "content": "Who?"}],
    [{"role": "system", "content": 'Be "brief".\nAlways.'}, {"role": "user", "content": "Grüße, {{ .Who }}?"}],
    [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Who?"},
        {"role": "assistant", "content": "Ada."},
        {"role": "user", "content": "And where?"},
    ],
]


def stand_in(folder: Path, changed: str = "") -> list[str]:
    """The words that start a converter of ours; `changed` is what it does otherwise."""
    path = folder / "convert_hf_to_gguf.py"
    path.write_text(CONVERTER.replace("{changed}", changed), encoding="utf-8")
    return find_converter(path)


def llama_cpp() -> Path:
    """llama.cpp's own converter."""
    given = os.environ.get("RAGTUNE_GGUF_CONVERTER") or shutil.which("convert_hf_to_gguf.py")
    if not given or not Path(given).exists():
        pytest.skip("needs llama.cpp's convert_hf_to_gguf.py: on the PATH, or named by RAGTUNE_GGUF_CONVERTER")
    return Path(given)


@pytest.fixture(scope="module")
def in_go(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], list[str]]:
    """Renders the conversations by a template of Go."""
    if shutil.which("go") is None:
        pytest.skip("needs Go, in whose template language Ollama's are")
    folder = tmp_path_factory.mktemp("go")
    (folder / "main.go").write_text(GO, encoding="utf-8")
    subprocess.run(["go", "build", "-o", "render", "main.go"], cwd=folder, check=True)

    def render(template: str) -> list[str]:
        given = json.dumps({"Template": template, "Conversations": CONVERSATIONS})
        done = subprocess.run([folder / "render"], input=given, capture_output=True, encoding="utf-8", check=True)
        return list(json.loads(done.stdout))

    return render


def test_a_file_is_made_and_read_back(tmp_path: Path) -> None:
    base = resolve_base("tiny-random")
    write_gguf(base, tmp_path / "a.gguf", converter=stand_in(tmp_path), dtype="float32", title="A")
    assert read_back(tmp_path / "a.gguf", tokenizer=load_tokenizer(base)) == ""


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ('raise NotImplementedError("BPE pre-tokenizer was not recognized")', "NotImplementedError: BPE pre-tokenizer"),
        ("sys.exit(3)", r"it said nothing \(exit code 3\)"),
        ("sys.exit(0)", "it said nothing"),
        ('open(target, "wb").write(b"GGUF half of a"); sys.exit("disk full")', "disk full"),
    ],
)
def test_what_the_converter_cannot_do_is_told_in_its_words(tmp_path: Path, changed: str, told: str) -> None:
    with pytest.raises(BackendError, match=f"cannot make a GGUF file of this model: {told}"):
        write_gguf(
            resolve_base("tiny-random"),
            tmp_path / "a.gguf",
            converter=stand_in(tmp_path, changed),
            dtype="float32",
            title="A",
        )


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ('template = "{{ messages }}"', r"wrote '\{\{ messages \}\}' as tokenizer.chat_template"),
        ("eos = 0", "wrote 0 as tokenizer.ggml.eos_token_id"),
        ('open(target, "wb").write(b"no such thing"); sys.exit(0)', "what the converter wrote cannot be read"),
    ],
)
def test_a_file_that_asks_or_ends_in_another_way_is_refused(tmp_path: Path, changed: str, told: str) -> None:
    base = resolve_base("tiny-random")
    write_gguf(base, tmp_path / "a.gguf", converter=stand_in(tmp_path, changed), dtype="float32", title="A")
    with pytest.raises(BackendError, match=told):
        read_back(tmp_path / "a.gguf", tokenizer=load_tokenizer(base))


def test_the_converter_is_found_or_said_to_be_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BackendError, match=r"convert_hf_to_gguf\.py is not on the PATH; it comes with llama\.cpp"):
        find_converter()
    with pytest.raises(BackendError, match=r"is not there.*--converter"):
        find_converter(tmp_path / "nowhere.py")
    words = stand_in(tmp_path)
    assert words == find_converter(tmp_path) == [sys.executable, str(tmp_path / "convert_hf_to_gguf.py")]
    with pytest.raises(BackendError, match="it is for gguf=True"):
        LocalBackend(tmp_path / "backend").export("ft:x", tmp_path / "out", converter=tmp_path)


def exported(name: str) -> ChatTemplate:
    """A family's chat template as it is exported."""
    tokenizer = tokenizer_of(name)
    tokenizer.chat_template = ChatTemplate(tokenizer).source
    return ChatTemplate(tokenizer)


@pytest.mark.parametrize("name", TEXT)
def test_what_a_template_writes_around_each_message_is_found(name: str) -> None:
    """That of 22 families of models, as TRL carries them."""
    template = exported(name)
    turns = TurnTexts.of(template)
    for messages in CONVERSATIONS:
        assert turns.render(messages) == template.render(messages, None, open_turn=True)


@pytest.mark.parametrize("name", TEXT)
def test_ollamas_template_writes_what_the_bases_own_does(name: str, in_go: Callable[[str], list[str]]) -> None:
    """Rendered by Go itself; the begin token is left out where Ollama's engine writes it."""
    template = exported(name)
    expected = [template.render(messages, None, open_turn=True) for messages in CONVERSATIONS]
    turns = TurnTexts.of(template)
    assert in_go(turns.in_go()) == expected
    begin = "<begin>" if expected[0].startswith("<begin>") else ""
    assert in_go(turns.in_go(without="<begin>")) == [text.removeprefix(begin) for text in expected]


def test_a_template_that_looks_at_more_than_roles_gets_no_modelfile() -> None:
    tokenizer = tokenizer_of("llama3")
    tokenizer.chat_template = "{% for m in messages %}{{ loop.index }}. {{ m.role }}: {{ m.content }}\n{% endfor %}"
    with pytest.raises(BackendError, match="depends on more than the message's role"):
        TurnTexts.of(ChatTemplate(tokenizer))


def test_a_modelfile_says_prompt_end_and_sampling() -> None:
    template = ChatTemplate(load_tokenizer(resolve_base("tiny-random")))
    told = {"model": "m.gguf", "context_tokens": 256, "begin_token": ""}
    text = modelfile(template, **told, system='Answer "briefly".\nAlways.')  # type: ignore[arg-type]
    assert text.startswith("FROM ./m.gguf\n")
    assert '\nSYSTEM """Answer "briefly".\nAlways."""\nPARAMETER stop "<|im_end|>"\nPARAMETER temperature 1\n' in text
    assert text.endswith("PARAMETER repeat_penalty 1\nPARAMETER num_ctx 256\n")
    assert "SYSTEM" not in modelfile(template, **told, system=None)  # type: ignore[arg-type]
    for lost in ('Say """.', '"', "A no-break\u00a0space."):
        with pytest.raises(BackendError, match="its system prompt has"):
            modelfile(template, **told, system=lost)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base that is small, and has a tokenizer that llama.cpp knows."""
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("small") / "base"
    shutil.copytree(resolve_base("smollm2-135m-instruct"), folder, ignore=shutil.ignore_patterns("*.safetensors"))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        tie_word_embeddings=True,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.mark.train
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning")
def test_a_tuned_model_is_one_file_that_answers_as_the_backend(small: Path, tmp_path: Path) -> None:
    """Made by llama.cpp's converter, loaded by transformers from that file alone."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    converter = llama_cpp()
    with LocalBackend(tmp_path / "backend", bases={"small": small}, threads=1) as backend, backend.client() as client:
        rows = [{"messages": [*CONVERSATIONS[1], {"role": "assistant", "content": "Ada."}]}] * 12
        file = upload(client, "".join(json.dumps(row) + "\n" for row in rows).encode())
        metadata = {"ragtune_system": CONVERSATIONS[1][0]["content"]}
        job = wait_for(client, create(client, model="small", training_file=file, metadata=metadata).id, "succeeded")
        told = said_by_the_backend(client, job.fine_tuned_model, base=small)
        words = ["export", job.fine_tuned_model, str(tmp_path / "out"), "--folder", str(tmp_path / "backend")]
        words += ["--base", f"small={small}", "--gguf", "--converter", str(converter)]
        done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert f"llama-server --model {tmp_path / 'out'}/model.gguf --alias" in done.output
    assert f"--file {tmp_path / 'out'}/Modelfile\nollama run" in done.output
    folder = tmp_path / "out"
    assert f'SYSTEM """{metadata["ragtune_system"]}"""' in (folder / "Modelfile").read_text(encoding="utf-8")
    assert list(folder.glob("*.safetensors"))
    (tmp_path / "alone").mkdir()
    alone = shutil.move(folder / "model.gguf", tmp_path / "alone")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "alone", gguf_file=Path(alone).name)
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "alone", gguf_file=Path(alone).name)
    assert farthest(said_by(model, tokenizer), told) < TOLERANCE


@pytest.mark.train
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning")
def test_an_export_that_ends_half_way_leaves_nothing(tmp_path: Path) -> None:
    """llama.cpp knows no such tokenizer as that of the tiny base, and says so."""
    converter = llama_cpp()
    with LocalBackend(tmp_path / "backend", threads=1) as backend, backend.client() as client:
        name = wait_for(client, create(client).id, "succeeded").fine_tuned_model
        with pytest.raises(BackendError, match=re.escape("BPE pre-tokenizer was not recognized")):
            backend.export(name, tmp_path / "out", gguf=True, converter=converter)
    assert [path.name for path in tmp_path.iterdir()] == ["backend"]
