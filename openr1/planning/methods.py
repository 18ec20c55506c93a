"""Precision and optimizer: which ways of training are open, best first, and why.

The rule behind the order: a bf16 weight has 8 bits of mantissa, so at RL learning rates most AdamW updates
round to nothing. Measured at lr 1e-6: after 50 steps 1.9 % of pure-bf16 weights had moved and the
displacement was 1.2 % of fp32's (2e-5: 29 %, 1e-4: 91 %). So full fine-tuning keeps fp32 masters.
"""

from __future__ import annotations

from dataclasses import dataclass

from openr1.planning.plan import Asked

DTYPES = {
    "float32": "float32",
    "fp32": "float32",
    "bfloat16": "bfloat16",
    "bf16": "bfloat16",
    "float16": "float16",
    "fp16": "float16",
    "auto": "auto",
}
# What the optimizer names of transformers mean for memory.
OPTIMIZERS = {
    "sgd": "sgd",
    "adamw_bnb_8bit": "adamw_8bit",
    "adamw_8bit": "adamw_8bit",
    "paged_adamw_8bit": "adamw_paged_8bit",
    "paged_adamw": "adamw",
    "paged_adamw_32bit": "adamw",
    "adamw_torch": "adamw",
    "adamw_torch_fused": "adamw",
    "adamw_torch_8bit": "adamw_8bit",
}
BF16_LEARNING_RATE = 1e-4  # below this pure bf16 + AdamW loses most of its updates
ZERO = ("zero1", "zero2", "zero3")


@dataclass(frozen=True)
class Method:
    """One way to hold weights and optimizer on a rank."""

    dtype: str  # as the model is loaded
    optim: str  # transformers' name
    sharding: str
    lora: bool
    quantised: bool
    why_dtype: str
    why_optim: str
    requires: tuple[str, ...] = ()

    @property
    def optimizer(self) -> str:
        """The kind of optimizer for the memory model."""
        return OPTIMIZERS.get(self.optim, "adamw")

    @property
    def weight_bytes(self) -> int:
        """Bytes per loaded parameter."""
        return 4 if self.dtype == "float32" else 2


def methods(
    asked: Asked,
    shardings: tuple[str, ...],
    half: str,
    eight_bit: bool,
    has_peft: bool,
) -> list[Method]:
    """Every open method, best first: no sharding before more of it, full states before 8-bit, LoRA last.

    `half` is the card's 16-bit type ("bfloat16" or "float16"); `eight_bit` whether bitsandbytes is here.
    """
    found: list[Method] = []
    lora = bool(asked.get("use_peft", False))
    if not lora:
        for optim in _optimizers(asked, eight_bit):
            found += [_full(asked, sharding, optim, half) for sharding in shardings]
    may_choose_lora = bool(asked.get("allow_lora", False)) and asked.person("use_peft") is not False
    if lora or (may_choose_lora and has_peft):
        found += [_lora(asked, s, half, chosen=not lora) for s in shardings if s != "zero3" or lora]
    return found


def _optimizers(asked: Asked, eight_bit: bool) -> list[tuple[str, str]]:
    own = asked.person("optim")
    if own is not None:
        return [(str(own), f"set by you (optim: {own}), kept")]
    choices = [("adamw_torch_fused", "AdamW with full states: it fits, and the fused step needs no copy")]
    if eight_bit:
        choices.append(
            (
                "adamw_bnb_8bit",
                "8-bit Adam states (bitsandbytes): full ones do not fit, and fp32 weights matter more",
            )
        )
    return choices


def _full(asked: Asked, sharding: str, optim: tuple[str, str], half: str) -> Method:
    own = asked.person("dtype")
    if own is not None:
        dtype, why = DTYPES.get(str(own), str(own)), f"set by you (dtype: {own}), kept"
    elif sharding in ZERO:
        dtype, why = half, "DeepSpeed computes in 16 bit and keeps fp32 masters itself"
    else:
        dtype = "float32"
        why = "fp32 weights computed under 16-bit autocast: small updates are not rounded away"
    requires: tuple[str, ...] = ("deepspeed",) if sharding in ZERO else ()
    requires += ("bitsandbytes",) if any(w in optim[0] for w in ("8bit", "paged", "bnb")) else ()
    return Method(dtype, optim[0], sharding, False, False, why, optim[1], requires)


def _lora(asked: Asked, sharding: str, half: str, chosen: bool) -> Method:
    own, own_optim = asked.person("dtype"), asked.person("optim")
    four_bit = bool(asked.get("load_in_4bit", False))
    dtype = DTYPES.get(str(own), str(own)) if own is not None else half
    why = (
        f"set by you (dtype: {own}), kept"
        if own is not None
        else "the frozen base in 16 bit; adapters stay fp32"
    )
    why_optim = "AdamW on the adapters alone is small"
    if chosen:
        why = "full fine-tuning does not fit and the recipe allows LoRA: " + why
    requires = (
        ("peft",) + (("bitsandbytes",) if four_bit else ()) + (("deepspeed",) if sharding in ZERO else ())
    )
    if own_optim is not None:
        why_optim = f"set by you (optim: {own_optim}), kept"
    return Method(
        dtype, str(own_optim or "adamw_torch_fused"), sharding, True, four_bit, why, why_optim, requires
    )
