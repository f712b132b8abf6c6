"""General MIDI constants: message kinds, channels, program names."""

import re

CHANNELS = 16  # of a port
ALL_CHANNELS = 256 * CHANNELS  # of all ports
DRUM_CHANNEL = 9  # counted from 0: channel 10 in every manual
MELODIC_CHANNELS = tuple(channel for channel in range(CHANNELS) if channel != DRUM_CHANNEL)
# Kinds of messages: upper halves of status bytes
NOTE_OFF, NOTE_ON, CONTROL, PROGRAM_CHANGE = 0x8, 0x9, 0xB, 0xC
PART_MODE = 0xF  # ours: a system message of GS or XG that makes a channel drums (number 1) or a melody (0)
BANK, SUSTAIN, RESET = 0, 64, 121  # numbers of controls: bank (coarse), pedal, reset of all controllers

PROGRAM_NAMES = re.split(
    r",\s+",
    """
    Acoustic Grand Piano, Bright Acoustic Piano, Electric Grand Piano, Honky-tonk Piano, Electric Piano 1,
    Electric Piano 2, Harpsichord, Clavinet, Celesta, Glockenspiel, Music Box, Vibraphone, Marimba, Xylophone,
    Tubular Bells, Dulcimer, Drawbar Organ, Percussive Organ, Rock Organ, Church Organ, Reed Organ, Accordion,
    Harmonica, Bandoneon, Nylon Guitar, Steel Guitar, Jazz Guitar, Clean Guitar, Muted Guitar, Overdriven Guitar,
    Distortion Guitar, Guitar Harmonics, Acoustic Bass, Fingered Bass, Picked Bass, Fretless Bass, Slap Bass 1,
    Slap Bass 2, Synth Bass 1, Synth Bass 2, Violin, Viola, Cello, Contrabass, Tremolo Strings, Pizzicato Strings,
    Harp, Timpani, String Ensemble 1, String Ensemble 2, Synth Strings 1, Synth Strings 2, Choir Aahs, Voice Oohs,
    Synth Voice, Orchestra Hit, Trumpet, Trombone, Tuba, Muted Trumpet, French Horn, Brass Section, Synth Brass 1,
    Synth Brass 2, Soprano Sax, Alto Sax, Tenor Sax, Baritone Sax, Oboe, English Horn, Bassoon, Clarinet, Piccolo,
    Flute, Recorder, Pan Flute, Blown Bottle, Shakuhachi, Whistle, Ocarina, Square Lead, Sawtooth Lead,
    Calliope Lead, Chiff Lead, Charang Lead, Voice Lead, Fifths Lead, Bass and Lead, New Age Pad, Warm Pad,
    Polysynth Pad, Choir Pad, Bowed Pad, Metallic Pad, Halo Pad, Sweep Pad, Rain, Soundtrack, Crystal, Atmosphere,
    Brightness, Goblins, Echoes, Sci-fi, Sitar, Banjo, Shamisen, Koto, Kalimba, Bagpipe, Fiddle, Shanai,
    Tinkle Bell, Agogo, Steel Drums, Woodblock, Taiko Drum, Melodic Tom, Synth Drum, Reverse Cymbal,
    Guitar Fret Noise, Breath Noise, Seashore, Bird Tweet, Telephone Ring, Helicopter, Applause, Gunshot
    """.strip(),
)
