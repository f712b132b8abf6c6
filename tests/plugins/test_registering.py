"""What cannot be registered is refused as its plugin is loaded, with file and line, and nothing is left of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from helicon.data.config import sequence_data_config
from helicon.modalities import registry
from helicon.objectives.registry import OBJECTIVES, restored
from helicon.plugins.loading import PluginWarning, load_plugins, registries
from helicon.plugins.plugin import Plugin, PluginError
from helicon.training.learning.data import SequenceData
from helicon.training.options import resolve
from helicon.training.tasks import tasks
from helicon.training.usage_errors import UsageError

OBJECTIVE = """
from __future__ import annotations
import dataclasses, helicon
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    from pathlib import Path

@helicon.register_objective("mine")
{decorator}
class Mine({base}):
    {body}
"""
DATACLASS = "@dataclasses.dataclass(frozen=True, kw_only=True)"
NO_DATACLASS = r"a dataclass that inherits from helicon\.Objective is accepted, @dataclass\(.*\) below"
OBJECTIVES_REFUSED = (
    ("#", "helicon.NextToken", "weight: float = 1", NO_DATACLASS),
    (DATACLASS, "object", "weight: float = 1", NO_DATACLASS),
    (DATACLASS, "helicon.Objective", "weight: float = 1", "loss, metrics, val_loss missing"),
    (
        DATACLASS,
        "helicon.NextToken",
        "file: Path | None = None",
        r"types that cannot be told, NameError: name 'Path' is",
    ),
)


def load(home, text: str) -> None:
    (home / "mine.py").write_text(text)
    load_plugins(["mine.py"])


@pytest.mark.parametrize(("decorator", "base", "body", "said"), OBJECTIVES_REFUSED)
def test_what_is_no_objective(home, decorator, base, body, said):
    with pytest.raises(PluginError, match=rf"^{home}/mine\.py, line 8: objective 'mine': {said}"):
        load(home, OBJECTIVE.format(decorator=decorator, base=base, body=body))
    assert "mine" not in OBJECTIVES


def test_an_option_that_there_is_already_is_refused_by_its_own_task_alone(home):
    load(home, OBJECTIVE.format(decorator=DATACLASS, base="helicon.NextToken", body="lr: float = 1"))
    with pytest.raises(
        PluginError, match=rf"^objective 'mine' \({home}/mine\.py, line 8\): --model\.lr is another opt"
    ):
        tasks()["mine"].model()
    assert tasks()["gpt"].model()


@pytest.mark.parametrize(
    ("body", "trained", "opened"),
    [
        ("{}['k']", r"KeyError: 'k' \(line 14\)$", r"KeyError: 'k' \(line 14\)$"),
        (
            "raise ValueError('weight 1: 2 is accepted')",
            "--model.weight 1: 2 is acc",
            "ValueError: weight 1: 2 is accepted",
        ),
    ],
)
def test_options_that_an_objective_refuses(home, body, trained, opened):
    init = f"weight: float = 1\n\n    def __post_init__(self):\n        {body}"
    load(home, OBJECTIVE.format(decorator=DATACLASS, base="helicon.NextToken", body=init))
    place = rf"^objective 'mine' \({home}/mine\.py, line 8\): "
    by_train = (UsageError, f"^{trained}") if trained.startswith("--") else (PluginError, place + trained)
    with pytest.raises(by_train[0], match=by_train[1]):
        resolve({"task": "mine", "data": {"path": "x", "layouts": ["text"]}})
    with pytest.raises(PluginError, match=place + opened):
        restored("mine", {"slot_weights": None, "weight": 1.0})


def test_an_option_that_a_plugin_has_got_since_has_its_default(home):
    load(home, OBJECTIVE.format(decorator=DATACLASS, base="helicon.NextToken", body="weight: float = 1"))
    assert restored("mine", {"slot_weights": None}).weight == 1
    with pytest.raises(ValueError, match=r"^options of the objective with 'wait': slot_weights, weight is accepted$"):
        restored("mine", {"slot_weights": None, "weight": 2.0, "wait": 3})


MEDIUM = """
from __future__ import annotations
import helicon
from dataclasses import dataclass
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    from pathlib import Path

@dataclass(frozen=True)
class Options:
    {field}

def no(*given):
    raise ValueError("no")

spec = helicon.TokenizerSpec(make=no, from_state=no, needs_fit=False)
helicon.register_modality(helicon.Modality(
    name="mine", suffixes={suffixes}, read_file=no, write=no, slots={slots}, options={options}))
