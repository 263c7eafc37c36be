"""Draws random walks: plot.py FIGURE.svg PATH.csv .."""

import csv
import sys

import matplotlib

matplotlib.use("svg")
# Equal bits for equal data: no random ids, no date.
matplotlib.rcParams["svg.hashsalt"] = "walks"

from matplotlib import pyplot


def main(figure, paths):
    axes = pyplot.figure(figsize=(6, 4), layout="constrained").gca()
    for path in paths:
        with open(path, newline="") as file:
            (_, drift), *rows = csv.reader(file)
        steps, places = zip(*((int(step), float(place)) for step, place in rows))
        axes.plot(steps, places, label=f"drift {drift}", linewidth=1)
    axes.set(xlabel="step", ylabel="place")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    pyplot.savefig(figure, metadata={"Date": None})


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
