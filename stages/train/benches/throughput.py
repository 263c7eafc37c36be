"""Training as one writes it in PyTorch, for throughput.rs to hold the stage to: a worker on the same job protocol.

The parameter `loader` says how a batch comes about: `samples`, one by one as in the usual data loader, or `batches`, on
tensors of all images. Needs torch and torchvision.
"""

import json
import math
import sys

import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F
from torchvision import transforms

MARGIN = 4


class Fc(nn.Sequential):
    def __init__(self, widths):
        layers, inputs = [nn.Flatten()], 3 * 32 * 32
        for width in widths:
            layers += [nn.Linear(inputs, width), nn.ReLU(), nn.BatchNorm1d(width, affine=False)]
            inputs = width
        super().__init__(*layers, nn.Linear(inputs, 10))


class AllCnn(nn.Sequential):
    def __init__(self, planes):
        first, second = planes
        shapes = [(3, first, 3, 1), (first, first, 3, 2), (first, second, 3, 1), (second, second, 3, 2), (second, 10, 1, 1)]
        layers = []
        for inputs, outputs, size, stride in shapes:
            layers += [nn.Conv2d(inputs, outputs, size, stride, size // 2), nn.ReLU(), nn.BatchNorm2d(outputs)]
        super().__init__(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


class Mixing(nn.Module):
    """A block of ConvMixer."""

    def __init__(self, dim):
        super().__init__()
        self.space = nn.Sequential(nn.Conv2d(dim, dim, 5, padding=2, groups=dim), nn.GELU(), nn.BatchNorm2d(dim))
        self.channels = nn.Sequential(nn.Conv2d(dim, dim, 1), nn.GELU(), nn.BatchNorm2d(dim))

    def forward(self, x):
        return self.channels(x + self.space(x))


class ConvMixer(nn.Sequential):
    def __init__(self, dim, depth):
        patches = [nn.Conv2d(3, dim, 2, 2), nn.GELU(), nn.BatchNorm2d(dim)]
        blocks = [Mixing(dim) for _ in range(depth)]
        super().__init__(*patches, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(dim, 10))


class Transforming(nn.Module):
    """A block of a vision transformer."""

    def __init__(self, dim, heads, head_dim, mlp):
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(dim)
        self.qkv = nn.Linear(dim, 3 * heads * head_dim, bias=False)
        self.out = nn.Linear(heads * head_dim, dim)
        self.mlp = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, mlp), nn.GELU(), nn.Linear(mlp, dim))

    def forward(self, x):
        query, key, value = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in self.qkv(self.norm(x)).chunk(3, dim=-1)
        )
        x = x + self.out(F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2))
        return x + self.mlp(x)


class Vit(nn.Module):
    def __init__(self, patch, dim, depth, heads, head_dim, mlp):
        super().__init__()
        self.patch = patch
        self.embed = nn.Linear(3 * patch**2, dim)
        self.token = nn.Parameter(torch.randn(1, 1, dim))
        self.positions = nn.Parameter(torch.randn(1, (32 // patch) ** 2 + 1, dim))
        self.blocks = nn.Sequential(*[Transforming(dim, heads, head_dim, mlp) for _ in range(depth)])
        self.head = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, 10))

    def forward(self, x):
        side = 32 // self.patch
        x = x.view(-1, 3, side, self.patch, side, self.patch).permute(0, 2, 4, 3, 5, 1).reshape(len(x), side**2, -1)
        x = torch.cat([self.token.expand(len(x), -1, -1), self.embed(x)], dim=1) + self.positions
        return self.head(self.blocks(x)[:, 0])


class Residual(nn.Module):
    """A block of a wide residual network."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.inner = nn.Sequential(
            nn.BatchNorm2d(inputs, affine=False),
            nn.ReLU(),
            nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False),
            nn.BatchNorm2d(outputs, affine=False),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, stride, 1, bias=False),
        )
        changes = stride != 1 or inputs != outputs
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride) if changes else nn.Identity()

    def forward(self, x):
        return self.inner(x) + self.shortcut(x)


class Wr(nn.Sequential):
    def __init__(self, depth, widen, planes):
        layers, inputs = [nn.Conv2d(3, planes, 3, 1, 1, bias=False)], planes
        for group, first in enumerate([1, 2, 2]):
            for stride in [first] + [1] * ((depth - 4) // 6 - 1):
                outputs = planes * widen * 2**group
                layers.append(Residual(inputs, outputs, stride))
                inputs = outputs
        layers += [nn.BatchNorm2d(inputs, affine=False), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        super().__init__(*layers, nn.Linear(inputs, 10))


KINDS = {"fc": Fc, "allcnn": AllCnn, "convmixer": ConvMixer, "vit": Vit, "wr": Wr}


def build(model):
    sizes = dict(model)
    return KINDS[sizes.pop("kind")](**sizes)


class Samples(torch.utils.data.Dataset):
    """Image by image, as torchvision's data sets and its transformations do it: through PIL."""

    def __init__(self, images, labels, mean, std, augment):
        self.images, self.labels = images.permute(0, 2, 3, 1).numpy(), labels.tolist()
        augmentation = [transforms.RandomCrop(32, padding=MARGIN), transforms.RandomHorizontalFlip()] if augment else []
        self.transform = transforms.Compose([*augmentation, transforms.ToTensor(), transforms.Normalize(mean, std)])

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, at):
        return self.transform(Image.fromarray(self.images[at])), self.labels[at]


