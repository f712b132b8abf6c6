"""Training by Lightning: the modules, data modules, callbacks and optimizers. The only room that imports Lightning."""
