"""What a figure is compared with: the least that any program must do for the same effect, without Prosa's code."""
