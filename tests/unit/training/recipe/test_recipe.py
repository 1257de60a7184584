"""Recipes are read strictly: what would be ignored or cannot work is refused."""

from pathlib import Path

import pytest

from sealgate.reasons import Reason, SealgateError
from tests.support.builders.training import recipes
from training.recipe.recipe import Recipe

SHARED = "[devices]\nprocesses = 2\n"
SEARCH, SMALL = "[search]\ntrials = 2\n", "megabytes = 1.0\n"


def refusal(path: Path) -> SealgateError:
    with pytest.raises(SealgateError) as refused:
        Recipe.read(path)
    assert refused.value.reason is Reason.RECIPE_INVALID
    return refused.value


def of_a_table(path: Path) -> Path:
    table = path.read_text().replace('source = "digits"', 'source = "table"\npath = "rows.csv"')
    path.write_text(table)
    return path


def test_a_recipe_is_read(tmp_path: Path) -> None:
    recipe = Recipe.read(recipes.digits(tmp_path))
    assert [step.kind for step in recipe.steps] == ["distil", "quantize"]
    assert (recipe.run.seed, recipe.data.labels, recipe.teacher.kind) == (3, 300, "boosting")


def test_paths_begin_at_the_recipes_folder(tmp_path: Path) -> None:
    assert Recipe.read(recipes.texts(tmp_path)).data.path == tmp_path / "texts.jsonl"


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ((recipes.PERCEPTRON, recipes.TRAIN, "surprise = 1"), "no setting 'surprise'"),
        ((recipes.PERCEPTRON, recipes.TRAIN, "[surprise]"), "unknown section 'surprise'"),
        ((recipes.PERCEPTRON, recipes.TRAIN, "temperature = 3.0"), "no setting 'temperature'"),
        ((recipes.PERCEPTRON, recipes.TRAIN, "bits = 0"), "must be positive"),
        ((recipes.PERCEPTRON, recipes.TRAIN, 'batch = "64"'), "must be of type int"),
        ((recipes.PERCEPTRON, '[[steps]]\nkind = "dance"'), "is one of"),
        ((recipes.PERCEPTRON,), "needs [[steps]]"),
        ((recipes.PERCEPTRON, recipes.DISTIL), "needs a [teacher]"),
        ((recipes.BOOSTED, recipes.PERCEPTRON, recipes.TRAIN), "needs a step distil"),
        ((recipes.PERCEPTRON, recipes.QUANTIZE), "after another"),
        ((recipes.PERCEPTRON, recipes.QUANTIZE, recipes.TRAIN), "is the last"),
        ((recipes.PERCEPTRON, recipes.TRAIN, recipes.PRIVATE), "must be the only one"),
        (('[student]\nkind = "encoder"', recipes.TRAIN), "texts are for an encoder"),
        ((f"{recipes.PERCEPTRON}strides = true", recipes.TRAIN), "only a convolution"),
        ((recipes.PERCEPTRON, recipes.TRAIN, "attack = 0.2"), "no setting 'attack'"),
        ((recipes.PERCEPTRON, recipes.HARDEN, "attack = 1.5"), "at most 1"),
        ((recipes.PERCEPTRON, recipes.HARDEN, "bits = 7\ntemperature = 3.0"), "no setting"),
        ((recipes.PERCEPTRON, recipes.HARDEN, SHARED), "only the steps"),
        ((recipes.PERCEPTRON, recipes.CERTIFY, "plain = 1.5"), "at most 1"),
        ((recipes.PERCEPTRON, recipes.CERTIFY, "attack_steps = 3"), "no setting 'attack_steps'"),
        ((recipes.PERCEPTRON, recipes.CERTIFY, SHARED), "only the steps"),
        (('[teacher]\nkind = "graph"', recipes.PERCEPTRON, recipes.DISTIL), "can have a path"),
        ((recipes.TRAIN,), "[student]"),
        (('[student]\nkind = "perceptron"\nfirst_layers = 1', recipes.TRAIN), "at a path"),
        ((recipes.PERCEPTRON, recipes.TRAIN, "[search]\nmegabytes = 1.0"), "needs trials"),
        ((recipes.PERCEPTRON, recipes.TRAIN, f"{SEARCH}width = [8, 16]"), "needs a budget"),
        ((recipes.PERCEPTRON, recipes.TRAIN, f"{SEARCH}{SMALL}width = [8, 8]"), "to choose from"),
        ((recipes.PERCEPTRON, recipes.TRAIN, f"{SEARCH}{SMALL}width = [8, 0]"), "positive whole"),
        ((recipes.PERCEPTRON, recipes.TRAIN, f"{SEARCH}{SMALL}heads = [1, 2]"), "has heads"),
        ((recipes.PERCEPTRON, recipes.TRAIN, f"{SEARCH}{SMALL}vocabulary = [8, 9]"), "vocabulary"),
        (
            (recipes.PERCEPTRON, recipes.PRIVATE, f"{SEARCH}{SMALL}width = [8, 16]"),
            "be combined",
        ),
        (('[student]\nkind = "decoder"', recipes.TRAIN), "prose is for a decoder"),
        ((recipes.PERCEPTRON, recipes.TRAIN, f'{SHARED}split = "rows"'), "is one of data, tensor"),
        ((recipes.PERCEPTRON, recipes.PRIVATE, SHARED), "only the steps"),
        (
            (recipes.PERCEPTRON, recipes.TRAIN, recipes.QUANTIZE, SHARED),
            "only the steps",
        ),
        ((recipes.PERCEPTRON, recipes.TRAIN, '[devices]\nsplit = "tensor"'), "needs processes"),
        ((recipes.PERCEPTRON, recipes.TRAIN, "[devices]\nteacher_megabytes = 9"), "be spread"),
        ((recipes.PERCEPTRON, recipes.TRAIN, '[devices]\ndevice = "gpu"'), "is none of cpu, cuda"),
        ((recipes.PERCEPTRON, recipes.TRAIN, "[devices]\nfallback = true"), "already the device"),
        (
            (recipes.PERCEPTRON, recipes.TRAIN, f'{SHARED}device = "cuda"'),
            "processes share the CPU",
        ),
        ((recipes.PERCEPTRON, recipes.PRIVATE, '[devices]\ndevice = "cuda"'), "needs the CPU"),
    ],
)
def test_others_are_refused(tmp_path: Path, parts: tuple[str, ...], said: str) -> None:
    assert said in refusal(recipes.digits(tmp_path, *parts)).detail


