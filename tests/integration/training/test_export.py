"""Plain transformers opens what we export, and computes what we compute."""

import json
import os
import stat
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from repoloom.errors import InputError
from repoloom.inference.complete import Completer
from repoloom.inference.text import TextCodec
from repoloom.prompts import chat, fim
from repoloom.prompts.chat import Message, Role
from repoloom.prompts.special_tokens import BOS, EOS, EOT, FIM_HOLE, PAD
from repoloom.stages.tokenize.encoder import Encoder
from repoloom.stages.tokenize.vocabulary import train as train_tokenizer
from repoloom.training.attention import packed_mask
from repoloom.training.chat_data import encode
from repoloom.training.export import export, load_architecture
from repoloom.training.loop import new_model
from repoloom.training.model import Llama
from repoloom.training.sizes import Architecture

TEXT = "def add(a, b):\n    return a + b\n"


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer(iter([TEXT]), 280)


CONVERSATIONS = [
    [Message(Role.USER, "add\n\n  two "), Message(Role.ASSISTANT, "a + b")],
    [
        Message(Role.USER, " é漢\r\n\t"),
        Message(Role.ASSISTANT, "  x\n"),
        Message(Role.USER, "1"),
        Message(Role.ASSISTANT, "2"),
    ],
    [Message(Role.SYSTEM, "{{ messages }}"), Message(Role.USER, "'\"\\"), Message(Role.ASSISTANT, "{% raw %}")],
]


def shape(key_value_heads: int, factor: float, tied: bool) -> Architecture:
    return Architecture(
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=key_value_heads,
        vocab_size=512,
        max_position_embeddings=128,
        rope_linear_factor=factor,
        tie_word_embeddings=tied,
        initializer_range=0.2,
    )


