"""Cohorts: tables of patients with images, simulated, public, or from a folder of scans."""
