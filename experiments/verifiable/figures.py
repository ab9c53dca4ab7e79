"""The figures of this folder, as PNG files."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from jaxcert.evaluate.figures import BLUE, GREY, ORANGE, save

COLOURS = (BLUE, ORANGE, GREY)


def bounding_maps(
    images: np.ndarray, radii: Mapping[str, np.ndarray], chosen: Sequence[int], path: Path
) -> None:
    """One row per chosen image: the image, then the radius of every pixel for each network.

    Each map has its own logarithmic grey scale, from its smallest radius (black) to its largest (white).
    """
    columns = 1 + len(radii)
    figure = Figure(figsize=(2.6 * columns, 2.5 * len(chosen) + 0.5), layout="constrained")
    panels = figure.subplots(len(chosen), columns, squeeze=False)
    for row, index in enumerate(chosen):
        maps = [images[index], *(values[index] for values in radii.values())]
        for column, (panel, values) in enumerate(zip(panels[row], maps, strict=True)):
            panel.set_xticks([])
            panel.set_yticks([])
            scale = LogNorm() if column else None
            shown = panel.imshow(values[..., 0], cmap="gray", norm=scale, interpolation="nearest")
            if column:
                bar = figure.colorbar(shown, ax=panel, shrink=0.85)
                bar.ax.tick_params(which="both", labelsize=7)
            if row == 0:
                panel.set_title("image" if column == 0 else list(radii)[column - 1], fontsize=10)
    figure.suptitle("Certified radius of every pixel (pixels in [-1, 1])", fontsize=10)
    save(figure, path)


def radius_histograms(
    radii: Mapping[str, np.ndarray], index: int, path: Path, *, trained_at: Mapping[str, float]
) -> None:
    """The distribution of one image's radii over its pixels, for each network."""
    figure = Figure(figsize=(4.2 * len(radii), 3.2), layout="constrained")
    panels = figure.subplots(1, len(radii), squeeze=False)[0]
    for panel, (name, values), colour in zip(panels, radii.items(), COLOURS, strict=False):
        panel.hist(values[index].reshape(-1), bins=40, color=colour)
        if name in trained_at:
            panel.axvline(trained_at[name], color=GREY, linestyle="--", label="eps of training")
            panel.legend(frameon=False, fontsize=8)
        panel.set_title(name, fontsize=10)
        panel.set_xlabel("certified radius of a pixel (pixels in [-1, 1])", fontsize=9)
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("pixels", fontsize=9)
    figure.suptitle(f"Test image {index}", fontsize=10)
    save(figure, path)


def bound_against_eps(eps: np.ndarray, curves: Mapping[str, np.ndarray], title: str, path: Path) -> None:
    """Certified radius against the eps of the region that was bounded."""
    figure = Figure(figsize=(5.2, 3.6), layout="constrained")
    panel = figure.subplots()
    panel.plot(eps, eps, color=GREY, linewidth=0.8, linestyle=":", label="eps")
    styles = ("-", "--")
    for (name, values), colour, style in zip(curves.items(), (ORANGE, BLUE), styles, strict=True):
        panel.plot(eps, values, color=colour, linestyle=style, label=name)
    panel.set_xlabel("eps of the region (pixels in [0, 1])", fontsize=9)
    panel.set_ylabel("certified radius", fontsize=9)
    panel.set_ylim(0, 1.15 * max(values.max() for values in curves.values()))
    panel.legend(frameon=False, fontsize=9)
    panel.spines[["top", "right"]].set_visible(False)
    panel.set_title(title, fontsize=10)
    save(figure, path)


def optimal_bounds(bounds: Mapping[str, np.ndarray], target: float, title: str, path: Path) -> None:
    """Histograms of the optimal certified radius over the images, one panel per network."""
    figure = Figure(figsize=(3.4 * len(bounds), 3.0), layout="constrained")
    panels = figure.subplots(1, len(bounds), sharex=True, squeeze=False)[0]
    most = max(values.max() for values in bounds.values())
    for panel, (name, values), colour in zip(panels, bounds.items(), COLOURS, strict=False):
        panel.hist(values, bins=np.linspace(0, most, 25), color=colour)
        panel.axvline(target, color="0.2", linestyle="--", linewidth=1)
        panel.set_title(name, fontsize=10)
        panel.set_xlabel("optimal certified radius", fontsize=9)
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("images", fontsize=9)
    figure.suptitle(f"{title}; dashed: eps of training", fontsize=10)
    save(figure, path)
