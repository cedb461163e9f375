"""One module a step, the pipeline that runs them in order, and the command line."""

__version__ = "0.1.0"
