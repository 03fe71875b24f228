"""Fit the encoder of head shapes on simulated people of 12 label maps; four are held out.

Nothing is trained: the coordinate model stays what it is, and the directions are solved for.

    PROGNOSIS_DATA=... python benchmarks/fit_head_shape.py --coordinates FILE --out FILE
"""

import argparse

import torch
from train_encoder import label_maps

from imaging import HeadShapeEncoder, LabelMapSource


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", required=True, metavar="FILE")
    parser.add_argument("--coordinates", default="coordinates", metavar="NAME_OR_FILE")
    parser.add_argument("--people", type=int, default=300)
    parser.add_argument("--features", type=int, default=6)
    options = parser.parse_args()
    torch.set_num_threads(1)
    encoder = HeadShapeEncoder(
        options.coordinates,
        n_features=options.features,
        source=LabelMapSource(label_maps()[0], lesion_probability=0.5),
        n_people=options.people,
        random_state=0,
    ).fit()
    trained, held_out = (len(maps) for maps in label_maps())
    text = (
        f"no scan: directions from two simulated scans of each of {options.people} people on "
        f"{trained} SynthSeg label maps, {held_out} label maps held out"
    )
    print(encoder.save(options.out, training_data=text))


if __name__ == "__main__":
    main()
