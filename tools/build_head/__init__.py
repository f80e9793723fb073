"""Builds the embedded parametric head from proportions of people: `python -m tools.build_head`.

Nothing here is scanned or fitted: a loft of cross-sections gives the bulk, named sculpting fields
the features, a graded triangulation the mesh. All lengths inside this package are millimetres in
the head's frame (+x subject's left, +y up, +z out of the face); the written file is in metres.
"""
