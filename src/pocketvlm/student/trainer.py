"""The Trainer's step and its questions about val: exact, whatever fits at once."""

from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from accelerate.utils.memory import clear_device_cache
from torch import Tensor, distributed, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Sampler
from transformers import Trainer

from pocketvlm.sections import Train
from pocketvlm.student.checkpoints import Keeper
from pocketvlm.student.data import IGNORED, Collator
from pocketvlm.student.features import Lessons
from pocketvlm.student.fit import Fit, out_of_memory
from pocketvlm.student.inputs import embed, scaled, tower_states
from pocketvlm.student.order import Item, Order, Turns
from pocketvlm.student.precision import precision
from pocketvlm.student.ranks import Ranks
from pocketvlm.student.student import BATCH, Student

Batch = dict[str, Tensor]


class Loader(DataLoader[Any]):
    """Batches of lessons; the Trainer announces each epoch, and the order is its."""

    def __init__(self, lessons: Lessons, sampler: Sampler[list[Item]], collate: Collator) -> None:
        # No worker processes: lessons are decoded by threads, which no signal to the group ends.
        super().__init__(
            lessons,
            batch_sampler=sampler,
            collate_fn=collate,
            pin_memory=torch.cuda.is_available(),
        )

    def set_epoch(self, epoch: int) -> None:
        """Called by the Trainer before each epoch."""
        assert isinstance(self.batch_sampler, Order)
        self.batch_sampler.set_epoch(epoch)


