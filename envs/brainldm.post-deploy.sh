# Runs in the repository's root; editable, so that the environment follows the sources without being made anew.
python -m pip install --constraint constraints.txt --editable .
