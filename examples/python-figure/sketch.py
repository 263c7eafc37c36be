"""Draws where random walks end, a bar each: sketch.py SKETCH.svg PATH.csv .."""

import csv
import sys

WIDTH, ROW = 300, 24


def main(sketch, paths):
    ends = []
    for path in paths:
        with open(path, newline="") as file:
            (_, drift), *rows = csv.reader(file)
        ends.append((drift, float(rows[-1][1])))
    longest = max(abs(end) for _, end in ends) or 1
    bars = []
    for row, (drift, end) in enumerate(ends):
        length = WIDTH * abs(end) / longest
        bars.append(f'<rect x="90" y="{row * ROW + 4}" width="{length:.1f}" height="{ROW - 8}" fill="#4878d0"/>')
        bars.append(f'<text x="4" y="{row * ROW + 17}">drift {drift}</text>')
    size = f'width="{WIDTH + 100}" height="{len(ends) * ROW}"'
    style = 'font-family="sans-serif" font-size="13"'
    with open(sketch, "w") as file:
        file.write(f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style}>\n')
        file.write("\n".join(bars) + "\n</svg>\n")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
