"""An encoder whose vector is the shape of the brain: measured on maps that have no contrast.

A small network says of every place of a scan which tissue is there and where in the brain it lies;
both are known of simulated heads. From that, how the head was held is fitted and taken away, and
what is left is measured: lengths, volumes, and how tissues are spread. No step hangs on a contrast,
and none is learnt by comparing scans, but for the last: which combinations of measures tell people
apart and not scans, which is solved and not searched for.
"""

import math

import torch
from torch import nn
from torch.nn import functional

from .encoders import Encoder

__all__ = [
    "N_TISSUES",
    "SHAPE_CHANNELS",
    "ShapeEncoder",
    "Spread",
    "discriminant",
    "shape_measures",
]

SHAPE_CHANNELS = (16, 32, 64, 64)
SHAPE_FEATURES = 32
N_TISSUES = 6  # outside the brain, grey, mixed, white, fluid, lesion: the first of `TISSUES`
_CELLS = {2: (5, 6), 3: (4, 5, 4)}  # into which the brain is divided along its axes
_REACH = 2.0  # standard deviations of the brain that the outermost cells lie from its middle
_GAIN = 4.0  # a step of Adam changes a weight by so little that what is said would lag behind
_AT_ONCE = 16  # images that are measured together, which bounds memory
_MEMORY = 0.02  # share of the newest batch in running statistics, once there were enough

_LINEAR = {2: "bilinear", 3: "trilinear"}


class ShapeEncoder(Encoder):
    """Tissues and places at every second voxel, and a vector of the brain's shape.

    Parameters
    ----------
    down : ContractingEncoder
        The way down; the levels of the way up, fine to coarse, have its shapes and channels.
    dropout : float, default=0.0
    n_features : int, default=32
        Length of the vector, which is zero until `learn` was called.

    Examples
    --------
    >>> from imaging.nets.pretraining import ContractingEncoder
    >>> down = ContractingEncoder(3, channels=(4, 8), fold=True)
    >>> encoder = ShapeEncoder(down, n_features=3)
    >>> scan = torch.zeros(2, 1, 16, 24, 16)
    >>> [tuple(maps.shape) for maps in encoder.levels(scan)], encoder(scan).shape
    ([(2, 4, 8, 12, 8), (2, 8, 4, 6, 4)], torch.Size([2, 3]))
    """

    def __init__(self, down, *, dropout=0.0, n_features=SHAPE_FEATURES):
        from monai.networks.blocks import Convolution

        super().__init__()
        spatial_dims = down.spatial_dims
        self.down, self.divisor = down, down.divisor
        self.spatial_dims, self.channels = spatial_dims, down.channels
        self.n_summary = n_features
        plain = {"act": "gelu", "norm": ("instance", {"affine": False}), "dropout": dropout or None}
        self.up = nn.ModuleList(
            Convolution(spatial_dims, below + width, width, adn_ordering="NDA", **plain)
            for width, below in zip(self.channels[:-1], self.channels[1:], strict=True)
        )
        flat = {2: nn.Conv2d, 3: nn.Conv3d}[spatial_dims]
        self.tissues = flat(self.channels[0], N_TISSUES, 1)
        self.places = flat(self.channels[0], spatial_dims, 1)
        for head in (self.tissues, self.places):  # nothing is said before it is learnt
            nn.init.zeros_(head.weight)
            nn.init.zeros_(head.bias)
        self.register_buffer("centre", torch.zeros(self.n_measures))
        self.register_buffer("directions", torch.zeros(self.n_measures, n_features))

    @property
    def n_features(self):
        return self.n_summary

    @property
    def n_maps(self):
        """Channels of the finest level, which all that is measured comes from."""
        return self.channels[0]

    def feature_maps(self, image):
        return self.levels(image)[0]

    def summarise(self, maps):
        return self.summary([maps])

    @property
    def n_measures(self):
        """How many lengths, volumes and shares are measured."""
        return self.spatial_dims * 8 + 4 + 4 * math.prod(_CELLS[self.spatial_dims])

    def levels(self, image):
        """Maps of the way up, fine to coarse; the coarsest is the last one of the way down."""
        *skips, maps = self.down.levels(image)
        found = [maps]
        for skip, step in zip(reversed(skips), reversed(self.up), strict=True):
            larger = functional.interpolate(maps, skip.shape[2:], mode=_LINEAR[self.spatial_dims])
            maps = step(torch.cat([larger, skip], dim=1))
            found.insert(0, maps)
        return found

    def maps(self, levels):
        """What the finest level says of the brain.

        Returns
        -------
        tissues : Tensor of shape (batch, 6, *spatial)
            Logits.
        places : Tensor of shape (batch, spatial_dims, *spatial)
            From the middle of the brain along its own axes, in its standard deviations.
        """
        return _GAIN * self.tissues(levels[0]), _GAIN * self.places(levels[0])

    def measures(self, tissues, places):
        """Lengths, volumes and shares of the brain, see `shape_measures`."""
        with torch.autocast(tissues.device.type, enabled=False):
            shares = tissues.float().softmax(1).split(_AT_ONCE)
            pairs = zip(shares, places.float().split(_AT_ONCE), strict=True)
            return torch.cat([shape_measures(*pair) for pair in pairs])

    def summary(self, levels):
        """The vectors of images whose maps are known, shape (batch, n_features)."""
        return (self.measures(*self.maps(levels)) - self.centre) @ self.directions

    def forward(self, image):
        return self.summary(self.levels(image))

    def learn(self, spread):
        """Take the measures that tell people apart from `spread`, a `Spread`."""
        self.centre.copy_(spread.mean)
        self.directions.copy_(spread.directions(self.n_features))


