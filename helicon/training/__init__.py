"""Training by Lightning: the modules, data modules, callbacks and optimizers. The only room that imports Lightning."""

from helicon.formats.figures import import_matplotlib

import_matplotlib()  # before torchmetrics, which Lightning imports, does
