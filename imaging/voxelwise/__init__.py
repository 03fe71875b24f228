"""Networks from voxels to voxels: their training, windows, geometry, files and cards."""
