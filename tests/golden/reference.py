"""What the reference computations share: recorded numbers and the ConvNet.

Everything is plain torch in double precision, written from the papers'
formulas and not from the engine.
"""
import json
import struct

import numpy as np
import torch
import torch.nn.functional as F

torch.set_default_dtype(torch.float64)


class Record:
    """Named tensors, written as one safetensors file."""

    def __init__(self):
        self.tensors = {}

    def keep(self, name, value):
        """Remembers `value` and returns it as a tensor of its own."""
        if isinstance(value, torch.Tensor):
            value = value.detach().numpy()
        # Not ascontiguousarray, which has no scalars.
        value = np.array(value, order="C")
        if value.dtype.kind in "iu" and value.dtype != np.uint8:
            value = value.astype(np.int64)
        self.tensors[name] = value
        return torch.from_numpy(value.copy())

    def write(self, path):
        header, data, at = {}, [], 0
        kinds = {"f": "F64", "i": "I64", "u": "U8"}
        # Bytes last, so that everything else is aligned.
        for name in sorted(self.tensors,
                           key=lambda n: (-self.tensors[n].itemsize, n)):
            value = self.tensors[name]
            raw = value.tobytes()
            header[name] = {"dtype": kinds[value.dtype.kind],
                            "shape": list(value.shape),
                            "data_offsets": [at, at + len(raw)]}
            data.append(raw)
            at += len(raw)
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        with open(path, "wb") as file:
            file.write(struct.pack("<Q", len(text)) + text + b"".join(data))


def shapes(channels, side, width, depth, classes):
    """Tensors of a ConvNet: conv.w, conv.b, norm.w, norm.b a block; fc.w, fc.b."""
    result, c, s = [], channels, 32 if channels == 1 and side == 28 else side
    for _ in range(depth):
        result += [(width, c, 3, 3), (width,), (width,), (width,)]
        c, s = width, s // 2
    return result + [(classes, width * s * s), (classes,)]


def split(flat, sizes):
    parts, at = [], 0
    for shape in sizes:
        n = int(np.prod(shape))
        parts.append(flat[at:at + n].reshape(shape))
        at += n
    assert at == flat.numel()
    return parts


def embed(parts, x):
    """conv3x3, one group per channel, ReLU, average pooling, a block."""
    grey28 = x.shape[1] == 1 and x.shape[2] == 28
    for i in range((len(parts) - 2) // 4):
        w, b, g, o = parts[4 * i:4 * i + 4]
        x = F.conv2d(x, w, b, padding=3 if grey28 and i == 0 else 1)
        # Instance norm written out: biased variance over the map, eps 1e-5.
        mean = x.mean((2, 3), keepdim=True)
        var = ((x - mean) ** 2).mean((2, 3), keepdim=True)
        x = (x - mean) / torch.sqrt(var + 1e-5)
        x = x * g[None, :, None, None] + o[None, :, None, None]
        x = F.relu(x)
        n, c, h, v = x.shape
        x = x.reshape(n, c, h // 2, 2, v // 2, 2).mean((3, 5))
    return x.flatten(1)


def forward(parts, x):
    return embed(parts, x) @ parts[-2].T + parts[-1]


def cross_entropy(logits, labels):
    return (torch.logsumexp(logits, 1) -
            logits.gather(1, labels[:, None])[:, 0]).mean()
