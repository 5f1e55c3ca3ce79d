"""What can be done with authors."""

from circdesk.catalog.models import Author, BookAuthor
from circdesk.catalog.names import Names
from circdesk.contract.problems import Problem


class AuthorExists(Problem):
    """Another author has this name, or one that differs only in case, accents or signs."""

    code = "author_exists"
    status = 409
    title = "There is an author of this name already."
    advice = "Use the author in `suggestions`, or choose a name that tells the two apart."


class AuthorInUse(Problem):
    """Books still have the author."""

    code = "author_in_use"
    status = 409
    title = "Books still have this author."
    advice = "Change or delete the books that `details` names, then delete the author."


AUTHORS = Names(Author, BookAuthor, "author", AuthorExists, AuthorInUse)
