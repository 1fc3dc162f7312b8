"""Datasets in, splits, and batches ready for a network."""

from archfit.data.augment import Augmentation, cutout, random_affine, random_crop, random_flip
from archfit.data.batches import Batches, evaluation_batches
from archfit.data.builtin import BUILTIN, data_folder
from archfit.data.dataset import ImageData, MemorySplit, Split, channel_statistics
from archfit.data.files import FileSplit
from archfit.data.sources import load_data
from archfit.data.splits import balanced, stratified
from archfit.data.store import load_arrays, save_arrays

__all__ = [
    "BUILTIN",
    "Augmentation",
    "Batches",
    "FileSplit",
    "ImageData",
    "MemorySplit",
    "Split",
    "balanced",
    "channel_statistics",
    "cutout",
    "data_folder",
    "evaluation_batches",
    "load_arrays",
    "load_data",
    "random_affine",
    "random_crop",
    "random_flip",
    "save_arrays",
    "stratified",
]
