"""LeNet-5 at full size, in the form common today.

Layer sizes are those of LeCun et al., "Gradient-Based Learning Applied to Document Recognition", 1998, figure 2.
Chosen where today's practice differs: ReLU instead of the scaled tanh, 2x2 maximum pooling instead of the trainable
subsampling, every C3 map sees all six S2 maps (the paper's table I drops some), C5 as a fully connected layer
(its 5x5 input gives the same mathematics), and a linear output instead of radial basis functions.
"""

from golden.net.graph import Conv2d, Flatten, Graph, Linear, MaxPool, Relu

__all__ = ["lenet5"]


def lenet5() -> Graph:
    """LeNet-5 for 1 x 32 x 32 images and 10 classes."""
    return Graph(
        "lenet5",
        "image",
        (1, 32, 32),
        (
            Conv2d("conv1", "image", 6, (5, 5)),
            Relu("relu1", "conv1"),
            MaxPool("pool1", "relu1", (2, 2), (2, 2)),
            Conv2d("conv2", "pool1", 16, (5, 5)),
            Relu("relu2", "conv2"),
            MaxPool("pool2", "relu2", (2, 2), (2, 2)),
            Flatten("flatten", "pool2"),
            Linear("fc1", "flatten", 120),
            Relu("relu3", "fc1"),
            Linear("fc2", "relu3", 84),
            Relu("relu4", "fc2"),
            Linear("fc3", "relu4", 10),
        ),
    )
