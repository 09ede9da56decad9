"""The joint engine's model: who spoke what and when, written by a language model that listens.

    fbank        log mel features of a clip
    zipformer/   the encoder of both streams as published, 25 frames a second
    encoders     others that may take its place: Whisper's, CAM++'s; spatial_stream adds a third
    projector    encoder frames to the language model's embeddings, 6.25 a second
    anchors      numbers between the frames, by which the model tells the time
    layout       streams that share a place: stretches in turn, or side by side
    prompt       the fixed chat string with its audio places, labels
    llm          any causal language model of transformers, and its tokenizer
    lora         low-rank changes to it
    model        all of it together: loss and generation
    checkpoint   on disk, in the official layout or in ours: parts, weight_files, tensor_files
    serialise    turns to the text that the model writes; parse reads it back, faults and all
    constrain    generation that can only write such text: grammar, closing, vocabulary, spelling

Axes, at the end of names: B batch, T time, D channel or embedding, S position in the language
model's input, N sample, F frequency, H head, K kernel.

Notes
-----
Huo, Shao and Zhang 2026, "TagSpeech", arXiv 2601.06896.
"""
