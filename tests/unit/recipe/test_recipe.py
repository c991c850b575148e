"""A recipe is checked to the last key, and its errors say where, what is allowed, and what was meant."""

from pathlib import Path

import pytest

from repoloom.errors import InputError
from repoloom.recipe.model import EvaluateParams, Recipe, read_section
from repoloom.recipe.sections import DATA_PATH, section, steps
from repoloom.training.config import ExtendParams, InstructParams, TrainParams

ROOT = Path(__file__).parents[3]
SMALLEST = "name: small\ncrawl:\n  sources:\n    - {kind: folder, path: .}\n"


def load(tmp_path: Path, text: str) -> Recipe:
    path = tmp_path / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    return Recipe.load(path)


def error(tmp_path: Path, text: str) -> str:
    with pytest.raises(InputError) as caught:
        load(tmp_path, text)
    return str(caught.value).replace(str(tmp_path), "")


def test_the_smallest_recipe_is_a_name_and_a_source(tmp_path: Path) -> None:
    recipe = load(tmp_path, SMALLEST)
    assert recipe.name == "small"
    assert recipe.train is None
    assert set(recipe.section("filter")) == set(section("filter").model_fields)


def test_shared_parameters_reach_every_stage_that_has_them_unless_it_sets_its_own(tmp_path: Path) -> None:
    recipe = load(tmp_path, SMALLEST + "seed: 7\nsequence_length: 512\npack: {sequence_length: 1024}\n")
    assert recipe.section("split")["seed"] == 7
    assert recipe.section("tokenize")["sequence_length"] == 512
    assert recipe.section("pack")["sequence_length"] == 1024


def test_a_wrong_key_is_named_with_its_line_and_the_nearest_right_spelling(tmp_path: Path) -> None:
    message = error(tmp_path, SMALLEST + "tokenize:\n  vocab_sise: 4096\n")
    assert message.startswith("/recipe.yaml:6: tokenize.vocab_sise: there is no such key; did you mean 'vocab_size'?")
    assert "fim_rate" in message


def test_a_wrong_stage_is_named_with_the_nearest_right_spelling(tmp_path: Path) -> None:
    assert "/recipe.yaml:5: dedupe: there is no such key; did you mean 'dedup'?" in error(
        tmp_path, SMALLEST + "dedupe: {}\n"
    )


def test_a_wrong_value_says_what_is_allowed_and_what_it_got(tmp_path: Path) -> None:
    message = error(tmp_path, SMALLEST + "split:\n  fraction: 2\n")
    assert "/recipe.yaml:6: split.fraction: Input should be less than 1; got 2" in message


def test_a_wrong_choice_says_the_nearest_one(tmp_path: Path) -> None:
    message = error(tmp_path, SMALLEST + "tokenize:\n  fim_order: pms\n")
    assert "'psm'" in message
    assert "did you mean" in message


def test_a_weight_of_a_domain_that_no_file_can_have_is_refused_with_the_nearest(tmp_path: Path) -> None:
    mine = SMALLEST.replace("path: .", "path: ., domain: mine")
    load(tmp_path, mine + "mix: {weights: {mine: 0.9, english: 0.1}}\n")
    said = error(tmp_path, mine + "mix: {weights: {mine: 0.9, englsh: 0.1}}\n")
    assert said == "/recipe.yaml:5: mix: weights: 'englsh' is none of chinese, english, mine; did you mean 'english'?"
    assert "'code' is none of chinese, english, mine" in error(tmp_path, mine + "mix: {weights: {code: 1}}\n")


def test_a_wrong_source_is_found_by_its_line(tmp_path: Path) -> None:
    text = SMALLEST + "    - {kind: pypi, name: six, versoin: 1.16.0}\n"
    message = error(tmp_path, text)
    assert "/recipe.yaml:5: crawl.sources.1" in message
    assert "did you mean 'version'?" in message


def test_every_wrong_thing_is_said_at_once(tmp_path: Path) -> None:
    assert len(error(tmp_path, SMALLEST + "sed: 1\nsplit: {fraction: x}\n").splitlines()) == 2


@pytest.mark.parametrize("text", ["", "[]", "a: [", "\x00", "x" * 10, "&a [*a]", "[" * 5000])
def test_what_is_no_recipe_is_an_error_of_one_kind(tmp_path: Path, text: str) -> None:
    error(tmp_path, text)


