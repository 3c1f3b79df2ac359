"""Time of every operation of a signature, from LiteRT's own profiler.

The Python wrapper cannot switch the profiler on, LiteRT's C API can; so this drives libLiteRt.so of the
ai-edge-litert wheel through ctypes. XNNPACK reports the operations inside its partitions one by one.
Times are by the wall clock, so other jobs make some of them long: of every single operation the fastest
of all runs counts. One is shorter than a time slice, so on a busy machine, too, some run is undisturbed.

Source: LiteRT's ``litert/c/litert_profiler.h`` and ``litert_compiled_model.h``.
"""

from __future__ import annotations

import ctypes
import mmap
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ai_edge_litert

from runtime_py.litert.hardware import ENGINE_XNNPACK_FLAGS, IN_MEMORY
from speed.litert import Edit

CPU = 1  # LiteRtHwAccelerators
OPERATOR, DELEGATE_OPERATOR = 1 << 1, 1 << 3  # LiteRtProfilerEventType
TENSOR_TYPE_BYTES = 256  # more than a LiteRtRankedTensorType has
RUNTIME_OPTIONS = "runtime_options_string"
CPU_OPTIONS = "xnnpack"

Handle = ctypes.c_void_p


class Event(ctypes.Structure):
    """LiteRT's ``ProfiledEventData``."""

    _fields_ = [
        ("tag", ctypes.c_char_p),
        ("type", ctypes.c_int),
        ("start", ctypes.c_uint64),
        ("microseconds", ctypes.c_uint64),
        ("memory", ctypes.c_size_t * 6),
        ("metadata", ctypes.c_uint64 * 2),
        ("source", ctypes.c_int),
    ]


@dataclass(frozen=True)
class Operation:
    """All operations of one kind in a run."""

    name: str
    delegated: bool
    count: int
    milliseconds: float
    """Their sum, each at its fastest."""