class Batches:
    """A batch at once: indices into images that are normalised, and bordered, beforehand."""

    def __init__(self, images, labels, mean, std, augment, size):
        self.labels, self.augment, self.size = labels, augment, size
        images = F.pad(images, [MARGIN] * 4) if augment else images
        mean, std = torch.tensor(mean).view(3, 1, 1), torch.tensor(std).view(3, 1, 1)
        self.images = images.float().div_(255).sub_(mean).div_(std)

    def __len__(self):
        return math.ceil(len(self.labels) / self.size)

    def __iter__(self):
        for samples in torch.randperm(len(self.labels)).split(self.size):
            yield self.crop(samples) if self.augment else self.images[samples], self.labels[samples]

    def crop(self, samples):
        count, pixels = len(samples), torch.arange(32)
        rows = torch.randint(2 * MARGIN + 1, (count, 1)) + pixels
        mirrored = torch.randint(2, (count, 1)).bool()
        columns = torch.randint(2 * MARGIN + 1, (count, 1)) + torch.where(mirrored, pixels.flip(0), pixels)
        return self.images[
            samples.view(-1, 1, 1, 1), torch.arange(3).view(3, 1, 1), rows.view(-1, 1, 32, 1), columns.view(-1, 1, 1, 32)
        ]


def train(job, data):
    """Trains a network. Returns how many numbers of it were trained."""
    torch.set_num_threads(job["threads"])
    loader, run = job["params"]["loader"], job["params"]["network"]
    split = (data["train_images"], data["train_labels"], data["mean"], data["std"], run["augment"])
    if loader == "samples":
        batches = torch.utils.data.DataLoader(Samples(*split), batch_size=run["batch"], shuffle=True)
    else:
        batches = Batches(*split, run["batch"])
    network = build(run["model"])
    optimizer = torch.optim.SGD(
        network.parameters(), lr=run["rate"], momentum=0.9, nesterov=True, weight_decay=run["decay"]
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, run["epochs"] * len(batches))
    for _ in range(run["epochs"]):
        losses = 0.0
        for images, labels in batches:
            loss = F.cross_entropy(network(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            losses += loss.item()
        if not math.isfinite(losses):
            raise ValueError(f"the losses of an epoch add up to {losses}")
    return sum(weights.numel() for weights in network.parameters())


def read(path):
    """A file as the stage `prepare` writes it."""
    kinds = {"U8": torch.uint8, "I64": torch.int64}
    with open(path, "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        content = bytearray(file.read())
    metadata = json.loads(header.pop("__metadata__")["hyperribbon"])
    for name, tensor in header.items():
        begin, end = tensor["data_offsets"]
        values = torch.frombuffer(content[begin:end], dtype=kinds[tensor["dtype"]])
        metadata[name] = values.view(tensor["shape"])
    return metadata


def main():
    held = None
    for line in sys.stdin:
        with open(json.loads(line)["job"]) as file:
            job = json.load(file)
        held = held or read(job["inputs"]["data"]["path"])
        parameters = train(job, held)
        print(json.dumps({"event": "done", "parameters": parameters}), flush=True)


main()
