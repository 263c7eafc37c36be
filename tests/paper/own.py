"""Records networks with the lines of docs/OWN-PREDICTIONS.md: own.py DOCUMENT FOLDER [more].

A stand-in for PyTorch, as far as those lines use it, and networks that are regressions on random features of made-up data.
"""

import contextlib
import json
import re
import sys
from pathlib import Path

import numpy as np

CLASSES, INPUTS = 3, 4


class Tensor(np.ndarray):
    def to(self, device):
        return self

    def float(self):
        return self.astype(np.float32)

    def cpu(self):
        return self

    def numpy(self):
        return np.asarray(self)

    def numel(self):
        return self.size


class torch:
    no_grad = contextlib.nullcontext

    @staticmethod
    def cat(parts):
        return np.concatenate(parts).view(Tensor)


class Model:
    def __init__(self, features, seed):
        random = np.random.default_rng(seed)
        self.features = np.random.default_rng(0).normal(size=(INPUTS, features))
        self.weights = (0.1 * random.normal(size=(features, CLASSES))).view(Tensor)
        self.is_training = True

    def parameters(self):
        return [self.weights]

    def eval(self):
        self.is_training = False

    def train(self):
        self.is_training = True

    def __call__(self, images):
        self.seen = np.tanh(images @ self.features)
        return (self.seen @ self.weights).view(Tensor)


class Optimizer:
    def __init__(self, model, rate, momentum):
        self.model, self.rate, self.momentum = model, rate, momentum
        self.velocity = np.zeros_like(model.weights)

    def zero_grad(self):
        self.model.gradient = 0

    def step(self):
        assert self.model.is_training
        self.velocity = self.momentum * self.velocity + self.model.gradient
        self.model.weights -= self.rate * self.velocity


class CrossEntropy:
    def __init__(self, model):
        self.model = model

    def __call__(self, logits, labels):
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        self.residual = powers / powers.sum(axis=1, keepdims=True) - np.eye(CLASSES)[labels]
        return self

    def backward(self):
        self.model.gradient = self.model.gradient + self.model.seen.T @ self.residual / len(self.residual)


def data(count, seed):
    random = np.random.default_rng(seed)
    labels = np.arange(count) % CLASSES
    centres = 2 * np.eye(CLASSES, INPUTS)
    return (centres[labels] + 0.4 * random.normal(size=(count, INPUTS))).view(Tensor), labels.view(Tensor)


def batches(images, labels, size):
    return [(images[i : i + size], labels[i : i + size]) for i in range(0, len(labels), size)]


def as_safetensors(npz):
    """The same arrays as safetensors, the probabilities' logits in 16 bits; in place of the .npz file."""
    header, body = {}, b""
    with np.load(npz) as arrays:
        for name, array in arrays.items():
            array = array.astype(np.float16 if array.ndim == 3 else np.float64)
            kind = {np.dtype(np.float16): "F16", np.dtype(np.float64): "F64"}[array.dtype]
            offsets = [len(body), len(body) + array.nbytes]
            header[name] = {"dtype": kind, "shape": array.shape, "data_offsets": offsets}
            body += array.tobytes()
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    npz.with_suffix(".safetensors").write_bytes(len(text).to_bytes(8, "little") + text + body)
    npz.unlink()
    table = npz.parent.parent / "networks.csv"
    table.write_text(table.read_text().replace(npz.name, npz.with_suffix(".safetensors").name))


def main(document, folder, more):
    blocks = re.findall(r"```python\n(.*?)```", Path(document).read_text(), re.DOTALL)
    recording, loop, call, labels = blocks
    (train_images, train_labels), (test_images, test_labels) = data(30, 1), data(12, 2)
    names = {
        "torch": torch,
        "np": np,
        "device": "cpu",
        "folder": Path(folder),
        "all_train": batches(train_images, train_labels, 20),
        "all_test": batches(test_images, test_labels, 20),
        "train_labels": train_labels,
        "test_labels": test_labels,
    }
    exec(recording, names)
    exec(loop, names)
    exec(labels, names)

    def network(features, seed, rate, momentum):
        model = Model(features, seed)
        loader = batches(train_images, train_labels, 10)
        return model, Optimizer(model, rate, momentum), CrossEntropy(model), loader

    def train(arch, features, method, momentum, seed):
        settings = {"arch": arch, "optimizer": method, "batch": 50, "rate": 0.1, "seed": seed}
        name = f"{arch}-{method}-{seed}"
        names["train"](*network(features, seed, 0.1, momentum), epochs=8, name=name, settings=settings)

    if more:
        train("mlp", 16, "sgd", 0.5, 3)
        return
    made = dict(zip(["model", "optimizer", "loss_function", "loader"], network(16, 1, 0.1, 0.5)))
    exec(call, names | made)
    train("mlp", 16, "sgd", 0.5, 2)
    for seed in (1, 2):
        train("mlp", 16, "nesterov", 0.9, seed)
        train("wide", 64, "sgd", 0.5, seed)
    as_safetensors(Path(folder) / "predictions" / "mlp-sgd-2.npz")


main(sys.argv[1], sys.argv[2], more=len(sys.argv) > 3)
