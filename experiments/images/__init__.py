"""Labelled images for the CNN and CLIP experiments: CIFAR, folders of images, drawn pictograms."""
