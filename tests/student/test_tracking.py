"""What is shown of a training, in TensorBoard; and that no board can stop it."""

import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from transformers import Trainer, TrainingArguments

from pocketvlm.errors import ConfigError
from pocketvlm.student import machine, tracking
from pocketvlm.student.event_files import CAPTION, CELL, caption, contact_sheet
from pocketvlm.student.machine import Machine
from pocketvlm.student.tracking import SHOWN, Mistake, Tracking, named, spread
from tests.student.tracked import Watched, make_tracked


def mistakes(folder: Path, count: int) -> list[Mistake]:
    """Red pictures that were taken for grass."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number in range(count):
        path = folder / f"{number}.png"
        Image.new("RGB", (64, 64), (250, 0, number)).save(path)
        rows.append(Mistake(path, "sky", "grass"))
    return rows


def read(root: Path) -> Any:
    """The only TensorBoard run of a workspace, as TensorBoard reads it."""
    (folder,) = (root / "logs" / "tensorboard").iterdir()
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0})
    events.Reload()
    return events


def points(root: Path, figure: str) -> list[tuple[int, float]]:
    return [(event.step, event.value) for event in read(root).Scalars(figure)]


def test_figures(tmp_path: Path) -> None:
    watched = Watched(make_tracked(tmp_path, tensorboard=True))
    watched.steps(3)
    watched.evaluation(mistakes(tmp_path / "wrong", 3))
    watched.end()
    assert points(tmp_path, "train/loss")[:2] == [(1, 1.0), (2, 0.5)]
    assert points(tmp_path, "train/learning_rate")[-1][1] == pytest.approx(1e-4)
    assert points(tmp_path, "val/accuracy") == [(3, 0.5)]
    assert points(tmp_path, "recall/sky") == [(3, 0.25)]
    assert points(tmp_path, "answered/sky") == [(3, 3.0)]
    assert points(tmp_path, "machine/memory_mib")[0][1] > 50
    assert not [tag for tag in read(tmp_path).Tags()["scalars"] if "runtime" in tag]


def test_wrong_pictures_are_shown(tmp_path: Path) -> None:
    watched = Watched(make_tracked(tmp_path, tensorboard=True))
    watched.evaluation(mistakes(tmp_path / "wrong", 2))
    watched.end()
    (shown,) = read(tmp_path).Images("val/mistakes")
    assert (shown.width, shown.height) == (2 * CELL, CELL + CAPTION)


def test_configuration_and_contract_are_shown(tmp_path: Path) -> None:
    project = make_tracked(tmp_path, tensorboard=True)
    Watched(project).end()
    events = read(tmp_path)
    text = {
        tag: events.Tensors(tag)[0].tensor_proto.string_val[0].decode()
        for tag in events.Tags()["tensors"]
    }
    assert "effective_batch: 8" in text["configuration/text_summary"]
    assert project.contract.hash in text["contract/text_summary"]


def test_pictures_a_second_without_the_evaluations(tmp_path: Path) -> None:
    watched = Watched(make_tracked(tmp_path, tensorboard=True))
    watched.steps(2, seconds=0.1)
    time.sleep(0.5)
    watched.evaluation([])
    watched.steps(2, seconds=0.1)
    watched.end()
    speeds = [value for _, value in points(tmp_path, "train/samples_per_second")]
    assert len(speeds) == 4
    assert all(40 < speed <= 80 for speed in speeds), speeds


def test_a_resumed_training_goes_on_in_its_run(tmp_path: Path) -> None:
    """Steps 4 and 5 were done after the last checkpoint: they are done again, and seen once."""
    project = make_tracked(tmp_path, tensorboard=True)
    first = Watched(project)
    first.steps(5)
    first.close()
    second = Watched(project, step=3)
    second.steps(4)
    second.end()
    assert [step for step, _ in points(tmp_path, "train/loss")] == [1, 2, 3, 4, 5, 6, 7]


def test_another_training_is_another_run(tmp_path: Path) -> None:
    project = make_tracked(tmp_path, tensorboard=True)
    for kept in ("one", "two"):
        watched = Tracking(project, tmp_path / kept)
        state = Watched(make_tracked(tmp_path / kept)).state
        watched.on_train_begin(None, state, None)
        watched.close()
    assert len(list((tmp_path / "logs" / "tensorboard").iterdir())) == 2


def test_a_broken_record_of_the_run_begins_another(tmp_path: Path) -> None:
    record = tmp_path / "state" / "checkpoints" / "key" / tracking.RECORD
    record.parent.mkdir(parents=True)
    record.write_text("{torn")
    watched = Watched(make_tracked(tmp_path, tensorboard=True))
    watched.steps(1)
    watched.end()
    assert points(tmp_path, "train/loss") == [(1, 1.0)]


def test_a_board_that_fails_is_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Here because a picture is gone."""
    watched = Watched(make_tracked(tmp_path, tensorboard=True))
    watched.steps(1)
    watched.evaluation([Mistake(tmp_path / "gone.png", "sky", "grass")])
    watched.steps(2)
    watched.end()
    said = capsys.readouterr().err
    assert said.count("TensorBoard is left out from here on") == 1
    assert points(tmp_path, "train/loss") == [(1, 1.0)]


