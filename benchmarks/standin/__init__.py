"""A stand-in for a real set: another head, another renderer, its labels in two conventions.

The head is ICT-FaceKit's (Li et al., CVPR 2020; MIT), given as a file; nothing here is shared with
the generator whose pictures stage I learns from.
"""
