"""A network kept as an ONNX file, run by onnxruntime on the CPU."""

from __future__ import annotations

import numpy as np
import torch

ERRORS_ONLY = 3


class OnnxNetwork:
    """One input, float32 arrays in and out; `metadata` is what the file says of itself."""

    def __init__(self, name: str, model: bytes, sha256: str) -> None:
        """sha256: of the file that the model comes from.

        Raises ImportError with the remedy where onnxruntime is missing, ValueError where the bytes are no network.
        """
        try:
            import onnxruntime
        except ImportError:
            raise ImportError(
                f"onnxruntime is not installed, and {name} needs it: pip install 'openflextok[eval]'"
            ) from None
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = ERRORS_ONLY
        try:
            self.session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's own classes, one for each kind of damage
            raise ValueError(f"{name} is not an ONNX network that onnxruntime can run: {error}") from None
        self.sha256 = sha256
        self.metadata: dict[str, str] = self.session.get_modelmeta().custom_metadata_map

    def __call__(self, x: np.ndarray) -> dict[str, np.ndarray]:
        """The outputs by name."""
        names = [output.name for output in self.session.get_outputs()]
        found = self.session.run(names, {self.session.get_inputs()[0].name: x})
        return {name: np.asarray(value) for name, value in zip(names, found, strict=True)}
