"""What is learned from examples: one file an objective, with its loss and what it needs beyond the GPT, no Lightning.

`base.Objective` is the seam; an objective's name in `registry.OBJECTIVES` is what `task:` in a preset says.
"""
