"""Shapes and types of the tensor stages are checked while tests run, and only then; each test process computes in one
thread, since several of them run side by side."""

import os

from jaxtyping import install_import_hook

os.environ.setdefault("OMP_NUM_THREADS", "1")

# Must happen before the first test module imports the package.
install_import_hook(["scenariogen.sampling"], "beartype.beartype")
