"""SFT and GRPO on TRL, in a child process: `python -m openr1.training RUN_FOLDER`.

`trl_adapter` is the one file that knows TRL's trainers from the inside.
"""
