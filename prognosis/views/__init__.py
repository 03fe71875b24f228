"""What networks see of a patient: stitched slices, packed regions, volumes, or a view of one's own.

`protocol` says what a view answers; image estimators hold one and ask it, and so do explanations.
"""
