"""Commands of the command line, a module each, imported when the command is run.

In come parsed options; out come files, printed lines and the exit status. A command checks its options, locks its
output folder and prints; the rooms below do the work. Open `generate.py` first, then `train.py` (`helicon train`) and
`fit.py` (the commands of Lightning); `outputs.py` is the folder of `-o`.
"""
