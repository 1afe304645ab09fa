"""Target ``cpu``: generated Numba kernels, planned memory, one native call.

``lower/`` turns ONNX nodes into kernel calls; ``kernels/`` holds one generator per kernel family;
``program.py`` is what lies between: calls in order over typed values. ``bind.py`` makes a program concrete
for given shapes, ``executable.py`` runs it.
"""
