"""The KV caches in the GPU delegate's own layout, and back.

The delegate keeps caches as the weights of a matrix product, in groups of four by four. LiteRT, when
it copies such a buffer to the host or from it, takes it for an ordinary tensor, whose groups of four
run over the last axis only, and unpacks it as that. Both steps are undone here; the numbers are those
of one kv head of 8 slots and a head dim of 4::

    keys    [K, D/4, S/4, 4 (s), 4 (d)]
    values  [K, S/4, D/4, 4 (s), 4 (d)]
    what LiteRT unpacks: a tensor [1, K, rows, columns] out of [columns/4, K, rows, 4]

Source: ``add_values_to_cache_kernel.cc`` in LiteRT's GPU delegate.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime_py.litert.c_api import DeviceBuffer

Array = NDArray[Any]

GROUP = 4


class CacheBuffer:
    """A key or value cache on the device, read and written in the contract's layout."""

    def __init__(self, buffer: DeviceBuffer, *, of_keys: bool) -> None:
        self.device = buffer
        self._of_keys = of_keys

    def read(self) -> Array:
        """A copy of the values: keys ``[1, K, S, D]``, values ``[1, K, D, S]``."""
        values = from_device(_packed(self.device.read()), of_keys=self._of_keys)
        return values.astype(np.float32, copy=False)

    def write(self, values: Array) -> None:
        """Replace the values."""
        given = np.asarray(values).reshape(self.device.tensor.shape)
        device = to_device(given, of_keys=self._of_keys)
        self.device.write(_unpacked(device, self.device.tensor.shape))


def from_device(memory: Array, *, of_keys: bool) -> Array:
    """The contract's cache ``[1, K, rows, columns]`` out of the device's memory ``[K, rows, columns]``."""
    kv_heads, rows, columns = memory.shape
    slots, head_dim = (rows, columns) if of_keys else (columns, rows)
    groups = (slots // GROUP, head_dim // GROUP)
    if of_keys:
        blocks = memory.reshape(kv_heads, groups[1], groups[0], GROUP, GROUP)
        found = blocks.transpose(0, 2, 3, 1, 4)  # [K, S/4, 4, D/4, 4]
    else:
        blocks = memory.reshape(kv_heads, groups[0], groups[1], GROUP, GROUP)
        found = blocks.transpose(0, 2, 4, 1, 3)  # [K, D/4, 4, S/4, 4]
    return np.ascontiguousarray(found).reshape(1, kv_heads, rows, columns)


def to_device(values: Array, *, of_keys: bool) -> Array:
    """The inverse of :func:`from_device`."""
    _, kv_heads, rows, columns = values.shape
    blocks = values.reshape(kv_heads, rows // GROUP, GROUP, columns // GROUP, GROUP)
    order = (0, 3, 1, 2, 4) if of_keys else (0, 3, 1, 4, 2)
    return np.ascontiguousarray(blocks.transpose(order)).reshape(kv_heads, rows, columns)


def _packed(unpacked: Array) -> Array:
    """The device's memory out of what LiteRT made of it, ``[1, K, rows, columns]``."""
    _, kv_heads, rows, columns = unpacked.shape
    groups = unpacked.reshape(kv_heads, rows, columns // GROUP, GROUP)
    return np.ascontiguousarray(groups.transpose(2, 0, 1, 3)).reshape(kv_heads, rows, columns)


def _unpacked(memory: Array, shape: tuple[int, ...]) -> Array:
    """The inverse of :func:`_packed`."""
    _, kv_heads, rows, columns = shape
    groups = memory.reshape(columns // GROUP, kv_heads, rows, GROUP)
    return np.ascontiguousarray(groups.transpose(1, 2, 0, 3)).reshape(shape)
