"""Everything that people add, registered by name: one registry for each kind of thing, and what fills them.

A plugin is a Python file that is named (`--plugin my.py`) or a module of an installed package's entry-point group
`helicon.plugins`; runs and bundles record which ones they need, and nothing that is merely recorded is ever run.
"""
