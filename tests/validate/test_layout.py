"""The shipped files are asked what the student was taught, or nothing is measured."""

from dataclasses import replace

import pytest

from pocketvlm.errors import PocketError
from pocketvlm.project import Project
from pocketvlm.runtime import Runtime
from pocketvlm.student import load_merged
from pocketvlm.validate.ladder import check_layout


def test_the_runtimes_layout_is_the_trained_one(trained: Project) -> None:
    files = trained.workspace.text_gguf("Q8_0"), trained.workspace.vision_gguf("Q8_0")
    taught = load_merged(trained).prompt
    with Runtime(*files) as runtime:
        check_layout(runtime, trained.contract, taught)
        with pytest.raises(PocketError, match=r"otherwise than the student was trained.*requir"):
            check_layout(runtime, trained.contract, taught[1:])
        with pytest.raises(PocketError, match="otherwise than the student was trained"):
            check_layout(runtime, replace(trained.contract, prompt="<__media__> Hm:"), taught)
        with pytest.raises(PocketError, match="another contract"):
            runtime.check_contract(replace(trained.contract, resize="lanczos"))
