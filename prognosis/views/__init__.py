"""What networks see of a patient: stitched slices, regions with symbols, volumes."""
