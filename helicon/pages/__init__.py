"""The pages that trainings end with: what a model or a codec makes, how its loss and quality went, how to go on."""
