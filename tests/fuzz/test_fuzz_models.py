"""See `fuzz_models`."""

from fuzz_models import archive_cases, cases

KEPT, KEPT_ARCHIVES = (), ()  # cases that failed once


def test_model_files(fuzz):
    fuzz("model", cases(), examples=60, kept=KEPT)


def test_saved_estimators(fuzz):
    fuzz("archive", archive_cases(), examples=60, kept=KEPT_ARCHIVES)
