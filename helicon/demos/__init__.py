"""Small made-up worlds, drawn and composed by the project's own code, that a tiny model can learn in a minute."""