class OpProfiler:
    """A model in a file, compiled with LiteRT's profiler on, one thread.

    Args:
        path: The file.
        begin: Where the model begins in it, a multiple of the page size.
        nbytes: Its length.
        edit: Changes to make before it is compiled; the file stays as it is.

    Raises:
        RuntimeError: LiteRT refused a call.
    """

    def __init__(self, path: Path, begin: int, nbytes: int, edit: Edit | None = None) -> None:
        folder = Path(ai_edge_litert.__file__).parent
        self._lib = ctypes.CDLL(str(folder / "libLiteRt.so"))
        self._kept: list[Any] = []
        with path.open("rb") as stream:
            self._bytes = mmap.mmap(stream.fileno(), nbytes, access=mmap.ACCESS_COPY, offset=begin)
        if edit is not None:
            with memoryview(self._bytes) as content, content[: edit[0]] as graph:
                edit[1](graph)
        address = ctypes.addressof(ctypes.c_char.from_buffer(self._bytes))
        self._environment, self._model, self._compiled = Handle(), Handle(), Handle()
        self._profiler = Handle()
        self._do("CreateEnvironment", 0, None, ctypes.byref(self._environment))
        self._do(
            "CreateModelFromBuffer",
            self._environment,
            Handle(address),
            ctypes.c_size_t(nbytes),
            ctypes.byref(self._model),
        )
        compiled = ctypes.byref(self._compiled)
        self._do("CreateCompiledModel", self._environment, self._model, self._options(), compiled)
        self._do("CompiledModelGetProfiler", self._compiled, ctypes.byref(self._profiler))

    def profile(self, signature: str, runs: int) -> list[Operation]:
        """Operations by time, the longest first; the first run is not counted."""
        index, caches = self._index(signature), dict[str, Handle]()
        sides = [self._buffers(index, side, caches) for side in ("Input", "Output")]
        self._run(index, sides)
        events = [self._events(index, sides) for _ in range(runs)]
        sums, counts = Counter[tuple[str, bool]](), Counter[tuple[str, bool]]()
        for repeated in zip(*events, strict=True):
            kind = (repeated[0].tag.decode(), repeated[0].type == DELEGATE_OPERATOR)
            counts[kind] += 1
            sums[kind] += min(event.microseconds for event in repeated)
        found = [Operation(*kind, counts[kind], total / 1000) for kind, total in sums.items()]
        return sorted(found, key=lambda operation: -operation.milliseconds)

    def _do(self, name: str, *arguments: Any) -> None:
        if status := getattr(self._lib, f"LiteRt{name}")(*arguments):
            raise RuntimeError(f"LiteRt{name} failed with status {status}")

    def _options(self) -> Handle:
        options = Handle()
        self._do("CreateOptions", ctypes.byref(options))
        self._do("SetOptionsHardwareAccelerators", options, CPU)
        self._add(options, RUNTIME_OPTIONS, "enable_profiling = true\n")
        cpu = f"num_threads = 1\nflags = {ENGINE_XNNPACK_FLAGS}\n"
        self._add(options, CPU_OPTIONS, f'{cpu}weight_cache_file_path = "{IN_MEMORY}"\n')
        return options

    def _add(self, options: Handle, kind: str, toml: str) -> None:
        """Attach options; LiteRT keeps the pointer, so the text must stay."""
        text, opaque = ctypes.create_string_buffer(toml.encode()), Handle()
        destroy = ctypes.CFUNCTYPE(None, Handle)(lambda _: None)
        self._kept += [text, destroy]
        payload = ctypes.cast(text, Handle)
        self._do("CreateOpaqueOptions", kind.encode(), payload, destroy, ctypes.byref(opaque))
        self._do("AddOpaqueOptions", options, opaque)

    def _index(self, signature: str) -> int:
        count = ctypes.c_size_t()
        self._do("GetNumModelSignatures", self._model, ctypes.byref(count))
        for index in range(count.value):
            name = ctypes.c_char_p()
            self._do("GetSignatureKey", self._signature(index), ctypes.byref(name))
            if name.value == signature.encode():
                return index
        raise RuntimeError(f"there is no signature {signature}")

    def _signature(self, index: int) -> Handle:
        found = Handle()
        self._do("GetModelSignature", self._model, ctypes.c_size_t(index), ctypes.byref(found))
        return found

    def _buffers(self, index: int, side: str, caches: dict[str, Handle]) -> Any:
        """Zeroed buffers for all inputs or outputs; those of one name are one buffer."""
        signature, count = self._signature(index), ctypes.c_size_t()
        self._do(f"GetNumSignature{side}s", signature, ctypes.byref(count))
        buffers = (Handle * count.value)()
        for position in range(count.value):
            key, where = ctypes.c_char_p(), ctypes.c_size_t(position)
            self._do(f"GetSignature{side}Name", signature, where, ctypes.byref(key))
            name = (key.value or b"").decode()
            if name not in caches:
                caches[name] = self._buffer(index, signature, side, where)
            buffers[position] = caches[name].value
        return buffers

    def _buffer(self, index: int, signature: Handle, side: str, position: Any) -> Handle:
        tensor, needed, buffer = Handle(), Handle(), Handle()
        shape = ctypes.create_string_buffer(TENSOR_TYPE_BYTES)
        self._do(f"GetSignature{side}TensorByIndex", signature, position, ctypes.byref(tensor))
        self._do("GetRankedTensorType", tensor, shape)
        requirements, where = f"GetCompiledModel{side}BufferRequirements", ctypes.c_size_t(index)
        self._do(requirements, self._compiled, where, position, ctypes.byref(needed))
        create = "CreateManagedTensorBufferFromRequirements"
        self._do(create, self._environment, shape, needed, ctypes.byref(buffer))
        address, size = Handle(), ctypes.c_size_t()
        self._do("GetTensorBufferHostMemory", buffer, ctypes.byref(address))
        self._do("GetTensorBufferPackedSize", buffer, ctypes.byref(size))
        ctypes.memset(address, 0, size.value)
        return buffer

    def _run(self, index: int, sides: list[Any]) -> None:
        arguments = [part for side in sides for part in (ctypes.c_size_t(len(side)), side)]
        self._do("RunCompiledModel", self._compiled, ctypes.c_size_t(index), *arguments)

    def _events(self, index: int, sides: list[Any]) -> list[Event]:
        """Operations of one run."""
        self._do("ResetProfiler", self._profiler)
        self._do("StartProfiler", self._profiler)
        self._run(index, sides)
        self._do("StopProfiler", self._profiler)
        count = ctypes.c_int()
        self._do("GetNumProfilerEvents", self._profiler, ctypes.byref(count))
        events = (Event * count.value)()
        self._do("GetProfilerEvents", self._profiler, count, events)
        return [event for event in events if event.type in (OPERATOR, DELEGATE_OPERATOR)]
