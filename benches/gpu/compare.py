"""Compares f32 or f64 tensors of two safetensors files: compare.py A B TENSOR LIMIT [ROW]

Prints the largest absolute difference, of one row of the first axis when told, and ends with exit status 1 if it is above
the limit or not a number. Needs no package.
"""

import array
import json
import math
import struct
import sys


def read(path, name, row=None):
    """The numbers of a tensor, or of a row of it, in their order."""
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        tensor = json.loads(file.read(length))[name]
        begin, end = tensor["data_offsets"]
        if row is not None:
            size = (end - begin) // tensor["shape"][0]
            begin, end = begin + row * size, begin + (row + 1) * size
        file.seek(8 + length + begin)
        return array.array({"F32": "f", "F64": "d"}[tensor["dtype"]], file.read(end - begin))


def main(one, other, name, limit, row=None):
    row = None if row is None else int(row)
    one, other = read(one, name, row), read(other, name, row)
    assert len(one) == len(other) > 0, f"{name} has {len(one)} and {len(other)} numbers"
    # Not max(), which passes over what is not a number.
    differences = [abs(a - b) for a, b in zip(one, other)]
    largest = math.nan if any(map(math.isnan, differences)) else max(differences)
    print(f"{largest:.2g}")
    return 0 if largest <= float(limit) else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
