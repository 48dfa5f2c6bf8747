"""Until the merge: the former place of the datasets. Delete this file then."""

from seqframe.framing.datasets import EpochDataset as EpochDataset
