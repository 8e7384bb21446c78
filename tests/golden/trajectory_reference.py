#!/usr/bin/env python3
"""Numbers that trajectory_golden_test.cc holds the engine against.

An independent computation in double precision of the trajectory family: its
augmentation, a GSAM step, whole iterations of MTT and DATM differentiated
through the graph of all student steps, ZCA whitening and sample scores.
Written from the papers' formulas with plain torch functions. Run it only to
make the frozen file anew (needs numpy and torch 2.11):

    python3 tests/golden/trajectory_reference.py \
        tests/golden/trajectory_reference.safetensors
"""
import sys

import numpy as np
import torch

from reference import Record, cross_entropy, embed, forward, shapes, split

rng = np.random.default_rng(20220322)
record = Record()
keep = record.keep

CLASSES, PER_CLASS, SIDE, WIDTH, DEPTH = 4, 2, 16, 4, 2
SIZES = shapes(3, SIDE, WIDTH, DEPTH, CLASSES)
TOTAL = sum(int(np.prod(s)) for s in SIZES)


def normal(*shape, scale=1.0):
    return torch.from_numpy(np.asarray(scale * rng.standard_normal(shape)))


def uniform(low, high, *shape):
    return torch.from_numpy(rng.uniform(low, high, shape))


def fresh_network():
    """Uniform in +-1/sqrt(fan in); norms 1 and 0, slightly disturbed."""
    parts = []
    for at in range(DEPTH):
        w = SIZES[4 * at]
        bound = 1 / np.sqrt(np.prod(w[1:]))
        parts += [uniform(-bound, bound, *w), uniform(-bound, bound, w[0]),
                  1 + normal(w[0], scale=.1), normal(w[0], scale=.1)]
    w = SIZES[-2]
    bound = 1 / np.sqrt(w[1])
    parts += [uniform(-bound, bound, *w), uniform(-bound, bound, w[0])]
    return torch.cat([p.flatten() for p in parts])


# DSA (Zhao & Bilen 2021) as trajectory matching uses it: one operation for the
# batch, its parameters per image, grids with aligned corners.
def per_image(v):
    return v[:, None, None, None]


def color(x, d):
    x = x + per_image(d["brightness"])
    m = x.mean(1, keepdim=True)
    x = (x - m) * per_image(d["saturation"]) + m
    m = x.mean((1, 2, 3), keepdim=True)
    return (x - m) * per_image(d["contrast"]) + m


def crop(x, d):
    # A border of zeros, and coordinates that stop at it.
    n, _, h, w = x.shape
    padded = torch.nn.functional.pad(x, (1, 1, 1, 1))
    out = []
    for i in range(n):
        rows = (torch.arange(h) + d["shift_y"][i] + 1).clamp(0, h + 1)
        columns = (torch.arange(w) + d["shift_x"][i] + 1).clamp(0, w + 1)
        out.append(padded[i][:, rows][:, :, columns])
    return torch.stack(out)


