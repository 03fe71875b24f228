"""Canvases that are drawn, not scanned: symbols of any value, and lesions of any size and place.

What they show is known, there is no end of them, and no patient is in them: an encoder learns from
them to read values and region loads off a picture before it sees the first patient.
"""

import nibabel as nib
import numpy as np
import torch

from ..grids import Grid
from ..intensity import rescale_intensity
from ..parameters import COUNT, FROM_ZERO, Parametrised, parameter, parameters
from ..roi_mosaics import RoiMosaic
from ..symbols import LOOKS, draw_symbols, symbol_cells
from .batches import Samples

__all__ = ["DrawnCanvases"]

STEPS = 100  # of a continuous symbol, each drawn once
EMPTY, MISSING = 0.04, 0.03  # shares of brains without a lesion, and of values that are missing
FURTHER_LESIONS, MOST_LESIONS = 1.0, 6
RADIUS_MM, UNEVEN = (1.5, 45.0), 0.35
EDGE, ROUGHNESS, WAVES, WAVELENGTH_MM = 0.15, 0.15, 3, (8.0, 50.0)


@parameters
class DrawnCanvases(Parametrised):
    """Drawn canvases for the training engine: see `imaging.learning.batches.Samples`.

    Lesions are ellipsoids with rough edges, up to six in a brain, drawn in the space of the atlas
    and seen through the layout of the mosaic; they share nothing with any patient.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    names : list of str
        Of the targets: symbols (of categories, one for each level), then regions.
    n_symbol_targets : int

    Examples
    --------
    >>> from imaging.symbols import Symbol
    >>> grid = Grid((20, 22, 18), ((8, 0, 0, -76), (0, 8, 0, -108), (0, 0, 8, -64), (0, 0, 0, 1)))
    >>> mosaic = RoiMosaic("aal", ["Insula_L", "Insula_R"], size=48)
    >>> canvases = DrawnCanvases(
    ...     mosaic=mosaic, grid=grid, symbols=[Symbol("age")], symbol_rows=24, n_canvases=8
    ... )
    >>> drawn = canvases.take(torch.arange(8))
    >>> drawn.inputs["image"].shape, drawn.targets.shape, canvases.names
    (torch.Size([8, 1, 72, 48]), torch.Size([8, 3]), ['age', 'Insula_L', 'Insula_R'])
    """

    mosaic: RoiMosaic = parameter(doc="The layout of the brain's picture.")
    grid: Grid = parameter(doc="Of the images that it packs.")
    symbols: list = parameter((), kind="sequence of imaging.Symbol", doc="Below the brain.")
    symbol_rows: int = parameter(0, FROM_ZERO, doc="Rows of pixels that hold them.")
    n_channels: int = parameter(1, COUNT, doc="Each has lesions of its own.")
    n_canvases: int = parameter(1024, COUNT, doc="In an epoch; every epoch draws others.")
    seed: int = parameter(0, FROM_ZERO)

    def __post_init__(self):
        super().__post_init__()
        self.epoch = 0
        self._locate_pixels()
        self._draw_symbols()
        regions = list(self.mosaic.regions)
        if self.n_channels > 1:
            regions = [f"{name} {k + 1}" for k in range(self.n_channels) for name in regions]
        self.n_symbol_targets = len(self.names)
        self.names = self.names + regions

    def __len__(self):
        return self.n_canvases

    def at_epoch(self, epoch):
        """From here on, draw the canvases of another epoch."""
        self.epoch = epoch

    def take(self, rows):
        """Canvases, `Samples`; which ones follows from the epoch and the first of `rows`.

        Targets are the values of symbols (0 to 1; missing: 0.5) and the square roots of the shares
        of the regions that are lesioned.
        """
        rng = np.random.default_rng([self.seed, self.epoch + 2, int(rows[0])])
        count, (height, width) = len(rows), self.shape
        images = np.zeros((count, self.n_channels, height, width), np.float32)
        targets = []
        if len(self.symbols):
            strip, values = self._strip(count, rng)
            images[:, :, height - self.symbol_rows :] = strip[:, None]
            targets.append(values)
        for channel in range(self.n_channels):
            brains, loads = self._brains(count, rng)
            images[:, channel, : height - self.symbol_rows] = brains
            targets.append(np.sqrt(loads))
        targets = np.concatenate(targets, axis=1, dtype=np.float32)
        return Samples(
            {"image": torch.from_numpy(images)}, torch.from_numpy(targets), torch.ones(count)
        )

    # ----------------------------------------------------------------- symbols

    def _draw_symbols(self):
        """Every symbol at every value, once: canvases are put together from these."""
        self.names, self._drawn, self._targets = [], [], []
        if not len(self.symbols):
            return
        shape = (self.symbol_rows, self.shape[1])
        self._cells = list(symbol_cells([one.name for one in self.symbols], shape).values())
        for number, symbol in enumerate(self.symbols):
            kind = LOOKS[symbol.look]
            steps = {"continuous": STEPS, "binary": 2}.get(kind, symbol.levels)
            values = np.r_[np.linspace(0, 1, steps), np.nan]
            table = np.full((len(values), len(self.symbols)), 0.0)
            table[:, number] = values
            drawn = draw_symbols(table, self.symbols, shape)[:, *self._cells[number]]
            self._drawn.append(drawn)
            if kind == "categorical":
                self.names += [f"{symbol.name} {k + 1}" for k in range(steps)]
                self._targets.append(np.eye(steps + 1)[:, :steps])
            else:
                self.names.append(symbol.name)
                self._targets.append(np.nan_to_num(values, nan=0.5)[:, None])

    def _strip(self, count, rng):
        strip, targets = np.zeros((count, self.symbol_rows, self.shape[1]), np.float32), []
        for drawn, values, cell in zip(self._drawn, self._targets, self._cells, strict=True):
            steps = len(drawn) - 1
            # ends of a scale, where many patients lie, somewhat more often
            which = np.minimum((rng.beta(0.7, 0.7, count) * steps).astype(int), steps - 1)
            which[rng.random(count) < MISSING] = steps
            strip[:, *cell] = drawn[which]
            targets.append(values[which])
        return strip, np.concatenate(targets, axis=1)

    # ------------------------------------------------------------------ lesions

    def _locate_pixels(self):
        """Where in the brain each pixel lies, what share of it is region, and of which one."""
        affine, shape = self.grid.affine, self.grid.shape
        along = np.ogrid[: shape[0], : shape[1], : shape[2]]

        def packed(volume):
            image = nib.Nifti1Image(np.ascontiguousarray(volume, dtype=np.float32), affine)
            return self.mosaic.pack(image)

        cover = packed(np.ones(shape))
        self.shape = (cover.shape[0] + self.symbol_rows, cover.shape[1])
        self._shown = cover > 0
        self._cover = cover[self._shown]
        self._mm = np.stack(
            [
                packed(sum(row[k] * along[k] for k in range(3)) + row[3])[self._shown] / self._cover
                for row in affine[:3]
            ]
        )
        labels = self.mosaic.atlas.labels_on(self.grid)
        order = {name: number for number, name in enumerate(self.mosaic.atlas.regions, start=1)}
        inside = np.stack(
            [packed(labels == order[name])[self._shown] for name in self.mosaic.regions]
        )
        self._inside = (inside / inside.sum(axis=1, keepdims=True)).T

    def _brains(self, count, rng):
        """Pictures of brains with lesions, and the share of every region that is lesioned."""
        lesioned = np.zeros((count, len(self._cover)), np.float32)
        number = np.minimum(1 + rng.poisson(FURTHER_LESIONS, count), MOST_LESIONS)
        number[rng.random(count) < EMPTY] = 0
        rough = self._roughness(count, rng)
        for brain in range(count):
            for _ in range(number[brain]):
                centre = self._mm[:, rng.integers(self._mm.shape[1])] + rng.normal(0, 6, 3)
                radius = np.exp(rng.uniform(*np.log(RADIUS_MM)) + rng.normal(0, UNEVEN, 3))
                apart = (self._mm - centre[:, None]) / radius[:, None]
                distance = np.sqrt(np.square(apart).sum(axis=0)) * rough[brain]
                hit = np.clip((1 - distance) / EDGE + 0.5, 0, 1)
                np.maximum(lesioned[brain], hit, out=lesioned[brain])
        pictures = np.zeros((count, *self._shown.shape), np.float32)
        pictures[:, self._shown] = lesioned * self._cover
        return np.stack([rescale_intensity(one) for one in pictures]), lesioned @ self._inside

    def _roughness(self, count, rng):
        """Factors of distances from the centre that vary over the brain, mean about one."""
        total = np.zeros((count, self._mm.shape[1]), np.float32)
        for _ in range(WAVES):
            waves = rng.normal(size=(count, 3))
            waves /= np.linalg.norm(waves, axis=1, keepdims=True)
            waves *= 2 * np.pi / np.exp(rng.uniform(*np.log(WAVELENGTH_MM), (count, 1)))
            phase = rng.uniform(0, 2 * np.pi, (count, 1))
            total += np.sin((waves @ self._mm + phase).astype(np.float32))
        return 1 + ROUGHNESS * total
