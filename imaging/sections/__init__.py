"""Cross-sections of a brain, and what ages in them: ventricles, fluid, bright white matter, looks.

Sections are cut from a volume in template space or lie side by side in a picture; from then on both
are alike: grey values on pixels of 1 mm, up is superior (axial: anterior), left is left.
"""
