# UniRes of 2026-07-07 and the nitorch that its setup names. The paper's laboratory pinned UniRes fdeee7b and nitorch d30c312 (2021) for ADNI.
python -m pip install --no-deps --no-build-isolation \
  "git+https://github.com/balbasty/nitorch@8067d60542642a39ab6c6eb5e1157373a9d3dcc3" \
  "git+https://github.com/brudfors/UniRes@a3c1f8122006ca01a25c15844533dd23b53a23ce"
