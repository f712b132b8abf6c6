"""Registries of everything that people add, by name, and the loading of the plugins that fill them.

A plugin is a Python file that is named (`--plugin my.py`) or a module of an installed package's entry-point group
`helicon.plugins`; runs and bundles record which ones they need, and nothing that is merely recorded is ever run.

In come Python files and installed packages; out come registered classes and functions, each with the plugin it is from.
Open `registry.py` first, then `loading.py`.
"""
