"""``prognosis check``: where the images of a cohort lie, before anything is learnt from them."""

from .common import (
    BAD_DATA,
    OK,
    NotWrittenError,
    UsageError,
    add_command,
    add_named_cohort,
    check_out,
    imaging_effect,
    load_named_cohort,
    place,
    say,
    tell,
    use_cache_folder,
    whole,
    write_csv,
)

__all__ = ["add", "run"]

DESCRIPTION = (
    "Check where the images of a cohort lie: whether scans and lesion masks are in template (MNI) "
    "space, and belong together. Writes index.html, a page with everybody's picture, worst first, "
    "and images.csv, both or none. If an image is wrong, it is named on stderr, and the exit code "
    "is 3. That nothing speaks against an image is no proof: look at the page."
)


def add(commands):
    """Register the command with its options."""
    parser = add_command(
        commands,
        "check",
        run,
        help="see whether the images of a cohort lie where the template's brain lies",
        description=DESCRIPTION,
    )
    add = parser.add_argument
    add_named_cohort(add)
    add("--out", required=True, type=place, metavar="DIR", help="for index.html and images.csv")
    add(
        "--lesion",
        action="append",
        metavar="COLUMN",
        help="lesion masks (default: 'lesion' where it exists); repeat for more",
    )
    add(
        "--labels",
        type=whole(1, 2**31),
        nargs="+",
        metavar="N",
        help="labels that are lesion in the masks",
    )
    add("--imaging-effect", type=imaging_effect, default=1.0, metavar="X", help="as for compare")


def run(options):
    """Carry out the command: page and table, and on stdout what is not right."""
    from imaging.storage.files import replacing_all

    from ..inspection.images import check_images

    use_cache_folder(options)
    check_out(options.out)
    say(options, "loading the cohort")
    X, _ = load_named_cohort(options)
    images = X.attrs["cohort"]["image_columns"]
    if not images:
        raise UsageError("there is nothing to check: name images with --images NAME=GLOB")
    for name in options.lesion or []:
        if name not in images:
            raise UsageError(f"--lesion {name}: the images are {', '.join(images)}")
    say(options, f"looking at {', '.join(images)} of {len(X)} patients")
    try:
        with replacing_all(options.out) as folder:
            table = check_images(
                X,
                images,
                lesion=options.lesion,
                labels=options.labels,
                sheet=folder / "index.html",
                n_jobs=options.n_jobs,
            )
            write_csv(table, folder / "images.csv")
    except OSError as error:
        raise NotWrittenError(f"the sheet could not be written: {error}") from error
    counts = table["verdict"].value_counts()
    print(", ".join(f"{count} {verdict}" for verdict, count in counts.items()))
    for (patient, image), row in table[table["verdict"].isin(["wrong", "doubtful"])].iterrows():
        print(f"{row['verdict']}: {patient}, {image}: {row['reasons']}")
    say(options, f"sheet: {options.out / 'index.html'}")
    wrong = int(counts.get("wrong", 0))
    if not wrong:
        return OK
    tell(f"{wrong} of {len(table)} images are wrong, see above and {options.out / 'index.html'}")
    return BAD_DATA