def test_a_board_that_cannot_open_is_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "logs").write_text("no folder")
    watched = Watched(make_tracked(tmp_path, tensorboard=True))
    watched.steps(1)
    watched.end()
    assert "TensorBoard is left out" in capsys.readouterr().err


def test_closing_twice(tmp_path: Path) -> None:
    watched = Watched(make_tracked(tmp_path, tensorboard=True))
    watched.end()
    watched.close()
    Tracking(make_tracked(tmp_path, tensorboard=True), tmp_path).close()  # never begun


@pytest.mark.parametrize("track", [{"tensorboard": True}, {"wandb": "offline"}])
def test_a_missing_package_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, track: dict[str, Any]
) -> None:
    monkeypatch.setattr(tracking, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r'pip install "pocketvlm\[track\]"'):
        Watched(make_tracked(tmp_path, **track))


def test_in_the_order_of_the_trainer(tmp_path: Path) -> None:
    """The real Trainer calls it: a line that is fitted."""
    project = make_tracked(tmp_path, tensorboard=True)
    watched = Tracking(project, tmp_path / "state")

    class Line(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.slope = torch.nn.Parameter(torch.zeros(()))

        def forward(self, x: torch.Tensor, y: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"loss": ((self.slope * x - y) ** 2).mean(), "logits": self.slope * x}

    data = [{"x": float(x), "y": 2.0 * x} for x in range(8)]
    args = TrainingArguments(
        str(tmp_path / "out"),
        num_train_epochs=2,
        eval_strategy="epoch",
        logging_steps=1,
        report_to="none",
        disable_tqdm=True,
        label_names=["y"],
        dataloader_pin_memory=False,
    )
    trainer = Trainer(Line(), args, train_dataset=data, eval_dataset=data, callbacks=[watched])
    trainer.train()
    watched.close()
    assert [step for step, _ in points(tmp_path, "train/loss")] == [1, 2]
    assert [step for step, _ in points(tmp_path, "val/loss")] == [1, 2]
    assert len(points(tmp_path, "train/samples_per_second")) == 2
    assert watched.finished


@given(st.integers(0, 1000))
def test_wrong_pictures_are_spread_over_all(count: int) -> None:
    rows = [Mistake(Path(str(number)), "sky", "grass") for number in range(count)]
    shown = spread(rows)
    assert len(shown) <= SHOWN
    assert shown[:1] == rows[:1]
    assert count < SHOWN / 2 or len(shown) >= SHOWN / 2
    assert not rows or count - int(shown[-1].image.name) <= -(-count // SHOWN)


def test_a_label_with_any_sign_keeps_its_name() -> None:
    assert named({"eval_recall_eval_loss": 1.0, "eval_answered_a/b": 2}) == {
        "recall/eval_loss": 1.0,
        "answered/a/b": 2.0,
    }


def test_captions_take_any_answer(tmp_path: Path) -> None:
    (one,) = mistakes(tmp_path, 1)
    for answer in ("", "two\nlines " * 50, "огонь", "火", "\x00\ud83d"):
        sheet = contact_sheet([one._replace(answer=answer)])
        assert sheet.shape == (CELL + CAPTION, CELL, 3)
        assert np.all(sheet[:CELL] == (250, 0, 0))


@given(st.text(st.characters(), max_size=60), st.text(st.characters(), max_size=60))
def test_captions_stay_in_their_cell(label: str, answer: str) -> None:
    """Lone surrogates, signs that turn the direction and wide letters too."""
    with TemporaryDirectory() as folder:
        (one,) = mistakes(Path(folder), 1)
        rows = [one._replace(label="W" * 30, answer="W" * 30), one]
        other = [one._replace(label=label, answer=answer), one]
        sheets = [contact_sheet(row) for row in (rows, other)]
    assert np.array_equal(sheets[0][:, CELL:], sheets[1][:, CELL:])
    for sheet in sheets:
        assert np.all(sheet[CELL:, CELL - 2 : CELL + 2] == 255)


def test_a_caption_is_cut_where_the_cell_ends() -> None:
    assert caption("grass") == "grass"
    assert caption("W" * 30).startswith("WWWWWWWW") and caption("W" * 30).endswith("...")
    assert len(caption("i" * 60)) > 2 * len(caption("W" * 60))
    assert caption("a\x00b\ud83d\u202ec") == "a\ufffdb\ufffd\ufffdc"
    assert caption(" \n") == "(nothing)"


def test_the_machine_is_asked_rarely(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Machine()
    assert set(asked.figures()) >= {"machine/memory_mib"}
    assert asked.figures() == {}
    monkeypatch.setattr(machine, "INTERVAL", 0.0)
    asked.next = 0.0
    assert asked.figures()


@pytest.mark.skipif(torch.cuda.is_available(), reason="here the driver answers")
def test_a_gpu_whose_driver_is_silent_is_left_out() -> None:
    """Without a driver torch's questions fail as they do where it cannot tell."""
    asked = Machine()
    asked.gpu = True
    assert set(asked.figures()) == {"machine/memory_mib"}
    assert not asked.gpu
