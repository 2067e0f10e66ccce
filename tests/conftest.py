"""Shapes and types of the tensor stages are checked while tests run, and only then."""

from jaxtyping import install_import_hook

# Must happen before the first test module imports the package.
install_import_hook(["scenariogen.sampling"], "beartype.beartype")
