"""Unpacks the wheels of PyTorch and of NVIDIA's libraries into one libtorch folder: lib/ and include/.

Usage: unpack.py cpu|cuda WHEELS TARGET. `cpu` keeps what programs without a GPU load, `cuda` all but PyTorch's Python side.
All libraries lie in one folder, as in PyTorch's own libtorch archives: each finds the others beside itself.
"""

import pathlib
import re
import shutil
import sys
import zipfile

INCLUDE = "torch/include/"
LIBRARY = re.compile(r"(torch|nvidia)/(.+/)?lib/(?P<name>[^/]+\.so(\.[\d.]+)?)")
KEPT = {
    "cpu": re.compile(r"lib(torch|torch_cpu|c10|gomp|cudart|cupti)\.so(\.\d+)*"),
    "cuda": re.compile(r"(?!libtorch_python\.|libshm\.).*"),
}


def place(member, kept):
    """Where a wheel's file goes below the target; None for files that are left out."""
    if member.startswith(INCLUDE):
        return pathlib.Path("include", member.removeprefix(INCLUDE))
    library = LIBRARY.fullmatch(member)
    if library and kept.fullmatch(library["name"]):
        return pathlib.Path("lib", library["name"])
    return None


def main():
    flavour, wheels, target = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
    for wheel in sorted(wheels.glob("*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            for member in archive.infolist():
                path = place(member.filename, KEPT[flavour])
                if path is None or member.is_dir():
                    continue
                path = target / path
                path.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(member) as source, path.open("wb") as copy:
                    shutil.copyfileobj(source, copy, 1 << 20)


main()