class StudentTrainer(Trainer):
    """Loss on the answer and its end token; after each epoch the student is asked about val.

    A batch of the loader is a whole optimiser step. It goes through the model in parts that fit,
    which changes neither the gradient nor the order of the data. `found` is told the places in val
    that were answered wrongly, with the answers, after each epoch."""

    def __init__(
        self,
        student: Student,
        config: Train,
        confident: list[bool],
        ranks: Ranks,
        keeper: Keeper,
        fit: Fit,
        found: Callable[[list[tuple[int, str]]], None],
        **arguments: Any,
    ) -> None:
        self.student, self.config, self.confident = student, config, confident
        self.ranks, self.keeper, self.fit, self.found = ranks, keeper, fit, found
        super().__init__(data_collator=Collator(student), **arguments)
        self.add_callback(keeper)

    def get_train_dataloader(self) -> Loader:
        """Whole steps in the order of `Order`, not divided again by accelerate."""
        order = Order(self.train_dataset.labels, self.config, *self.ranks)
        return Loader(self.train_dataset, order, self.data_collator)

    def training_step(
        self, model: Any, inputs: Batch, num_items_in_batch: Tensor | int | None = None
    ) -> Tensor:
        """Forward and backward of one optimiser step; the mean loss of all its answer tokens."""
        model.train()
        tokens = int((inputs["labels"] != IGNORED).sum()) if inputs else 0
        loss = torch.zeros((), device=self.args.device)
        if inputs:
            with model.no_sync() if self.ranks.processes > 1 else nullcontext():
                loss = self._in_parts(model, inputs, tokens)
            self.fit.keep()
        elif precision().scaled:
            self.accelerator.scaler.scale(loss)  # without a first time it cannot unscale
        return self._together(loss, tokens)

    def _in_parts(self, model: nn.Module, inputs: Batch, tokens: int) -> Tensor:
        """Gradients and loss, mean over `tokens`; out of memory halves the parts and begins the
        step again."""
        while True:
            try:
                if self.fit.rows is None:
                    self.fit.measure(lambda: self._loss(model, self._part(inputs, 0, 1)))
                return self._accumulated(model, inputs, tokens)
            except Exception as error:
                if not out_of_memory(error):
                    raise
                self.fit.halve()
            model.zero_grad()
            clear_device_cache(garbage_collection=True)

    def _accumulated(self, model: nn.Module, inputs: Batch, tokens: int) -> Tensor:
        """The seed of dropout is the step's, so that a training that goes on draws the same, and
        so does a step that is done again in smaller parts."""
        torch.manual_seed(
            (self.config.seed * 1_000_003 + self.state.global_step) * 1009 + self.ranks.rank
        )
        total = torch.zeros((), device=self.args.device)
        for start in range(0, len(inputs["ids"]), self.fit.size):
            loss = self._loss(model, self._part(inputs, start, self.fit.size)) / tokens
            self.accelerator.backward(loss)
            total += loss.detach()
        return total

    def _part(self, inputs: Batch, start: int, rows: int) -> Batch:
        """Rows of a batch, on the device."""
        part = {name: value[start : start + rows] for name, value in inputs.items()}
        prepared: Batch = self._prepare_inputs(part)
        return prepared

    def _loss(self, model: nn.Module, part: Batch, features: Tensor | None = None) -> Tensor:
        """Summed cross entropy of the answers' tokens. Logits are computed where an answer is, and
        nowhere else. `features` (n, tile tokens, hidden) where they are known already."""
        labels = part["labels"]
        with self.compute_loss_context_manager():
            if features is None:
                features = self._features(part["seen"])
            logits = model(
                inputs_embeds=embed(self.student.model, part["ids"], features),
                attention_mask=part["mask"],
                logits_to_keep=labels.shape[1] + 1,
                use_cache=False,
            ).logits[:, :-1]
        return functional.cross_entropy(
            logits.float().flatten(0, 1), labels.flatten(), ignore_index=IGNORED, reduction="sum"
        )

    def _features(self, seen: Tensor) -> Tensor:
        """The connector's features (n, tile tokens, hidden) of what a batch's lessons show."""
        kind, learns = self.train_dataset.kind, torch.is_grad_enabled()
        if kind == "features":
            return seen
        if kind == "pixels":
            with torch.set_grad_enabled(learns and self.config.vision == "lora"):
                seen = tower_states(self.student.model, scaled(seen))
        with torch.set_grad_enabled(learns and self.config.vision != "frozen"):
            features: Tensor = self.student.model.model.connector(seen)
        return features

    def _together(self, loss: Tensor, tokens: int) -> Tensor:
        """One sum over all processes: gradients and loss, weighted by their tokens, and whether
        any of them wants a checkpoint."""
        wish = self.keeper.wish()
        if self.ranks.processes == 1:
            self.keeper.agree(wish)
            return loss
        learning = [value for value in self.model.parameters() if value.requires_grad]
        for value in learning:
            if value.grad is None:
                value.grad = torch.zeros_like(value)
        grads = [value.grad.flatten() * tokens for value in learning if value.grad is not None]
        said = torch.tensor([wish, float(tokens)], device=loss.device)
        shared = torch.cat([*grads, loss.reshape(1) * tokens, said])
        distributed.all_reduce(shared)
        *rest, loss_sum, wishes, total = shared.split([*map(len, grads), 1, 1, 1])
        for value, grad in zip(learning, rest, strict=True):
            value.grad = (grad / total).view_as(value)
        self.keeper.agree(float(wishes))
        mean: Tensor = loss_sum / total
        return mean.squeeze()

    @torch.no_grad()
    def evaluate(
        self,
        eval_dataset: Any = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> dict[str, float]:
        """Loss and accuracy of greedy answers on val, and how often each label is answered."""
        shares = self.ranks.gather([self._asked()])
        told = {
            at: a.strip() for places, *_, own in shares for at, a in zip(places, own, strict=True)
        }
        metrics = {"eval_loss": sum(s[1] for s in shares) / sum(s[2] for s in shares)}
        metrics |= self._judged([told[at] for at in range(len(told))])
        self.log(metrics)
        self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def _asked(self) -> tuple[range, float, int, list[str]]:
        """This process's share of val: places, summed loss, answer tokens, answers. Out of memory
        halves what goes through at once, and asks anew."""
        while True:
            try:
                turns = Turns(len(self.eval_dataset), min(BATCH, self.fit.size), *self.ranks)
                return turns.places, *self._answered(turns)
            except Exception as error:
                if not out_of_memory(error):
                    raise
                self.fit.halve()
            clear_device_cache(garbage_collection=True)

    def _answered(self, turns: Turns) -> tuple[float, int, list[str]]:
        self.model.eval()
        loader = Loader(self.eval_dataset, turns, self.data_collator)
        self.callback_handler.eval_dataloader = loader
        loss, tokens, answers = 0.0, 0, list[str]()
        for batch in loader:
            part = self._part(batch, 0, len(batch["ids"]))
            with self.compute_loss_context_manager():
                features = self._features(part["seen"])
            loss += float(self._loss(self.model, part, features))
            tokens += int((part["labels"] != IGNORED).sum())
            answers += self.student.answer(features)
            self.callback_handler.on_prediction_step(self.args, self.state, self.control)
        return loss, tokens, answers

    def _judged(self, answers: list[str]) -> dict[str, float]:
        """Accuracy over all, over the confident and by label; the mistakes are kept."""
        labels = self.eval_dataset.labels
        right = [answer == label for answer, label in zip(answers, labels, strict=True)]
        self.found([(at, answer) for at, answer in enumerate(answers) if not right[at]])
        metrics = {"eval_accuracy": sum(right) / len(right)}
        if any(self.confident):
            kept = [r for r, confident in zip(right, self.confident, strict=True) if confident]
            metrics["eval_accuracy_confident"] = sum(kept) / len(kept)
        counts = Counter(answers)
        for label in self.student.contract.labels:
            metrics[f"eval_answered_{label}"] = counts[label]
            own = [r for r, true in zip(right, labels, strict=True) if true == label]
            if own:
                metrics[f"eval_recall_{label}"] = sum(own) / len(own)
        return metrics
