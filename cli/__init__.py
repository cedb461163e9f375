"""The command line's verbs, one module a group: they parse options, call one step, and print."""
