"""Random changes to training images that leave the diagnosis alone.

Each tile of a mosaic is turned, shifted and scaled as the head it shows would be; left stays left
unless flips are asked for, because in the brain the sides are not alike. The default ranges are
small: in images of one space, larger ones hide what differs between patients.
"""

import math
from dataclasses import dataclass

import torch
from torch.nn import functional

__all__ = ["TileAugmentation"]


@dataclass(frozen=True)
class TileAugmentation:
    """Random geometry and intensity for a batch of mosaics, one draw per patient.

    Parameters
    ----------
    tiles : (int, int), default=(1, 1)
        Tiles down and across. All tiles of a patient get the same geometry; what is left of the
        picture below and right of the last whole tile stays as it is.
    rotation_deg : float, default=3
        Largest rotation in the plane of the tile, either way.
    shift : float, default=0.02
        Largest shift, as a fraction of the tile.
    zoom : float, default=0.03
        Largest relative change of size, either way.
    gain : float, default=0.05
        Largest relative change of brightness, either way.
    noise_sd : float, default=0.02
        Standard deviation of added Gaussian noise, in units of the image.
    flip_left_right : bool, default=False
        Mirror every tile of half of the patients.
    fixed_rows : int, default=0
        Rows at the bottom of the picture that belong to no tile and stay as they are (symbols).
    """

    tiles: tuple = (1, 1)
    rotation_deg: float = 3.0
    shift: float = 0.02
    zoom: float = 0.03
    gain: float = 0.05
    noise_sd: float = 0.02
    flip_left_right: bool = False
    fixed_rows: int = 0

    def __call__(self, images, generator):
        """Augment images of shape (batch, channels, height, width); draws come from `generator`."""
        batch, channels, height, width = images.shape
        down, across = self.tiles
        tile_height, tile_width = (height - self.fixed_rows) // down, width // across

        def draw(limit, *shape):
            return (
                2 * torch.rand(batch, *shape, generator=generator, device=images.device) - 1
            ) * limit

        matrix = self._matrix(draw, tile_height / tile_width)
        whole = images[:, :, : down * tile_height, : across * tile_width]
        # Tiles become channels, so that one warp per patient moves them all alike.
        stack = whole.reshape(batch, channels, down, tile_height, across, tile_width)
        stack = stack.permute(0, 1, 2, 4, 3, 5).reshape(batch, -1, tile_height, tile_width)
        grid = functional.affine_grid(matrix, list(stack.shape), align_corners=False)
        moved = functional.grid_sample(stack, grid.to(stack.dtype), align_corners=False)
        moved = moved.reshape(batch, channels, down, across, tile_height, tile_width)
        moved = moved.permute(0, 1, 2, 4, 3, 5).reshape(whole.shape)
        moved = moved * (1 + draw(self.gain, 1, 1, 1))
        if self.noise_sd:
            noise = torch.randn(moved.shape, generator=generator, device=images.device)
            moved = moved + self.noise_sd * noise
        if moved.shape == images.shape:
            return moved
        result = images.clone()
        result[:, :, : down * tile_height, : across * tile_width] = moved
        return result

    def _matrix(self, draw, aspect):
        """Affine matrices (batch, 2, 3) in grid_sample's units: half a tile is one."""
        angle = draw(math.radians(self.rotation_deg))
        scale = 1 + draw(self.zoom)
        cosine, sine = torch.cos(angle) / scale, torch.sin(angle) / scale
        mirror = torch.ones_like(angle)
        if self.flip_left_right:
            mirror = torch.where(draw(1.0) > 0, -1.0, 1.0)
        offset = draw(2 * self.shift, 2)
        top = torch.stack([mirror * cosine, -sine * aspect, offset[:, 0]], dim=1)
        bottom = torch.stack([mirror * sine / aspect, cosine, offset[:, 1]], dim=1)
        return torch.stack([top, bottom], dim=1)