@pytest.mark.parametrize("setting", ["whole", "immutable"])
def test_only_a_table_has_columns_to_tell_of(tmp_path: Path, setting: str) -> None:
    path = recipes.digits(tmp_path, recipes.PERCEPTRON, recipes.TRAIN)
    stated = f'source = "digits"\n{setting} = ["age"]'
    path.write_text(path.read_text().replace('source = "digits"', stated))
    assert "only a table" in refusal(path).detail


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("heads = 4", "heads = 3", "twice its heads"),
        ("weight = 0.9", f"weight = 0.9\n{recipes.QUANTIZE}", "train and distil"),
        ("temperature = 1.0", "checkpointing = true", "without checkpointing"),
        ('kind = "checkpoint"\npath = "teacher"', 'kind = "boosting"', "is a checkpoint"),
        ("tokens = 32", "tokens = 1", "two tokens or more"),
        ("[student]", f"{SHARED}[student]", "cannot be spread"),
        ("tokens = 32", "tokens = 32\nlabels = 8", "has no labels"),
        ("[student]", f"{SEARCH}{SMALL}width = [8, 16]\n[student]", "cannot be searched for"),
    ],
)
def test_a_decoders_recipe_is_as_strict(tmp_path: Path, old: str, new: str, said: str) -> None:
    path = recipes.prose(tmp_path)
    assert Recipe.read(path).student.kind == "decoder"
    changed = path.read_text().replace(old, new)
    assert changed != path.read_text()
    path.write_text(changed)
    assert said in refusal(path).detail


