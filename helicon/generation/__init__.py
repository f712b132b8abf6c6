"""The room that makes media: a request becomes prompts, the one decoding loop samples their ids, results are written.

Guidance, ranking and upsampling lie beside that loop; whoever makes something comes through here.
"""
