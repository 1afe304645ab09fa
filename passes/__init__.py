"""Passes by name: one line per pass, loaded when asked for.

Third parties add passes by entry point in the group ``accelc.passes``, or from a file (``load_from_file``).
"""

from __future__ import annotations

import ast
import dataclasses
import importlib.util
import sys
from pathlib import Path
from typing import Any

from accelc.errors import UsageError
from accelc.ir.pass_base import Pass
from accelc.registry import Registry

TABLE: dict[str, str] = {
    "cast-chains": "accelc.passes.cast_chains:CastChains",
    "eliminate-common": "accelc.passes.eliminate_common:EliminateCommon",
    "eliminate-dead": "accelc.passes.eliminate_dead:EliminateDead",
    "fold-constants": "accelc.passes.fold_constants:FoldConstants",
    "fold-shapes": "accelc.passes.fold_shapes:FoldShapes",
    "fuse-batch-norm": "accelc.passes.fuse_batch_norm:FuseBatchNorm",
    "fuse-elementwise": "accelc.passes.fuse_elementwise:FuseElementwise",
    "fuse-epilogues": "accelc.passes.fuse_epilogues:FuseEpilogues",
    "fuse-reductions": "accelc.passes.fuse_reductions:FuseReductions",
    "identity-ops": "accelc.passes.identity_ops:IdentityOps",
    "infer-shapes": "accelc.passes.infer_shapes:InferShapes",
    "inline-if": "accelc.passes.inline_if:InlineIf",
    "matmul-add-to-gemm": "accelc.passes.matmul_add_to_gemm:MatMulAddToGemm",
    "merge-affine": "accelc.passes.merge_affine:MergeAffine",
    "recover-attention": "accelc.passes.recover_attention:RecoverAttention",
    "recover-batch-norm": "accelc.passes.recover_batch_norm:RecoverBatchNorm",
    "recover-gelu": "accelc.passes.recover_gelu:RecoverGelu",
    "recover-hard-swish": "accelc.passes.recover_hard_swish:RecoverHardSwish",
    "recover-layer-norm": "accelc.passes.recover_layer_norm:RecoverLayerNorm",
    "recover-rms-norm": "accelc.passes.recover_rms_norm:RecoverRMSNorm",
    "recover-silu": "accelc.passes.recover_silu:RecoverSilu",
    "reshape-chains": "accelc.passes.reshape_chains:ReshapeChains",
    "transpose-sink": "accelc.passes.transpose_sink:TransposeSink",
    "unflatten-gemm": "accelc.passes.unflatten_gemm:UnflattenGemm",
    "unflatten-softmax": "accelc.passes.unflatten_softmax:UnflattenSoftmax",
}

REGISTRY = Registry[Pass]("pass", Pass, "accelc.Pass", TABLE, group="accelc.passes")  # type: ignore[type-abstract]

names = REGISTRY.names
pass_class = REGISTRY.load


def resolve(spec: str | Pass, **options: Any) -> Pass:
    """A pass from its name.

    Args:
        spec: A name, a name with options as ``prune-n-m{n=2,m=4}``, or a pass, which is returned as it is.
        options: More options; they win over those in ``spec``.

    Raises:
        UsageError: There is no such pass or option.
    """
    if isinstance(spec, Pass):
        return spec
    name, given = parse_options(spec)
    return _make(pass_class(name), name, {**given, **options})


def _make(cls: type[Pass], name: str, options: dict[str, Any]) -> Pass:
    known: list[str] = [f.name for f in dataclasses.fields(cls)] if dataclasses.is_dataclass(cls) else []
    for option in options:
        if option not in known:
            listed = f"it has {', '.join(known)}" if known else "it has no options"
            raise UsageError(f"pass {name} has no option {option!r}", why=listed)
    try:
        return cls(**options)
    except TypeError as error:
        raise UsageError(f"pass {name} cannot be made", why=str(error)) from error


def parse_options(spec: str) -> tuple[str, dict[str, Any]]:
    """Split ``name{a=1,b=x}`` into the name and its options; values are Python literals, else text.

    Raises:
        UsageError: The text cannot be read.
    """
    name, brace, rest = spec.partition("{")
    if not brace:
        return name, {}
    options: dict[str, Any] = {}
    if not rest.endswith("}"):
        raise UsageError(f"cannot read the pass {spec!r}", fix="write NAME{option=value,...}")
    for item in filter(None, rest[:-1].split(",")):
        key, equals, text = item.partition("=")
        if not equals or not key.strip().isidentifier():
            raise UsageError(f"cannot read the option {item!r} of {name}", fix="write option=value")
        try:
            options[key.strip()] = ast.literal_eval(text.strip())
        except (ValueError, SyntaxError):
            options[key.strip()] = text.strip()
    return name, options


def load_from_file(spec: str) -> Pass:
    """A pass from a user's file, as ``FILE.py:Class`` or ``FILE.py:Class{option=1}``; runs the file.

    Raises:
        UsageError: The file or the class is not there, or the file fails.
    """
    path_text, colon, class_spec = spec.rpartition(":")
    path = Path(path_text)
    if not colon or not path_text.endswith(".py"):
        raise UsageError(f"cannot read {spec!r}", fix="write --pass-from FILE.py:Class")
    if not path.is_file():
        raise UsageError(f"there is no file {path}", where=spec)
    class_name, options = parse_options(class_spec)
    module_name = f"accelc_user_pass_{path.stem}"
    module_spec = importlib.util.spec_from_file_location(module_name, path)
    if module_spec is None or module_spec.loader is None:
        raise UsageError(f"{path} cannot be loaded as Python")
    module = importlib.util.module_from_spec(module_spec)
    sys.modules[module_name] = module  # dataclasses look their module up by name
    try:
        module_spec.loader.exec_module(module)
    except Exception as error:  # the user's file may fail in any way
        del sys.modules[module_name]
        raise UsageError(f"{path} fails when loaded", why=f"{type(error).__name__}: {error}") from error
    if not hasattr(module, class_name):
        found = [n for n, v in vars(module).items() if isinstance(v, type) and v.__module__ == module_name]
        raise UsageError(f"{path} has no class {class_name}", why=f"it has {', '.join(found) or 'none'}")
    return _make(REGISTRY.checked(getattr(module, class_name), spec), class_name, options)
