"""Uploads: from a body nobody trusts to an image set whose every image was decoded once.

    body -> spool (one file on disk) -> [zip -> second spool] -> places (split, class, file)
         -> every image decoded in a confined child process -> blobs -> manifest -> row

Nothing is stored before everything was checked, and the spools are removed whatever happens.
"""
