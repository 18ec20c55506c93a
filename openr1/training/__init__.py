"""SFT and GRPO on TRL, in a child process: `python -m openr1.training RUN_FOLDER`.

`trl_adapter`, `sft_trainer`, `grpo_trainer` and `grpo_updates` know TRL's trainers from the inside.
"""
