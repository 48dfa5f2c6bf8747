"""Ordinary networks that people train on sequences, the awkward ones first.

Keras reads its backend when it is imported, so functions import it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

SEED = 7
STEPS, FEATURES = 48, 8  # a window
SYMBOLS = 1000  # of token ids; 0 stands for padding


def plain_model() -> Any:
    """Return Keras's own class of models."""
    import keras

    return keras.Model


@dataclass(frozen=True)
class Network:
    """A network, and what it is trained on.

    Attributes:
        name: str. The name that `--only` takes.
        apply: function `(x, layers) -> output` of a symbolic input and `keras.layers`.
        target: shape of a target.
        classes: int. Targets are below it, and the output is logits. With 0 targets are real.
        tokens: bool. Whether windows are token ids or `FEATURES` real values a step.
        padded: bool. Whether each window ends in steps of 0.
        stateful: bool. Whether the batch size is fixed, and state goes on.
        loss: what `compile` takes. None: the usual loss of such targets.
        optimizer: what `compile` takes.
        make_class: function without arguments. It returns the class of the model.
    """

    name: str
    apply: Callable[[Any, Any], Any]
    target: tuple[int, ...] = (1,)
    classes: int = 0
    tokens: bool = False
    padded: bool = False
    stateful: bool = False
    loss: Any = None
    optimizer: Any = "adam"
    make_class: Callable[[], Any] = plain_model

    def build(self, batch_size: int | None = None, **options: Any) -> Any:
        """Return the compiled network. Its weights are the same every time.

        Args:
            batch_size: int. A stateful network needs it.
            **options: further arguments of `compile`.
        """
        import keras

        keras.utils.set_random_seed(SEED)
        shape = (STEPS,) if self.tokens else (STEPS, FEATURES)
        dtype = "int32" if self.tokens else "float32"
        x = keras.Input(shape, batch_size=batch_size if self.stateful else None, dtype=dtype)
        model = self.make_class()(x, self.apply(x, keras.layers))
        loss = self.loss or "mse"
        if self.classes:
            loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
            options = dict(metrics=["accuracy"]) | options
        optimizer = keras.optimizers.get(self.optimizer)
        model.compile(**dict(optimizer=optimizer, loss=loss) | options)
        return model

    def data(self, samples: int) -> tuple[np.ndarray, np.ndarray]:
        """Return random windows and targets."""
        random = np.random.default_rng(SEED)
        if self.tokens:
            x = random.integers(1, SYMBOLS, (samples, STEPS), dtype=np.int32)
        else:
            x = random.normal(size=(samples, STEPS, FEATURES)).astype(np.float32)
        if self.padded:
            lengths = random.integers(STEPS // 2, STEPS + 1, samples)
            x[np.arange(STEPS) >= lengths[:, None]] = 0
        if self.classes:
            y = random.integers(self.classes, size=(samples, *self.target), dtype=np.int32)
        else:
            y = random.normal(size=(samples, *self.target)).astype(np.float32)
        return x, y


def chain(x: Any, *layers: Any) -> Any:
    """Return what layers make of an input, one after another."""
    for layer in layers:
        x = layer(x)
    return x


def convolutions(x: Any, layers: Any) -> Any:
    return chain(
        x,
        layers.Conv1D(64, 5, padding="causal", activation="relu"),
        layers.Conv1D(64, 5, padding="causal", activation="relu"),
        layers.GlobalAveragePooling1D(),
        layers.Dense(1),
    )


def normalized_convolution(x: Any, layers: Any) -> Any:
    return chain(
        x,
        layers.Conv1D(64, 5, padding="causal"),
        layers.BatchNormalization(),
        layers.Activation("relu"),
        layers.Dropout(0.2),
        layers.GlobalAveragePooling1D(),
        layers.Dense(1),
    )


def attention(x: Any, layers: Any) -> Any:
    x = layers.Dense(64)(x)
    x = layers.LayerNormalization()(x + layers.MultiHeadAttention(4, 16, dropout=0.1)(x, x))
    return chain(x, layers.GlobalAveragePooling1D(), layers.Dense(1))


def gru_dropout_gru(x: Any, layers: Any) -> Any:
    first, second = layers.GRU(64, return_sequences=True), layers.GRU(64)
    return chain(x, first, layers.Dropout(0.2), second, layers.Dense(1))


def noisy_dense(x: Any, layers: Any) -> Any:
    return chain(
        x,
        layers.GaussianNoise(0.1),
        layers.Dense(128, "relu"),
        layers.Dropout(0.2),
        layers.GlobalAveragePooling1D(),
        layers.Dense(1),
    )


def convolution_lstm(x: Any, layers: Any) -> Any:
    convolution = layers.Conv1D(64, 5, padding="causal", activation="relu")
    return chain(x, convolution, layers.LSTM(64), layers.Dense(1))


def lstm_with_dropout(x: Any, layers: Any) -> Any:
    return chain(x, layers.LSTM(64, dropout=0.2, recurrent_dropout=0.2), layers.Dense(1))


def masked_gru(x: Any, layers: Any) -> Any:
    return chain(x, layers.Masking(), layers.GRU(64), layers.Dense(1))


def bidirectional_lstm(x: Any, layers: Any) -> Any:
    return chain(x, layers.Bidirectional(layers.LSTM(64)), layers.Dense(1))


def embedded_gru(x: Any, layers: Any) -> Any:
    embedding = layers.Embedding(SYMBOLS, 64)
    return chain(x, embedding, layers.SpatialDropout1D(0.2), layers.GRU(64), layers.Dense(2))


def language_model(x: Any, layers: Any) -> Any:
    return chain(
        x,
        layers.Embedding(SYMBOLS, 64),
        layers.GRU(128, return_sequences=True),
        layers.Dropout(0.2),
        layers.Dense(SYMBOLS),
    )


def temporal_convolutions(x: Any, layers: Any) -> Any:
    """A TCN: residual blocks of two dilated causal convolutions (Bai et al., 2018)."""
    x = layers.Dense(32)(x)
    for dilation in (1, 2, 4, 8):
        hidden = x
        for _ in range(2):
            convolution = layers.Conv1D(32, 3, padding="causal", dilation_rate=dilation)
            hidden = chain(hidden, convolution, layers.ReLU(), layers.SpatialDropout1D(0.1))
        x = layers.ReLU()(x + hidden)
    return layers.Dense(1)(x[:, -1])


def gated_convolutions(x: Any, layers: Any) -> Any:
    """WaveNet: gated dilated convolutions with skip connections (van den Oord et al., 2016)."""
    x, skips = layers.Conv1D(32, 1)(x), []
    for dilation in (1, 2, 4, 8, 16):
        value, gate = (
            layers.Conv1D(32, 2, padding="causal", dilation_rate=dilation, activation=activation)(x)
            for activation in ("tanh", "sigmoid")
        )
        skips.append(layers.Conv1D(32, 1)(value * gate))
        x = x + skips[-1]
    return layers.Dense(1)(layers.ReLU()(layers.Add()(skips))[:, -1])


def convolutional_lstm(x: Any, layers: Any) -> Any:
    rows = layers.Reshape((STEPS, FEATURES, 1))
    return chain(
        x, rows, layers.ConvLSTM1D(8, 3, padding="same"), layers.Flatten(), layers.Dense(1)
    )


def separable_convolutions(x: Any, layers: Any) -> Any:
    return chain(
        x,
        layers.SeparableConv1D(64, 5, padding="same", activation="relu"),
        layers.MaxPooling1D(2),
        layers.SeparableConv1D(64, 5, padding="same", activation="relu"),
        layers.GlobalMaxPooling1D(),
        layers.Dense(1),
    )


def transformer_block(x: Any, layers: Any, causal: bool) -> Any:
    """Return what a transformer's block makes of 64 features a step."""
    normal = layers.LayerNormalization()(x)
    mixed = layers.MultiHeadAttention(4, 16, dropout=0.1)(normal, normal, use_causal_mask=causal)
    x = x + layers.Dropout(0.1)(mixed)
    hidden = chain(x, layers.LayerNormalization(), layers.Dense(128, "gelu"), layers.Dense(64))
    return x + layers.Dropout(0.1)(hidden)


def encoder(x: Any, layers: Any) -> Any:
    x = layers.Dense(64)(x)
    for _ in range(2):
        x = transformer_block(x, layers, causal=False)
    return chain(x, layers.GlobalAveragePooling1D(), layers.Dropout(0.1), layers.Dense(1))


def decoder(x: Any, layers: Any) -> Any:
    from keras import ops

    positions = ops.cumsum(ops.ones_like(x), axis=1) - 1
    x = layers.Embedding(SYMBOLS, 64)(x) + layers.Embedding(STEPS, 64)(positions)
    for _ in range(2):
        x = transformer_block(x, layers, causal=True)
    return chain(x, layers.LayerNormalization(), layers.Dense(SYMBOLS))


def residual_dense(x: Any, layers: Any) -> Any:
    """N-BEATS: each block subtracts what it explains from its input (Oreshkin et al., 2020)."""
    rest, forecasts = layers.Flatten()(x), []
    for _ in range(3):
        hidden = chain(rest, layers.Dense(128, "relu"), layers.Dense(128, "relu"))
        rest = rest - layers.Dense(STEPS * FEATURES)(hidden)
        forecasts.append(layers.Dense(12)(hidden))
    return layers.Add()(forecasts)


def probabilistic_lstm(x: Any, layers: Any) -> Any:
    """DeepAR: mean and log of the standard deviation at every step (Salinas et al., 2020)."""
    return chain(x, layers.LSTM(40, return_sequences=True), layers.Dropout(0.1), layers.Dense(2))


def gaussian_likelihood(actual: Any, output: Any) -> Any:
    """Return the negative log likelihood of a normal distribution, without its constant."""
    from keras import ops

    mean, log_deviation = output[..., :1], output[..., 1:]
    apart = (actual - mean) * ops.exp(-log_deviation)
    return ops.mean(log_deviation + ops.square(apart) / 2, axis=-1)


def sequence_to_sequence(x: Any, layers: Any) -> Any:
    return chain(
        x,
        layers.LSTM(64),
        layers.RepeatVector(12),
        layers.LSTM(64, return_sequences=True),
        layers.TimeDistributed(layers.Dense(1)),
    )


def bidirectional_stack(x: Any, layers: Any) -> Any:
    first = layers.Bidirectional(layers.GRU(32, return_sequences=True))
    return chain(
        x, first, layers.Bidirectional(layers.GRU(32)), layers.Dropout(0.2), layers.Dense(1)
    )


def masked_embedding_lstm(x: Any, layers: Any) -> Any:
    return chain(x, layers.Embedding(SYMBOLS, 64, mask_zero=True), layers.LSTM(64), layers.Dense(2))


def bfloat16_gru(x: Any, layers: Any) -> Any:
    return chain(x, layers.GRU(64, dtype="mixed_bfloat16"), layers.Dense(1, dtype="float32"))


def centering_model() -> Any:
    """Return a class of models that center windows in a `train_step` of their own."""
    import keras
    from keras import ops

    class Centering(keras.Model):
        def train_step(self, *args: Any) -> Any:
            *state, data = args  # only JAX passes a state
            x, y, weight = keras.utils.unpack_x_y_sample_weight(data)
            x = x - ops.mean(x, axis=1, keepdims=True)
            return super().train_step(*state, (x, y, weight))

    return Centering


def gru(x: Any, layers: Any) -> Any:
    return chain(x, layers.GRU(64), layers.Dense(1))


def simple_rnn(x: Any, layers: Any) -> Any:
    return chain(x, layers.SimpleRNN(32), layers.Dense(1))


def lstm(x: Any, layers: Any) -> Any:
    return chain(x, layers.LSTM(32), layers.Dense(1))


def stateful_lstm(x: Any, layers: Any) -> Any:
    return chain(x, layers.LSTM(32, stateful=True), layers.Dense(1))


def large_embedding(x: Any, layers: Any) -> Any:
    """A bag of words, whose parameters take 51 MB (fastText)."""
    embedding = layers.Embedding(100_000, 128)
    return chain(x, embedding, layers.GlobalAveragePooling1D(), layers.Dense(2))


def dense(x: Any, layers: Any) -> Any:
    return chain(
        x, layers.Flatten(), layers.Dense(128, "relu"), layers.Dense(64, "relu"), layers.Dense(1)
    )


TEXT = dict(tokens=True, target=(), classes=2)
EVERY_STEP = dict(tokens=True, target=(STEPS,), classes=SYMBOLS)
CLIPPED = {"class_name": "Adam", "config": {"clipnorm": 1.0}}

NETWORKS = {
    network.name: network
    for network in (
        Network("conv", convolutions),
        Network("conv-norm-dropout", normalized_convolution),
        Network("attention", attention),
        Network("gru-dropout-gru", gru_dropout_gru),
        Network("noise-dense-dropout", noisy_dense),
        Network("conv-lstm", convolution_lstm),
        Network("lstm-dropout", lstm_with_dropout),
        Network("masked-gru", masked_gru, padded=True),
        Network("bidirectional-lstm", bidirectional_lstm),
        Network("embedding-gru", embedded_gru, **TEXT),
        Network("language-model", language_model, **EVERY_STEP, optimizer=CLIPPED),
        Network("tcn", temporal_convolutions),
        Network("wavenet", gated_convolutions),
        Network("convlstm1d", convolutional_lstm),
        Network("separable-conv", separable_convolutions),
        Network("transformer", encoder, optimizer="adamw"),
        Network("decoder", decoder, **EVERY_STEP, optimizer="adamw"),
        Network("n-beats", residual_dense, target=(12,)),
        Network("deepar", probabilistic_lstm, target=(STEPS, 1), loss=gaussian_likelihood),
        Network("seq2seq", sequence_to_sequence, target=(12, 1)),
        Network("bidirectional-stack", bidirectional_stack),
        Network("masked-embedding", masked_embedding_lstm, **TEXT, padded=True),
        Network("bfloat16-gru", bfloat16_gru),
        Network("custom-step", gru, make_class=centering_model),
        Network("simple-rnn", simple_rnn, optimizer="rmsprop"),
        Network("lstm", lstm),
        Network("stateful-lstm", stateful_lstm, stateful=True),
        Network("large-embedding", large_embedding, **TEXT),
        Network("dense", dense, optimizer="sgd"),
    )
}
