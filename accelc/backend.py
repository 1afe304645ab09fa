"""ONNX backend (onnx.backend.base): ``prepare``, ``run_model``, ``run_node``, ``supports_device``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import onnx
from onnx.backend.base import Backend, BackendRep, Device, DeviceType, namedtupledict

from accelc.errors import CallError, UsageError
from accelc.target import Executable

NODE_OPSET = 24
"""The opset of a single node that comes without one."""


class AccelcBackendRep(BackendRep):
    """A prepared model."""

    def __init__(self, executable: Executable) -> None:
        super().__init__()
        self.executable = executable

    def run(self, inputs: Any, **kwargs: Any) -> Any:
        """Run once.

        Args:
            inputs: Arrays in the order of the model's inputs, a mapping by name, or the only input itself.
            **kwargs: Accepted as the interface demands; none has a meaning here.

        Returns:
            The outputs as a named tuple that also answers ``result["name"]``.

        Raises:
            CallError: The inputs do not fit the model.
        """
        names = [spec.name for spec in self.executable.inputs]
        if isinstance(inputs, np.ndarray):
            inputs = [inputs]
        if not isinstance(inputs, Mapping):
            if len(inputs) > len(names):
                raise CallError(
                    "the model was called with too many inputs",
                    why=f"it takes {len(names)} ({', '.join(names)}), got {len(inputs)}",
                )
            inputs = dict(zip(names, inputs, strict=False))
        results = self.executable.run(None, inputs)
        return namedtupledict("Outputs", [spec.name for spec in self.executable.outputs])(*results)


class AccelcBackend(Backend):
    """The backend; results come from the compiled model, which is not verified unless ``verify`` is given."""

    devices: ClassVar[Mapping[int, str]] = {DeviceType.CPU: "cpu"}

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """Whether there is a target for ``device``, for example ``CPU``."""
        try:
            return Device(device).type in cls.devices
        except (AttributeError, ValueError):  # the name of no device at all
            return False

    @classmethod
    def is_compatible(cls, model: onnx.ModelProto, device: str = "CPU", **kwargs: Any) -> bool:
        """Whether :meth:`prepare` can be tried; what a model contains is found out there."""
        return cls.supports_device(device)

    @classmethod
    def prepare(cls, model: onnx.ModelProto, device: str = "CPU", **kwargs: Any) -> AccelcBackendRep:
        """Compile ``model``; ``kwargs`` go to :func:`accelc.compile`.

        Raises:
            UsageError: No target for the device.
            AccelcError: As :func:`accelc.compile`.
        """
        from accelc.driver import compile as compile_model

        if not cls.supports_device(device):
            raise UsageError(f"no target for device {device}", fix="use CPU")
        kwargs.setdefault("target", cls.devices[Device(device).type])
        kwargs.setdefault("verify", False)
        return AccelcBackendRep(compile_model(model, **kwargs))

    @classmethod
    def run_model(cls, model: onnx.ModelProto, inputs: Any, device: str = "CPU", **kwargs: Any) -> Any:
        """Compile and run once."""
        return cls.prepare(model, device, **kwargs).run(inputs)

    @classmethod
    def run_node(
        cls,
        node: onnx.NodeProto,
        inputs: Any,
        device: str = "CPU",
        outputs_info: Sequence[tuple[np.dtype[Any], tuple[int, ...]]] | None = None,
        **kwargs: Any,
    ) -> Any:
        """Run one node on arrays; ``opset_version=`` picks the version of its domain, 24 by default.

        Raises:
            CallError: As many arrays as the node has inputs are needed.
        """
        names = [name for name in node.input if name]
        arrays = [np.asarray(x) for x in ([inputs] if isinstance(inputs, np.ndarray) else inputs)]
        if len(arrays) != len(names):
            raise CallError(
                f"{node.op_type} was called with {len(arrays)} inputs", why=f"it has {len(names)}"
            )
        feeds = dict(zip(names, arrays, strict=True))
        info = onnx.helper.make_tensor_value_info
        kind = onnx.helper.np_dtype_to_tensor_dtype
        wanted = [name for name in node.output if name]
        if outputs_info is not None:
            outputs = [
                info(name, kind(np.dtype(dtype)), shape)
                for name, (dtype, shape) in zip(wanted, outputs_info, strict=True)
            ]
        else:
            outputs = [onnx.helper.make_empty_tensor_value_info(name) for name in wanted]
        graph = onnx.helper.make_graph(
            [node], "node", [info(name, kind(x.dtype), x.shape) for name, x in feeds.items()], outputs
        )
        opset = onnx.helper.make_opsetid(node.domain, int(kwargs.pop("opset_version", NODE_OPSET)))
        model = onnx.helper.make_model(graph, opset_imports=[opset], ir_version=11)
        return cls.run_model(model, feeds, device, **kwargs)


is_compatible = AccelcBackend.is_compatible
prepare = AccelcBackend.prepare
run = AccelcBackend.run_model
run_model = AccelcBackend.run_model
run_node = AccelcBackend.run_node
supports_device = AccelcBackend.supports_device
