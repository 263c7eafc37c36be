"""Records networks with the lines of docs/OWN-PREDICTIONS.md: own.py DOCUMENT FOLDER [more].

With PyTorch where this Python has it (that of `RIBBON_PYTHON` has to); else with a stand-in, as far as those lines use it, and
networks that are regressions on random features. Data are made up.
"""

import json
import os
import re
import sys
from pathlib import Path

import numpy as np

CLASSES, INPUTS = 3, 4

try:
    import torch
except ImportError:
    if "RIBBON_PYTHON" in os.environ:
        raise
    from standin import network, tensors, torch
else:

    def tensors(*arrays):
        return [torch.from_numpy(array) for array in arrays]

    def network(inputs, features, classes, seed, rate, momentum):
        torch.manual_seed(seed)
        layers = torch.nn.Linear(inputs, features), torch.nn.Tanh(), torch.nn.Dropout(0.1), torch.nn.Linear(features, classes)
        model = torch.nn.Sequential(*layers)
        return model, torch.optim.SGD(model.parameters(), rate, momentum), torch.nn.CrossEntropyLoss()


def data(count, seed):
    random = np.random.default_rng(seed)
    labels = np.arange(count) % CLASSES
    centres = 2 * np.eye(CLASSES, INPUTS)
    images = centres[labels] + 0.4 * random.normal(size=(count, INPUTS))
    return tensors(images.astype(np.float32), labels)


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

    loader = batches(train_images, train_labels, 10)

    def train(arch, features, method, momentum, seed):
        settings = {"arch": arch, "optimizer": method, "batch": 50, "rate": 0.1, "seed": seed}
        name = f"{arch}-{method}-{seed}"
        made = network(INPUTS, features, CLASSES, seed, 0.1, momentum)
        names["train"](*made, loader, epochs=8, name=name, settings=settings)

    if more:
        train("mlp", 16, "sgd", 0.5, 3)
        return
    made = zip(["model", "optimizer", "loss_function"], network(INPUTS, 16, CLASSES, 1, 0.1, 0.5))
    exec(call, names | dict(made) | {"loader": loader})
    train("mlp", 16, "sgd", 0.5, 2)
    for seed in (1, 2):
        train("mlp", 16, "nesterov", 0.9, seed)
        train("wide", 64, "sgd", 0.5, seed)
    as_safetensors(Path(folder) / "predictions" / "mlp-sgd-2.npz")


main(sys.argv[1], sys.argv[2], more=len(sys.argv) > 3)