def shape_measures(shares, places):
    """What the brain measures, once it is turned and moved to where all brains are.

    An affine from voxels to places is fitted to all of the brain at once, so single places may
    err. Its turn is taken away; lengths are logarithms of voxels.

    Parameters
    ----------
    shares : Tensor of shape (batch, 6, *spatial)
        Of tissues; what is not the first is brain.
    places : Tensor of shape (batch, D, *spatial)
        In standard deviations of the brain along its own axes.

    Returns
    -------
    Tensor of shape (batch, measures)
        Standard deviations from the fit; of brain, grey, white and fluid the volumes, standard
        deviations and (but for the brain) middles; and, for cells into which the brain is divided,
        the square root of the share of each of the four that lies there.
    """
    dims, batch = places.shape[1], len(places)
    kinds = torch.stack([1 - shares[:, 0], shares[:, 1], shares[:, 3], shares[:, 4]], 1)
    kinds = kinds.flatten(2)
    kinds = kinds + 1e-3 * kinds[:, :1]  # what is nowhere counts as if it were everywhere
    axes = [torch.arange(n, device=places.device) - (n - 1) / 2 for n in places.shape[2:]]
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).reshape(1, -1, dims)
    brain = kinds[:, 0] + 1e-6
    affine, turn = _fitted(grid, places.flatten(2).transpose(1, 2), brain)
    upright = grid.expand(batch, -1, -1) @ turn.transpose(1, 2)

    volume = kinds.sum(2) + 1e-3
    weights = kinds / volume[..., None]
    middle = weights @ upright  # (batch, kinds, D)
    wide = (weights @ upright.square() - middle.square()).clamp(min=1e-3).sqrt()
    steep = affine[:, :dims].norm(dim=1).clamp(min=1e-3)
    apart = middle[:, 1:] - middle[:, :1]

    found = grid @ affine[:, :dims] + affine[:, dims:]
    cells = torch.ones(batch, grid.shape[1], 1, device=places.device)
    for axis, count in enumerate(_CELLS[dims]):
        at = torch.linspace(-_REACH, _REACH, count, device=places.device)
        near = found[:, :, axis, None].clamp(-_REACH, _REACH) - at
        hat = (1 - near.abs() * ((count - 1) / (2 * _REACH))).clamp(min=0)
        cells = (cells[..., None] * hat[:, :, None]).flatten(2)
    shared = (kinds @ cells / volume[:, :1, None]).clamp(min=0).sqrt()
    parts = [-steep.log(), volume.log(), wide.log(), apart, shared]
    return torch.nan_to_num(torch.cat([part.flatten(1) for part in parts], 1))


