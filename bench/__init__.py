"""How fast Prosa is, each figure beside a limit measured in the same run. `python -m bench`; see README.md."""
