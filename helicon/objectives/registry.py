"""All objectives, by the name that `task:` in a config and a bundle say."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from helicon.formats import checked
from helicon.objectives.base import Objective
from helicon.objectives.classify import Classify
from helicon.objectives.next_token import NextToken

OBJECTIVES: dict[str, type[Objective]] = {"gpt": NextToken, "classify": Classify}


def name_of(objective: Objective) -> str:
    """The name of an objective's class."""
    return next(name for name, kind in OBJECTIVES.items() if type(objective) is kind)


def restored(name: Any, options: Any) -> Objective:
    """The objective of a bundle's JSON; ValueError for what is none."""
    kind = OBJECTIVES[checked.one_of("objective", name, OBJECTIVES)]
    return kind(**checked.fields("options of the objective", options, [each.name for each in fields(kind)]))