"""
OTHER = r"its slot 'text' is one of modality 'text' \(.*\); give yours another name$"
MEDIA_REFUSED = (
    ({"slots": "{'mine': {'a': spec}, 'text': {'a': spec}}"}, OTHER),
    ({"slots": "{'text': {'a': spec}}", "suffixes": "()"}, OTHER),
    ({"slots": "{'style': {'a': spec}}", "suffixes": "()"}, "its slot 'style' is one of modality 'label' "),
    ({"slots": "{'mine': {}}"}, r"slot 'mine': tokenizers by name are needed, each a helicon\.TokenizerSpec"),
    ({"slots": "{'mine': {'a': no}}"}, r"slot 'mine': tokenizers by name"),
    ({"options": "no"}, r"options: a dataclass is needed"),
    ({"suffixes": "'steps'"}, r"suffixes 'steps': a tuple of suffixes is needed, such as"),
    ({"suffixes": "('mine',)"}, r"suffixes \('mine',\): a tuple of suffixes is needed"),
    ({"field": "most: int"}, r"options: most needs a default"),
    ({"field": "file: Path | None = None"}, r"options: types that cannot be told, NameError: name 'Path'"),
)  # fmt: skip
RIGHT = {"slots": "{'mine': {'a': spec}}", "suffixes": "('.mine',)", "options": "Options", "field": "most: int = 3"}


@pytest.mark.parametrize(("wrong", "said"), MEDIA_REFUSED)
def test_what_is_no_medium(home, wrong, said):
    with pytest.raises(PluginError, match=rf"^{home}/mine\.py, line 17: modality 'mine': {said}"):
        load(home, MEDIUM.format(**{**RIGHT, **wrong}))
    assert registry.for_slot("text").name == "text"


def test_words_of_a_style_beside_a_medium_of_ones_own(home):
    load(home, MEDIUM.format(**{**RIGHT, "slots": "{'style': {'a': spec}, 'mine': {'a': spec}}"}))
    assert registry.for_slot("style").name == "label"
    assert registry.for_slot("style", ["style", "mine"]).name == "mine"


def test_an_option_of_reading_that_there_is_already(home):
    for field in ("batch_size: int = 3", "size: str = 'large'"):
        load(home, MEDIUM.format(**{**RIGHT, "field": field}))
        what = f"--data.{field.partition(':')[0]} is another option already"
        with pytest.raises(PluginError, match=rf"^modality 'mine' \({home}/mine\.py, line 17\): {what}"):
            sequence_data_config()


@pytest.mark.parametrize("field", ["batch_size: int = 3", "size: str = 'large'"])
def test_an_option_of_an_installed_package_that_there_is_already(home, monkeypatch, field):
    """It is warned of once, and refused where its medium is trained on."""
    load(home, MEDIUM.format(**{**RIGHT, "field": field}))
    entry = registry.MODALITIES._entries["mine"]
    monkeypatch.setitem(registry.MODALITIES._entries, "mine", replace(entry, plugin=Plugin("paint", "1.2")))
    place = (
        rf"modality 'mine' \({home}/mine\.py, line 17\): --data\.{field.partition(':')[0]} is another option already"
    )
    with pytest.warns(PluginWarning, match=rf"^plugin paint \(version 1\.2\): {place}; give .*; until then") as caught:
        kind = sequence_data_config()
    assert sequence_data_config() is kind
    assert len(caught) == 1
    SequenceData(kind(path="x", layouts=["text"]))
    with pytest.raises(PluginError, match=f"^{place}"):
        SequenceData(kind(path="x", layouts=["mine"]))


@pytest.mark.parametrize(
    ("name", "made", "said"),
    [
        ("bytes", "spec", r"modality 'text' \(.*\) has one of this name; give yours another one$"),
        ("letters", "3", r"int: a helicon\.TokenizerSpec is needed$"),
    ],
)
def test_what_is_no_tokenizer(home, name, made, said):
    spec = "spec = helicon.TokenizerSpec(make=print, from_state=print)\n"
    with pytest.raises(PluginError, match=rf"^{home}/mine\.py, line 3: tokenizer 'text/{name}': {said}"):
        load(home, f"import helicon\n{spec}helicon.register_tokenizer('text', '{name}', {made})\n")


def test_a_tokenizer_s_name_is_one_s(home):
    text = (
        "import helicon\nhelicon.register_tokenizer('text', 'a', helicon.TokenizerSpec(make=print, from_state=print))\n"
    )
    (home / "first.py").write_text(text)
    load_plugins(["first.py"])
    with pytest.raises(
        PluginError, match=r"/mine\.py, line 2: tokenizer 'text/a' is registered already, by .*/first\.py"
    ):
        load(home, text)


CELL = """
import dataclasses, helicon
@helicon.register_judge("celled")
def judge(candidates): return [0.0]
@helicon.register_quantizer("celled")
def quantizer(config): return None
@helicon.register_objective("celled")
@dataclasses.dataclass(frozen=True, kw_only=True)
class Mine(helicon.NextToken): pass
"""


@pytest.mark.parametrize("file", ["<ipython-input-1>", "/tmp/ipykernel_7/1234.py", "<stdin>"])
def test_what_comes_from_no_file_is_warned_of(home, monkeypatch, file):
    """As a notebook's cell, whose things no run or bundle can name."""
    for things in registries:
        monkeypatch.setattr(things, "_entries", dict(things._entries))
    with pytest.warns(PluginWarning) as caught:
        exec(compile(CELL, file, "exec"), {"__name__": "__main__"})
    lines = [str(warning.message) for warning in caught]
    assert len(lines) == 3
    for line, start in zip(lines, ("judge 'celled'", "quantizer 'celled'", "objective 'celled'")):
        assert line.startswith(f"{file}, line ")
        assert f"{start} comes from no file NAME.py" in line
        assert line.endswith("save it as one, and say plugins=[file] or --plugin")
    assert "celled" in OBJECTIVES


def test_what_comes_from_a_file_is_not_warned_of(home, recwarn):
    load(home, CELL)
    assert not [warning for warning in recwarn if warning.category is PluginWarning]
