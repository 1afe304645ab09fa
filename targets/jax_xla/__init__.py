"""Target ``xla`` (``gpu``, ``tpu``): the model as jitted JAX functions, exported as StableHLO."""
