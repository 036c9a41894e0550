"""A client's bytes become an array, or a file that this server has written; or they are refused. No native parser.

`received` takes the volumes of a request, `series` those of a session and of a PACS; `opening` finds the strict reader
for a file (`nifti`, `metaimage`, and the library's `nrrd`), `scan` and `label` make of its voxels what the
server keeps. Everything reads through `stream`, which expands no more than is asked for. Why: docs/adr/0016-intake.md.
"""
