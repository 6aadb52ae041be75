"""Graphs as functions of numpy arrays. Knows onnxruntime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnxruntime
from numpy.typing import NDArray

from muomni_cli.api import RequestError

Arrays = Mapping[str, "NDArray[Any]"]


class Session:
    """One open graph, on the CPU.

    Args:
        path: the file.
        threads: of the CPU; all of them by default.

    Raises:
        RequestError: it is not a whole ONNX file.
    """

    def __init__(self, path: Path, threads: int | None = None) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or 0
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # waiting must not eat a busy CPU
        options.log_severity_level = 3
        try:
            self._session: Any = onnxruntime.InferenceSession(
                str(path), sess_options=options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # its errors have no common base
            raise RequestError(
                f"{path} cannot be opened: {str(error).partition(chr(10))[0]}", "export the model again"
            ) from error
        self.inputs: list[str] = [port.name for port in self._session.get_inputs()]
        self.outputs: list[str] = [port.name for port in self._session.get_outputs()]

    def __call__(self, feeds: Arrays, wanted: Sequence[str] | None = None) -> dict[str, NDArray[Any]]:
        """All outputs by name, or only the ``wanted`` ones."""
        names = list(wanted) if wanted is not None else self.outputs
        return dict(zip(names, self._session.run(names, dict(feeds)), strict=True))
