"""Training of codecs: what learns, from which pictures and sounds, by which losses."""
