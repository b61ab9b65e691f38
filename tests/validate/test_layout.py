"""The shipped files are asked what the student was taught, or nothing is measured."""

from dataclasses import replace

import pytest

from pocketvlm.errors import PocketError
from pocketvlm.project import Project
from pocketvlm.runtime import Runtime, check_layout
from pocketvlm.student import load_merged


def test_the_runtimes_layout_is_the_trained_one(trained: Project) -> None:
    files = trained.workspace.text_gguf("Q8_0"), trained.workspace.vision_gguf("Q8_0")
    taught = load_merged(trained).layout
    with Runtime(*files) as runtime:
        check_layout(runtime, trained.contract, taught)
        with pytest.raises(PocketError, match=r"student was trained.*--from train --force"):
            check_layout(runtime, trained.contract, replace(taught, ids=taught.ids[1:]))
        with pytest.raises(PocketError, match="lays a picture out otherwise"):
            check_layout(runtime, replace(trained.contract, prompt="<__media__> Hm:"), taught)
        with pytest.raises(PocketError, match="another contract"):
            runtime.check_contract(replace(trained.contract, resize="lanczos"))
