"""The command line, one verb per file.

A verb's module has an ``app`` (``typer.Typer`` with one command, or several for sub-verbs) and imports what is
heavy inside its functions: ``accelc --help`` reads every module. Results go to standard output, through
:mod:`accelc.cli.output`; progress and errors to standard error. A verb raises AccelcError; ``main.run`` turns
it into a message and an exit code.
"""