@pytest.mark.parametrize(("key_value_heads", "factor", "tied"), [(4, 4.0, False), (1, 1.0, True), (2, 1.0, False)])
def test_transformers_finds_the_same_logits(
    tmp_path: Path, tokenizer: Tokenizer, key_value_heads: int, factor: float, tied: bool
) -> None:
    ours = new_model(shape(key_value_heads, factor, tied), seed=1)
    export(ours, tokenizer.to_str().encode(), tmp_path / "model")
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    tokens = torch.randint(280, (2, 100), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        hidden = ours(tokens, torch.arange(100).expand(2, 100), packed_mask(torch.ones(2, 100)))
        difference = (ours.logits(hidden) - theirs(tokens).logits).abs().max().item()
    assert difference < 1e-4
    assert load_architecture(tmp_path / "model") == ours.architecture


def test_transformers_finds_the_same_logits_with_the_context_extended(tmp_path: Path, tokenizer: Tokenizer) -> None:
    before = new_model(shape(2, 1.0, True), seed=1)
    longer = before.architecture.extended(256, 50_000.0, 4.0)
    ours = Llama.of(longer, before.state_dict())
    export(ours, tokenizer.to_str().encode(), tmp_path / "model")
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    assert theirs.config.max_position_embeddings == 256
    assert theirs.config.rope_parameters == {
        "rope_theta": 50_000.0,
        "rope_type": "linear",
        "type": "linear",
        "factor": 4.0,
    }
    tokens = torch.randint(280, (1, 250), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found = [
            model.logits(model(tokens, torch.arange(250)[None], packed_mask(torch.ones(1, 250))))
            for model in (ours, before)
        ]
        wanted = theirs(tokens).logits
    assert (found[0] - wanted).abs().max().item() < 1e-4
    assert (found[1] - wanted).abs().max().item() > 1e-2  # they are not those of the shorter context


@pytest.mark.parametrize("conversation", CONVERSATIONS)
def test_the_chat_template_of_transformers_gives_the_tokens_of_training(
    tmp_path: Path, tokenizer: Tokenizer, conversation: list[Message]
) -> None:
    system = 'You "answer"\nin \\n 漢 {{ 1 }}.'
    content = tokenizer.to_str().encode()
    model = new_model(shape(4, 1.0, True), seed=0)
    export(model, content, tmp_path / "model", chat_template=chat.template(system))
    theirs = AutoTokenizer.from_pretrained(tmp_path / "model")
    messages = [{"role": role.value, "content": said} for role, said in conversation]
    ours = encode(conversation, system, Encoder(content)).ids.tolist()
    assert theirs.apply_chat_template(messages, return_dict=False) == ours
    asked = theirs.apply_chat_template(messages[:-1], add_generation_prompt=True, return_dict=False)
    assert asked == ours[: len(asked)]
    rest = theirs.decode(ours[len(asked) :])
    assert rest == f"{conversation[-1].content}\n{EOT}\n"
    ends = GenerationConfig.from_pretrained(tmp_path / "model").eos_token_id
    assert ends == [tokenizer.token_to_id(EOT), tokenizer.token_to_id(EOS)]


def test_transformers_reads_the_tokenizer_with_its_special_tokens(tmp_path: Path, tokenizer: Tokenizer) -> None:
    export(new_model(shape(4, 1.0, True), seed=0), tokenizer.to_str().encode(), tmp_path / "model")
    theirs = AutoTokenizer.from_pretrained(tmp_path / "model")
    assert theirs.encode(TEXT, add_special_tokens=False) == tokenizer.encode(TEXT).ids
    assert (theirs.bos_token, theirs.eos_token, theirs.pad_token) == (BOS, EOS, PAD)
    assert theirs.encode(FIM_HOLE, add_special_tokens=False) == [tokenizer.token_to_id(FIM_HOLE)]
    assert theirs.decode(theirs.encode(TEXT)) == TEXT


@pytest.mark.parametrize("order", fim.Order)
def test_a_prompt_written_as_one_string_is_the_prompt_of_training(
    tmp_path: Path, tokenizer: Tokenizer, order: fim.Order
) -> None:
    export(new_model(shape(4, 1.0, True), seed=0), tokenizer.to_str().encode(), tmp_path / "model", fim_order=order)
    prompt = fim.prompt("def add(a, b):\n    ", "\n\n", order)
    ours = TextCodec(tokenizer.to_str().encode()).encode(prompt)
    assert AutoTokenizer.from_pretrained(tmp_path / "model").encode("".join(prompt)) == ours


def test_equal_models_export_to_equal_bytes_and_load_again(tmp_path: Path, tokenizer: Tokenizer) -> None:
    for name in ("one", "other"):
        export(new_model(shape(2, 1.0, True), seed=3), tokenizer.to_str().encode(), tmp_path / name)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "other" / path.name).read_bytes()
    completer = Completer.load(tmp_path / "one")
    assert completer.complete("def ", "\n") == Completer.load(tmp_path / "other").complete("def ", "\n")


def test_every_exported_file_has_the_mode_that_the_umask_gives(tmp_path: Path, tokenizer: Tokenizer) -> None:
    before = os.umask(0o027)
    try:
        export(new_model(shape(4, 1.0, True), seed=0), tokenizer.to_str().encode(), tmp_path / "model")
    finally:
        os.umask(before)
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "model").iterdir()} == {0o640}


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path, tokenizer: Tokenizer) -> None:
    (tmp_path / "note").write_text("mine")
    with pytest.raises(InputError, match="is not empty"):
        export(new_model(shape(4, 1.0, True), seed=0), tokenizer.to_str().encode(), tmp_path)


def test_what_is_no_exported_model_is_refused_by_name(tmp_path: Path, tokenizer: Tokenizer) -> None:
    with pytest.raises(InputError, match="holds no exported model"):
        Completer.load(tmp_path)
    export(new_model(shape(4, 1.0, True), seed=0), tokenizer.to_str().encode(), tmp_path / "model")
    with pytest.raises(InputError, match=f"did you mean {tmp_path}/model"):
        Completer.load(tmp_path)
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    (tmp_path / "model" / "config.json").write_text(json.dumps({**config, "hidden_size": 128}))
    with pytest.raises(InputError, match="no model that can be loaded"):
        Completer.load(tmp_path / "model")
    (tmp_path / "model" / "config.json").write_text(json.dumps({**config, "model_type": "gpt2"}))
    with pytest.raises(InputError, match="only llama"):
        Completer.load(tmp_path / "model")
