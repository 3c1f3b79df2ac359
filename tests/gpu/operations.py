"""Single functions, lowered and run on the GPU."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from ctypes import byref, c_bool

import litert_torch
import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from exporter.contract.names import KEY_CACHE_PREFIX, VALUE_CACHE_PREFIX, Accelerator
from runtime_py.litert.c_api import DeviceBuffer, Environment
from runtime_py.litert.compiled_model import CompiledModel, CompileOptions
from runtime_py.litert.gpu.cache import CacheBuffer
from runtime_py.litert.hardware import gpu_options

SIGNATURE = "f"

FLOAT32, FLOAT16 = (gpu_options(float16=half) for half in (False, True))

Function = Callable[..., Mapping[str, Tensor]]
Results = dict[str, NDArray[np.float32]]


class _Wrapped(nn.Module):
    def __init__(self, function: Function) -> None:
        super().__init__()
        self.function = function

    def forward(self, **inputs: Tensor) -> Mapping[str, Tensor]:
        return self.function(**inputs)


def lowered(function: Function, inputs: Mapping[str, Tensor]) -> bytes:
    """A flatbuffer of one signature; caches must have the names the contract gives them."""
    wrapped = _Wrapped(function).eval()
    converter = litert_torch.signature(SIGNATURE, wrapped, sample_kwargs=dict(inputs))
    content: bytes = converter.convert().model_content()
    return content


@contextmanager
def compiled(content: bytes, options: CompileOptions = FLOAT32) -> Iterator[CompiledModel]:
    """The flatbuffer on the GPU."""
    environment = Environment(Accelerator.GPU)
    try:
        model = CompiledModel(environment, np.frombuffer(content, np.uint8), options)
        try:
            yield model
        finally:
            model.close()
    finally:
        environment.close()


def fully_accelerated(model: CompiledModel) -> bool:
    """Whether the GPU runs every node of every signature."""
    result = c_bool()
    model.environment.library.call(
        "LiteRtCompiledModelIsNonCpuFullyAccelerated", model.compiled, byref(result)
    )
    return result.value


def least_seconds(model: CompiledModel, inputs: Mapping[str, Tensor], calls: int) -> float:
    """Of so many calls on inputs that are on the device, until the first output is read."""
    tensors = model.signatures[SIGNATURE]
    given = {name: model.input_buffer(SIGNATURE, name) for name in tensors.inputs}
    for name, buffer in given.items():
        _write(buffer, name, inputs[name])
    made = {name: model.output_buffer(SIGNATURE, name) for name in tensors.outputs}
    call, seconds = model.call(SIGNATURE, given, made), []
    for _ in range(calls):
        began = time.perf_counter()
        call()
        next(iter(made.values())).read()
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def run(model: CompiledModel, inputs: Mapping[str, Tensor], outputs: Mapping[str, str]) -> Results:
    """Run on ``inputs``; ``outputs`` maps the names of caches that are written to their inputs."""
    tensors = model.signatures[SIGNATURE]
    given: dict[str, DeviceBuffer] = {}
    for name in tensors.inputs.keys() - set(outputs.values()):
        given[name] = model.input_buffer(SIGNATURE, name)
        _write(given[name], name, inputs[name])
    made = {name: model.output_buffer(SIGNATURE, name) for name in tensors.outputs}
    for name, source in outputs.items():
        _write(made[name], name, inputs[source])
    model.call(SIGNATURE, given, made)()
    return {name: _read(buffer, name) for name, buffer in made.items()}


def _write(buffer: DeviceBuffer, name: str, values: Tensor) -> None:
    (_cache(buffer, name) or buffer).write(values.numpy())


def _read(buffer: DeviceBuffer, name: str) -> NDArray[np.float32]:
    cache = _cache(buffer, name)
    if cache is None:
        values: NDArray[np.float32] = buffer.read()
        return values
    return cache.read()


def _cache(buffer: DeviceBuffer, name: str) -> CacheBuffer | None:
    if not name.startswith((KEY_CACHE_PREFIX, VALUE_CACHE_PREFIX)):
        return None
    return CacheBuffer(buffer, of_keys=name.startswith(KEY_CACHE_PREFIX))
