"""Opening the two files in llama.cpp, with errors that name the file, the reason and the mend."""

import ctypes
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import llama_cpp.llama_cpp as llama
import llama_cpp.mtmd_cpp as mtmd

from pocketvlm.contract import GGUF_KEY, IMAGE
from pocketvlm.errors import PocketError
from pocketvlm.export.fatal import fatal
from pocketvlm.export.header import Header, read_header
from pocketvlm.sections import MARKER

CONTEXT = 2048
"""Positions of the KV cache: prompt, two tiles and answer."""

MICRO_BATCH = 512
"""Tokens that llama.cpp computes at once."""

SEQUENCES = 64
"""Sequences side by side in the cache, which they share: the picture's own, and its answers'."""

CELLS = 256
"""llama.cpp gives a sequence that shares nothing a multiple of so many positions."""

TINY = 32 * 2**20
"""Bytes below which a text model is computed by one thread."""

TOKENS = "tokenizer.ggml.tokens"

ERROR = 4
"""GGML_LOG_LEVEL_ERROR (ggml.h); the dots of loading come as 5, continued lines."""

_errors: list[str] = []


@llama.llama_log_callback  # type: ignore[untyped-decorator]
def _keep_errors(level: int, text: bytes, _: Any) -> None:
    if level == ERROR:
        _errors.append(" ".join(text.decode("utf-8", errors="replace").split()))


llama.llama_log_set(_keep_errors, ctypes.c_void_p(0))
mtmd.mtmd_helper_log_set(_keep_errors, ctypes.c_void_p(0))
llama.llama_backend_init()


@contextmanager
def reasons() -> Iterator[list[str]]:
    """What llama.cpp gives as errors inside the block; it prints nothing itself."""
    _errors.clear()
    yield _errors


@dataclass(frozen=True)
class Handles:
    """Native objects of an open pair of files; they are void after `close`."""

    model: Any
    context: Any
    vision: Any
    vocabulary: Any
    threads: int
    owner: ExitStack

    def close(self) -> None:
        """Free the native memory."""
        self.owner.close()


def load(text: Path, vision: Path, threads: int | None, exact: bool) -> Handles:
    """Open both files on the processor. PocketError when a file is missing or broken, or when the
    two are of different models."""
    language, _ = _checked(text), _checked(vision)
    if language.architecture != "clip" and IMAGE not in language.texts(TOKENS):
        raise PocketError(f"{text} has no token {IMAGE}: it is no SmolVLM's text model")
    threads = threads or usual_threads(text)
    with ExitStack() as opened, reasons() as why:
        model = llama.llama_model_load_from_file(str(text).encode(), _model_settings())
        if not model:
            raise PocketError(f"{text} does not load ({'; '.join(why)}): convert it again")
        opened.callback(llama.llama_model_free, model)
        context = llama.llama_init_from_model(model, _context_settings(threads, exact))
        if not context:
            raise PocketError(f"{text} loads but cannot run ({'; '.join(why)}): free some memory")
        opened.callback(llama.llama_free, context)
        seeing = mtmd.mtmd_init_from_file(
            str(vision).encode(), model, _vision_settings(threads, exact)
        )
        if not seeing:
            raise PocketError(
                f"{vision} does not load beside {text} ({'; '.join(why)}): convert both again "
                "from one model"
            )
        opened.callback(mtmd.mtmd_free, seeing)
        return Handles(
            model,
            context,
            seeing,
            llama.llama_model_get_vocab(model),
            threads,
            opened.pop_all(),
        )


def recorded(vision: Path) -> tuple[int, str | None]:
    """The tower's side (the key clip.vision.image_size, without which the file does not load) and
    the hash of the contract that the file was made under, if it names one."""
    header = read_header(vision)
    return header.whole("clip.vision.image_size") or 0, header.text(GGUF_KEY)


def usual_threads(text: Path) -> int:
    """Physical cores; one thread for a tiny model.

    Its threads mostly wait for each other: a picture took 35 to 41 ms with two, 48 to 58 with one,
    but seconds with four on two cores that other programs kept busy."""
    return 1 if text.stat().st_size < TINY else cores()


def cores() -> int:
    """Physical cores that this process may use; a second thread on a core only gets in the way."""
    if not hasattr(os, "sched_getaffinity"):
        return os.cpu_count() or 1
    topology = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"
    siblings = (Path(topology.format(number)) for number in os.sched_getaffinity(0))
    return len({path.read_text() if path.is_file() else str(path) for path in siblings})


def _model_settings() -> Any:
    settings = llama.llama_model_default_params()
    settings.n_gpu_layers = 0
    return settings


def open_context(handles: Handles, sequences: int, room: int) -> Any:
    """A context whose sequences have `room` positions each, a multiple of CELLS, and share none.
    PocketError when there is no memory for it."""
    settings = _context_settings(handles.threads, exact=False)
    settings.n_ctx, settings.n_seq_max, settings.kv_unified = sequences * room, sequences, False
    settings.n_batch = max(CONTEXT, room)
    with reasons() as why:
        context = llama.llama_init_from_model(handles.model, settings)
        if not context:
            raise PocketError(f"llama.cpp opens no context ({'; '.join(why)}): free some memory")
    return context


def _context_settings(threads: int, exact: bool) -> Any:
    settings = llama.llama_context_default_params()
    settings.n_ctx = settings.n_batch = CONTEXT
    settings.n_ubatch = MICRO_BATCH
    settings.n_seq_max, settings.kv_unified = SEQUENCES, True
    settings.n_threads = settings.n_threads_batch = threads
    if exact:
        settings.type_k = settings.type_v = llama.GGML_TYPE_F32
        settings.flash_attn_type = llama.LLAMA_FLASH_ATTN_TYPE_DISABLED
    return settings


def _vision_settings(threads: int, exact: bool) -> Any:
    settings = mtmd.mtmd_context_params_default()
    settings.use_gpu = settings.print_timings = settings.warmup = False
    settings.n_threads = threads
    settings.media_marker = MARKER.encode()
    if exact:
        settings.flash_attn_type = llama.LLAMA_FLASH_ATTN_TYPE_DISABLED
    return settings


def _checked(path: Path) -> Header:
    """PocketError for what llama.cpp would refuse without a reason, or end the process over."""
    if not path.exists():
        raise PocketError(f"{path} does not exist: run `pocketvlm convert` first")
    header = read_header(path)
    if why := fatal(header):
        raise PocketError(f"{path} does not load ({why}): convert it again")
    return header