def cutout(x, d):
    # Coordinates beyond the picture zero its border.
    n, _, h, w = x.shape
    ch, cw = int(h * .5 + .5), int(w * .5 + .5)
    mask = torch.ones(n, 1, h, w)
    for i in range(n):
        rows = (torch.arange(ch) + d["cutout_y"][i] - ch // 2).clamp(0, h - 1)
        columns = (torch.arange(cw) + d["cutout_x"][i] - cw // 2).clamp(0, w - 1)
        mask[i, 0, rows[:, None], columns[None, :]] = 0
    return x * mask


def flip(x, d):
    return torch.where(per_image(d["flip"]) == 1, x.flip(3), x)


def bilinear(x, xx, xy, yx, yy):
    """Image i at (xx u + xy v, yx u + yy v), corners at +-1, zero outside."""
    n, _, h, w = x.shape
    u = -1 + 2 * torch.arange(w) / (w - 1)
    v = -1 + 2 * torch.arange(h) / (h - 1)
    out = []
    for i in range(n):
        column = ((xx[i] * u[None, :] + xy[i] * v[:, None]) + 1) / 2 * (w - 1)
        row = ((yx[i] * u[None, :] + yy[i] * v[:, None]) + 1) / 2 * (h - 1)
        c0, r0 = column.floor(), row.floor()
        value = 0
        for r, weight_r in ((r0, 1 - (row - r0)), (r0 + 1, row - r0)):
            for c, weight_c in ((c0, 1 - (column - c0)), (c0 + 1, column - c0)):
                inside = (r >= 0) & (r < h) & (c >= 0) & (c < w)
                r_in = r.clamp(0, h - 1).long()
                c_in = c.clamp(0, w - 1).long()
                value = value + x[i][:, r_in, c_in] * (weight_r * weight_c * inside)
        out.append(value)
    return torch.stack(out)


def scale(x, d):
    zero = torch.zeros_like(d["scale_x"])
    return bilinear(x, d["scale_x"], zero, zero, d["scale_y"])


def rotate(x, d):
    c, s = torch.cos(d["angle"]), torch.sin(d["angle"])
    return bilinear(x, c, -s, s, c)


OPERATIONS = [color, crop, cutout, flip, scale, rotate]


def drawn(prefix, n, side):
    """Parameters of n images, kept under `prefix`."""
    whole = lambda low, high: torch.from_numpy(rng.integers(low, high, n))
    shift = int(.125 * side + .5)
    d = {"flip": whole(0, 2), "brightness": uniform(-.5, .5, n),
         "saturation": uniform(0, 2, n), "contrast": uniform(.5, 1.5, n),
         "shift_y": whole(-shift, shift + 1), "shift_x": whole(-shift, shift + 1),
         "cutout_y": whole(0, side + 1), "cutout_x": whole(0, side + 1),
         "scale_y": uniform(1 / 1.2, 1.2, n), "scale_x": uniform(1 / 1.2, 1.2, n),
         "angle": uniform(-np.pi / 12, np.pi / 12, n)}
    for name, value in d.items():
        keep(prefix + name, value)
    return d


images = keep("dsa.images", normal(5, 3, 12, 12)).requires_grad_(True)
weights = keep("dsa.weights", normal(5, 3, 12, 12))
parameters = drawn("dsa.", 5, 12)
# The corners of the range, whatever was drawn.
for name, value in (("cutout_y", 0), ("cutout_x", 12)):
    parameters[name][0] = value
    keep("dsa." + name, parameters[name])
parameters["flip"][:2] = torch.tensor([0, 1])
keep("dsa.flip", parameters["flip"])
for operation in OPERATIONS:
    result = operation(images, parameters)
    keep("dsa." + operation.__name__ + ".result", result)
    keep("dsa." + operation.__name__ + ".gradient",
         torch.autograd.grad((result * weights).sum(), images)[0])


# GSAM (Zhuang et al. 2022) with adaptive perturbation, as FTD trains experts.
def batch_gradient(theta, x, y):
    leaf = theta.clone().requires_grad_(True)
    loss = cross_entropy(forward(split(leaf, SIZES), x), y)
    return torch.autograd.grad(loss, leaf)[0], loss


def gsam_step(w, x, y, rate, rho, alpha):
    g, loss = batch_gradient(w, x, y)
    e = rho * (w * w) * g / ((w.abs() * g).norm() + 1e-12)
    h, _ = batch_gradient(w + e, x, y)
    c = (g * h).sum() / (h.norm() * g.norm() + 1e-12)
    v = g - c * g.norm() * h / (h.norm() + 1e-12)
    return w - rate * (h - alpha * v), loss, g


RATE, RHO, ALPHA = .05, .3, .4
theta = keep("gsam.parameters", fresh_network())
x = keep("gsam.images", normal(6, 3, SIDE, SIDE))
y = keep("gsam.labels", np.arange(6) % CLASSES)
keep("gsam.settings", np.array([RATE, RHO, ALPHA]))
after, loss, g = gsam_step(theta, x, y, RATE, RHO, ALPHA)
keep("gsam.after", after)
keep("gsam.loss", loss)
keep("sgd.after", theta - RATE * g)


# An expert's two epochs: a few steps on pictures that can be learned.
def expert_segment(steps, rate):
    start = fresh_network()
    patterns = normal(CLASSES, 3, SIDE, SIDE)
    labels = torch.arange(24) % CLASSES
    real = patterns[labels] + normal(24, 3, SIDE, SIDE, scale=.5)
    w = start
    for _ in range(steps):
        w = w - rate * batch_gradient(w, real, labels)[0]
    return start, w, patterns


def batches(count, batch, steps):
    """Passes over all images; the last, short part of a pass comes first."""
    queue, chosen = [], []
    for _ in range(steps):
        if not queue:
            queue = list(torch.from_numpy(rng.permutation(count)).split(batch))
        chosen.append(queue.pop())
    return chosen


def soft_cross_entropy(logits, targets):
    return -(targets * torch.log_softmax(logits, 1)).sum(1).mean()


class Iteration:
    """One outer iteration of matching, by the graph of all its steps."""

    def __init__(self, tag, steps, batch, expert_steps):
        self.start, self.target, patterns = expert_segment(expert_steps, .05)
        labels = torch.arange(CLASSES).repeat_interleave(PER_CLASS)
        count = CLASSES * PER_CLASS
        self.pixels = patterns[labels] + normal(count, 3, SIDE, SIDE)
        self.labels = labels
        self.indices = batches(count, batch, steps)
        self.draws = []
        keep(tag + ".start", self.start)
        keep(tag + ".target", self.target)
        keep(tag + ".pixels", self.pixels)
        keep(tag + ".labels", labels)
        keep(tag + ".operations", np.arange(steps) % len(OPERATIONS))
        for i, index in enumerate(self.indices):
            keep(f"{tag}.step.{i}.indices", index)
            self.draws.append(drawn(f"{tag}.step.{i}.", len(index), SIDE))

    def step_loss(self, theta, x, logits, i):
        index = self.indices[i]
        views = OPERATIONS[i % len(OPERATIONS)](x[index], self.draws[i])
        out = forward(split(theta, SIZES), views)
        if logits is None:
            return cross_entropy(out, self.labels[index])
        return soft_cross_entropy(out, torch.softmax(logits[index], 1))

    def loss(self, x, logits, step_size, first=0, target=None):
        target = self.target if target is None else target
        theta = self.start.clone().requires_grad_(True)
        for i in range(len(self.indices)):
            g = torch.autograd.grad(self.step_loss(theta, x, logits, i), theta,
                                    create_graph=True)[0]
            theta = theta - step_size * g
        error = (theta - target)[first:]
        return (error ** 2).sum() / ((self.start - target)[first:] ** 2).sum()

    def tesla(self, x, step_size):
        """The estimator that holds every step's parameters constant."""
        theta, thetas, total = self.start, [], torch.zeros(TOTAL)
        for i in range(len(self.indices)):
            thetas.append(theta)
            leaf = theta.clone().requires_grad_(True)
            g = torch.autograd.grad(self.step_loss(leaf, x.detach(), None, i),
                                    leaf)[0]
            total = total + g
            theta = theta - step_size * g
        size = ((self.start - self.target) ** 2).sum()
        bracket = 2 * (step_size * (self.target - self.start) +
                       step_size ** 2 * total) / size
        gradient = torch.zeros_like(x)
        for i, at in enumerate(thetas):
            leaf = at.clone().requires_grad_(True)
            pixels = x.detach().clone().requires_grad_(True)
            g = torch.autograd.grad(self.step_loss(leaf, pixels, None, i), leaf,
                                    create_graph=True)[0]
            gradient = gradient + torch.autograd.grad((bracket * g).sum(), pixels)[0]
        by_step_size = 2 * (-total * (theta - self.target)).sum() / size
        return gradient, by_step_size


# MTT (Cazenavette et al. 2022): hard labels.
mtt = Iteration("mtt", steps=6, batch=3, expert_steps=8)
step_size = keep("mtt.step_size", np.array(.06)).requires_grad_(True)
x = mtt.pixels.clone().requires_grad_(True)
loss = mtt.loss(x, None, step_size)
dx, da = torch.autograd.grad(loss, [x, step_size])
keep("mtt.loss", loss)
keep("mtt.pixel_gradient", dx)
keep("mtt.step_size_gradient", da)
dx, da = mtt.tesla(x, step_size.detach())
keep("tesla.pixel_gradient", dx)
keep("tesla.step_size_gradient", da)

# DATM (Guo et al. 2024) with PAD's mask (Li et al. 2024): learned soft labels,
# the first quarter of the parameters left out, three optimisers.
MASK, RATES, MOMENTA = .25, (80., 5., 1e-3), (.5, .9, .5)
datm = Iteration("datm", steps=7, batch=5, expert_steps=8)
values = {"pixels": datm.pixels.clone(),
          "logits": keep("datm.logits", 2 * torch.nn.functional.one_hot(
              datm.labels, CLASSES).double() + normal(CLASSES * PER_CLASS, CLASSES)),
          "step_size": keep("datm.step_size", np.array(.05))}
velocities = {name: keep(f"datm.{name}_velocity", 1e-3 * normal(*value.shape))
              for name, value in values.items()}
keep("datm.mask", np.array(MASK))
keep("datm.rates", np.array(RATES))
keep("datm.momenta", np.array(MOMENTA))
leaves = {name: value.clone().requires_grad_(True) for name, value in values.items()}
loss = datm.loss(leaves["pixels"], leaves["logits"], leaves["step_size"],
                 first=int(MASK * TOTAL))
gradients = torch.autograd.grad(loss, list(leaves.values()))
keep("datm.loss", loss)
for (name, value), g, rate, momentum in zip(values.items(), gradients, RATES, MOMENTA):
    velocity = momentum * velocities[name] + g
    keep(f"datm.{name}_gradient", g)
    keep(f"datm.new_{name}_velocity", velocity)
    keep(f"datm.new_{name}", value - rate * velocity)
# An expert that hardly moves: the student ends farther away than it began, and
# nothing is updated.
still = keep("datm.skipped_target", datm.start + 1e-4 * normal(TOTAL))
loss = datm.loss(*leaves.values(), first=int(MASK * TOTAL), target=still)
assert loss > 1
keep("datm.skipped_loss", loss)

# ZCA of pictures of [0, 1] pixels that are no more than correlated noise.
train = rng.integers(0, 256, (40, 3, 2, 2)).astype(np.uint8)
train[:, 1] = train[:, 0] // 2 + train[:, 1] // 2
test = rng.integers(0, 256, (5, 3, 2, 2)).astype(np.uint8)
flat = keep("zca.train", train).double().flatten(1) / 255
mean = flat.mean(0)
covariance = (flat - mean).T @ (flat - mean) / (len(flat) - 1)
u, s, _ = torch.linalg.svd(covariance)
whiten = u @ torch.diag(1 / torch.sqrt(s + .1)) @ u.T
keep("zca.mean", mean)
keep("zca.whiten", whiten)
keep("zca.unwhiten", u @ torch.diag(torch.sqrt(s + .1)) @ u.T)
other = keep("zca.test", test).double().flatten(1) / 255
keep("zca.white_test", ((other - mean) @ whiten).reshape(5, 3, 2, 2))

# EL2N and GraNd (Paul et al. 2021) of two networks, the latter by its
# definition: the length of the loss gradient of the last layer, image by image.
bytes_ = keep("score.images", rng.integers(0, 256, (8, 3, SIDE, SIDE)).astype(np.uint8))
labels = keep("score.labels", np.arange(8) % CLASSES)
CENTRE, SPREAD = (.5, .45, .4), (.25, .2, .3)
keep("score.mean", np.array(CENTRE))
keep("score.std", np.array(SPREAD))
x = (bytes_.double() / 255 - torch.tensor(CENTRE)[None, :, None, None]) \
    / torch.tensor(SPREAD)[None, :, None, None]
el2n, grand = torch.zeros(8), torch.zeros(8)
for run in range(2):
    parts = split(keep(f"score.{run}.parameters", fresh_network()), SIZES)
    inputs = embed(parts, x)
    keep(f"score.{run}.feature_norm", inputs.norm(dim=1))
    w, b = (parts[-2].clone().requires_grad_(True),
            parts[-1].clone().requires_grad_(True))
    logits = inputs @ w.T + b
    p = torch.softmax(logits, 1)
    keep(f"score.{run}.probabilities", p)
    el2n += (p.detach() - torch.nn.functional.one_hot(labels, CLASSES)).norm(dim=1) / 2
    for i in range(8):
        one = cross_entropy(logits[i:i + 1], labels[i:i + 1])
        gw, gb = torch.autograd.grad(one, [w, b], retain_graph=True)
        grand[i] += torch.sqrt((gw ** 2).sum() + (gb ** 2).sum()) / 2
keep("score.el2n", el2n)
keep("score.grand", grand)

record.write(sys.argv[1])