def test_a_decoder_is_trained_on_a_card(tmp_path: Path) -> None:
    path = recipes.prose(tmp_path)
    path.write_text(f'{path.read_text()}\n[devices]\ndevice = "cuda:1"\nfallback = true\n')
    assert Recipe.read(path).devices.device == "cuda:1"


WINDOWS = 'attention = "window"\nwhole = 16\n'


@pytest.mark.parametrize(
    ("windows", "more", "said"),
    [
        ('attention = "far"\n', "", "is one of full, window"),
        ("block = 8\n", "", "need windows"),
        (WINDOWS.replace("16", "24"), "", "power of two from 16"),
        (WINDOWS.replace("16", "32"), "", "less than [data] tokens"),
        (WINDOWS, recipes.QUANTIZE, "no quantization step"),
        (WINDOWS, SHARED, "a single process"),
    ],
)
def test_windows_are_asked_for_strictly(tmp_path: Path, windows: str, more: str, said: str) -> None:
    path = recipes.texts(tmp_path)
    text = path.read_text()
    path.write_text(text.replace("width = 32\n", f"width = 32\n{windows}") + more)
    assert said in refusal(path).detail
    path.write_text(text.replace("width = 32\n", f"width = 32\n{WINDOWS}"))
    student = Recipe.read(path).student
    assert (student.attention, student.whole, student.block) == ("window", 16, 128)


def test_windows_are_an_encoders(tmp_path: Path) -> None:
    path = recipes.digits(tmp_path, recipes.PERCEPTRON + WINDOWS, recipes.TRAIN)
    assert "only an encoder" in refusal(path).detail


def test_images_alone_are_shifted(tmp_path: Path) -> None:
    path = recipes.digits(tmp_path, recipes.PERCEPTRON, f"{recipes.HARDEN}shift = 0.5\n")
    assert Recipe.read(path).steps[0].shift == 0.5
    assert "rotate only images" in refusal(of_a_table(path)).detail


def test_a_convolution_takes_images_alone(tmp_path: Path) -> None:
    path = recipes.digits(tmp_path, recipes.CONVOLUTION, recipes.HARDEN)
    assert Recipe.read(path).student.strides
    assert "takes images" in refusal(of_a_table(path)).detail


def test_texts_are_not_hardened(tmp_path: Path) -> None:
    path = recipes.texts(tmp_path)
    path.write_text(path.read_text().replace("checkpointing = true", recipes.HARDEN))
    assert "a perceptron or a convolution" in refusal(path).detail


def test_what_is_not_toml_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text("[model")
    assert "not TOML" in refusal(path).detail
    assert "not a file" in refusal(tmp_path / "missing.toml").detail


ALARMS = '[alarms]\nlabel = "offer"\n'


@pytest.mark.parametrize(
    ("data", "step", "more", "said"),
    [
        ("windows = true\n", "", "", "windows need [alarms]"),
        ("", "joined = 0.5\n", ALARMS, "join only [data] windows"),
        ("windows = true\n", "joined = -1.0\n", ALARMS, "positive"),
        ("windows = true\n", "windows_each = 8\n", ALARMS, "only where it has joined"),
        ("", "", f"{ALARMS}lengths = [2]\n", "lengths need [data] windows"),
    ],
)
def test_texts_in_windows_are_for_what_is_looked_for(
    tmp_path: Path, data: str, step: str, more: str, said: str
) -> None:
    path = recipes.texts(tmp_path)
    text = path.read_text().replace("tokens = 32\n", f"tokens = 32\n{data}")
    path.write_text(text + step + more)
    assert said in refusal(path).detail


def test_texts_alone_are_read_in_windows(tmp_path: Path) -> None:
    path = recipes.digits(tmp_path, recipes.PERCEPTRON, recipes.TRAIN)
    path.write_text(path.read_text().replace("fit = 300", "fit = 300\nwindows = true"))
    assert "only texts are read" in refusal(path).detail
