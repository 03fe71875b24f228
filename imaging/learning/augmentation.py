"""Random changes to training images that leave the diagnosis alone.

Heads are turned, shifted and scaled a little, each tile of a mosaic as the head it shows would be;
left stays left unless mirroring is asked for, because in the brain the sides are not alike.
"""

import math

import torch
from torch.nn.functional import affine_grid, grid_sample

from ..parameters import (
    COUNT,
    FROM_ZERO,
    NOT_NEGATIVE,
    POSITIVE,
    SHARE,
    Each,
    Parametrised,
    parameter,
    parameters,
)

__all__ = ["Augmentation", "TileAugmentation", "VolumeAugmentation"]


@parameters
class Augmentation(Parametrised):
    """Random geometry and intensity for a batch of images, one draw for each patient.

    Base of the augmentations: a subclass says how a geometry is drawn and images are moved by it.

    Parameters
    ----------
    {parameters}

    Notes
    -----
    The default ranges are small: in images of one space, larger ones hide what differs between
    patients.
    """

    rotation_deg: float = parameter(
        3.0, NOT_NEGATIVE, doc="Largest rotation about each axis, either way; a tile has one axis."
    )
    shift: float = parameter(
        0.02,
        NOT_NEGATIVE,
        doc="Largest shift along each axis, as a fraction of the field of view or the tile.",
    )
    zoom: float = parameter(0.03, SHARE, doc="Largest relative change of size, either way.")
    gain: float = parameter(
        0.05, NOT_NEGATIVE, doc="Largest relative change of brightness, either way."
    )
    noise_sd: float = parameter(
        0.02,
        NOT_NEGATIVE,
        doc="Standard deviation of added Gaussian noise, in units of the image.",
    )
    mirror: bool = parameter(
        False, "boolean", doc="Exchange left and right of half of the patients."
    )

    def __call__(self, images, generator):
        """Augment a batch.

        Parameters
        ----------
        images : tensor of shape (batch, channels, *spatial)
        generator : torch.Generator
            Draws whatever is random, on the device of the images.

        Returns
        -------
        tensor, shape and dtype of `images`
        """
        batch, device = len(images), images.device

        def draw(limit, *shape):
            uniform = torch.rand(batch, *shape, generator=generator, device=device)
            return (2 * uniform - 1) * limit

        moved = self._moved(images, draw)
        moved = moved * (1 + draw(self.gain, *[1] * (images.dim() - 1)))
        if self.noise_sd:
            noise = torch.randn(moved.shape, generator=generator, device=device)
            moved = moved + self.noise_sd * noise
        return moved

    def _moved(self, images, draw):
        raise NotImplementedError

    def _sides(self, draw, angles):
        """-1 for patients who are mirrored, else 1; as long as `angles`."""
        if not self.mirror:
            return torch.ones_like(angles)
        return torch.where(draw(1.0) > 0, -1.0, 1.0)


