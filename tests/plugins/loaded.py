"""Plugins that this process has loaded, for tests that are to begin without."""

from helicon.plugins import loading


def fresh() -> None:
    """As a new process: nothing is loaded."""
    for plugin in [*loading._named.values()]:
        loading._forget(plugin)
