"""The bench: every claim about speed is a row made here by one command.

`python -m bench` runs a ladder from nginx down to the whole gateway and judges the
bars that the project holds; it prints both and stores them under bench/results/.
Nothing of the gateway imports this package.
"""
