"""Settings of the network and of the data that it learns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dni_async.config.names import DATA_SETS, MODELS, ModelTraits
from dni_async.config.setting import AT_LEAST_1, name_or_own, setting

__all__ = ["DataSettings", "NetworkSettings"]

Norm = Literal["none", "batch", "layer"]


@dataclass(frozen=True, kw_only=True)
class NetworkSettings:
    """What the network is made of."""

    layers: int = setting(
        4,
        "Layers of the MLP, of cnn and of residual, the classifying one included.",
        why="deep enough that three boundaries predict, and trained in seconds",
        check=AT_LEAST_1,
        starts_here=True,
    )
    width: int | None = setting(
        None,
        "Units of each hidden layer; filters of cnn.",
        why="layers large enough that passing them on costs little beside computing them (0104); "
        "the convolutional network of Jaderberg et al. 2016",
        check=AT_LEAST_1,
        starts_here=True,
        default_text=f"{ModelTraits().width}; {MODELS['cnn'].width} of cnn",
    )
    norm: Norm = setting(
        "none",
        "Normalisation before each ReLU.",
        why="the plainest network; the digits need none",
    )
    model: str | None = setting(
        None,
        "Instead of the MLP: cnn, 5x5 convolutions over images with a linear layer last; residual, "
        "an MLP of residual blocks; or a torch.nn.Module of your own, made by a callable without "
        "arguments.",
        why="an MLP takes any data",
        check=name_or_own(tuple(MODELS), "factory"),
        starts_here=True,
        metavar="|".join([*MODELS, "PACKAGE.MODULE:FACTORY"]),
        default_text="the MLP",
    )
    split: tuple[str, ...] = setting(
        (),
        "Where a network of your own that is no torch.nn.Sequential is cut into layers: the names "
        "of modules at which another one begins; auto: at its repeated blocks; or a callable that "
        "is given the network and gives names.",
        why="the children of a Sequential are layers already",
        metavar="auto|NAME[,NAME...]",
        known=("auto",),
        default_text="auto, and a Sequential as it stands",
    )


@dataclass(frozen=True, kw_only=True)
class DataSettings:
    """Where the samples come from."""

    data: str = setting(
        "digits",
        "digits, mnist, fashion-mnist, cifar10, a PATH.npz with x_train y_train x_test y_test, or "
        "a function of your own that gives (training, test): arrays, data sets, loaders, batches.",
        why="comes with scikit-learn, so nothing is downloaded (0005)",
        starts_here=True,
        metavar="NAME|PATH.npz|PACKAGE.MODULE:FUNCTION",
        known=DATA_SETS,
    )
    data_dir: str | None = setting(
        None,
        "Where the files of mnist, fashion-mnist and cifar10 lie.",
        why="without it they are downloaded into the user's cache",
        resumable=True,
        metavar="DIR",
        default_text="DNI_DATA_DIR, or the user's cache",
    )
