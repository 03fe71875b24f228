"""Random changes to 3-D training images that leave the diagnosis alone.

The head is turned, shifted and scaled as a whole, in millimetres; left stays left unless flips are
asked for, because in the brain the sides are not alike.
"""

import math
from dataclasses import dataclass

import torch
from torch.nn import functional

__all__ = ["VolumeAugmentation"]


@dataclass(frozen=True)
class VolumeAugmentation:
    """Random geometry and intensity for a batch of volumes, one draw per patient.

    Parameters
    ----------
    extent_mm : (float, float, float), default=(1, 1, 1)
        Field of view along each axis, in millimetres: rotations keep angles on any grid. Only the
        proportions matter.
    rotation_deg : float, default=3
        Largest rotation about each axis, either way.
    shift : float, default=0.02
        Largest shift along each axis, as a fraction of the field of view.
    zoom : float, default=0.03
        Largest relative change of size, either way.
    gain : float, default=0.05
        Largest relative change of brightness, either way.
    noise_sd : float, default=0.02
        Standard deviation of added Gaussian noise, in units of the image.
    flip_left_right : bool, default=False
        Mirror the first axis (left to right in canonical images) of half of the patients.
    """

    extent_mm: tuple = (1.0, 1.0, 1.0)
    rotation_deg: float = 3.0
    shift: float = 0.02
    zoom: float = 0.03
    gain: float = 0.05
    noise_sd: float = 0.02
    flip_left_right: bool = False

    def __call__(self, images, generator):
        """Augment images of shape (batch, channels, x, y, z); draws come from `generator`."""
        batch, device = len(images), images.device

        def draw(limit, *shape):
            uniform = torch.rand(batch, *shape, generator=generator, device=device)
            return (2 * uniform - 1) * limit

        matrix = self._matrix(draw, device)
        grid = functional.affine_grid(matrix, list(images.shape), align_corners=False)
        moved = functional.grid_sample(images, grid.to(images.dtype), align_corners=False)
        moved = moved * (1 + draw(self.gain, 1, 1, 1, 1))
        if self.noise_sd:
            noise = torch.randn(moved.shape, generator=generator, device=device)
            moved = moved + self.noise_sd * noise
        return moved

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
        if self.flip_left_right:
            mirror = torch.ones_like(angles)
            mirror[:, 0] = torch.where(draw(1.0) > 0, -1.0, 1.0)
            turn = turn * mirror[:, None]
        extent = torch.tensor(self.extent_mm, device=device)
        normalised = turn * extent[None, None] / extent[None, :, None]
        # grid_sample names the axes from last to first.
        normalised = normalised.flip(1, 2)
        return torch.cat([normalised, draw(2 * self.shift, 3, 1)], dim=2)
