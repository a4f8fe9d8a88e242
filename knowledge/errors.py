"""What can go wrong with knowledge, as exceptions whose messages are shown to people."""


class KnowledgeError(Exception):
    """Root of this package's errors. The message says what failed, on which value, and what to do next."""


class UnreadableDocument(KnowledgeError):
    """One document could not be turned into text; the others of the same run go on."""


class IndexDamaged(KnowledgeError):
    """The Chroma index is missing, corrupt, of another embedding model, or silently incomplete."""


class IndexUnreachable(IndexDamaged):
    """The Chroma server does not answer; what it holds may be in order."""


class StorageFull(KnowledgeError):
    """The disk has no room left; what was acknowledged before stays."""
