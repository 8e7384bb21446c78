#!/usr/bin/env python3
"""Numbers that idc_golden_test.cc holds the engine against.

An independent computation in double precision of the ConvNet, the matching
distances, the augmentations, multi-formation decoding and one whole IDC step,
written from the papers' formulas with plain torch functions. Run it only to
make the frozen file anew (needs numpy and torch 2.11):

    python3 tests/golden/idc_reference.py tests/golden/idc_reference.safetensors
"""
import sys

import numpy as np
import torch
import torch.nn.functional as F

from reference import Record, cross_entropy, forward, shapes, split

rng = np.random.default_rng(20240229)
record = Record()
keep = record.keep


def draw(*shape, scale=1.0):
    return torch.from_numpy(scale * rng.standard_normal(shape))


def network_case(tag, channels, side, width, depth, classes, images):
    sizes = shapes(channels, side, width, depth, classes)
    total = sum(int(np.prod(s)) for s in sizes)
    flat = keep(tag + ".parameters", draw(total, scale=0.3))
    x = keep(tag + ".images", draw(images, channels, side, side))
    y = keep(tag + ".labels", np.arange(images) % classes)
    leaf = flat.clone().requires_grad_(True)
    logits = forward(split(leaf, sizes), x)
    keep(tag + ".logits", logits)
    keep(tag + ".gradient",
         torch.autograd.grad(cross_entropy(logits, y), leaf)[0])


network_case("grey", 1, 28, 4, 3, 3, 5)
network_case("rgb", 3, 16, 6, 2, 4, 3)


# --- distances over a list of gradients
def l1(a, b):
    return sum((p - q).abs().sum() for p, q in zip(a, b))


def mse(a, b):
    return sum(((p - q) ** 2).sum() for p, q in zip(a, b))


def cosine(a, b):
    total = 0.0
    for p, q in zip(a, b):
        if p.dim() == 1:
            continue
        p, q = p.reshape(p.shape[0], -1), q.reshape(q.shape[0], -1)
        dot = (p * q).sum(1)
        total = total + (1 - dot / (p.norm(dim=1) * q.norm(dim=1) + 1e-6)).sum()
    return total


pair = []
for side in ("a", "b"):
    pair.append([keep(f"distance.{side}.{i}", draw(*shape)) for i, shape in
                 enumerate([(4, 3, 3, 3), (4,), (5, 8), (5,)])])
for name, function in (("l1", l1), ("mse", mse), ("cosine", cosine)):
    keep("distance." + name, np.array([function(*pair).item()]))


# --- augmentations with given parameters
def color(x, b, s, c):
    x = x + b[:, None, None, None]
    m = x.mean(1, keepdim=True)
    x = (x - m) * s[:, None, None, None] + m
    m = x.mean((1, 2, 3), keepdim=True)
    return (x - m) * c[:, None, None, None] + m


def shift(x, dy, dx):
    n, _, h, w = x.shape
    y = torch.zeros_like(x)
    for i in range(n):
        for r in range(h):
            for q in range(w):
                if 0 <= r + dy[i] < h and 0 <= q + dx[i] < w:
                    y[i, :, r, q] = x[i, :, r + dy[i], q + dx[i]]
    return y


def cutout(x, cy, cx):
    n, _, h, w = x.shape
    kh, kw = int(h * 0.5 + 0.5), int(w * 0.5 + 0.5)
    keep_mask = torch.ones_like(x)
    for i in range(n):
        top, left = int(cy[i]) - kh // 2, int(cx[i]) - kw // 2
        keep_mask[i, :, max(top, 0):max(top + kh, 0),
                  max(left, 0):max(left + kw, 0)] = 0
    return x * keep_mask


def sample(x, theta, align):
    grid = F.affine_grid(theta, list(x.shape), align_corners=align)
    return F.grid_sample(x, grid, align_corners=align)


def scale(x, sy, sx, align):
    theta = torch.zeros(x.shape[0], 2, 3)
    theta[:, 0, 0], theta[:, 1, 1] = sx, sy
    return sample(x, theta, align)


