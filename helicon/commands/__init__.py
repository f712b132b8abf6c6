"""What each command of the command line does, one module a command; imported only once a command is known."""
