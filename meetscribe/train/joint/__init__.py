"""Training of the joint engine's models: who spoke what and when, in one generation.

    Group                              a clip and all that is said in it (groups)
    speech + rooms -> Group            a few people who talk, made from its number (simulated)
    prepared corpus -> Group           utterance groups of real meetings (real)
    Group -> ArrayClip                 all channels and the places of who speaks (array_clips)
    number -> batch                    groups of similar length, so many seconds (bucketing)
    Trainee                            what is trained: loss, generation, weights (trainee)
    LlmTrainee, WhisperJointTrainee    the two kinds of joint model
    SotTrainee                         the semantic encoder alone, before them (encoder)
    groups -> cpWER, DER, counts       validation on generated text (score)
    run(settings, folder)              stage after stage, resumable (run, parts, training, stages)

Axes: C channel, N sample.
"""

from __future__ import annotations

from meetscribe.train.joint.settings import JointTraining

__all__ = ["JointTraining"]
