"""How good a model is: its losses, whether music comes out as it was asked for, and what its layers know.

Everything here measures a bundle or an n-gram on files; nothing here trains, and commands only print what is found.
"""