@pytest.mark.parametrize("value", ["2024-13-45", "9" * 5000, "0x" + "f" * 5000, "-1", str(1 << 63)])
def test_a_seed_that_cannot_be_is_a_short_error(tmp_path: Path, value: str) -> None:
    message = error(tmp_path, SMALLEST + f"seed: {value}\n")
    assert message.startswith("/recipe.yaml")
    assert len(message) < 300


@pytest.mark.parametrize(
    "number", ["9" * 5000, "-0x" + "f" * 5000, "0b" + "1" * 20_000, ":".join(["59"] * 3000), "9" * 310]
)
@pytest.mark.parametrize("text", ["fim_order: {}", "vocab_size: {}", "fim_order: [{}]", "? {}\n: 1"])
def test_a_number_without_end_is_refused_on_one_line(tmp_path: Path, text: str, number: str) -> None:
    path = tmp_path / "tokenize.yaml"
    path.write_text("\n" + text.format(number))
    with pytest.raises(InputError, match=rf"^{path}:2: not YAML: a number of \d+ characters; at most 100 are allowed$"):
        read_section(path, "tokenize")


def test_aliases_are_refused_before_they_can_multiply(tmp_path: Path) -> None:
    bomb = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 60))
    assert error(tmp_path, bomb).startswith("/recipe.yaml:2: not YAML: aliases are not allowed")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "seed: 1\nsplit: {}\nseed: 2\n",
            "7: seed: this key stands on line 5 already; keep one of the two",
        ),
        (
            "tokenize:\n  vocab_size: 300\n  'vocab_size': 400\n",
            "7: tokenize.vocab_size: this key stands on line 6",
        ),
        ("split: {seed: 1, seed: 1}\n", "5: split.seed: this key stands on line 5"),
        ("crawl: {}\n", "5: crawl: this key stands on line 2"),
        ("pack:\n  - {a: 1}\n  - {a: 1,\n     a: 2}\n", "8: pack.1.a: this key stands on line 7"),
    ],
)
def test_a_key_that_stands_twice_is_named_with_both_lines(tmp_path: Path, text: str, said: str) -> None:
    assert error(tmp_path, SMALLEST + text).startswith(f"/recipe.yaml:{said}")


def test_the_recipes_that_come_with_repoloom_hold() -> None:
    found = sorted((ROOT / "pipelines/recipes").glob("*.yaml"))
    assert {path.stem for path in found} >= {"demo", "offline"}
    for path in found:
        assert Recipe.load(path).name == path.stem


def test_every_step_says_what_it_reads_before_it_is_written() -> None:
    tables: set[str] = set()
    for stage in DATA_PATH:
        for step in steps(stage):
            assert set(step.reads) <= tables, step.name
            tables |= set(step.writes)
            assert step.name.partition(".")[0] == stage


def test_every_parameter_says_what_it_is() -> None:
    sections = {"train": TrainParams, "extend": ExtendParams, "instruct": InstructParams, "evaluate": EvaluateParams}
    sections |= {stage: section(stage) for stage in DATA_PATH}
    silent = [
        f"{owner}.{name}"
        for owner, model in sections.items()
        for name, field in model.model_fields.items()
        if not field.description
    ]
    assert not silent


def test_a_wrong_size_of_model_is_at_its_line_with_those_there_are(tmp_path: Path) -> None:
    train = "train:\n  size: tiny1M\n  batch_size: 1\n  micro_batch_size: 1\n  steps: 1\n  warmup_steps: 0\n"
    message = error(tmp_path, SMALLEST + train + "  learning_rate: 1\n")
    assert message.startswith("/recipe.yaml:6: train.size: Input should be 'tiny-1M', 'tiny-5M', '1.3B'")
    assert message.endswith("; got 'tiny1M'; did you mean 'tiny-1M'?")


def test_a_wrong_combination_is_said_as_it_was_written(tmp_path: Path) -> None:
    train = "train: {size: tiny-1M, batch_size: 1, micro_batch_size: 1, learning_rate: 1}\n"
    assert error(tmp_path, SMALLEST + train) == "/recipe.yaml:5: train: give either steps or epochs"


TRAIN = "train: {size: tiny-1M, batch_size: 1, micro_batch_size: 1, steps: 9, warmup_steps: 0, learning_rate: 1}\n"


