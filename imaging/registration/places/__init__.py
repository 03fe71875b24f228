"""Where in the template every voxel of a scan lies: the network, its training, what is read off."""
