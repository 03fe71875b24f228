from .encoder import SequenceInvariantEncoder