@parameters
class TileAugmentation(Augmentation):
    """Augmentation of mosaics: all tiles of a patient get the same geometry.

    What is left of the picture below and right of the last whole tile stays as it is.

    Parameters
    ----------
    {parameters}

    Examples
    --------
    >>> mosaics = torch.rand(2, 1, 20, 24)
    >>> augment = TileAugmentation(tiles=(2, 3), fixed_rows=4)
    >>> changed = augment(mosaics, torch.Generator().manual_seed(0))
    >>> torch.equal(changed[..., 16:, :], mosaics[..., 16:, :]), torch.equal(changed, mosaics)
    (True, False)
    """

    tiles: tuple = parameter(
        (1, 1), Each(COUNT, least=2), kind="(int, int)", doc="Tiles down and across."
    )
    fixed_rows: int = parameter(
        0,
        FROM_ZERO,
        doc="Rows at the bottom of the picture that belong to no tile (symbols).",
    )

    def __call__(self, images, generator):
        height, width = images.shape[2:]
        down, across = self.tiles
        rows = (height - self.fixed_rows) // down * down
        columns = width // across * across
        moved = super().__call__(images[:, :, :rows, :columns], generator)
        if moved.shape == images.shape:
            return moved
        result = images.clone()
        result[:, :, :rows, :columns] = moved
        return result

    def _moved(self, images, draw):
        batch, channels, height, width = images.shape
        down, across = self.tiles
        rows, columns = height // down, width // across
        matrix = self._matrix(draw, rows / columns)
        # Tiles become channels, so that one warp per patient moves them all alike.
        stack = images.reshape(batch, channels, down, rows, across, columns)
        stack = stack.permute(0, 1, 2, 4, 3, 5).reshape(batch, -1, rows, columns)
        moved = _warped(stack, matrix).reshape(batch, channels, down, across, rows, columns)
        return moved.permute(0, 1, 2, 4, 3, 5).reshape(images.shape)

    def _matrix(self, draw, aspect):
        """Affine matrices (batch, 2, 3) in grid_sample's units: half a tile is one."""
        angle = draw(math.radians(self.rotation_deg))
        scale = 1 + draw(self.zoom)
        cosine, sine = torch.cos(angle) / scale, torch.sin(angle) / scale
        side = self._sides(draw, angle)
        offset = draw(2 * self.shift, 2)
        top = torch.stack([side * cosine, -sine * aspect, offset[:, 0]], dim=1)
        bottom = torch.stack([side * sine / aspect, cosine, offset[:, 1]], dim=1)
        return torch.stack([top, bottom], dim=1)


@parameters
class VolumeAugmentation(Augmentation):
    """Augmentation of volumes: the head moves as a whole, in millimetres.

    Left and right are the first axis, as in canonical images.

    Parameters
    ----------
    {parameters}

    Examples
    --------
    >>> volumes = torch.rand(2, 1, 8, 10, 6)
    >>> augment = VolumeAugmentation(extent_mm=(160, 200, 120), noise_sd=0)
    >>> augment(volumes, torch.Generator().manual_seed(0)).shape == volumes.shape
    True
    """

    extent_mm: tuple = parameter(
        (1.0, 1.0, 1.0),
        Each(POSITIVE, least=3),
        kind="(float, float, float)",
        doc="""
        Field of view along each axis, in millimetres: rotations keep angles on any grid. Only the
        proportions matter.
        """,
    )

    def _moved(self, images, draw):
        return _warped(images, self._matrix(draw, images.device))

    def _matrix(self, draw, device):
        """Affine matrices (batch, 3, 4) in grid_sample's units: half the field of view is one."""
        angles = draw(math.radians(self.rotation_deg), 3)
        turn = torch.eye(3, device=device)
        for axis in range(3):
            one, other = (axis + 1) % 3, (axis + 2) % 3
            step = torch.eye(3, device=device).repeat(len(angles), 1, 1)
            cosine, sine = torch.cos(angles[:, axis]), torch.sin(angles[:, axis])
            step[:, one, one], step[:, other, other] = cosine, cosine
            step[:, one, other], step[:, other, one] = -sine, sine
            turn = turn @ step
        turn = turn / (1 + draw(self.zoom, 1, 1))
        sides = torch.ones_like(angles)
        sides[:, 0] = self._sides(draw, angles[:, 0])
        turn = turn * sides[:, None]
        extent = torch.tensor(self.extent_mm, device=device)
        normalised = turn * extent[None, None] / extent[None, :, None]
        # grid_sample names the axes from last to first.
        normalised = normalised.flip(1, 2)
        return torch.cat([normalised, draw(2 * self.shift, 3, 1)], dim=2)


def _warped(images, matrix):
    grid = affine_grid(matrix, list(images.shape), align_corners=False)
    return grid_sample(images, grid.to(images.dtype), align_corners=False)
