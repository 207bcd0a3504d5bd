"""Models of Keras as tf2onnx writes them; run by the interpreter of an environment that has TensorFlow.

python with_keras.py FOLDER
"""

import sys
from pathlib import Path

import keras
import tensorflow as tf
import tf2onnx
from keras import layers


def _residual(x):
    x = layers.Conv2D(16, 3, 2, "same", use_bias=False)(x)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    y = layers.ReLU()(layers.SeparableConv2D(16, 3, padding="same")(x))
    x = layers.Add()([x, layers.Conv2D(16, 3, padding="same")(y)])
    return layers.Dense(10, activation="softmax")(layers.GlobalAveragePooling2D()(x))


def _gated(x):
    x = layers.Conv2D(16, 3, 2, "same", activation="swish")(x)
    gate = layers.Dense(4, activation="relu")(layers.GlobalAveragePooling2D(keepdims=True)(x))
    x = layers.Multiply()([x, layers.Dense(16, activation="sigmoid")(gate)])
    x = layers.Concatenate()([layers.MaxPooling2D()(x), layers.AveragePooling2D(2)(x)])
    return layers.Dense(5)(layers.Flatten()(x))


def _segmenting(x):
    high = layers.Conv2D(8, 3, padding="same", activation="relu")(x)
    low = layers.Conv2D(16, 3, padding="same")(layers.MaxPooling2D()(high))
    low = layers.LeakyReLU()(low)
    up = layers.Conv2DTranspose(8, 2, 2)(low)
    return layers.Conv2D(2, 1, activation="sigmoid")(layers.Concatenate()([high, up, layers.UpSampling2D()(low)]))


def _signal(x):
    x = layers.Conv1D(16, 9, 4, activation="relu")(x)
    x = layers.Conv1D(32, 3, padding="same", activation="elu")(layers.MaxPooling1D()(x))
    return layers.Dense(4)(layers.GlobalAveragePooling1D()(x))


MODELS = ((_residual, (32, 32, 3)), (_gated, (32, 32, 3)), (_segmenting, (32, 32, 3)), (_signal, (256, 1)))


def main() -> None:
    """Write every model, with a batch of any size."""
    folder = Path(sys.argv[1])
    for number, (network, shape) in enumerate(MODELS):
        keras.utils.set_random_seed(number)
        x = keras.Input(shape)
        model = keras.Model(x, network(x))
        signature = [tf.TensorSpec((None, *shape), tf.float32, "x")]
        function = tf.function(lambda value, model=model: model(value, training=False), input_signature=signature)
        tf2onnx.convert.from_function(
            function, signature, opset=17, output_path=str(folder / f"{network.__name__.strip('_')}-tf2onnx.onnx")
        )


if __name__ == "__main__":
    main()
