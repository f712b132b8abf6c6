"""Generation: requests become prompts, a continuous-batching engine samples token ids, and items are written.

In come a `Bundle` (model, tokenizers, layouts) and a `Request` (conditions, length, sampling options); out come `Item`s
that can save themselves, and files with a result page. Open `generate.py` first, the path of one request; then
`engine.py` and `lane.py` (the decoding loop), `upsampling.py` (levels of sound), `guidance.py` and `ranking.py`.
`results.py` writes the items, the JSON record beside each, and the page.
"""
