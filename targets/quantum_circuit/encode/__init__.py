"""Block encodings: circuits that hold a real matrix in a corner of their unitary, one method per file."""
