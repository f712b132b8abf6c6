"""Words of a command line of `fit`: which options are typed, some of them with their values, all but some."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence


def typed_options(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Name and value of each option; the value is the word that follows where there is no `=`."""
    for word, following in zip(words, [*words[1:], ""]):
        name, equals, value = word.partition("=")
        if name.startswith("--"):
            yield name.removesuffix("+"), value if equals else following


def options(words: Sequence[str], names: Collection[str]) -> list[str]:
    """The options of these names and their values, in pairs."""
    return [word for name, value in typed_options(words) if name in names for word in (name, value)]


def without(words: Sequence[str], names: Collection[str]) -> list[str]:
    """The words without these options and their values."""
    kept, skip = [], False
    for word in words:
        name, equals, _ = word.partition("=")
        if not skip and name not in names:
            kept.append(word)
        skip = not skip and name in names and not equals
    return kept
