"""Looking at the images of a cohort before anything is learnt from them."""