def _fitted(grid, places, weights):
    """The affine from voxels to places by weighted least squares, and the turn in it."""
    dims = grid.shape[-1]
    known = torch.cat([grid, torch.ones_like(grid[..., :1])], -1)
    weighed = known * weights[..., None]
    square = weighed.transpose(1, 2) @ known
    ridge = 1e-6 * square.diagonal(dim1=1, dim2=2).mean(1)[:, None, None]
    square = square + ridge * torch.eye(dims + 1, device=grid.device)
    affine = torch.linalg.solve(square, weighed.transpose(1, 2) @ places)
    rows = functional.normalize(affine[:, :dims].transpose(1, 2), dim=2)
    left, _, right = torch.linalg.svd(rows)
    sign = torch.ones(len(rows), dims, device=grid.device)
    sign[:, -1] = torch.linalg.det(left @ right).sign()
    return affine, (left * sign[:, None]) @ right


class Spread(nn.Module):
    """Running statistics of a vector: how it varies in all, and between views of one person.

    Parameters
    ----------
    n_measures : int
    """

    def __init__(self, n_measures):
        super().__init__()
        self.register_buffer("count", torch.zeros(()))
        self.register_buffer("people", torch.zeros(()))
        self.register_buffer("mean", torch.zeros(n_measures))
        self.register_buffer("total", torch.zeros(n_measures, n_measures))
        self.register_buffer("within", torch.zeros(n_measures, n_measures))

    @torch.no_grad()
    def update(self, values):
        """Learn from a batch of shape (people, 2, n_measures); older batches fade."""
        with torch.autocast(values.device.type, enabled=False):
            self._update(values.float())

    def _update(self, values):
        self.count += 1
        # What a network said early in its training counts little.
        share = torch.clamp(3 / (self.count + 2), min=_MEMORY)
        flat, apart = values.flatten(0, 1), values[:, 0] - values[:, 1]
        self.people.lerp_(torch.full_like(self.people, len(values)), share)
        self.mean.lerp_(flat.mean(0), share)
        away = flat - self.mean
        self.total.lerp_(away.T @ away / len(away), share)
        self.within.lerp_(apart.T @ apart / (2 * len(apart)), share)

    def directions(self, count):
        """Those directions along which people differ most, see `discriminant`."""
        measures = len(self.mean)
        known = self.people * (self.count / 2).clamp(max=2 / _MEMORY - 1)
        shrinkage = 0.1 * measures / float(measures + known)
        return discriminant(self.total - self.within, self.within, count, shrinkage)


def discriminant(between, within, count, shrinkage=0.01):
    """Directions along which people differ most, as measured by how scans of one of them differ.

    Parameters
    ----------
    between, within : Tensor of shape (n, n)
        Covariances.
    count : int
        Of directions; those beyond `n` are zero.
    shrinkage : float
        How far `within` is drawn towards its diagonal, so that it need not have full rank.

    Returns
    -------
    Tensor of shape (n, count)
        Strongest first. Along each, scans of one person have unit variance.

    References
    ----------
    Fisher, Annals of Eugenics 7:179 (1936); Ledoit and Wolf, J Multivar Anal 88:365 (2004), for
    the shrinkage.

    Examples
    --------
    >>> apart = discriminant(torch.diag(torch.tensor([1.0, 9.0])), torch.eye(2), 1)
    >>> apart.abs().round(decimals=1).tolist()
    [[0.0], [1.0]]
    """
    kind = within.dtype
    between, within = between.double(), within.double()
    own = within.diagonal()
    scale = (own + 1e-3 * (own + between.diagonal().clamp(min=0)) + 1e-12).sqrt()
    within, between = within / scale[:, None] / scale, between / scale[:, None] / scale
    eye = torch.eye(len(within), dtype=torch.double, device=within.device)
    within = (1 - shrinkage) * within + shrinkage * eye
    root = torch.linalg.cholesky(within)
    half = torch.linalg.solve_triangular(root, between, upper=False)
    white = torch.linalg.solve_triangular(root, half.T, upper=False)
    _, vectors = torch.linalg.eigh((white + white.T) / 2)
    best = torch.linalg.solve_triangular(root.T, vectors.flip(1)[:, :count], upper=True)
    # The sign of an eigenvector is anybody's: the largest weight is positive.
    largest = best.gather(0, best.abs().argmax(0, keepdim=True)).sign()
    found = torch.zeros(len(within), count, dtype=kind, device=within.device)
    found[:, : best.shape[1]] = (best * largest / scale[:, None]).to(kind)
    return found
