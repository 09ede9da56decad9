"""A small joint model: Whisper itself, taught to write who said what and when.

    settings     what the model is, and what of it learns
    network      Whisper with low-rank changes, streams of voices and places, tokens for speakers
    stream       such a stream: frames of CAM++ or of places, brought to the decoder's width
    answer       turns to the tokens that the model writes, and back, faults and all
    rules        what may be written next, so that every answer can be read
    writing      answers of a batch of clips, token by token
    checkpoint   what was learnt on disk

The language model is Whisper's own decoder: it already recognises words and writes times, so that
little has to be learnt from little speech.

Axes: B batch, F mel bin, T frame of 10 ms, S frame of the encoder (20 ms), P projected voice frame,
M frame of the memory that the decoder looks at, D feature, L token, V token of the vocabulary with
those of the speakers, K speaker.
"""
