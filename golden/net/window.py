"""Sliding windows over feature maps: the one place that knows how padding, stride and dilation meet.

A window position (oh, ow) with kernel tap (kh, kw) reads the padded map at row ``oh*stride + kh*dilation``.
Padding is always given as (top, left, bottom, right), the order of ONNX.
"""

import numpy as np
from numpy.lib.stride_tricks import as_strided

__all__ = ["ceil_padding", "correlate", "out_hw", "pad", "windows"]

BLOCK_ELEMENTS = 1 << 22
"""Largest im2col or converted-weight block, in elements; bounds the extra memory to about 2 x 32 MB."""

Pair = tuple[int, int]
Padding = tuple[int, int, int, int]


def out_hw(in_hw: Pair, kernel: Pair, stride: Pair, padding: Padding, dilation: Pair = (1, 1)) -> Pair:
    """Height and width of the output; zero or negative where the kernel does not fit."""
    top, left, bottom, right = padding
    height = (in_hw[0] + top + bottom - dilation[0] * (kernel[0] - 1) - 1) // stride[0] + 1
    width = (in_hw[1] + left + right - dilation[1] * (kernel[1] - 1) - 1) // stride[1] + 1
    return height, width


def ceil_padding(in_hw: Pair, kernel: Pair, stride: Pair, padding: Padding) -> Padding:
    """Padding with which rounding down gives the output size that PyTorch's ``ceil_mode=True`` rounds up to.

    A window that would start in the padding below or to the right is dropped, as PyTorch does.
    """
    top, left, bottom, right = padding
    grown = []
    for size, window, step, before, after in (
        (in_hw[0], kernel[0], stride[0], top, bottom),
        (in_hw[1], kernel[1], stride[1], left, right),
    ):
        steps = -(-(size + before + after - window) // step)
        if steps * step >= size + before:
            steps -= 1
        grown.append(max(after, steps * step + window - size - before))
    return top, left, grown[0], grown[1]


def pad(x: np.ndarray, padding: Padding, value: float) -> np.ndarray:
    """Surround ``x[C, H, W]`` with `value`, or cut off where negative; `x` itself if there is nothing to do."""
    if not any(padding):
        return x
    if min(padding) < 0:
        top, left, bottom, right = (max(0, -amount) for amount in padding)
        x = x[:, top : x.shape[1] - bottom, left : x.shape[2] - right]
        padding = (max(0, padding[0]), max(0, padding[1]), max(0, padding[2]), max(0, padding[3]))
    top, left, bottom, right = padding
    channels, height, width = x.shape
    out = np.full((channels, height + top + bottom, width + left + right), value, dtype=x.dtype)
    out[:, top : top + height, left : left + width] = x
    return out


def windows(padded: np.ndarray, kernel: Pair, stride: Pair, dilation: Pair = (1, 1)) -> np.ndarray:
    """View of an already padded map as ``[C, Kh, Kw, Ho, Wo]``; nothing is copied."""
    channels, height, width = padded.shape
    rows, cols = out_hw((height, width), kernel, stride, (0, 0, 0, 0), dilation)
    s_c, s_h, s_w = padded.strides
    return as_strided(
        padded,
        shape=(channels, *kernel, rows, cols),
        strides=(s_c, s_h * dilation[0], s_w * dilation[1], s_h * stride[0], s_w * stride[1]),
        writeable=False,
    )


def correlate(
    x: np.ndarray,
    weight: np.ndarray,
    *,
    stride: Pair = (1, 1),
    padding: Padding = (0, 0, 0, 0),
    pad_value: float = 0,
    dilation: Pair = (1, 1),
    groups: int = 1,
    dtype: type = np.float32,
) -> np.ndarray:
    """Cross-correlate a feature map with a set of filters at BLAS speed.

    Parameters
    ----------
    x : any[C, H, W]
    weight : any[O, C/groups, Kh, Kw]
    pad_value : float
        What the padding contributes (an int8 map is padded with its zero point).
    dtype : numpy float type
        Type of every operand and sum. The caller proves that it is wide enough; nothing is rounded
        here beyond what this type rounds.

    Returns
    -------
    dtype[O, Ho, Wo]
    """
    kernel = (weight.shape[2], weight.shape[3])
    padded = pad(x.astype(dtype, copy=False), padding, pad_value)
    view = windows(padded, kernel, stride, dilation)
    if weight.shape[1] == 1 and groups > 1:
        return _depthwise(view, weight.astype(dtype, copy=False))
    return _grouped(view, weight, groups, dtype)


def _depthwise(view: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Tap by tap: with one channel per filter, a matrix product would be all overhead."""
    channels, kernel_h, kernel_w, rows, cols = view.shape
    taps = weight.reshape(channels, -1, kernel_h, kernel_w)  # [C, filters per channel, Kh, Kw]
    out = np.zeros((channels, taps.shape[1], rows, cols), dtype=weight.dtype)
    for kh in range(kernel_h):
        for kw in range(kernel_w):
            out += taps[:, :, kh, kw, None, None] * view[:, None, kh, kw]
    return out.reshape(-1, rows, cols)


def _grouped(view: np.ndarray, weight: np.ndarray, groups: int, dtype: type) -> np.ndarray:
    """im2col in blocks of output rows, one matrix product per group and block.

    Weights convert block by block too: those of VGG's fc6 alone would fill 800 MB in float64.
    """
    channels, kernel_h, kernel_w, rows, cols = view.shape
    depth = channels // groups * kernel_h * kernel_w
    filters = weight.reshape(groups, -1, depth)  # [G, O/G, K]
    out = np.empty((groups, filters.shape[1], rows, cols), dtype=dtype)
    filter_step = max(1, BLOCK_ELEMENTS // (groups * depth))
    row_step = max(1, BLOCK_ELEMENTS // (groups * depth * cols))
    for first in range(0, filters.shape[1], filter_step):
        block = filters[:, first : first + filter_step].astype(dtype, copy=False)
        for top in range(0, rows, row_step):
            patch = view[:, :, :, top : top + row_step]
            product = block @ patch.reshape(groups, depth, -1)
            out[:, first : first + filter_step, top : top + row_step] = product.reshape(
                groups, block.shape[1], -1, cols
            )
    return out.reshape(-1, rows, cols)
