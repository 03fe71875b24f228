"""Outcomes whose classes are ordered, such as the modified Rankin Scale from 0 to 6."""
