import dataclasses
import json
import math
from pathlib import Path

import pytest

from jaxcert.errors import ConfigError
from jaxcert.train import PRESETS, RECIPES, TrainConfig, build_recipe
from jaxcert.train.config import Method
from jaxcert.train.optimizers import OPTIMIZERS


@pytest.mark.parametrize("name", PRESETS)
def test_presets_survive_json(name):
    assert TrainConfig.from_json(PRESETS[name].to_json()) == PRESETS[name]


def test_all_kinds_of_fields_survive_json():
    config = TrainConfig(
        eps=1 / 3, decay_epochs=(3, 7), data_dir=Path("some/folder"), train_examples=500, attack_step_size=0.1
    )
    assert TrainConfig.from_json(config.to_json()) == config
    assert TrainConfig.from_json("{}") == TrainConfig()


def test_names_in_the_configuration_are_those_of_the_catalogues():
    assert set(Method.__args__) == set(RECIPES)
    assert {"adam", "sgd"} == set(OPTIMIZERS)


def test_every_field_has_a_doc_string():
    source = Path(__import__("jaxcert.train.config", fromlist=["x"]).__file__).read_text().splitlines()
    for field in dataclasses.fields(TrainConfig):
        line = next(i for i, text in enumerate(source) if text.startswith(f"    {field.name}:"))
        assert source[line + 1].startswith('    """'), field.name


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"dataset": "imagenet"}, "dataset must be one of digits"),
        ({"model": "resnet-9000"}, "model must be one of"),
        ({"method": "magic"}, "method must be one of standard"),
        ({"norm": "l7"}, "norm must be one of"),
        ({"eps": -0.1}, "eps must be a finite number >= 0"),
        ({"eps": math.nan}, "eps must be"),
        ({"eps": "0.1"}, "eps must be a number"),
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"epochs": 1.5}, "epochs must be a whole number"),
        ({"epochs": True}, "epochs must be a whole number"),
        ({"batch_size": -3}, "batch_size must be at least 1"),
        ({"learning_rate": 0.0}, "learning_rate must be"),
        ({"kappa_end": 1.5}, r"kappa_end must be a share in \[0, 1\]"),
        ({"beta_start": -0.5}, "beta_start must be"),
        ({"momentum": 1.0}, "momentum must be"),
        ({"smoothed_mid": 0.0}, "smoothed_mid must be"),
        ({"attack_step_size": 0.0}, "attack_step_size must be"),
        ({"train_examples": 0}, "train_examples must be"),
        ({"decay_epochs": (5, 4)}, "decay_epochs must be increasing"),
        ({"decay_epochs": ("5",)}, "decay_epochs must be a list of whole numbers"),
        ({"seed": -1}, "seed must be"),
        ({"data_dir": "folder"}, "data_dir must be a path or nothing"),
        ({"eps": 0.1, "eps_start": 0.2}, "eps_start is 0.2, above eps"),
        ({"ramp": "geometric", "rampup_epochs": 2}, "geometric ramp cannot start at eps 0"),
        ({"epochs": 5, "warmup_epochs": 2, "rampup_epochs": 3}, "shorten them or train longer"),
    ],
)
def test_impossible_values_are_one_sentence(changes, words):
    with pytest.raises(ConfigError, match=words) as caught:
        TrainConfig(**changes)
    message = str(caught.value)
    assert "\n" not in message
    assert message.endswith(".")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not valid JSON"),
        ("[1]", "JSON object"),
        ('{"epsilon": 0.1}', "unknown fields epsilon: known are .*eps"),
        ('{"eps": "big"}', "eps must be a number"),
        ('{"decay_epochs": 4}', "decay_epochs must be a list"),
        ('{"eps": NaN}', "eps must be"),
    ],
)
def test_bad_json_is_refused(text, words):
    with pytest.raises(ConfigError, match=words):
        TrainConfig.from_json(text)


def test_differences_leave_out_the_place_of_the_data():
    config = TrainConfig()
    moved = dataclasses.replace(config, data_dir=Path("elsewhere"))
    assert config.differences(moved) == ()
    assert config.differences(dataclasses.replace(config, eps=0.2, seed=1)) == ("eps", "seed")
    assert json.loads(moved.to_json())["data_dir"] == "elsewhere"


@pytest.mark.parametrize("ramp", ["linear", "smoothed", "cosine", "geometric"])
def test_levels_follow_the_epochs_of_the_configuration(ramp):
    config = TrainConfig(
        method="crown-ibp", ramp=ramp, eps=0.2, eps_start=0.01, epochs=10, warmup_epochs=2, rampup_epochs=4,
        kappa_start=1.0, kappa_end=0.5, beta_start=1.0, beta_end=0.25, decay_epochs=(5, 8),
    )  # fmt: skip
    recipe = build_recipe(config, steps_per_epoch=10)
    at = lambda step: [float(value) for value in (recipe.eps(step), recipe.kappa(step), recipe.beta(step))]
    assert at(20) == pytest.approx([0.01, 1.0, 1.0])
    assert at(60) == at(99) == pytest.approx([0.2, 0.5, 0.25])
    assert all(low < value < high for low, value, high in zip([0.01, 0.5, 0.25], at(40), [0.2, 1.0, 1.0]))
    rates = [float(recipe.learning_rate(step)) for step in (49, 50, 80)]
    assert rates == pytest.approx([5e-4, 5e-5, 5e-6])


def test_standard_training_has_no_radius():
    recipe = build_recipe(TrainConfig(method="standard", eps=0.3), steps_per_epoch=5)
    assert float(recipe.eps(100)) == 0.0
