"""Containers without Docker: an image is a command of this interpreter, `/opt/ml` a folder of the job's own.

SageMaker's contract with a container is files under `/opt/ml`, environment variables, a verb and an exit
code. `SAGEMAKER_BASE_DIR`, AWS's own variable, moves the folder; every `/opt/ml` in what the request says to
the container (paths, arguments, environment, hyperparameters) moves with it, and in the programs that the
request's own command runs from an input.
"""

import os
import re
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .service import Service

REPOSITORY_ROOT = Path(__file__).resolve().parents[2]
_OPT_ML = re.compile(r"(?<![\w/])/opt/ml(?![\w-])")
# What a process needs of the server's own environment; anything else would be there only by accident.
_INHERITED = ("HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")


class UnknownImage(Exception):
    """No local stand-in for an image; the message says which there are."""


@dataclass(frozen=True)
class Image:
    """What `docker run` would start: an entry point, and environment that the image sets."""

    entrypoint: list[str]
    environment: dict[str, str] = field(default_factory=dict)


def default_images() -> dict[str, Image]:
    """Images by repository name: the product's own, and the framework image that it can stand for."""
    jobs = Image([sys.executable, "-m", "jobs"], {"PYTHONPATH": str(REPOSITORY_ROOT)})
    return {"evergreen-jobs": jobs, "sagemaker-scikit-learn": jobs}


def find_image(service: "Service", uri: str) -> Image:
    """The image of `<registry>/<path>/<repository>[:<tag>][@<digest>]`; raises UnknownImage.

    A repository may carry a prefix (`my-stack-evergreen-jobs`).
    """
    repository = uri.partition("@")[0].rpartition("/")[2].partition(":")[0]
    for name, image in service.images.items():
        if repository == name or repository.endswith(f"-{name}"):
            return image
    known = ", ".join(sorted(service.images))
    raise UnknownImage(f"Image {uri} has no stand-in on this machine: there are {known}.")


def relocate(value: Any, base: Path) -> Any:
    """`value` with `/opt/ml` replaced by `base` in every string, to any depth."""
    if isinstance(value, str):
        return _OPT_ML.sub(lambda _: str(base), value)
    if isinstance(value, list):
        return [relocate(item, base) for item in value]
    if isinstance(value, dict):
        return {key: relocate(item, base) for key, item in value.items()}
    return value


def relocate_programs(words: list[str], folders: list[str], base: Path) -> None:
    """The same in the text files of each of `folders` (paths under `/opt/ml`) that a command runs from.

    The scripts in there spell `/opt/ml` out: the drivers that the SageMaker SDK sends along with a training
    job, and almost every processing script, which has no variables to read. Folders of data stay as they are.
    """
    for folder in folders:
        if any(f"{folder.rstrip('/')}/" in word for word in words):
            for file in filter(Path.is_file, (base / relocate(folder, base)).rglob("*")):
                with suppress(UnicodeDecodeError):  # not a text
                    text = file.read_bytes().decode()
                    file.write_bytes(relocate(text, base).encode())


def environment(
    service: "Service",
    image: Image,
    base: Path,
    role: str | None,
    *requested: dict[str, str] | None,
    isolated: bool = False,
) -> dict[str, str]:
    """The whole environment of a container's process; later ones of `requested` win.

    isolated: EnableNetworkIsolation. The container gets no credentials and no endpoint, as on AWS, where it
    has no network either.
    """
    inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    merged = inherited | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "PYTHONUNBUFFERED": "1",
        "SAGEMAKER_BASE_DIR": str(base),
        # AWS's training toolkit resolves the name `algo-1` for ever without it.
        "SM_STUDIO_LOCAL_MODE": "True",
    }
    region = {"AWS_REGION": service.host.region, "AWS_DEFAULT_REGION": service.host.region}
    merged |= (region if isolated else service.host.environment(role)) | image.environment
    for variables in requested:
        merged |= relocate(variables or {}, base)
    return merged


def command(words: list[str], base: Path) -> list[str]:
    """A command line as the request gives it, for this machine: its `python` is this interpreter."""
    program, *arguments = relocate(words, base)
    if program in ("python", "python3", "/usr/bin/python3", "/usr/local/bin/python"):
        program = sys.executable
    return [program, *arguments]
