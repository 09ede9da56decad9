"""Who is who across recordings: voices of a transcript's speakers, compared with known people.

    voices     how each speaker of a transcript sounds
    enrol      people from folders of recordings
    matching   which speaker is which person, one to one
    naming     names and scores into transcripts
    store      people kept on this machine, for those who want that

Nothing here changes who spoke when or what was said: it gives names to labels.
"""

from __future__ import annotations