def rotate(x, angle, align):
    theta = torch.zeros(x.shape[0], 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = torch.cos(angle)
    theta[:, 0, 1], theta[:, 1, 0] = -torch.sin(angle), torch.sin(angle)
    return sample(x, theta, align)


x = keep("augment.images", draw(4, 3, 12, 12))
u = lambda low, high: torch.from_numpy(rng.uniform(low, high, 4))
b, s, c = u(-.5, .5), u(0, 2), u(.5, 1.5)
for name, value in (("brightness", b), ("saturation", s), ("contrast", c)):
    keep("augment." + name, value)
keep("augment.color", color(x, b, s, c))
dy = keep("augment.shift_y", rng.integers(-2, 3, 4))
dx = keep("augment.shift_x", rng.integers(-2, 3, 4))
keep("augment.crop", shift(x, dy, dx))
cy = keep("augment.cutout_y", np.array([0, 3, 6, 12]))
cx = keep("augment.cutout_x", np.array([5, 0, 11, 6]))
keep("augment.cutout", cutout(x, cy, cx))
flip = keep("augment.flips", np.array([1, 0, 0, 1]))
keep("augment.flip", torch.where(flip[:, None, None, None] == 1, x.flip(3), x))
sy, sx = u(1 / 1.2, 1.2), u(1 / 1.2, 1.2)
keep("augment.scale_y", sy), keep("augment.scale_x", sx)
angle = keep("augment.angle", u(-np.pi / 12, np.pi / 12))
for align in (False, True):
    suffix = "aligned" if align else "plain"
    keep("augment.scale." + suffix, scale(x, sy, sx, align))
    keep("augment.rotate." + suffix, rotate(x, angle, align))


# --- multi-formation
def decode(x, factor):
    n, channels, h, w = x.shape
    th, tw = -(-h // factor), -(-w // factor)
    x = F.pad(x, (0, tw * factor - w, 0, th * factor - h), value=0.5)
    tiles = [x[:, :, i * th:(i + 1) * th, j * tw:(j + 1) * tw]
             for i in range(factor) for j in range(factor)]
    return torch.cat([F.interpolate(t, size=(h, w), mode="bilinear",
                                    align_corners=False) for t in tiles])


stored = keep("decode.images", torch.from_numpy(rng.uniform(0, 1, (2, 3, 8, 8))))
keep("decode.2", decode(stored, 2))
keep("decode.3", decode(stored, 3))

# --- one whole IDC step: three classes, each stepped once, l1 on convolutions
CLASSES, FACTOR, RATE, MOMENTUM = 3, 2, 0.05, 0.5
MEAN, STD = 0.2861, 0.3530
sizes = shapes(1, 28, 4, 3, CLASSES)
theta = keep("step.parameters",
             draw(sum(int(np.prod(q)) for q in sizes), scale=0.3))
pixels = keep("step.pixels", torch.from_numpy(
    rng.uniform(0, 1, (CLASSES, 2, 1, 28, 28)))).clone()
velocity = keep("step.velocity", draw(CLASSES, 2, 1, 28, 28, scale=1e-3)).clone()
real = keep("step.real", torch.from_numpy(rng.uniform(0, 1, (CLASSES, 6, 1, 28, 28))))
drawn = {name: keep("step." + name, torch.from_numpy(rng.uniform(lo, hi, CLASSES)))
         for name, lo, hi in (("brightness", -.5, .5), ("saturation", 0, 2),
                              ("contrast", .5, 1.5))}
moves = {name: keep("step." + name, rng.integers(lo, hi, CLASSES))
         for name, lo, hi in (("shift_y", -4, 5), ("shift_x", -4, 5),
                              ("cutout_y", 0, 29), ("cutout_x", 0, 29))}


def augmented(x, k):
    n = x.shape[0]
    one = lambda v: v[k:k + 1].expand(n)
    x = (x - MEAN) / STD
    x = color(x, *(one(drawn[q]) for q in ("brightness", "saturation", "contrast")))
    x = shift(x, one(moves["shift_y"]), one(moves["shift_x"]))
    return cutout(x, one(moves["cutout_y"]), one(moves["cutout_x"]))


def matched(x, label, graph):
    leaf = theta.clone().requires_grad_(True)
    parts = split(leaf, sizes)
    loss = cross_entropy(forward(parts, x), torch.full((x.shape[0],), label))
    convolutions = [q for q in parts if q.dim() == 4]
    return torch.autograd.grad(loss, convolutions, create_graph=graph)


gradients, losses = [], []
for k in range(CLASSES):
    p = pixels[k].clone().requires_grad_(True)
    target = matched(augmented(real[k], k), k, False)
    distance = l1(matched(augmented(decode(p, FACTOR), k), k, True), target)
    gradients.append(torch.autograd.grad(distance, p)[0])
    losses.append(distance.item())
keep("step.losses", np.array(losses))
gradients = torch.stack(gradients)
keep("step.gradients", gradients)

# The released optimiser: one tensor, one step after each class, so that a
# class's velocity keeps decaying and moving its pixels while the others are
# visited. "velocity" is the one right after the class's own visit; a class's
# sweep is its own visit and the moves of the CLASSES - 1 visits that follow.
new_pixels, new_velocity = [], []
for k in range(CLASSES):
    x, v = pixels[k].clone(), velocity[k] * MOMENTUM ** (CLASSES - 1)
    for visit in range(CLASSES):
        v = MOMENTUM * v + (gradients[k] if visit == 0 else 0)
        if visit == 0:
            new_velocity.append(v)
        x = x - RATE * v
    new_pixels.append(x)
keep("step.new_pixels", torch.stack(new_pixels))
keep("step.new_velocity", torch.stack(new_velocity))
keep("step.settings", np.array([RATE, MOMENTUM, MEAN, STD]))

record.write(sys.argv[1])
