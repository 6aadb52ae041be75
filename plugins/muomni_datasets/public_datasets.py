"""Public datasets that recipes name as ``set:NAME``: addresses, sizes, checksums, licenses.

Sizes and checksums are from TensorFlow Datasets 4.9.10 (``checksums.tsv``, ``url_checksums/``); those of Speech
Commands, LJSpeech and LibriSpeech equal torchaudio 2.11's.
"""

from __future__ import annotations

from pathlib import Path

from muomni_cli.api import Download, RemoteFile

CC_BY = "CC BY 4.0"
SPEECH_COMMANDS = "https://arxiv.org/abs/1804.03209"
LJSPEECH = "https://keithito.com/LJ-Speech-Dataset/"
LJSPEECH_ARCHIVE = RemoteFile(
    url="https://data.keithito.com/data/speech/LJSpeech-1.1.tar.bz2",
    size=2_748_572_632,
    sha256="be1a30453f28eb8dd26af4101ae40cbf2c50413b1bb21936cbcdc6fae3de8aa5",
)


def _speech() -> list[Download]:
    return [
        Download(
            name="speech-commands",
            doc="Speech Commands v0.02: 35 words by 2,618 speakers, 105,829 clips of one second",
            license=CC_BY,
            license_url=SPEECH_COMMANDS,
            paths=("speech/speech_commands_16k_flac.tar",),
            files=(
                RemoteFile(
                    url="http://download.tensorflow.org/data/speech_commands_v0.02.tar.gz",
                    size=2_428_923_189,
                    sha256="af14739ee7dc311471de98f5f9d2c9191b18aedfe957f4a6ff791c709868ff58",
                ),
            ),
            layout="muomni_datasets.archive_layouts:speech_commands",
            laid_out=1_700_000_000,
        ),
        Download(
            name="speech-commands-test",
            doc="Speech Commands v0.02, test set only: ten words, and other words as _unknown_",
            license=CC_BY,
            license_url=SPEECH_COMMANDS,
            paths=("speech/speech_commands_test_16k_flac.tar",),
            files=(
                RemoteFile(
                    url="http://download.tensorflow.org/data/speech_commands_test_set_v0.02.tar.gz",
                    size=112_563_277,
                    sha256="cc2a00c1147c2254e9be3fa0f779d8c17421dc349b86366567a8edfa9acd51df",
                ),
            ),
            layout="muomni_datasets.archive_layouts:speech_commands",
            laid_out=80_000_000,
        ),
        Download(
            name="ljspeech",
            doc="LJSpeech 1.1: 13,100 sentences read by one woman, 24 hours",
            license="public domain",
            license_url=LJSPEECH,
            paths=("speech/ljspeech_16k_flac.tar",),
            files=(LJSPEECH_ARCHIVE,),
            layout="muomni_datasets.archive_layouts:ljspeech",
            laid_out=1_800_000_000,
        ),
        Download(
            name="ljspeech-part",
            doc="LJSpeech 1.1 up to clip LJ002-0160, 37 minutes: training data of nano",
            license="public domain",
            license_url=LJSPEECH,
            paths=("speech/ljspeech_part_16k_flac.tar",),
            files=(LJSPEECH_ARCHIVE,),
            layout="muomni_datasets.archive_layouts:ljspeech_part",
            laid_out=50_000_000,
        ),
        Download(
            name="fsdd",
            doc="Free Spoken Digit Dataset 1.0.9: 3,000 spoken digits by 6 speakers",
            license="CC BY-SA 4.0",
            license_url="https://github.com/Jakobovski/free-spoken-digit-dataset",
            paths=("speech/fsdd_8k_flac.tar",),
            files=(
                RemoteFile(
                    url="https://github.com/Jakobovski/free-spoken-digit-dataset/archive/v1.0.9.tar.gz",
                    size=11_975_353,
                    sha256="8bc44cde129d505cbbb6b365c09f80c663f2aa77578afc634e6141a2f87100c0",
                    name="free-spoken-digit-dataset-1.0.9.tar.gz",
                ),
            ),
            layout="muomni_datasets.archive_layouts:fsdd",
            laid_out=15_000_000,
        ),
        *(_librispeech(*part) for part in LIBRISPEECH),
    ]


LIBRISPEECH = (
    ("dev-clean", "5.4 hours by 40 readers, for validation", 337_926_286,
     "76f87d090650617fca0cac8f88b9416e0ebf80350acb97b343a85fa903728ab3"),
    ("test-clean", "5.4 hours by 40 readers, for testing", 346_663_984,
     "39fde525e59672dc6d1551919b1478f724438a95aa55f874b576be21967e6c23"),
    ("train-clean-100", "100 hours by 251 readers", 6_387_309_499,
     "d4ddd1d5a6ab303066f14971d768ee43278a5f2a0aa43dc716b0e64ecbbbf6e2"),
)  # fmt: skip


def _librispeech(part: str, what: str, size: int, sha256: str) -> Download:
    return Download(
        name=f"librispeech-{part}",
        doc=f"LibriSpeech {part}: read books, {what}",
        license=CC_BY,
        license_url="https://www.openslr.org/12",
        paths=(f"speech/librispeech_{part.replace('-', '_')}_16k_flac.tar",),
        files=(RemoteFile(url=f"http://www.openslr.org/resources/12/{part}.tar.gz", size=size, sha256=sha256),),
        layout="muomni_datasets.archive_layouts:librispeech",
        laid_out=size,
    )


IDX_FILES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)
"""File names of MNIST and its successors."""


def _images() -> list[Download]:
    return [
        Download(
            name="fashion-mnist",
            doc="Fashion-MNIST: 70,000 gray images of clothes, 28 x 28, ten classes",
            license="MIT",
            license_url="https://github.com/zalandoresearch/fashion-mnist",
            paths=tuple(f"images/fashion-mnist/{name}" for name in IDX_FILES),
            files=_idx(
                "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
                (26_421_880, "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"),
                (29_515, "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
                (4_422_102, "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"),
                (5_148, "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
            ),
            system=("/usr/share/datasets/fashion-mnist",),  # Debian: dataset-fashion-mnist
        ),
        Download(
            name="mnist",
            doc="MNIST: 70,000 gray images of handwritten digits, 28 x 28",
            license="CC BY-SA 3.0",
            license_url="https://creativecommons.org/licenses/by-sa/3.0/",
            paths=tuple(f"images/mnist/{name}" for name in IDX_FILES),
            files=_idx(
                "https://storage.googleapis.com/cvdf-datasets/mnist",
                (9_912_422, "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
                (28_881, "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
                (1_648_877, "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
                (4_542, "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
            ),
        ),
    ]


def _idx(folder: str, *published: tuple[int, str]) -> tuple[RemoteFile, ...]:
    return tuple(
        RemoteFile(url=f"{folder}/{name}", size=size, sha256=sha256)
        for name, (size, sha256) in zip(IDX_FILES, published, strict=True)
    )


def downloads() -> list[Download]:
    """All public datasets."""
    stories = Download(
        name="stories",
        doc="eleven story books and 126 fables, 5.6 MB of English text; included in muomni",
        license="public domain in the United States",
        license_url="texts/SOURCES.md of the package muomni_datasets",
        paths=("text/stories_pd.txt",),
        shipped=Path(__file__).parent / "texts" / "stories.txt.gz",
    )
    return [stories, *_speech(), *_images()]