def test_the_later_stages_of_a_training_share_its_seed_and_not_its_length(tmp_path: Path) -> None:
    recipe = load(tmp_path, SMALLEST + TRAIN + "seed: 7\nextend: {}\ninstruct: {sources: [{path: a}], epochs: 1}\n")
    assert recipe.extend
    assert recipe.instruct
    assert (recipe.extend.seed, recipe.extend.sequence_length) == (7, 16384)
    assert (recipe.instruct.seed, recipe.instruct.sequence_length) == (7, None)
    assert load(tmp_path, SMALLEST + TRAIN).extend is None


@pytest.mark.parametrize(
    ("stage", "why"),
    [
        ("extend: {sequence_length: 4000}", "extend: sequence_length 4000 is less than that of `train`"),
        ("extend: {batch_size: 3, micro_batch_size: 2}", "extend: batch_size 3 is no multiple of micro_batch_size 2"),
        ("instruct: {sources: [], epochs: 1}", "instruct.sources: Tuple should have at least 1 item"),
        ("instruct: {sources: [{path: a}]}", "instruct: give either steps or epochs"),
        ("instruct: {sources: [{path: a}], steps: 100}", "instruct: warmup_steps 100 leave none of the 100 steps"),
        (
            "instruct: {sources: [{path: a}], epochs: 1, sequence_length: 4097}",
            "instruct: sequence_length 4097 is more than the 4096 that the model reads",
        ),
    ],
)
def test_a_stage_that_cannot_follow_is_refused_at_its_line(tmp_path: Path, stage: str, why: str) -> None:
    assert error(tmp_path, SMALLEST + TRAIN + stage + "\n").startswith(f"/recipe.yaml:6: {why}")


def test_a_stage_has_nothing_to_go_on_from_without_pretraining(tmp_path: Path) -> None:
    message = error(tmp_path, SMALLEST + "extend: {}\n")
    assert message == "/recipe.yaml:5: extend: there is no `train` section that it could go on from"


def test_a_wrong_kind_of_source_is_named_with_the_nearest_and_all_kinds(tmp_path: Path) -> None:
    message = error(tmp_path, "name: a\ncrawl:\n  sources:\n    - path: .\n      kind: foldr\n")
    said = "/recipe.yaml:5: crawl.sources.0.kind: there is no such kind; got 'foldr'; did you mean 'folder'? Allowed"
    assert message.startswith(said)
    assert error(tmp_path, "name: a\ncrawl:\n  sources:\n    - path: .\n").endswith(
        ":4: crawl.sources.0.kind: this key is missing"
    )


def test_what_is_allowed_is_a_sentence_of_its_own_where_nothing_is_near(tmp_path: Path) -> None:
    assert ": zzz: there is no such key. Allowed here: crawl, " in error(tmp_path, SMALLEST + "zzz: 1\n")
    message = error(tmp_path, "name: a\ncrawl:\n  sources:\n    - {kind: zzz}\n")
    assert ".kind: there is no such kind; got 'zzz'. Allowed here: pypi, " in message


def test_a_wrong_field_of_a_source_says_what_it_got(tmp_path: Path) -> None:
    message = error(tmp_path, "name: a\ncrawl:\n  sources:\n    - {kind: npm, name: x, version: ^1}\n")
    assert message.endswith(": this is not one version such as '4.17.21'; got '^1'")


def test_a_tab_is_named_with_file_and_line(tmp_path: Path) -> None:
    message = error(tmp_path, "name: a\ncrawl:\n\tsources: []\n")
    assert message.startswith("/recipe.yaml:3: not YAML: ")
    assert len(message.splitlines()) == 1


def test_a_recipe_that_is_not_there_is_told_in_words(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.yaml cannot be read: No such file or directory$"):
        Recipe.load(tmp_path / "none.yaml")


def test_a_section_of_its_own_is_checked_as_in_a_recipe(tmp_path: Path) -> None:
    path = tmp_path / "filter.yaml"
    path.write_text("max_line_length: 200\n\nalphabetik: 0.3\nalphabetic: 3\n")
    with pytest.raises(InputError) as caught:
        read_section(path, "filter")
    wrong, large = sorted(str(caught.value).replace(str(tmp_path), "").splitlines())
    assert wrong.startswith("/filter.yaml:3: alphabetik: there is no such key; did you mean 'alphabetic'? Allowed")
    assert large == "/filter.yaml:4: alphabetic: Input should be less than or equal to 1; got 3"
    path.write_text("max_line_length: 200\n")
    assert read_section(path, "filter") == {"max_line_length": 200}
