"""What can be done with subjects."""

from circdesk.catalog.models import BookSubject, Subject
from circdesk.catalog.names import Names
from circdesk.contract.problems import Problem


class SubjectExists(Problem):
    """Another subject has this name, or one that differs only in case, accents or signs."""

    code = "subject_exists"
    status = 409
    title = "There is a subject of this name already."
    advice = "Use the subject in `suggestions`, or choose a name that tells the two apart."


class SubjectInUse(Problem):
    """Books still have the subject."""

    code = "subject_in_use"
    status = 409
    title = "Books still have this subject."
    advice = "Change or delete the books that `details` names, then delete the subject."


SUBJECTS = Names(Subject, BookSubject, "subject", SubjectExists, SubjectInUse)
